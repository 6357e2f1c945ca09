FROM busybox
SHELL ["/bin/bash", "-c"]
CMD a
ENTRYPOINT b
