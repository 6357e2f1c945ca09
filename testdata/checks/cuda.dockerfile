ARG CUDA=12.2.0
ARG OS=ubuntu22.04
FROM nvidia/cuda:${CUDA}-devel-${OS}
ARG DEBIAN_FRONTEND=noninteractive
ENV TZ="Etc/UTC" LD_LIBRARY_PATH=/usr/local/cuda/lib64:${LD_LIBRARY_PATH}
RUN ln -snf /usr/share/zoneinfo/$TZ /etc/localtime && echo $TZ > /etc/timezone
