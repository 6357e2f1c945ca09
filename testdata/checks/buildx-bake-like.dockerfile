# syntax=docker/dockerfile:1
ARG GO_VERSION=1.21
ARG XX_VERSION=1.2.1
FROM --platform=$BUILDPLATFORM tonistiigi/xx:${XX_VERSION} AS xx
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-alpine AS golatest
FROM golatest AS gobase
COPY --from=xx / /
RUN apk add --no-cache file git
ENV GOFLAGS=-mod=vendor
ENV CGO_ENABLED=0
WORKDIR /src
FROM gobase AS version
RUN --mount=target=. <<EOT
  set -e
  PKG=github.com/x/y VERSION=$(git describe --match 'v[0-9]*' --dirty='.m' --always --tags)
  echo "-X ${PKG}/version.Version=${VERSION}" | tee /tmp/.ldflags
EOT
FROM gobase AS build
ARG TARGETPLATFORM
RUN --mount=type=bind,target=. \
  --mount=type=cache,target=/root/.cache \
  --mount=type=cache,target=/go/pkg/mod \
  --mount=type=bind,from=version,source=/tmp/.ldflags,target=/tmp/.ldflags \
  xx-go --wrap && go build -ldflags "$(cat /tmp/.ldflags)" -o /usr/bin/x .
FROM scratch AS binaries-unix
COPY --link --from=build /usr/bin/x /x
FROM binaries-unix AS binaries-darwin
FROM binaries-unix AS binaries-linux
FROM binaries-$TARGETOS AS binaries
FROM binaries
