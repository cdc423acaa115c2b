#include "hsm/tpm/tpm_error.h"

#include <tss2/tss2_rc.h>

#include "base/log.h"

#define FORMAT_ONE TPM2_RC_FMT1
#define FORMAT_ONE_NUMBER 0x3fu

/* TPM 2.0 part 2, 6.6. REFERENCE_H0..6 and S0..6 are folded into the first of each. */
static const struct tpm_error errors[] = {
    {TPM2_RC_AUTH_FAIL, TPM_CLASS_AUTH, TPM_ACTION_REPORT, ATH_ERR_PIN_INCORRECT,
     "the key's PIN is wrong, and the TPM counted the try"},
    {TPM2_RC_BAD_AUTH, TPM_CLASS_AUTH, TPM_ACTION_NEW_SESSION, ATH_ERR_PIN_INCORRECT,
     "the key's PIN is another"},
    {TPM2_RC_LOCKOUT, TPM_CLASS_LOCKOUT, TPM_ACTION_REPORT, ATH_ERR_PIN_LOCKED,
     "the TPM is locked after too many wrong PINs; wait for its recovery time"},
    {TPM2_RC_RETRY, TPM_CLASS_TRANSIENT, TPM_ACTION_RESEND, ATH_ERR_HSM_BUSY, "the TPM is busy"},
    {TPM2_RC_YIELDED, TPM_CLASS_TRANSIENT, TPM_ACTION_RESEND, ATH_ERR_HSM_BUSY, "the TPM is busy"},
    {TPM2_RC_TESTING, TPM_CLASS_TRANSIENT, TPM_ACTION_RESEND, ATH_ERR_HSM_BUSY,
     "the TPM is testing itself"},
    {TPM2_RC_NV_RATE, TPM_CLASS_TRANSIENT, TPM_ACTION_RESEND, ATH_ERR_HSM_BUSY,
     "the TPM slows writes down to spare its memory"},
    {TPM2_RC_OBJECT_MEMORY, TPM_CLASS_RESOURCE, TPM_ACTION_EVICT, ATH_ERR_HSM_BUSY,
     "other programs fill the TPM's object memory"},
    {TPM2_RC_MEMORY, TPM_CLASS_RESOURCE, TPM_ACTION_EVICT, ATH_ERR_HSM_BUSY,
     "other programs fill the TPM's memory"},
    {TPM2_RC_SESSION_MEMORY, TPM_CLASS_RESOURCE, TPM_ACTION_NEW_SESSION, ATH_ERR_HSM_BUSY,
     "other programs hold all of the TPM's sessions"},
    {TPM2_RC_SESSION_HANDLES, TPM_CLASS_RESOURCE, TPM_ACTION_NEW_SESSION, ATH_ERR_HSM_BUSY,
     "other programs hold all of the TPM's sessions"},
    {TPM2_RC_CONTEXT_GAP, TPM_CLASS_RESOURCE, TPM_ACTION_NEW_SESSION, ATH_ERR_HSM_BUSY,
     "another program's idle session holds the TPM up"},
    {TPM2_RC_REFERENCE_H0, TPM_CLASS_STALE, TPM_ACTION_RELOAD, ATH_ERR_HSM_ERROR,
     "the TPM has lost a loaded key"},
    {TPM2_RC_REFERENCE_S0, TPM_CLASS_STALE, TPM_ACTION_RELOAD, ATH_ERR_HSM_ERROR,
     "the TPM has lost our session"},
    {TPM2_RC_INTEGRITY, TPM_CLASS_STALE, TPM_ACTION_RELOAD, ATH_ERR_HSM_ERROR,
     "the key does not belong to this TPM, or the TPM was cleared"},
    {TPM2_RC_HANDLE, TPM_CLASS_STALE, TPM_ACTION_RELOAD, ATH_ERR_HSM_ERROR,
     "the TPM does not know this handle"},
    {TPM2_RC_INITIALIZE, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE,
     "the TPM was reset"},
    {TPM2_RC_REBOOT, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE,
     "the TPM wants a restart of the machine"},
    {TPM2_RC_CANCELED, TPM_CLASS_TRANSIENT, TPM_ACTION_REPORT, ATH_ERR_HSM_BUSY,
     "the command was cancelled by another program"},
    {TPM2_RC_NV_UNAVAILABLE, TPM_CLASS_TRANSIENT, TPM_ACTION_REPORT, ATH_ERR_HSM_BUSY,
     "the TPM's memory cannot be written now"},
    {TPM2_RC_FAILURE, TPM_CLASS_FATAL, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR,
     "the TPM is in failure mode; restart the machine"},
    {TPM2_RC_POLICY_FAIL, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR,
     "the key's policy does not allow this"},
    {TPM2_RC_AUTH_UNAVAILABLE, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR,
     "the key can only be used by a policy"},
    {TPM2_RC_ATTRIBUTES, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR,
     "the key's attributes do not allow this"},
    {TPM2_RC_VALUE, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR,
     "the TPM does not accept a value"},
    {TPM2_RC_TICKET, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR,
     "the key signs only what the TPM itself has hashed"},
    {TPM2_RC_CURVE, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_UNSUPPORTED_ALGORITHM,
     "the TPM does not have this curve"},
    {TPM2_RC_HASH, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_UNSUPPORTED_ALGORITHM,
     "the TPM does not have this hash algorithm"},
    {TPM2_RC_SCHEME, TPM_CLASS_USAGE, TPM_ACTION_REPORT, ATH_ERR_UNSUPPORTED_ALGORITHM,
     "the key has another signature scheme"},
    {TPM2_RC_NV_SPACE, TPM_CLASS_FULL, TPM_ACTION_REPORT, ATH_ERR_HSM_ERROR,
     "the TPM's memory is full"},
    {TPM2_RC_NV_DEFINED, TPM_CLASS_EXISTS, TPM_ACTION_REPORT, ATH_ERR_EXISTS,
     "the TPM has something at this index"},
    /* From the layers between us and the TPM. */
    {TSS2_TCTI_RC_IO_ERROR, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE,
     "the TPM does not answer"},
    {TSS2_TCTI_RC_NO_CONNECTION, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE,
     "the TPM does not answer"},
    {TSS2_TCTI_RC_MALFORMED_RESPONSE, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE,
     "the TPM's answer is malformed"},
    {TSS2_TCTI_RC_BAD_SEQUENCE, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE,
     "the connection to the TPM is out of step"},
    {TSS2_ESYS_RC_BAD_SEQUENCE, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE,
     "the connection to the TPM is out of step"},
    {TSS2_SYS_RC_BAD_SEQUENCE, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE,
     "the connection to the TPM is out of step"},
    {TSS2_SYS_RC_MALFORMED_RESPONSE, TPM_CLASS_GONE, TPM_ACTION_RECONNECT, ATH_ERR_HSM_UNAVAILABLE,
     "the TPM's answer is malformed"},
    {TSS2_SYS_RC_INSUFFICIENT_RESPONSE, TPM_CLASS_GONE, TPM_ACTION_RECONNECT,
     ATH_ERR_HSM_UNAVAILABLE, "the TPM's answer is malformed"},
    {TPM_RC_RESPONSE_HMAC, TPM_CLASS_INTEGRITY, TPM_ACTION_NEW_SESSION, ATH_ERR_HSM_ERROR,
     "an answer of the TPM was changed on its way"},
};

