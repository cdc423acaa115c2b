#include "hsm/hsm_answer.h"

#include "base/clock.h"
#include "base/log.h"

/* What it points into lives in `fault`. */
static void
explain(const struct hsm_fault *fault, struct hsm_response *response)
{
    const char *why = why_text(&fault->why, response->err);

    response->native = fault->native;
    response->pin_in_doubt = fault->pin_in_doubt;
    response->sentence = ath_slice_of_string(why);
    log_debug("event=hsm_request op=%d err=%s why=\"%s\"", (int)response->op,
              ath_err_reason(response->err), why);
}

ath_err
hsm_answer(struct hsm_channel *channel, const struct hsm_fault *fault,
           struct hsm_response *response)
{
    if (response->err != ATH_OK)
        explain(fault, response);
    return hsm_channel_send(channel, response);
}

ath_err
hsm_answer_soon(struct hsm_channel *channel, const struct hsm_fault *fault,
                struct hsm_response *response)
{
    if (response->err != ATH_OK)
        explain(fault, response);
    return hsm_channel_send_soon(channel, response);
}

void
hsm_answer_put_signature(struct hsm_response *response, const struct public_key *public,
                         struct ath_slice message, const uint8_t *signature,
                         struct hsm_fault *fault)
{
    struct ath_slice data =
        ath_slice_of(signature, key_algorithm_signature_len(public_key_algorithm(public)));

    if (public_key_verify_own(public, message, data) == ATH_OK) {
        response->data = data;
        return;
    }
    log_error("event=bad_signature key=%.8s", public_key_jkt(public));
    response->err = why_set(&fault->why, ATH_ERR_HSM_ERROR,
                            "the hardware made a signature that its public key does not verify");
}

uint32_t
hsm_answer_elapsed_us(uint64_t since)
{
    uint64_t us = clock_monotonic_us() - since;

    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}
