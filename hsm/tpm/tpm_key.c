#include "hsm/tpm/tpm_key.h"

#include <stdlib.h>
#include <string.h>

#include <tss2/tss2_mu.h>

#include "hsm/tpm/tpm_curve.h"
#include "hsm/tpm/tpm_error.h"
#include "hsm/tpm/tpm_storage.h"

#define FIXED (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT)
#define OUR_ATTRIBUTES                                                                             \
    (FIXED | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA |       \
     TPMA_OBJECT_SIGN_ENCRYPT)
#define AUDIT_ATTRIBUTES (OUR_ATTRIBUTES | TPMA_OBJECT_RESTRICTED)

/* ---- creating ---- */

struct creation {
    const struct tpm_curve *curve;
    enum hsm_key_usage usage;
    struct ath_slice pin; /* empty: an empty authValue */
    struct tss2_key result;
};

static TPM2B_PUBLIC
key_template(const struct tpm_curve *curve, enum hsm_key_usage usage)
{
    return (TPM2B_PUBLIC){
        .publicArea =
            {
                .type = TPM2_ALG_ECC,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = usage == HSM_KEY_AUDIT ? AUDIT_ATTRIBUTES : OUR_ATTRIBUTES,
                .parameters.eccDetail = {.symmetric.algorithm = TPM2_ALG_NULL,
                                         .scheme = {.scheme = TPM2_ALG_ECDSA,
                                                    .details.ecdsa.hashAlg = curve->hash},
                                         .curveID = curve->curve,
                                         .kdf.scheme = TPM2_ALG_NULL},
            },
    };
}

/* SYS has a copy of the PIN until the session encrypts it in place. */
static TSS2_RC
prepare_create(struct tpm_device *device, const struct creation *creation, TPM2_HANDLE parent)
{
    const TPM2B_PUBLIC template = key_template(creation->curve, creation->usage);
    TPM2B_SENSITIVE_CREATE sensitive = {0};
    TPM2B_AUTH *auth = &sensitive.sensitive.userAuth;
    const TPML_PCR_SELECTION pcrs = {0};
    const TPM2B_DATA outside = {0};
    TSS2_RC rc;

    if (creation->pin.len > 0)
        memcpy(auth->buffer, creation->pin.data, creation->pin.len);
    auth->size = (UINT16)creation->pin.len;
    rc = Tss2_Sys_Create_Prepare(device->context->sys, parent, &sensitive, &template, &outside,
                                 &pcrs);
    explicit_bzero(&sensitive, sizeof(sensitive));
    return rc;
}

static ath_err
create_step(struct tpm_device *device, void *arg, struct hsm_fault *fault)
{
    struct creation *creation = arg;
    const struct tpm_call call = {.doing = "create the key",
                                  .code = TPM2_CC_Create,
                                  .protect = TPMA_SESSION_DECRYPT,
                                  .names = &device->storage.name,
                                  .name_count = 1};
    struct tss2_key *key = &creation->result;
    TPM2_HANDLE parent;
    ath_err err;

    if ((err = tpm_storage_hold(device, fault, &parent)) != ATH_OK)
        return err;
    err = tpm_error_report(prepare_create(device, creation, parent), call.doing, fault);
    if (err == ATH_OK)
        err = tpm_session_run(device->session, device->context, &call, fault);
    tpm_storage_release(device);
    if (err != ATH_OK)
        return err;
    *key = (struct tss2_key){.empty_auth = creation->pin.len == 0,
                             .parent = TPM2_RH_OWNER,
                             .private.size = sizeof(key->private.buffer)};
    return tpm_error_report(Tss2_Sys_Create_Complete(device->context->sys, &key->private,
                                                     &key->public, NULL, NULL, NULL),
                            call.doing, fault);
}

static ath_err
create(struct tpm_device *device, struct creation *creation, struct hsm_fault *fault,
       struct ath_buf *blob)
{
    ath_err err;

    if (creation->curve == NULL)
        return why_set(&fault->why, ATH_ERR_UNSUPPORTED_ALGORITHM,
                       "a TPM makes ES256 and ES384 keys only");
    if ((err = tpm_device_run(device, create_step, creation, fault)) != ATH_OK)
        return err;
    return tss2_pem_encode(&creation->result, blob);
}

ath_err
tpm_key_create(struct tpm_device *device, enum key_algorithm algorithm, enum hsm_key_usage usage,
               struct hsm_fault *fault, struct ath_buf *blob)
{
    struct creation creation = {.curve = tpm_curve_of_algorithm(algorithm), .usage = usage};

    if (usage == HSM_KEY_AUDIT && algorithm != KEY_ES256)
        return why_set(&fault->why, ATH_ERR_UNSUPPORTED_ALGORITHM, "an audit key is an ES256 key");
    return create(device, &creation, fault, blob);
}

ath_err
tpm_key_create_with_pin(struct tpm_device *device, enum key_algorithm algorithm,
                        struct ath_slice pin, struct hsm_fault *fault, struct ath_buf *blob)
{
    struct creation creation = {.curve = tpm_curve_of_algorithm(algorithm), .pin = pin};

