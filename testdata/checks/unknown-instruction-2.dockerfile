FROM busybox
INCLUDE foo
