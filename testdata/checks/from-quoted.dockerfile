FROM "busybox"
RUN a
