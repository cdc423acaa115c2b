/*
 * Key pairs for tests: what hardware does elsewhere, done by OpenSSL in the process. The pair follows
 * from the kind and the name, so that two programs and two runs have the same one; ES256 and ES384
 * signatures are random, EdDSA's are not.
 */
#ifndef TESTS_TEST_KEY_H
#define TESTS_TEST_KEY_H

#include "base/buf.h"

enum test_key_kind { TEST_KEY_P256, TEST_KEY_P384, TEST_KEY_ED25519 };

struct test_key;

/* Never fail: they end the test. */
struct test_key *test_key_new(enum test_key_kind kind, const char *name);
void test_key_free(struct test_key *key); /* NULL is fine */

/* SubjectPublicKeyInfo DER, for public_key_from_der; lives as long as the key. */
struct ath_slice test_key_der(const struct test_key *key);

/* JOSE form (r||s or EdDSA) over message, appended to out. */
void test_key_sign(const struct test_key *key, struct ath_slice message, struct ath_buf *out);

/* The same pair as PKCS#8 PEM, for programs that are not ours. */
void test_key_put_private_pem(const struct test_key *key, struct ath_buf *out);

#endif
