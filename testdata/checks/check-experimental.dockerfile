# check=experimental=all
FROM busybox
# some text
ARG FOO=1
# BAR is right
ARG BAR=2
