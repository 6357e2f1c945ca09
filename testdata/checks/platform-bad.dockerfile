FROM --platform=foo/bar/baz/qux busybox
