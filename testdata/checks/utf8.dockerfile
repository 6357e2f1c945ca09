FROM busybox
LABEL maintainer="Jürgen Müller <j@müller.de>" 描述="中文"
ENV GRÜSSE=hallo
RUN echo "ünïcödé 🎉"
