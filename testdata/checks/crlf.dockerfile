FROM busybox
RUN echo a \
  && echo b
ENV A=1
ENV B 2 3
CMD ["x"]
