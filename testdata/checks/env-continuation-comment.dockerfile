FROM busybox
ENV A=1 \
    # comment
    B=2 \
    C=3
