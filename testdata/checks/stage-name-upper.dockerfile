FROM busybox AS Build
FROM Build
