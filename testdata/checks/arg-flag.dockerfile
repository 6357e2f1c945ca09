FROM busybox
ARG --foo A=1
