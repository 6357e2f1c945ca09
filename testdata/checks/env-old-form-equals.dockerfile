FROM busybox
ENV A b=c
ENV OPTS -Da=b -Dc=d
