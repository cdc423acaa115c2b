#include "hsm/tpm/tpm_sign.h"

#include <string.h>

#include "crypto/digest.h"
#include "hsm/tpm/tpm_curve.h"
#include "hsm/tpm/tpm_error.h"
#include "hsm/tpm/tpm_pin.h"

static const char doing_sign[] = "sign";

static struct tpm_call
sign_call(const struct hsm_key *key)
{
    return (struct tpm_call){.doing = doing_sign,
                             .code = TPM2_CC_Sign,
                             .protect = TPMA_SESSION_DECRYPT,
                             .auth = ath_secret_slice(&key->pin),
                             .names = &key->name,
                             .name_count = 1};
}

static ath_err
send_sign(struct tpm_device *device, struct tpm_signing *signing, struct hsm_fault *fault)
{
    const struct tpm_call call = sign_call(signing->key);
    ath_err err;
    TSS2_RC rc;

    if ((err = tpm_key_use(device, signing->key, fault)) != ATH_OK)
        return err;
    rc = Tss2_Sys_Sign_Prepare(device->context->sys, signing->key->object.handle,
                               &signing->hash.digest, &signing->key->scheme, &signing->hash.ticket);
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, doing_sign, fault);
    return tpm_session_send(device->session, device->context, &call, fault);
}

static ath_err
receive_sign(struct tpm_device *device, struct tpm_signing *signing, struct hsm_fault *fault)
{
    const struct tpm_call call = sign_call(signing->key);
    ath_err err = tpm_session_receive(device->session, device->context, &call, fault);

    if (err != ATH_OK)
        return err;
    return tpm_error_report(Tss2_Sys_Sign_Complete(device->context->sys, &signing->result),
                            doing_sign, fault);
}

static ath_err
sign_step(struct tpm_device *device, void *arg, struct hsm_fault *fault)
{
    struct tpm_signing *signing = arg;
    ath_err err = send_sign(device, signing, fault);

    return err != ATH_OK ? err : receive_sign(device, signing, fault);
}

static ath_err
hash_by_tpm(struct tpm_device *device, struct ath_slice message, struct hsm_fault *fault,
            struct tpm_hash *ret_hash)
{
    ath_err err = tpm_hash_run(device, message, fault, ret_hash);

    if (err == ATH_OK && ret_hash->ticket.hierarchy == TPM2_RH_NULL)
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS,
                       "the audit key does not sign what begins like an attestation of the TPM");
    return err;
}

static ath_err
hash_message(struct tpm_device *device, const struct hsm_key *key, struct ath_slice message,
             struct hsm_fault *fault, struct tpm_hash *ret_hash)
{
    if (key->facts.restricted)
        return hash_by_tpm(device, message, fault, ret_hash);
    /* An unrestricted key needs no ticket for its digest (TPM 2.0 part 3, 20.2). */
    *ret_hash = (struct tpm_hash){.digest.size = tpm_curve_of_algorithm(key->algorithm)->len,
                                  .ticket = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL}};
    return key->algorithm == KEY_ES384 ? sha384(message, ret_hash->digest.buffer)
                                       : sha256(message, ret_hash->digest.buffer);
}

ath_err
tpm_sign_begin(struct tpm_device *device, struct hsm_key *key, struct ath_slice message,
               struct hsm_fault *fault, struct tpm_signing *signing)
{
    ath_err err;

    *signing = (struct tpm_signing){.key = key};
    if ((err = tpm_pin_check(key, fault)) != ATH_OK)
        return err;
    if ((err = hash_message(device, key, message, fault, &signing->hash)) != ATH_OK)
        return err;
    if ((err = tpm_device_prepare(device, fault)) == ATH_OK)
        err = send_sign(device, signing, fault);
    if (err == ATH_OK) {
        signing->sent = true;
        return ATH_OK;
    }
    return tpm_device_run_again(device, sign_step, signing, err, fault);
}

/* Part 2, 11.2.4: r and s come without leading zeros or with them. */
static bool
put_scalar(const TPM2B_ECC_PARAMETER *scalar, size_t len, uint8_t *out)
{
    if (scalar->size > len)
        return false;
    memset(out, 0, len - scalar->size);
    memcpy(out + len - scalar->size, scalar->buffer, scalar->size);
    return true;
}

ath_err
tpm_sign_convert(const struct hsm_key *key, const TPMT_SIGNATURE *signature,
                 struct hsm_fault *fault, uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    const struct tpm_curve *curve = tpm_curve_of_algorithm(key->algorithm);
    const TPMS_SIGNATURE_ECC *ecc = &signature->signature.ecdsa;

    if (signature->sigAlg != TPM2_ALG_ECDSA || ecc->hash != curve->hash ||
        !put_scalar(&ecc->signatureR, curve->len, ret_signature) ||
        !put_scalar(&ecc->signatureS, curve->len, ret_signature + curve->len))
        return tpm_error_report(TSS2_TCTI_RC_MALFORMED_RESPONSE, doing_sign, fault);
    return ATH_OK;
}

ath_err
tpm_sign_finish(struct tpm_device *device, struct tpm_signing *signing, struct hsm_fault *fault,
                uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    ath_err err = ATH_OK;

    if (signing->sent) {
        signing->sent = false;
        err = receive_sign(device, signing, fault);
        if (err != ATH_OK)
            err = tpm_device_run_again(device, sign_step, signing, err, fault);
    }
    return err != ATH_OK ? err
                         : tpm_sign_convert(signing->key, &signing->result, fault, ret_signature);
}

struct drawing {
    uint8_t *bytes;
    size_t wanted, got;
};

static ath_err
random_step(struct tpm_device *device, void *arg, struct hsm_fault *fault)
{
    const struct tpm_call call = {
        .doing = "draw random bytes", .code = TPM2_CC_GetRandom, .protect = TPMA_SESSION_ENCRYPT};
    struct drawing *drawing = arg;
    TPM2B_DIGEST bytes = {.size = sizeof(bytes.buffer)};
    ath_err err;
    TSS2_RC rc;

    rc = Tss2_Sys_GetRandom_Prepare(device->context->sys, (UINT16)drawing->wanted);
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, call.doing, fault);
    if ((err = tpm_session_run(device->session, device->context, &call, fault)) != ATH_OK)
        return err;
    rc = Tss2_Sys_GetRandom_Complete(device->context->sys, &bytes);
    if (rc == TSS2_RC_SUCCESS && (bytes.size == 0 || bytes.size > drawing->wanted))
        rc = TSS2_TCTI_RC_MALFORMED_RESPONSE;
    if (rc == TSS2_RC_SUCCESS) {
        memcpy(drawing->bytes, bytes.buffer, bytes.size);
        drawing->got = bytes.size;
    }
    explicit_bzero(&bytes, sizeof(bytes));
    return tpm_error_report(rc, call.doing, fault);
}

ath_err
tpm_random(struct tpm_device *device, uint8_t *ret_bytes, size_t len, struct hsm_fault *fault)
{
    ath_err err;

    while (len > 0) {
        struct drawing drawing = {.bytes = ret_bytes,
                                  .wanted = len < sizeof(((TPM2B_DIGEST *)0)->buffer)
                                                ? len
                                                : sizeof(((TPM2B_DIGEST *)0)->buffer)};

        if ((err = tpm_device_run(device, random_step, &drawing, fault)) != ATH_OK)
            return err;
        ret_bytes += drawing.got;
        len -= drawing.got;
    }
    return ATH_OK;
}
