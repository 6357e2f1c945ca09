FROM busybox
RUN echo a \ b
RUN c
