FROM busybox
RUN ["/bin/sh", "-c", "echo \"a b\""]
RUN ["sh", "-c", "echo 'x'"]
