FROM busybox
RUN echo grьяe
LABEL a=й
