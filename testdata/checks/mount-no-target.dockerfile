FROM busybox
RUN --mount=type=cache y
