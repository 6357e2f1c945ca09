FROM busybox

# comment
RUN a
# comment \
RUN b
