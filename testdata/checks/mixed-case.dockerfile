FROM busybox
Run echo a
copy a /b
ENV x=y
CMD ["x"]
