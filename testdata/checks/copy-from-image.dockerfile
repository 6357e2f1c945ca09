FROM busybox
COPY --from=nginx:latest /etc/nginx/nginx.conf /nginx.conf
COPY --from=docker.io/library/alpine@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa /etc/passwd /p
