FROM busybox
VOLUME /a /b
VOLUME ["/c", "/d e"]
VOLUME []
