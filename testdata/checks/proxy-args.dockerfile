FROM busybox
ENV A=$HTTP_PROXY B=$no_proxy
