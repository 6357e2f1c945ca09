FROM busybox
RUN --network=bridge y
