FROM busybox
RUN apt-get update &&
RUN x
