FROM busybox
RUN a
