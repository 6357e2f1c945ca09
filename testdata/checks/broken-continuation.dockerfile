FROM busybox
RUN apt-get update
    apt-get install x
