#include "hsm/tpm/tpm_pin.h"

#include "hsm/tpm/tpm_error.h"

static const char doing_try[] = "use the key with this PIN";

/* ---- a trial session ---- */

static ath_err
start_trial(struct tpm_context *context, struct hsm_fault *fault, TPM2_HANDLE *ret_handle)
{
    static const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
    static const TPM2B_ENCRYPTED_SECRET no_salt = {0};
    /* a policy session's nonce matters only where a policy is bound to it */
    const TPM2B_NONCE caller = {.size = TPM_SESSION_NONCE_LEN};
    TPM2B_NONCE tpm = {.size = sizeof(tpm.buffer)};
    TSS2_RC rc =
        Tss2_Sys_StartAuthSession(context->sys, TPM2_RH_NULL, TPM2_RH_NULL, NULL, &caller, &no_salt,
                                  TPM2_SE_TRIAL, &none, TPM2_ALG_SHA256, ret_handle, &tpm, NULL);

    return tpm_error_report(rc, doing_try, fault);
}

struct trying {
    struct hsm_key *key;
    struct ath_slice pin;
};

static ath_err
ask_secret(struct tpm_device *device, const struct trying *trying, TPM2_HANDLE trial,
           struct hsm_fault *fault)
{
    const struct tpm_name names[] = {trying->key->name, tpm_name_of_handle(trial)};
    const struct tpm_call call = {.doing = doing_try,
                                  .code = TPM2_CC_PolicySecret,
                                  .auth = trying->pin,
                                  .names = names,
                                  .name_count = 2};
    static const TPM2B_NONCE no_nonce = {0};
    static const TPM2B_DIGEST no_digest = {0};
    TSS2_RC rc = Tss2_Sys_PolicySecret_Prepare(device->context->sys, trying->key->object.handle,
                                               trial, &no_nonce, &no_digest, &no_nonce, 0);

    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, call.doing, fault);
    return tpm_session_run(device->session, device->context, &call, fault);
}

static ath_err
try_step(struct tpm_device *device, void *arg, struct hsm_fault *fault)
{
    const struct trying *trying = arg;
    TPM2_HANDLE trial = 0;
    ath_err err;

    if ((err = tpm_key_use(device, trying->key, fault)) != ATH_OK)
        return err;
    if ((err = start_trial(device->context, fault, &trial)) != ATH_OK)
        return err;
    err = ask_secret(device, trying, trial, fault);
    if (!device->gone && err != ATH_ERR_HSM_UNAVAILABLE)
        tpm_context_flush(device->context, trial);
    return err;
}

/* ---- the PIN ---- */

/* TPM 2.0 part 1, 27.6.3: an authValue is no longer than the digest of the key's name. */
static size_t
auth_max(const struct hsm_key *key)
{
    return key->name.len - sizeof(TPMI_ALG_HASH);
}

ath_err
tpm_pin_try(struct tpm_device *device, struct hsm_key *key, struct ath_slice pin,
            struct hsm_fault *fault)
{
    struct ath_secret kept = {NULL, 0};
    struct trying trying = {.key = key, .pin = pin};
    ath_err err;

    tpm_pin_drop(key);
    if (pin.len > auth_max(key))
        return why_set(&fault->why, ATH_ERR_PIN_INCORRECT,
                       "the PIN is wrong: this key's has at most %zu bytes", auth_max(key));
    if ((err = ath_secret_from(pin, &kept)) != ATH_OK)
        return err;
    /* a session that begins here cannot be the reason for a refusal: no second try is needed to
     * tell */
    tpm_session_end(device->session, device->context);
    device->tries_pin = true;
    err = tpm_device_run(device, try_step, &trying, fault);
    device->tries_pin = false;
    if (err == ATH_OK) {
        key->pin = kept;
        kept = (struct ath_secret){NULL, 0};
    }
    ath_secret_done(&kept);
    return err;
}

void
tpm_pin_drop(struct hsm_key *key)
{
    ath_secret_done(&key->pin);
}

ath_err
tpm_pin_check(const struct hsm_key *key, struct hsm_fault *fault)
{
    if (key->facts.empty_auth || key->pin.len > 0)
        return ATH_OK;
    return why_set(&fault->why, ATH_ERR_PIN_REQUIRED, "the key has a PIN, which is to be entered");
}
