#include "hsm/tpm/tpm_hash.h"

#include <string.h>

#include "hsm/tpm/tpm_error.h"

#define PIECE_MAX ((size_t)TPM2_MAX_DIGEST_BUFFER)

static const char doing_hash[] = "hash what is to be signed";

struct hashing {
    struct ath_slice message;
    struct tpm_hash result;
};

static TPM2B_MAX_BUFFER
piece_of(struct ath_slice bytes)
{
    TPM2B_MAX_BUFFER piece = {.size = (UINT16)bytes.len};

    if (bytes.len > 0)
        memcpy(piece.buffer, bytes.data, bytes.len);
    return piece;
}

static ath_err
hash_at_once(struct tpm_device *device, struct hashing *hashing, struct hsm_fault *fault)
{
    /* An empty parameter cannot be encrypted. */
    const TPMA_SESSION decrypt = hashing->message.len > 0 ? TPMA_SESSION_DECRYPT : 0;
    const struct tpm_call call = {.doing = doing_hash,
                                  .code = TPM2_CC_Hash,
                                  .protect = (TPMA_SESSION)(decrypt | TPMA_SESSION_ENCRYPT)};
    const TPM2B_MAX_BUFFER piece = piece_of(hashing->message);
    struct tpm_hash *result = &hashing->result;
    TSS2_SYS_CONTEXT *sys = device->context->sys;
    ath_err err;
    TSS2_RC rc;

    if ((rc = Tss2_Sys_Hash_Prepare(sys, &piece, TPM2_ALG_SHA256, TPM2_RH_OWNER)) !=
        TSS2_RC_SUCCESS)
        return tpm_error_report(rc, doing_hash, fault);
    if ((err = tpm_session_run(device->session, device->context, &call, fault)) != ATH_OK)
        return err;
    *result = (struct tpm_hash){.digest.size = sizeof(result->digest.buffer)};
    return tpm_error_report(Tss2_Sys_Hash_Complete(sys, &result->digest, &result->ticket),
                            doing_hash, fault);
}

/* ---- in pieces: a sequence object, which takes a place like a key ---- */

/* Without the session, for which there is nothing to protect here: who changes the handle on its
 * way makes the next command fail. */
static ath_err
sequence_start(struct tpm_device *device, struct hsm_fault *fault, TPM2_HANDLE *ret_sequence)
{
    const TPM2B_AUTH auth = {0};
    TSS2_RC rc;

    tpm_slots_make_room(&device->slots, 1);
    rc = Tss2_Sys_HashSequenceStart(device->context->sys, NULL, &auth, TPM2_ALG_SHA256,
                                    ret_sequence, NULL);
    return tpm_error_report(rc, doing_hash, fault);
}

/* A sequence object's Name is empty (TPM 2.0 part 1, 32.4.5). */
static const struct tpm_name no_name = {.len = 0};

static ath_err
sequence_update(struct tpm_device *device, TPM2_HANDLE sequence, struct ath_slice bytes,
                struct hsm_fault *fault)
{
    const struct tpm_call call = {.doing = doing_hash,
                                  .code = TPM2_CC_SequenceUpdate,
                                  .protect = TPMA_SESSION_DECRYPT,
                                  .names = &no_name,
                                  .name_count = 1};
    const TPM2B_MAX_BUFFER piece = piece_of(bytes);
    ath_err err;
    TSS2_RC rc;

    rc = Tss2_Sys_SequenceUpdate_Prepare(device->context->sys, sequence, &piece);
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, doing_hash, fault);
    if ((err = tpm_session_run(device->session, device->context, &call, fault)) != ATH_OK)
        return err;
    return tpm_error_report(Tss2_Sys_SequenceUpdate_Complete(device->context->sys), doing_hash,
                            fault);
}

/* Ends the sequence: the TPM has flushed it after ATH_OK. */
static ath_err
sequence_complete(struct tpm_device *device, TPM2_HANDLE sequence, struct ath_slice bytes,
                  struct hsm_fault *fault, struct tpm_hash *ret_hash)
{
    const struct tpm_call call = {.doing = doing_hash,
                                  .code = TPM2_CC_SequenceComplete,
                                  .protect = TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT,
                                  .names = &no_name,
                                  .name_count = 1};
    const TPM2B_MAX_BUFFER piece = piece_of(bytes);
    TSS2_SYS_CONTEXT *sys = device->context->sys;
    ath_err err;
    TSS2_RC rc;

    rc = Tss2_Sys_SequenceComplete_Prepare(sys, sequence, &piece, TPM2_RH_OWNER);
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, doing_hash, fault);
    if ((err = tpm_session_run(device->session, device->context, &call, fault)) != ATH_OK)
        return err;
    *ret_hash = (struct tpm_hash){.digest.size = sizeof(ret_hash->digest.buffer)};
    return tpm_error_report(
        Tss2_Sys_SequenceComplete_Complete(sys, &ret_hash->digest, &ret_hash->ticket), doing_hash,
        fault);
}

static ath_err
hash_in_pieces(struct tpm_device *device, struct hashing *hashing, struct hsm_fault *fault)
{
    struct ath_slice rest = hashing->message;
    TPM2_HANDLE sequence;
    ath_err err;

    if ((err = sequence_start(device, fault, &sequence)) != ATH_OK)
        return err;
    while (err == ATH_OK && rest.len > PIECE_MAX) {
        err = sequence_update(device, sequence, ath_slice_of(rest.data, PIECE_MAX), fault);
        rest = ath_slice_of(rest.data + PIECE_MAX, rest.len - PIECE_MAX);
    }
    if (err == ATH_OK)
        err = sequence_complete(device, sequence, rest, fault, &hashing->result);
    if (err != ATH_OK && err != ATH_ERR_HSM_UNAVAILABLE)
        tpm_context_flush(device->context, sequence);
    return err;
}

static ath_err
hash_step(struct tpm_device *device, void *arg, struct hsm_fault *fault)
{
    struct hashing *hashing = arg;

    return hashing->message.len <= PIECE_MAX ? hash_at_once(device, hashing, fault)
                                             : hash_in_pieces(device, hashing, fault);
}

ath_err
tpm_hash_run(struct tpm_device *device, struct ath_slice message, struct hsm_fault *fault,
             struct tpm_hash *ret_hash)
{
    struct hashing hashing = {.message = message};
    ath_err err = tpm_device_run(device, hash_step, &hashing, fault);

    if (err == ATH_OK)
        *ret_hash = hashing.result;
    return err;
}
