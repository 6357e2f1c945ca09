FROM busybox
COPY https://example.com/a /b
