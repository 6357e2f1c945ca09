FROM --platform=$TARGETPLATFORM busybox
RUN a
