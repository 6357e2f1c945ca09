


FROM busybox



RUN a


