# check=skip=JSONArgsRecommended,StageNameCasing
FROM busybox AS X
CMD a
ENTRYPOINT b
MAINTAINER c
