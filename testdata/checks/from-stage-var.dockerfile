ARG VARIANT=dev
FROM busybox AS base-dev
FROM busybox AS base-prod
FROM base-${VARIANT} AS final
