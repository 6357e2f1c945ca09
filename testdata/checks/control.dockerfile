FROM busybox
RUN echo [31mred[0m
