FROM busybox
ENV A=$$ B=$1 C=\$X D='$Y' E="$" F=a$ G=$@
RUN echo $$ $1 "$@"
