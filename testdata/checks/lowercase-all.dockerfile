from busybox
run echo a
copy a /b
env x=y
cmd ["x"]
