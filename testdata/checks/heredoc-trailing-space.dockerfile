FROM busybox
RUN <<EOF
a
EOF 
EOF
