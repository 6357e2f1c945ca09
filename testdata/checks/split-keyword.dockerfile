FR\
OM busybox
RU\
N a
