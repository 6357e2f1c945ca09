ARG V
FROM busybox:${V:?need V}
