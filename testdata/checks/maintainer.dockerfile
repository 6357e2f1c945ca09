FROM busybox
MAINTAINER a b <c@d>
