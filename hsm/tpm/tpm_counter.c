#include "hsm/tpm/tpm_counter.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#include "base/log.h"
#include "crypto/digest.h"
#include "crypto/random.h"
#include "hsm/tpm/tpm_error.h"

/* TPM2_NT_COUNTER in its bits of TPMA_NV (TPM 2.0 part 2, 13.2 and 13.4). */
#define NV_COUNTER ((TPMA_NV)TPM2_NT_COUNTER << 4)
#define NEW_ATTRIBUTES (NV_COUNTER | TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA)

/* ---- the blob ---- */

void
tpm_counter_encode(const TPMS_NV_PUBLIC *public, struct ath_buf *blob)
{
    const TPM2B_NV_PUBLIC area = {.nvPublic = *public};
    uint8_t bytes[sizeof(area)];
    size_t len = 0;

    if (Tss2_MU_TPM2B_NV_PUBLIC_Marshal(&area, bytes, sizeof(bytes), &len) != TSS2_RC_SUCCESS)
        blob->err = ATH_ERR_INTERNAL;
    ath_buf_put(blob, bytes, len);
}

static bool
is_ours(const TPMS_NV_PUBLIC *public)
{
    return public->nvIndex >= TPM_COUNTER_FIRST &&
           public->nvIndex - TPM_COUNTER_FIRST < TPM_COUNTER_PLACES &&
           public->nameAlg == TPM2_ALG_SHA256 &&
           public->attributes == (NEW_ATTRIBUTES | TPMA_NV_WRITTEN) &&
           public->authPolicy.size == SHA256_LEN && public->dataSize == TPM_NV_COUNTER_LEN;
}

ath_err
tpm_counter_decode(struct ath_slice blob, struct why *why, TPMS_NV_PUBLIC *ret_public)
{
    TPM2B_NV_PUBLIC area = {0};
    struct ath_buf again = {0};
    size_t offset = 0;
    bool good;

    good =
        blob.len > 0 &&
        Tss2_MU_TPM2B_NV_PUBLIC_Unmarshal(blob.data, blob.len, &offset, &area) == TSS2_RC_SUCCESS &&
        is_ours(&area.nvPublic);
    if (good)
        tpm_counter_encode(&area.nvPublic, &again);
    good = good && again.err == ATH_OK && ath_slice_equal(ath_buf_slice(&again), blob);
    ath_buf_done(&again);
    if (!good)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "this is not a counter that athd has made");
    *ret_public = area.nvPublic;
    return ATH_OK;
}

/* ---- may we? ---- */

static ath_err
owner_has_password(struct tpm_context *context, struct hsm_fault *fault, bool *ret_has)
{
    TPMS_CAPABILITY_DATA data = {0};
    const TPML_TAGGED_TPM_PROPERTY *list = &data.data.tpmProperties;
    ath_err err;

    err = tpm_context_capability(context, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_PERMANENT, 1, fault,
                                 &data);
    if (err != ATH_OK)
        return err;
    *ret_has = list->count != 1 || list->tpmProperty[0].property != TPM2_PT_PERMANENT ||
               (list->tpmProperty[0].value & TPMA_PERMANENT_OWNERAUTHSET) != 0;
    return ATH_OK;
}

/* Which of our places are taken: one bit each. */
static ath_err
taken_places(struct tpm_context *context, struct hsm_fault *fault, uint64_t *ret_taken)
{
    TPMS_CAPABILITY_DATA data = {0};
    const TPML_HANDLE *list = &data.data.handles;
    ath_err err;

    err = tpm_context_capability(context, TPM2_CAP_HANDLES, TPM_COUNTER_FIRST, TPM_COUNTER_PLACES,
                                 fault, &data);
    if (err != ATH_OK)
        return err;
    *ret_taken = 0;
    for (uint32_t i = 0; i < list->count && i < TPM2_MAX_CAP_HANDLES; i++) {
        if (list->handle[i] >= TPM_COUNTER_FIRST &&
            list->handle[i] - TPM_COUNTER_FIRST < TPM_COUNTER_PLACES)
            *ret_taken |= (uint64_t)1 << (list->handle[i] - TPM_COUNTER_FIRST);
    }
    return ATH_OK;
}

ath_err
tpm_counter_is_possible(struct tpm_context *context, struct hsm_fault *fault, bool *ret_possible)
{
    bool has_password;
    uint64_t taken;
    ath_err err;

    if ((err = owner_has_password(context, fault, &has_password)) != ATH_OK)
        return err;
    if ((err = taken_places(context, fault, &taken)) != ATH_OK)
        return err;
    *ret_possible = !has_password || taken != 0;
    if (!*ret_possible)
        log_info("event=tpm_counter use=no reason=\"the owner hierarchy has a password\"");
    return ATH_OK;
}

/* ---- making one ---- */

struct making {
    TPMS_NV_PUBLIC public; /* as defined: not yet written */
    bool defined;
};

