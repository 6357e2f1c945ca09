FROM busybox
ENV A="x y" B='z $A' C=$A D=a\ b E="q\"q" F=
ENV G="unterminated
