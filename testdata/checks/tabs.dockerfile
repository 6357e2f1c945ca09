FROM	busybox
RUN		echo a
	ENV	A=1
  COPY	a	/b
