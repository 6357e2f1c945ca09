FROM alpine:3.4
MAINTAINER Jane Doe <jane@example.com>

ENV VERSION 1.2.3
ENV PATH /opt/app/bin:$PATH
ENV JAVA_OPTS -Xmx512m -Dfoo=bar
RUN apk add --update curl && \
    curl -sSL http://example.com/app-$VERSION.tgz | tar -xz -C /opt && \

    apk del curl
EXPOSE 80 443
ENTRYPOINT exec java $JAVA_OPTS -jar /app.jar
