#include <stdio.h>
#include <stdlib.h>

#include "sieve.h"

int main(int argc, char **argv) {
  unsigned long limit = argc > 1 ? strtoul(argv[1], NULL, 10) : 30;
  unsigned char *composite = malloc(limit + 1);
  if (composite == NULL) return 1;
  sieve(composite, limit);
  for (unsigned long n = 2; n < limit; ++n) {
    if (!composite[n]) printf("%lu\n", n);
  }
  free(composite);
  return 0;
}
