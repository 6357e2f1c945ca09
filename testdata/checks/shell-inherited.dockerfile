FROM busybox AS a
SHELL ["/bin/ash", "-c"]
FROM a
CMD x
