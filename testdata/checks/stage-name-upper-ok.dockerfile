FROM busybox AS Build
FROM busybox
COPY --from=BUILD a b
