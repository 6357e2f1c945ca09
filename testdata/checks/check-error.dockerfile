# check=error=true
FROM busybox
CMD a
