/*
 * The contract between the helper's main loop and a back end (TPM, PKCS#11). One table, so that the
 * test double comes through the same door. All calls block and come from one thread, but for
 * sign_with, which comes from as many threads as info.parallel says, and only while no other call
 * runs.
 *
 * Errors of every call: ATH_ERR_HSM_UNAVAILABLE (the device is gone: the helper ends and is started
 * again), ATH_ERR_HSM_BUSY (try again), ATH_ERR_HSM_ERROR (the hardware refused; native code kept),
 * ATH_ERR_PIN_* , ATH_ERR_UNSUPPORTED_ALGORITHM, ATH_ERR_INVALID_PARAMS (a blob or argument that no
 * retry will mend), ATH_ERR_KEY_NOT_FOUND (the hardware has no such key), ATH_ERR_NOMEM,
 * ATH_ERR_CRYPTO.
 */
#ifndef HSM_HSM_H
#define HSM_HSM_H

#include "base/why.h"
#include "crypto/public_key.h"
#include "hsm/wire/hsm_wire.h"

/* A new PIN of a key, in bytes. A TPM takes no authValue that is longer than the digest of the
 * key's name (SHA-256); a longer PIN is refused rather than hashed, so that other programs know
 * what to make of it. */
#define HSM_PIN_MIN 4u
#define HSM_PIN_MAX 32u

struct hsm;     /* an open back end */
struct hsm_key; /* a key a back end knows; belongs to its hsm */

/* Where a failing call leaves what a person or program needs to know beyond the ath_err. */
struct hsm_fault {
    uint32_t native;   /* TSS2_RC or CK_RV; 0: none */
    bool pin_in_doubt; /* a PIN was tried; whether it was wrong, the hardware does not say */
    struct why why;
};

struct hsm_options {
    const char *uri;       /* "tpm:device=...", "tpm:tcti=...", "swtpm:", "pkcs11:..." */
    const char *state_dir; /* absolute; where swtpm: keeps the software TPM */
    /* Called by open before what takes far longer than usual; why, in words for a person. May be
     * NULL. */
    void (*is_slow)(void *ctx, const char *why);
    void *ctx;
};

struct hsm_info {
    const char *kind; /* static */
    bool software;
    bool has_ek_certificate;
    uint32_t algorithms;
    unsigned parallel; /* as many sessions may sign at once, each in a thread (sign_with) */
    bool has_counter;
    enum hsm_login login;
    bool pin_locked;
    uint8_t tries_left; /* wrong PINs until it locks; 0: not known */
    char label[64];     /* of a token, for questions */
    char manufacturer[64], model[64], firmware[32], serial[64]; /* "" : unknown */
};

struct hsm_ops {
    const char *schemes[4]; /* what a URI of this back end begins with, colon included; NULL ends */

    ath_err (*open)(const struct hsm_options *options, struct hsm_fault *fault,
                    struct hsm **ret_hsm);
    /* Clean end: keys and sessions flushed, TPM2_Shutdown(CLEAR). NULL is fine. */
    void (*close)(struct hsm *hsm);
    void (*info)(const struct hsm *hsm, struct hsm_info *ret_info);

    /* A new key inside the hardware; its blob (what key_open takes) is appended to `blob`. */
    ath_err (*key_create)(struct hsm *hsm, enum key_algorithm algorithm, enum hsm_key_usage usage,
                          const char *label, struct hsm_fault *fault, struct ath_buf *blob);
    /* Checks the blob's attributes against hsm.h's rules and that the hardware can use it. PKCS#11:
     * the blob is an RFC 7512 URI; key_blob gives its canonical form (NULL where there is none). */
    ath_err (*key_open)(struct hsm *hsm, struct ath_slice blob, struct hsm_fault *fault,
                        struct hsm_key **ret_key);
    void (*key_close)(struct hsm *hsm, struct hsm_key *key);
    /* Destroys it where the hardware keeps it; after ATH_OK key is closed too. */
    ath_err (*key_delete)(struct hsm *hsm, struct hsm_key *key, struct hsm_fault *fault);
    /* These three only look at the key: they may be called at any time, from any thread. */
    const struct public_key *(*key_public)(const struct hsm_key *key);
    void (*key_facts)(const struct hsm_key *key, struct hsm_key_facts *ret_facts);
    struct ath_slice (*key_blob)(const struct hsm_key *key);

