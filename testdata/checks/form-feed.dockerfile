FROM busybox
RUN a
