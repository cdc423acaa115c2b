/*
 * A TPM in use: connection, session, loaded objects and the storage key, and the one place where a
 * failing command is mended (evict, new session, reload) and tried again.
 */
#ifndef HSM_TPM_TPM_DEVICE_H
#define HSM_TPM_TPM_DEVICE_H

#include "hsm/tpm/tpm_context.h"
#include "hsm/tpm/tpm_session.h"
#include "hsm/tpm/tpm_slots.h"

#define TPM_SRK_HANDLE 0x81000001u /* TCG TPM v2.0 Provisioning Guidance, 7.8 */

/* The storage key: parent of all our keys, and what sessions are salted to. */
struct tpm_storage {
    TPM2B_PUBLIC public;
    struct tpm_name name;
    TPM2_HANDLE persistent; /* 0: the primary is loaded when needed, as `object` */
    struct tpm_object object;
};

struct tpm_device {
    struct tpm_context *context;
    struct tpm_session *session;
    struct tpm_slots slots;
    struct tpm_storage storage;
    unsigned hmac_failures;
    bool exclusive; /* no resource manager and nobody else on the other end */
    bool gone;      /* nothing more is sent */
    bool tries_pin; /* a refusal is the person's: it is not tried again */
};

/* Takes the transport (freed on failure too). Starts the TPM, flushes what others left in its
 * transient places, finds or derives the storage key, starts the session. */
ath_err tpm_device_open(TSS2_TCTI_CONTEXT *transport, bool exclusive, struct hsm_fault *fault,
                        struct tpm_device **ret_device) ATH_MUST_USE;

/* Flushes all we loaded; TPM2_Shutdown(CLEAR) where the TPM is ours alone. NULL is fine. */
void tpm_device_close(struct tpm_device *device);

/* Ready for commands with the session: starts one where there is none or it has served long. */
ath_err tpm_device_prepare(struct tpm_device *device, struct hsm_fault *fault) ATH_MUST_USE;

/* Runs step, mends what tpm_error.h has a remedy for, and runs it again. */
typedef ath_err tpm_step(struct tpm_device *device, void *arg, struct hsm_fault *fault);
ath_err tpm_device_run(struct tpm_device *device, tpm_step *step, void *arg,
                       struct hsm_fault *fault) ATH_MUST_USE;

/* The same for a step that has already failed once with err and fault (an asynchronous one). */
ath_err tpm_device_run_again(struct tpm_device *device, tpm_step *step, void *arg, ath_err err,
                             struct hsm_fault *fault) ATH_MUST_USE;

#endif
