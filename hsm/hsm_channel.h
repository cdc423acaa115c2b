/* The helper's end of the socketpair: whole frames in, whole frames out. */
#ifndef HSM_HSM_CHANNEL_H
#define HSM_HSM_CHANNEL_H

#include "hsm/wire/hsm_wire.h"

struct hsm_channel {
    int fd; /* borrowed */
    struct ath_buf in, out;
    size_t taken; /* bytes of `in` that the current frame has */
};

void hsm_channel_init(struct hsm_channel *channel, int fd);
void hsm_channel_done(struct hsm_channel *channel);

/* The next request; waits for it. Its slices hold until the next call. ATH_ERR_NOT_FOUND: the other
 * end has closed; ATH_ERR_PARSE, ATH_ERR_LIMIT_EXCEEDED: it does not speak our language (nothing
 * can follow); ATH_ERR_IO, ATH_ERR_NOMEM. */
ath_err hsm_channel_receive(struct hsm_channel *channel,
                            struct hsm_request *ret_request) ATH_MUST_USE;

/* Would hsm_channel_receive return without waiting? Reads what is there. */
bool hsm_channel_is_ready(struct hsm_channel *channel);

/* Waits until the other end has taken it. ATH_ERR_IO, ATH_ERR_NOMEM, ATH_ERR_LIMIT_EXCEEDED. */
ath_err hsm_channel_send(struct hsm_channel *channel,
                         const struct hsm_response *response) ATH_MUST_USE;

#endif