static const struct tpm_error other_error = {0, TPM_CLASS_OTHER, TPM_ACTION_REPORT,
                                             ATH_ERR_HSM_ERROR, "the TPM refused"};

/* A resource manager passes the TPM's codes on under its own layer; its own are small numbers. */
static bool
is_of_tpm(TSS2_RC rc)
{
    uint32_t layer = rc & TSS2_RC_LAYER_MASK, code = rc & ~(uint32_t)TSS2_RC_LAYER_MASK;

    return layer == TSS2_TPM_RC_LAYER ||
           ((layer == TSS2_RESMGR_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER) &&
            code >= FORMAT_ONE);
}

static uint32_t
normalise(TSS2_RC rc)
{
    uint32_t code = rc & ~(uint32_t)TSS2_RC_LAYER_MASK;

    if (!is_of_tpm(rc))
        return rc;
    if ((code & FORMAT_ONE) != 0)
        return FORMAT_ONE | (code & FORMAT_ONE_NUMBER);
    if (code >= TPM2_RC_REFERENCE_H0 && code <= TPM2_RC_REFERENCE_H6)
        return TPM2_RC_REFERENCE_H0;
    if (code >= TPM2_RC_REFERENCE_S0 && code <= TPM2_RC_REFERENCE_S6)
        return TPM2_RC_REFERENCE_S0;
    return code;
}

const struct tpm_error *
tpm_error_of(TSS2_RC rc)
{
    uint32_t code = normalise(rc);

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].code == code)
            return &errors[i];
    }
    return &other_error;
}

bool
tpm_error_is_of_parameter(TSS2_RC rc)
{
    return is_of_tpm(rc) && (rc & FORMAT_ONE) != 0 && (rc & TPM2_RC_P) != 0;
}

bool
tpm_error_is_of_handle(TSS2_RC rc)
{
    return is_of_tpm(rc) && (rc & FORMAT_ONE) != 0 && normalise(rc) == TPM2_RC_HANDLE &&
           (rc & (TPM2_RC_P | TPM2_RC_S)) == 0;
}

enum tpm_action
tpm_error_action(const struct hsm_fault *fault)
{
    return fault->native == 0 ? TPM_ACTION_REPORT : tpm_error_of(fault->native)->action;
}

ath_err
tpm_error_report(TSS2_RC rc, const char *doing, struct hsm_fault *fault)
{
    const struct tpm_error *error;

    if (rc == TSS2_RC_SUCCESS)
        return ATH_OK;
    error = tpm_error_of(rc);
    fault->native = rc;
    log_debug("event=tpm_error doing=\"%s\" rc=0x%x text=\"%s\"", doing, rc, Tss2_RC_Decode(rc));
    return why_set(&fault->why, error->err, "cannot %s: %s (0x%x %s)", doing, error->sentence, rc,
                   Tss2_RC_Decode(rc));
}
