/*
 * What a TSS2_RC means to us and what to do about it: one table. Everything else in this folder
 * switches on the class or action found here, never on a code.
 */
#ifndef HSM_TPM_TPM_ERROR_H
#define HSM_TPM_TPM_ERROR_H

#include <tss2/tss2_common.h>
#include <tss2/tss2_tpm2_types.h>

#include "hsm/hsm.h"

/* The response's HMAC was not made by the TPM we share a session key with (TPM 2.0 part 1, 19.6).
 */
#define TPM_RC_RESPONSE_HMAC (TSS2_SYS_RC_LAYER | TSS2_BASE_RC_RSP_AUTH_FAILED)

enum tpm_class {
    TPM_CLASS_OTHER,     /* the TPM refused: nothing we can mend */
    TPM_CLASS_AUTH,      /* the object's authValue was not right (or the session out of step) */
    TPM_CLASS_LOCKOUT,   /* dictionary attack protection has shut the TPM for such keys */
    TPM_CLASS_TRANSIENT, /* the TPM did not start the command: the same bytes again */
    TPM_CLASS_RESOURCE,  /* no room for one more object or session */
    TPM_CLASS_STALE,     /* a handle or saved context of a time before */
    TPM_CLASS_GONE,      /* no TPM at the other end, or one that was reset */
    TPM_CLASS_INTEGRITY, /* somebody changed a response on its way */
    TPM_CLASS_FATAL,     /* failure mode */
    TPM_CLASS_USAGE,     /* policy, attributes, hierarchy: the caller's fault */
    TPM_CLASS_FULL,      /* NV space */
    TPM_CLASS_EXISTS,    /* an NV index of that number */
};

enum tpm_action {
    TPM_ACTION_REPORT,      /* hand it up */
    TPM_ACTION_RESEND,      /* same bytes, back-off (the transport does this) */
    TPM_ACTION_EVICT,       /* flush our least recently used object, again */
    TPM_ACTION_NEW_SESSION, /* flush the session, start another, again, once */
    TPM_ACTION_RELOAD,      /* forget all handles and contexts, load from blobs, again, once */
    TPM_ACTION_RECONNECT,   /* ATH_ERR_HSM_UNAVAILABLE: the helper ends and is started again */
};

struct tpm_error {
    uint32_t code; /* normalised: layer, parameter, handle and session numbers taken off */
    enum tpm_class class;
    enum tpm_action action;
    ath_err err;
    const char *sentence; /* for people */
};

/* Never NULL; rc is any non-zero TSS2_RC. */
const struct tpm_error *tpm_error_of(TSS2_RC rc);

/* What to do about the failure that is in fault. */
enum tpm_action tpm_error_action(const struct hsm_fault *fault);

/* Does the TPM blame one of the command's parameters (rather than a handle or session)? */
bool tpm_error_is_of_parameter(TSS2_RC rc);

/* Does it blame one of the command's handles, because nothing is there? */
bool tpm_error_is_of_handle(TSS2_RC rc);

/* Fills fault (never NULL) with the code and a sentence beginning with `doing` ("create the key"),
 * logs the code at debug, returns the ath_err. rc 0 gives ATH_OK and leaves fault alone. */
ath_err tpm_error_report(TSS2_RC rc, const char *doing, struct hsm_fault *fault);

#endif
