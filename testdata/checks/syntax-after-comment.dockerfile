# a comment
# syntax=foo/bar
FROM busybox
