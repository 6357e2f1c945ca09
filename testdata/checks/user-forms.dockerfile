FROM busybox
USER 1000:1000
USER app:grp
USER app grp
USER
