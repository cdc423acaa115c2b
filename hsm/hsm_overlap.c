#include "hsm/hsm_overlap.h"

#include <string.h>

#include "base/clock.h"

void
hsm_overlap_done(struct hsm_overlap *overlap)
{
    ath_buf_done(&overlap->message);
}

ath_err
hsm_overlap_release(struct hsm_overlap *overlap)
{
    struct hsm_response response = {
        .id = overlap->id, .op = HSM_OP_SIGN, .hardware_us = overlap->hardware_us};
    struct hsm_fault fault = {0};

    if (!overlap->is_there)
        return ATH_OK;
    overlap->is_there = false;
    hsm_answer_put_signature(&response, overlap->ops->key_public(overlap->key),
                             ath_buf_slice(&overlap->message), overlap->signature, &fault);
    return hsm_answer(overlap->channel, &fault, &response);
}

/* The hardware has begun: waits for it, and keeps what it made. */
static ath_err
finish(struct hsm_overlap *overlap, struct ath_slice message, struct hsm_fault *fault)
{
    ath_err err;

    ath_buf_clear(&overlap->message);
    overlap->message.max = HSM_WIRE_MAX_MESSAGE;
    ath_buf_put_slice(&overlap->message, message);
    err = overlap->ops->sign_finish(overlap->hsm, fault, overlap->signature);
    if (err == ATH_OK)
        err = overlap->message.err;
    overlap->is_there = err == ATH_OK;
    return err;
}

ath_err
hsm_overlap_sign(struct hsm_overlap *overlap, struct hsm_key *key,
                 const struct hsm_request *request, ath_err *ret_result)
{
    struct hsm_response response = {.id = request->id, .op = HSM_OP_SIGN};
    uint64_t since = clock_monotonic_us();
    struct hsm_fault fault = {0}, unheard = {0};
    ath_err err;

    response.err = overlap->ops->sign_begin(overlap->hsm, key, request->data, &fault);
    /* The hardware works; meanwhile: */
    if ((err = hsm_overlap_release(overlap)) != ATH_OK) {
        /* nobody is there to hear it, but a TPM that is waited for can be shut down cleanly */
        if (response.err == ATH_OK)
            response.err = overlap->ops->sign_finish(overlap->hsm, &unheard, overlap->signature);
        return err;
    }
    if (response.err == ATH_OK)
        response.err = finish(overlap, request->data, &fault);
    *ret_result = response.err;
    if (response.err != ATH_OK)
        return hsm_answer(overlap->channel, &fault, &response);
    overlap->id = request->id;
    overlap->key = key;
    overlap->hardware_us = hsm_answer_elapsed_us(since);
    return ATH_OK;
}
