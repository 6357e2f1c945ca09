FROM busybox
# escape=`
RUN a `
b
