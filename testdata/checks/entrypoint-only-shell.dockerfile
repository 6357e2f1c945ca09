FROM busybox
ENTRYPOINT /start.sh
