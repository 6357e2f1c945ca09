FROM busybox as a
from busybox AS b
FROM busybox As c
from busybox as d
