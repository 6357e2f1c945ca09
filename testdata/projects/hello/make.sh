# Writes a script that prints the text of the file given.
printf '#!/bin/sh\ncat <<TEXT\n'
cat "$1"
printf 'TEXT\n'
