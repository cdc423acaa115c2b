/* What every answer has in common: why it is an error, and that no signature leaves unchecked. */
#ifndef HSM_HSM_ANSWER_H
#define HSM_HSM_ANSWER_H

#include "hsm/hsm.h"
#include "hsm/hsm_channel.h"

/* Sends; what the hardware refused becomes a sentence. From any thread. Errors as of
 * hsm_channel_send. */
ath_err hsm_answer(struct hsm_channel *channel, const struct hsm_fault *fault,
                   struct hsm_response *response) ATH_MUST_USE;
/* The same by hsm_channel_send_soon. */
ath_err hsm_answer_soon(struct hsm_channel *channel, const struct hsm_fault *fault,
                        struct hsm_response *response) ATH_MUST_USE;

/* Makes `signature` (SIGNATURE_MAX_LEN bytes, which the caller keeps until the answer is sent) the
 * answer's data, if `public` verifies it over the message; else the answer is ATH_ERR_HSM_ERROR. */
void hsm_answer_put_signature(struct hsm_response *response, const struct public_key *public,
                              struct ath_slice message, const uint8_t *signature,
                              struct hsm_fault *fault);

/* How long the hardware took that began at `since` (clock_monotonic_us). */
uint32_t hsm_answer_elapsed_us(uint64_t since);

#endif
