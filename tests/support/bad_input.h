/* What an attacker may send in the place of a nonce, a key, a share, a signature, a version. */
#ifndef TESTS_BAD_INPUT_H
#define TESTS_BAD_INPUT_H

#include <stddef.h>

/* Each ends with NULL. */
extern const char *const BAD_NONCES[];   /* would be a signing oracle, or are too short or long */
extern const char *const BAD_KEYS[];     /* explicit curve parameters, other curves, odd PEM */
extern const char *const BAD_SHARES[];   /* not 65 bytes of a point on P-256 */
extern const char *const BAD_SIGNATURES[];
extern const char *const BAD_RANDOM_IDS[]; /* not 16 bytes of base64url */

/* Texts that are no messages at all (section 1): each has one thing wrong. */
extern const char *const BAD_TEXTS[];

#endif
