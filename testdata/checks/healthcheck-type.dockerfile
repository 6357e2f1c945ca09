FROM busybox
HEALTHCHECK curl x
