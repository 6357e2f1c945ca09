FROM busybox
RUN <<EOF
set -e
# not a comment
FROM nope
EOF
RUN <<-EOF
	echo tabs
	EOF
RUN cat <<A - <<B > /x
a
A
b
B
RUN python3 <<PY
print("x")
PY
RUN <<"EOF"
$x
EOF
