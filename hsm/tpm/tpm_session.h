/*
 * Our HMAC session (TPM 2.0 part 1, 17 to 19 and 21): salted to the storage key, so that whoever
 * watches the bus cannot compute its key; first parameters encrypted with AES-128-CFB; nonces
 * rolled by every command; each response's HMAC checked before anything in it is used. SYS does the
 * marshalling, everything cryptographic is here: stock ESYS makes an OpenSSL library context for
 * each digest and takes six times as long.
 *
 * An object's authValue makes no session of its own: it is a part of the key of the HMACs of the
 * one command it authorizes (and of its encryption), and is wiped from the session with that
 * command.
 *
 * One session serves all commands of a connection and is never saved, so it cannot meet the context
 * gap on a TPM that is ours alone; behind a resource manager each command saves it, hence its
 * limited life.
 */
#ifndef HSM_TPM_TPM_SESSION_H
#define HSM_TPM_TPM_SESSION_H

#include "base/secret.h"
#include "hsm/tpm/tpm_context.h"
#include "hsm/tpm/tpm_name.h"

#define TPM_SESSION_NONCE_LEN 32
#define TPM_SESSION_MAX_USES 16384u
#define TPM_AUTH_MAX 64u /* the longest digest of a name */

struct tpm_session; /* host side; may or may not have a session in the TPM */

/* A command that SYS has prepared and that runs with the session; lives until it is received. */
struct tpm_call {
    const char *doing; /* "sign", for the sentence of a failure */
    TPM2_CC code;
    TPMA_SESSION protect;         /* TPMA_SESSION_DECRYPT, _ENCRYPT: first parameter is a TPM2B */
    const struct tpm_name *names; /* of the command's handles, in order */
    size_t name_count;
    struct ath_slice auth; /* authValue of what the first handle names, of at most TPM_AUTH_MAX
                              bytes; most have an empty one. Borrowed until it is received */
    uint16_t passwords; /* further handles (at most 2) that an empty password authorizes: a session
                           may be used once in a command (TPM 2.0 part 1, 18.6.2) */
};

/* ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err tpm_session_new(struct tpm_session **ret_session) ATH_MUST_USE;
void tpm_session_free(struct tpm_session *session); /* wipes; does not talk to the TPM */

/* Starts one in the TPM, salted to the loaded P-256 key salt_key whose public area is salt_public.
 */
ath_err tpm_session_start(struct tpm_session *session, struct tpm_context *context,
                          TPM2_HANDLE salt_key, const TPMT_PUBLIC *salt_public,
                          struct hsm_fault *fault) ATH_MUST_USE;

/* Is there one that may be used again? */
bool tpm_session_is_usable(const struct tpm_session *session);

/* Flushes it in the TPM, if there is one, and forgets its key. */
void tpm_session_end(struct tpm_session *session, struct tpm_context *context);

/* Sends what Tss2_Sys_*_Prepare has made ready; does not wait for the TPM. */
ath_err tpm_session_send(struct tpm_session *session, struct tpm_context *context,
                         const struct tpm_call *call, struct hsm_fault *fault) ATH_MUST_USE;

/* Waits for the answer and checks it; Tss2_Sys_*_Complete may follow ATH_OK only. A wrong HMAC is
 * native TPM_RC_RESPONSE_HMAC: the session is out of step and must be ended. */
ath_err tpm_session_receive(struct tpm_session *session, struct tpm_context *context,
                            const struct tpm_call *call, struct hsm_fault *fault) ATH_MUST_USE;

/* Both. */
ath_err tpm_session_run(struct tpm_session *session, struct tpm_context *context,
                        const struct tpm_call *call, struct hsm_fault *fault) ATH_MUST_USE;

#endif
