FROM busybox AS early
COPY --from=late /a /b
FROM busybox AS late
FROM busybox
