FROM busybox
ENV APP_HOME=/app
COPY --chown=${UID:-1000}:${GID:-1000} ./src ${APP_HOME}/src
ADD ${URL} /x
