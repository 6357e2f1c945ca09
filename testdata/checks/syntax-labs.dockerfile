# syntax=docker/dockerfile:1-labs
FROM busybox
RUN --security=insecure a