    if (pin.len < HSM_PIN_MIN || pin.len > HSM_PIN_MAX)
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS, "the PIN of a key has %u to %u bytes",
                       HSM_PIN_MIN, HSM_PIN_MAX);
    return create(device, &creation, fault, blob);
}

/* ---- judging ---- */

static ath_err
judge_scheme(const TPMS_ECC_PARMS *ecc, const struct tpm_curve *curve, struct why *why)
{
    if (ecc->scheme.scheme == TPM2_ALG_NULL)
        return ATH_OK;
    if (ecc->scheme.scheme != TPM2_ALG_ECDSA || ecc->scheme.details.ecdsa.hashAlg != curve->hash)
        return why_set(why, ATH_ERR_UNSUPPORTED_ALGORITHM,
                       "the key signs by another scheme than ECDSA with %s",
                       curve->hash == TPM2_ALG_SHA256 ? "SHA-256" : "SHA-384");
    return ATH_OK;
}

/* A restricted key is a storage key, somebody's attestation key, or our audit key, which has this
 * one shape. */
static bool
is_audit_key(const TPMT_PUBLIC *public)
{
    const TPMS_ECC_PARMS *ecc = &public->parameters.eccDetail;

    return public->objectAttributes == AUDIT_ATTRIBUTES && public->nameAlg == TPM2_ALG_SHA256 &&
           public->authPolicy.size == 0 && ecc->curveID == TPM2_ECC_NIST_P256 &&
           ecc->symmetric.algorithm == TPM2_ALG_NULL && ecc->scheme.scheme == TPM2_ALG_ECDSA &&
           ecc->scheme.details.ecdsa.hashAlg == TPM2_ALG_SHA256 && ecc->kdf.scheme == TPM2_ALG_NULL;
}

ath_err
tpm_key_judge(const TPMT_PUBLIC *public, struct why *why, enum key_algorithm *ret_algorithm,
              struct hsm_key_facts *ret_facts)
{
    const TPMA_OBJECT has = public->objectAttributes;
    const struct tpm_curve *curve;
    ath_err err;

    if (public->type != TPM2_ALG_ECC ||
        (curve = tpm_curve_of_id(public->parameters.eccDetail.curveID)) == NULL)
        return why_set(why, ATH_ERR_UNSUPPORTED_ALGORITHM, "the key is not on P-256 or P-384");
    if ((has & FIXED) != FIXED)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the key is not fixed to this TPM: it could be duplicated");
    if ((has & TPMA_OBJECT_SENSITIVEDATAORIGIN) == 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "the key was not made inside the TPM");
    if ((has & TPMA_OBJECT_SIGN_ENCRYPT) == 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "the key cannot sign");
    if ((has & TPMA_OBJECT_RESTRICTED) != 0 && !is_audit_key(public))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the key is restricted: it signs only what its TPM has made");
    if ((has & TPMA_OBJECT_USERWITHAUTH) == 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "the key can only be used by a policy");
    if ((err = judge_scheme(&public->parameters.eccDetail, curve, why)) != ATH_OK)
        return err;
    *ret_algorithm = curve->algorithm;
    *ret_facts = (struct hsm_key_facts){.generated_inside = true,
                                        .fixed_tpm = true,
                                        .decrypt = (has & TPMA_OBJECT_DECRYPT) != 0,
                                        .da = (has & TPMA_OBJECT_NODA) == 0,
                                        .restricted = (has & TPMA_OBJECT_RESTRICTED) != 0};
    return ATH_OK;
}

/* ---- opening ---- */

static ath_err
keep_areas(struct hsm_key *key, const struct tss2_key *file)
{
    uint8_t bytes[sizeof(TPM2B_PUBLIC) + sizeof(TPM2B_PRIVATE)];
    size_t len = 0;

    if (Tss2_MU_TPM2B_PUBLIC_Marshal(&file->public, bytes, sizeof(bytes), &len) != TSS2_RC_SUCCESS)
        return ATH_ERR_INVALID_PARAMS;
    ath_buf_put(&key->public_area, bytes, len);
    len = 0;
    if (Tss2_MU_TPM2B_PRIVATE_Marshal(&file->private, bytes, sizeof(bytes), &len) !=
        TSS2_RC_SUCCESS)
        return ATH_ERR_INVALID_PARAMS;
    ath_buf_put(&key->private_area, bytes, len);
    return key->public_area.err != ATH_OK ? key->public_area.err : key->private_area.err;
}

static bool
parent_is_ours(const struct tpm_device *device, uint32_t parent)
{
    return parent == TPM2_RH_OWNER || (parent == TPM_SRK_HANDLE && device->storage.persistent != 0);
}

static ath_err
key_of_file(struct tpm_device *device, const struct tss2_key *file, struct why *why,
            struct hsm_key *key)
{
    const TPMT_PUBLIC *public = &file->public.publicArea;
    const TPMS_ECC_POINT *point = &public->unique.ecc;
    ath_err err;

