ARG X=build
FROM busybox AS build
FROM busybox
ARG X
COPY --from=$X /a /b