    /*
     * JOSE signature over the message, in two halves: sign_begin sends what the hardware needs and
     * returns at once where it can, sign_finish waits. In between the caller may compute, not call
     * the back end; after ATH_OK from begin, finish must be called (a failed begin has no finish).
     * The caller verifies the signature before it leaves the helper. The message is read by begin.
     */
    ath_err (*sign_begin)(struct hsm *hsm, struct hsm_key *key, struct ath_slice message,
                          struct hsm_fault *fault);
    ath_err (*sign_finish)(struct hsm *hsm, struct hsm_fault *fault,
                           uint8_t ret_signature[SIGNATURE_MAX_LEN]);
    /* Where sign_begin is NULL, instead: signs with the session of this worker (0 to parallel - 1;
     * parallel may be 1 here, too). `pin` is empty but for keys with always_authenticate, and for
     * these where the reader's pad asks. ATH_ERR_PIN_REQUIRED: log in first. */
    ath_err (*sign_with)(struct hsm *hsm, unsigned worker, struct hsm_key *key,
                         struct ath_slice message, struct ath_slice pin, struct hsm_fault *fault,
                         uint8_t ret_signature[SIGNATURE_MAX_LEN]);
    ath_err (*random)(struct hsm *hsm, uint8_t *ret_bytes, size_t len, struct hsm_fault *fault);

    /* The rest may be NULL. */

    /* Tries the PIN, once (empty: the reader's pad asks). ATH_ERR_PIN_INCORRECT,
     * ATH_ERR_PIN_LOCKED, others (fault->pin_in_doubt); hsm_info.tries_left says what is left. It
     * is tried also when somebody is logged in. */
    ath_err (*login)(struct hsm *hsm, struct ath_slice pin, struct hsm_fault *fault);
    void (*logout)(struct hsm *hsm);
    /* Now and then, while nothing else is to do: ATH_ERR_HSM_UNAVAILABLE when the token was taken
     * out. */
    ath_err (*check)(struct hsm *hsm, struct hsm_fault *fault);
    /* Steps the counter that `blob` names (0 or 1 times; empty: makes one, whose blob is appended
     * to ret_blob) and has it certified by `key`, a restricted one. */
    ath_err (*counter)(struct hsm *hsm, struct hsm_key *key, struct ath_slice blob, uint32_t steps,
                       struct ath_slice nonce, struct hsm_fault *fault, struct ath_buf *ret_blob,
                       uint64_t *ret_value, struct ath_buf *ret_evidence);

    /* Keys with a PIN of their own (a TPM's: facts.empty_auth is false). These three or none. */

    /* As key_create, an identity key; a PIN of HSM_PIN_MIN to HSM_PIN_MAX bytes. */
    ath_err (*key_create_with_pin)(struct hsm *hsm, enum key_algorithm algorithm, const char *label,
                                   struct ath_slice pin, struct hsm_fault *fault,
                                   struct ath_buf *blob);
    /* Tries the PIN, once, and keeps it, if it is right, in locked memory for all that follows
     * until key_logout or key_close. ATH_ERR_PIN_INCORRECT, ATH_ERR_PIN_LOCKED. */
    ath_err (*key_login)(struct hsm *hsm, struct hsm_key *key, struct ath_slice pin,
                         struct hsm_fault *fault);
    void (*key_logout)(struct hsm *hsm, struct hsm_key *key); /* wipes it, if it is here */
};

extern const struct hsm_ops tpm_backend_ops;
extern const struct hsm_ops pkcs11_backend_ops;

/* begin and finish in one. */
static inline ath_err
hsm_sign(const struct hsm_ops *ops, struct hsm *hsm, struct hsm_key *key, struct ath_slice message,
         struct hsm_fault *fault, uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    ath_err err = ops->sign_begin(hsm, key, message, fault);

    return err != ATH_OK ? err : ops->sign_finish(hsm, fault, ret_signature);
}

#endif
