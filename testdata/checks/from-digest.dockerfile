FROM busybox@sha256:aaaa
