FROM busybox
ARG V=v1.2.3
ENV A=${V#v} B=${V%%.*} C=${V//./-} D=${V/v/V}
