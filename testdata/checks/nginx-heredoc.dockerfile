FROM nginx:1.25
COPY <<EOF /etc/nginx/conf.d/default.conf
server {
  listen ${PORT:-80};
  server_name _;
  location / { root /usr/share/nginx/html; try_files $uri /index.html; }
}
EOF
COPY <<'EOF' /docker-entrypoint.d/99.sh
#!/bin/sh
echo "$NOT_EXPANDED"
EOF
RUN <<EOT bash
  set -ex
  chmod +x /docker-entrypoint.d/99.sh
EOT
