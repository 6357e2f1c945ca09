FROM busybox
LABEL org.opencontainers.image.title="My app" \
      org.opencontainers.image.description="It does \
things over lines" \
      "quoted key"='single $x' \
      plain=a\ b
LABEL a b c
LABEL version="1.0" description="This text illustrates \
that label-values can span multiple lines."
