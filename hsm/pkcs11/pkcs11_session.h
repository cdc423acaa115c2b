/* Sessions of an open token, and the one place where a failed call is judged and done again. */
#ifndef HSM_PKCS11_PKCS11_SESSION_H
#define HSM_PKCS11_PKCS11_SESSION_H

#include "hsm/pkcs11/pkcs11_token.h"

/* Part of an operation: calls the module in `session`. What failed in the module must be in fault
 * (pkcs11_error_report). */
typedef ath_err (*pkcs11_step)(struct pkcs11_token *token, CK_SESSION_HANDLE session, void *arg,
                               struct hsm_fault *fault);

/* The index of a worker's session: the first one where the token has one worker only. */
unsigned pkcs11_session_of_worker(const struct pkcs11_token *token, unsigned worker);

/*
 * Runs step in session `index`, opening it if need be. Where the token may have been taken out it
 * is looked for: gone is ATH_ERR_HSM_UNAVAILABLE. Where it forgot the session or an object, and
 * is there, step runs once more, in a new session. A session that is lost may have held the login;
 * nobody is logged in again by this: ATH_ERR_PIN_REQUIRED.
 */
ath_err pkcs11_session_run(struct pkcs11_token *token, unsigned index, pkcs11_step step, void *arg,
                           struct hsm_fault *fault) ATH_MUST_USE;

/* As pkcs11_session_run, for what must not be done twice: the session is tried before, step runs
 * once. */
ath_err pkcs11_session_run_once(struct pkcs11_token *token, unsigned index, pkcs11_step step,
                                void *arg, struct hsm_fault *fault) ATH_MUST_USE;

/* Closes the session: it is in the middle of something, or not known any more. */
void pkcs11_session_drop(struct pkcs11_token *token, unsigned index);

/* A step's part: is the user logged in, as far as the token says? */
bool pkcs11_session_is_logged_in(struct pkcs11_token *token, CK_SESSION_HANDLE session);

/* A step's part: ATH_ERR_PIN_REQUIRED where the token wants a login and has none. */
ath_err pkcs11_session_need_login(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                                  struct hsm_fault *fault) ATH_MUST_USE;

#endif
