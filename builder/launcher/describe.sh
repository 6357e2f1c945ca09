#!/bin/sh
# Writes a header that names the launcher's file; its checksum makes the header change whenever the program does.
set -eu
printf '// %s\n#define IMGBUILD_LAUNCHER_FILE "%s"\n' "$(cksum < "$1")" "$(realpath "$1")" > "$2"
