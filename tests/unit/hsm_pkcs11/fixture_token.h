/* SoftHSM tokens for tests, in a directory of their own, and a back end on one of them. */
#ifndef TESTS_FIXTURE_TOKEN_H
#define TESTS_FIXTURE_TOKEN_H

#include "hsm/pkcs11/pkcs11_backend.h"
#include "hsm/pkcs11/pkcs11_key.h"
#include "support.h"

#define FIXTURE_PIN "24680135"
#define FIXTURE_SO_PIN "97531086"

struct fixture {
    char dir[64];
    char module[256]; /* SoftHSM's file */
    char uri[512];    /* of the token "agent" in it */
    struct hsm *hsm;
    struct pkcs11_token *token; /* borrowed: hsm's */
};

/* One token "agent"; the back end is open, nobody is logged in. fixture_setup_login: the user is.
 */
int fixture_setup(void **state);
int fixture_setup_login(void **state);
/* The token is there, the back end is not open. */
int fixture_setup_closed(void **state);
/* Not even a token is there. */
int fixture_setup_empty(void **state);
int fixture_teardown(void **state);

/* A token more, with a user PIN or without; the back end must be closed. */
void fixture_add_token(struct fixture *fixture, const char *label, bool with_pin);
/* Moves the tokens away, or back again: nobody tells the module. */
void fixture_hide_tokens(struct fixture *fixture);
void fixture_show_tokens(struct fixture *fixture);

ath_err fixture_open(struct fixture *fixture, const char *uri, struct hsm_fault *fault);
void fixture_close(struct fixture *fixture);
ath_err fixture_login(struct fixture *fixture, const char *pin, struct hsm_fault *fault);

/* A new key, open; fails the test if it cannot. */
struct hsm_key *fixture_key(struct fixture *fixture, enum key_algorithm algorithm,
                            const char *label);
ath_err fixture_sign(struct fixture *fixture, unsigned worker, struct hsm_key *key, const char *pin,
                     struct hsm_fault *fault);
/* Signs and verifies; fails the test if either fails. */
void fixture_must_sign(struct fixture *fixture, unsigned worker, struct hsm_key *key);

/* Counts the objects that the user, logged in, sees. */
size_t fixture_count_objects(struct fixture *fixture, CK_OBJECT_CLASS class);

/* Puts a copy of the module's function list before it, for tests that change single functions;
 * fixture_real is what stands behind, fixture_logins counts C_Login from now on. */
CK_FUNCTION_LIST *fixture_fake(struct fixture *fixture);
extern const CK_FUNCTION_LIST *fixture_real;
extern unsigned fixture_logins;

/* A P-256 key pair made without athd's template, with more attributes for the private key (at most
 * 4); by CKA_ID `id`, one byte, and this label. The user must be logged in. */
void fixture_raw_key(struct fixture *fixture, uint8_t id, const char *label,
                     const CK_ATTRIBUTE *more, size_t more_count, CK_OBJECT_HANDLE *ret_public,
                     CK_OBJECT_HANDLE *ret_private);

/* Opens the key of this URI; *ret_key is NULL where it cannot. */
ath_err fixture_key_open(struct fixture *fixture, const char *uri, struct hsm_fault *fault,
                         struct hsm_key **ret_key);

/* Fails the test unless the sentence contains `part`. */
void fixture_must_say(const struct hsm_fault *fault, const char *part);

void fixture_remove_tree(const char *dir);

#endif
