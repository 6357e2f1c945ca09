FROM busybox
# check=skip=JSONArgsRecommended
CMD a