    if (!parent_is_ours(device, file->parent))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the key's parent 0x%x is not the TPM's ECC storage key", file->parent);
    if ((err = tpm_key_judge(public, why, &key->algorithm, &key->facts)) != ATH_OK)
        return err;
    key->facts.empty_auth = file->empty_auth;
    key->scheme.scheme = TPM2_ALG_NULL;
    if (public->parameters.eccDetail.scheme.scheme == TPM2_ALG_NULL) {
        key->scheme.scheme = TPM2_ALG_ECDSA;
        key->scheme.details.ecdsa.hashAlg = tpm_curve_of_algorithm(key->algorithm)->hash;
    }
    if ((err = tpm_name_of_public(public, &key->name)) != ATH_OK)
        return why_set(why, err, "the key's name algorithm is neither SHA-256 nor SHA-384");
    err = public_key_from_point(key->algorithm, ath_slice_of(point->x.buffer, point->x.size),
                                ath_slice_of(point->y.buffer, point->y.size), why, &key->public);
    if (err != ATH_OK)
        return err == ATH_ERR_INVALID_PUBLIC_KEY ? ATH_ERR_INVALID_PARAMS : err;
    return keep_areas(key, file);
}

static ath_err
load(struct tpm_device *device, struct hsm_key *key, TPM2_HANDLE parent, struct hsm_fault *fault)
{
    const struct tpm_call call = {.doing = "load the key",
                                  .code = TPM2_CC_Load,
                                  .protect = TPMA_SESSION_DECRYPT,
                                  .names = &device->storage.name,
                                  .name_count = 1};
    TSS2_SYS_CONTEXT *sys = device->context->sys;
    TPM2B_PRIVATE private = {0};
    TPM2B_PUBLIC public = {0};
    TPM2_HANDLE handle;
    size_t offset = 0;
    ath_err err;
    TSS2_RC rc;

    rc = Tss2_MU_TPM2B_PUBLIC_Unmarshal(key->public_area.data, key->public_area.len, &offset,
                                        &public);
    offset = 0;
    if (rc == TSS2_RC_SUCCESS)
        rc = Tss2_MU_TPM2B_PRIVATE_Unmarshal(key->private_area.data, key->private_area.len, &offset,
                                             &private);
    if (rc == TSS2_RC_SUCCESS)
        rc = Tss2_Sys_Load_Prepare(sys, parent, &private, &public);
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, call.doing, fault);
    if ((err = tpm_session_run(device->session, device->context, &call, fault)) != ATH_OK)
        return err;
    if ((rc = Tss2_Sys_Load_Complete(sys, &handle, NULL)) != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, call.doing, fault);
    tpm_slots_adopt(&device->slots, &key->object, handle);
    return ATH_OK;
}

ath_err
tpm_key_use(struct tpm_device *device, struct hsm_key *key, struct hsm_fault *fault)
{
    TPM2_HANDLE parent;
    ath_err err;

    if ((err = tpm_slots_use(&device->slots, &key->object, fault)) != ATH_ERR_NOT_FOUND)
        return err;
    if ((err = tpm_storage_hold(device, fault, &parent)) != ATH_OK)
        return err;
    err = load(device, key, parent, fault);
    tpm_storage_release(device);
    /* The handle and the session are ours, the parameters are the blob's (part 3, 12.2). */
    if (err != ATH_OK && tpm_error_is_of_parameter(fault->native))
        err = why_set(&fault->why, ATH_ERR_INVALID_PARAMS,
                      "the key does not belong to this TPM (or the TPM was cleared since)");
    return err;
}

static ath_err
use_step(struct tpm_device *device, void *arg, struct hsm_fault *fault)
{
    return tpm_key_use(device, arg, fault);
}

ath_err
tpm_key_open(struct tpm_device *device, struct ath_slice blob, struct hsm_fault *fault,
             struct hsm_key **ret_key)
{
    struct hsm_key *key = calloc(1, sizeof(*key));
    struct tss2_key file;
    ath_err err;

    if (key == NULL)
        return ATH_ERR_NOMEM;
    if ((err = tss2_pem_decode(blob, &fault->why, &file)) != ATH_OK)
        goto out;
    if ((err = key_of_file(device, &file, &fault->why, key)) != ATH_OK)
        goto out;
    if ((err = tpm_device_run(device, use_step, key, fault)) != ATH_OK)
        goto out;
    *ret_key = key;
    key = NULL;
out:
    tpm_key_close(device, key);
    return err;
}

void
tpm_key_close(struct tpm_device *device, struct hsm_key *key)
{
    if (key == NULL)
        return;
    tpm_slots_drop(&device->slots, &key->object);
    ath_secret_done(&key->pin);
    public_key_free(key->public);
    ath_buf_done(&key->public_area);
    ath_buf_done(&key->private_area);
    free(key);
}
