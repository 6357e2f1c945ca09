FROM busybox
RUN a
FROM busybox
COPY --from=0 /a /b
