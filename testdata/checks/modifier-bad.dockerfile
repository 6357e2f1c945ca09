FROM busybox
ENV A=${B:1:2}
