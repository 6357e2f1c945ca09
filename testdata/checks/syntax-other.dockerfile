# syntax=tonistiigi/dockerfile:x
FROM busybox
