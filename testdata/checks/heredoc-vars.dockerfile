FROM busybox
ARG V=1
COPY <<EOF <<'RAW' /d/
$V ${UNKNOWN} \$V
EOF
$V
RAW