static ath_err
name_of(const TPMS_NV_PUBLIC *public, TPMA_NV attributes, struct tpm_nv *ret_nv)
{
    TPMS_NV_PUBLIC area = *public;

    area.attributes |= attributes;
    ret_nv->index = area.nvIndex;
    return tpm_name_of_nv(&area, &ret_nv->name);
}

/* Ours already, when the answer to an earlier try was lost. */
static bool
is_there(struct tpm_device *device, const TPMS_NV_PUBLIC *public, struct hsm_fault *fault)
{
    struct tpm_name found;
    struct tpm_nv nv;

    return name_of(public, 0, &nv) == ATH_OK &&
           tpm_nv_find(device, nv.index, fault, &found) == ATH_OK &&
           tpm_name_equal(&found, &nv.name);
}

static ath_err
define_somewhere(struct tpm_device *device, struct making *making, struct hsm_fault *fault)
{
    uint64_t taken;
    ath_err err;

    if (making->public.nvIndex != 0 && is_there(device, &making->public, fault))
        return ATH_OK;
    if ((err = taken_places(device->context, fault, &taken)) != ATH_OK)
        return err;
    for (uint32_t i = 0; i < TPM_COUNTER_PLACES; i++) {
        if ((taken >> i & 1) != 0)
            continue;
        making->public.nvIndex = TPM_COUNTER_FIRST + i;
        if ((err = tpm_nv_define(device, &making->public, fault)) != ATH_ERR_EXISTS)
            return err;
    }
    return why_set(&fault->why, ATH_ERR_HSM_ERROR,
                   "all places for counters, 0x%x to 0x%x, are taken; remove one that nobody needs "
                   "(tpm2_getcap handles-nv-index, tpm2_nvundefine)",
                   TPM_COUNTER_FIRST, TPM_COUNTER_FIRST + TPM_COUNTER_PLACES - 1);
}

/* A counter has no value before its first step. */
static ath_err
make_step(struct tpm_device *device, void *arg, struct hsm_fault *fault)
{
    struct making *making = arg;
    struct tpm_nv fresh, written;
    struct tpm_name found;
    ath_err err;

    if (!making->defined && (err = define_somewhere(device, making, fault)) != ATH_OK)
        return err;
    making->defined = true;
    if ((err = name_of(&making->public, 0, &fresh)) != ATH_OK ||
        (err = name_of(&making->public, TPMA_NV_WRITTEN, &written)) != ATH_OK ||
        (err = tpm_nv_find(device, fresh.index, fault, &found)) != ATH_OK)
        return err;
    return tpm_name_equal(&found, &written.name) ? ATH_OK : tpm_nv_increment(device, &fresh, fault);
}

static ath_err
make(struct tpm_device *device, struct hsm_fault *fault, TPMS_NV_PUBLIC *ret_public)
{
    struct making making = {.public = {.nameAlg = TPM2_ALG_SHA256,
                                       .attributes = NEW_ATTRIBUTES,
                                       .authPolicy.size = SHA256_LEN,
                                       .dataSize = TPM_NV_COUNTER_LEN}};
    bool has_password;
    ath_err err;

    if ((err = owner_has_password(device->context, fault, &has_password)) != ATH_OK)
        return err;
    if (has_password)
        return why_set(&fault->why, ATH_ERR_HSM_ERROR,
                       "the TPM's owner hierarchy has a password, so no counter can be made");
    if ((err = random_bytes(making.public.authPolicy.buffer, SHA256_LEN)) != ATH_OK)
        return err;
    if ((err = tpm_device_run(device, make_step, &making, fault)) != ATH_OK)
        return err;
    *ret_public = making.public;
    ret_public->attributes |= TPMA_NV_WRITTEN;
    log_info("event=tpm_counter index=0x%x made=yes", ret_public->nvIndex);
    return ATH_OK;
}

/* ---- counting ---- */

struct run {
    const struct tpm_counting *what;
    struct tpm_nv nv;
    bool tried, stepped;
    uint64_t before; /* once tried */
    TPM2B_ATTEST attest;
    uint8_t signature[SIGNATURE_MAX_LEN];
};

static ath_err
check_index(struct tpm_device *device, const struct tpm_nv *nv, struct hsm_fault *fault)
{
    struct tpm_name found;
    ath_err err = tpm_nv_find(device, nv->index, fault, &found);

    if (err == ATH_ERR_NOT_FOUND)
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS,
                       "the counter at 0x%x is gone: it was deleted, the TPM was cleared, or this "
                       "is another TPM",
                       nv->index);
    if (err == ATH_OK && !tpm_name_equal(&found, &nv->name))
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS,
                       "the index at 0x%x is not the counter that athd made: it was made again, or "
                       "this is another TPM",
                       nv->index);
    return err;
}

