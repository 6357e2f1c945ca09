#ifndef SIEVE_H
#define SIEVE_H

/* Marks the composite numbers below `limit` in `composite`, which has `limit` bytes. */
void sieve(unsigned char *composite, unsigned long limit);

#endif
