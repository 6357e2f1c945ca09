FROM busybox
RUN --mount=type=cache,target=/a \
    # --mount=type=cache,target=/b \
    echo hi
