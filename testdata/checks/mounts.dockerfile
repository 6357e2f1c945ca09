# syntax=docker/dockerfile:1.4
FROM busybox AS tools
FROM busybox
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked apt-get update
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc,required=true npm i
RUN --mount=type=ssh git clone git@github.com:x/y
RUN --mount=type=tmpfs,target=/tmp,size=64m make
RUN --mount=target=.,rw make
RUN --mount=from=tools,source=/bin,target=/tools ls
RUN --mount=type=secret,id=tok,env=TOKEN x
RUN --network=none --security=sandbox y
