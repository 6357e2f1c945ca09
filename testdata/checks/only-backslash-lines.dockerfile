FROM busybox
RUN \
\
\
a