/* An earlier try may have been carried out though its answer was no good. */
static ath_err
step_once(struct tpm_device *device, struct run *run, struct hsm_fault *fault)
{
    uint64_t now;
    ath_err err;

    if ((err = tpm_nv_read(device, &run->nv, fault, &now)) != ATH_OK)
        return err;
    if (run->tried && now > run->before) {
        run->stepped = true;
        return ATH_OK;
    }
    run->tried = true;
    run->before = now;
    if ((err = tpm_nv_increment(device, &run->nv, fault)) == ATH_OK)
        run->stepped = true;
    return err;
}

static ath_err
run_step(struct tpm_device *device, void *arg, struct hsm_fault *fault)
{
    struct run *run = arg;
    ath_err err;

    if ((err = check_index(device, &run->nv, fault)) != ATH_OK)
        return err;
    if (run->what->step && !run->stepped && (err = step_once(device, run, fault)) != ATH_OK)
        return err;
    return tpm_nv_certify(device, run->what->key, &run->nv, run->what->nonce, fault, &run->attest,
                          run->signature);
}

ath_err
tpm_counter_judge(struct ath_slice attest, const struct tpm_name *name, struct ath_slice nonce,
                  struct why *why, uint64_t *ret_value)
{
    const TPMS_NV_CERTIFY_INFO *nv;
    TPMS_ATTEST what = {0};
    struct byte_reader reader;
    size_t offset = 0;

    if (Tss2_MU_TPMS_ATTEST_Unmarshal(attest.data, attest.len, &offset, &what) != TSS2_RC_SUCCESS ||
        offset != attest.len || what.magic != TPM2_GENERATED_VALUE ||
        what.type != TPM2_ST_ATTEST_NV)
        return why_set(why, ATH_ERR_HSM_ERROR, "the TPM certified something else than a counter");
    if (!ath_slice_equal(ath_slice_of(what.extraData.buffer, what.extraData.size), nonce))
        return why_set(why, ATH_ERR_HSM_ERROR, "the TPM's certificate is for another question");
    nv = &what.attested.nv;
    if (!ath_slice_equal(ath_slice_of(nv->indexName.name, nv->indexName.size),
                         ath_slice_of(name->bytes, name->len)))
        return why_set(why, ATH_ERR_HSM_ERROR, "the TPM certified another index");
    if (nv->offset != 0 || nv->nvContents.size != TPM_NV_COUNTER_LEN)
        return why_set(why, ATH_ERR_HSM_ERROR, "the TPM certified a part of the counter");
    reader = byte_reader_of(ath_slice_of(nv->nvContents.buffer, nv->nvContents.size));
    *ret_value = byte_reader_u64(&reader);
    return ATH_OK;
}

/* Nothing leaves that a verifier would refuse. */
static ath_err
check_evidence(const struct run *run, struct hsm_fault *fault, uint64_t *ret_value)
{
    const struct ath_slice attest = ath_slice_of(run->attest.attestationData, run->attest.size);
    const struct ath_slice signature =
        ath_slice_of(run->signature, key_algorithm_signature_len(KEY_ES256));
    uint64_t value;
    ath_err err;

    err = tpm_counter_judge(attest, &run->nv.name, run->what->nonce, &fault->why, &value);
    if (err != ATH_OK)
        return err;
    if (public_key_verify(run->what->key->public, attest, signature) != ATH_OK)
        return why_set(
            &fault->why, ATH_ERR_HSM_ERROR,
            "the TPM certified the counter with a signature that its public key does not "
            "verify");
    if (run->stepped && value <= run->before)
        return why_set(&fault->why, ATH_ERR_HSM_ERROR, "the TPM's counter does not count");
    *ret_value = value;
    return ATH_OK;
}

ath_err
tpm_counter_run(struct tpm_device *device, const struct tpm_counting *counting,
                struct hsm_fault *fault, struct ath_buf *ret_blob, uint64_t *ret_value,
                struct ath_buf *ret_evidence)
{
    struct run run = {.what = counting};
    TPMS_NV_PUBLIC public;
    ath_err err;

    if (!counting->key->facts.restricted)
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS,
                       "only an audit key certifies a counter: another key could sign any value");
    if (counting->blob.len > 0)
        err = tpm_counter_decode(counting->blob, &fault->why, &public);
    else if ((err = make(device, fault, &public)) == ATH_OK)
        tpm_counter_encode(&public, ret_blob);
    if (err == ATH_OK)
        err = name_of(&public, 0, &run.nv);
    if (err == ATH_OK)
        err = tpm_device_run(device, run_step, &run, fault);
    if (err == ATH_OK)
        err = check_evidence(&run, fault, ret_value);
    if (err != ATH_OK)
        return err;
    bytes_put_u16(ret_evidence, run.attest.size);
    ath_buf_put(ret_evidence, run.attest.attestationData, run.attest.size);
    ath_buf_put(ret_evidence, run.signature, key_algorithm_signature_len(KEY_ES256));
    return ret_evidence->err != ATH_OK ? ret_evidence->err : ret_blob->err;
}
