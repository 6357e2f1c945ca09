FROM busybox
WORKDIR /src
RUN --mount=type=bind --mount=type=cache,target=/c ls
RUN --mount=from=busybox,source=/bin,rw ls
