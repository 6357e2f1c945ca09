FROM busybox
RUNN a
