FROM busybox
CMD ['npm', 'start']
ENTRYPOINT ['/bin/x']
