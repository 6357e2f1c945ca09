FROM busybox
RUN echo a # b
RUN echo '#!/bin/sh' > /x && \
    echo "# y" >> /x
