FROM --platform=linux/amd64 busybox AS build-amd64
FROM --platform=linux/arm64 busybox AS build_arm64
FROM build-${TARGETARCH}
