#include "sieve.h"

#include <string.h>

void sieve(unsigned char *composite, unsigned long limit) {
  memset(composite, 0, limit);
  for (unsigned long p = 2; p * p < limit; ++p) {
    if (composite[p]) continue;
    for (unsigned long multiple = p * p; multiple < limit; multiple += p) composite[multiple] = 1;
  }
}
