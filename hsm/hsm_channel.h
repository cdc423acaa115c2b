/*
 * The helper's end of the socketpair: whole frames in, for one thread; whole frames out, from any
 * thread. Who sends while somebody else is writing leaves the frame to that one: answers that are
 * ready together leave together, and nobody waits for the socket but the one who writes.
 */
#ifndef HSM_HSM_CHANNEL_H
#define HSM_HSM_CHANNEL_H

#include <pthread.h>

#include "hsm/wire/hsm_wire.h"

struct hsm_channel {
    int fd; /* borrowed */
    struct ath_buf in;
    size_t taken; /* bytes of `in` that are done with */
    pthread_mutex_t lock;
    pthread_cond_t room;
    /* under the lock: */
    struct ath_buf out;
    struct ath_buf writing; /* the writer's, who works on it without the lock */
    bool is_writing;
    ath_err write_err; /* of the first write that failed: nobody hears us any more */
};

void hsm_channel_init(struct hsm_channel *channel, int fd);
void hsm_channel_done(struct hsm_channel *channel); /* when no other thread sends any more */

/* The next request of those that have been read. Its slices hold until the next call of
 * hsm_channel_fill. ATH_OK with *ret_is_there false: there is none. ATH_ERR_PARSE,
 * ATH_ERR_LIMIT_EXCEEDED: the other end does not speak our language (nothing can follow). */
ath_err hsm_channel_next(struct hsm_channel *channel, struct hsm_request *ret_request,
                         bool *ret_is_there) ATH_MUST_USE;

/* One read; waits for it if there is nothing. ATH_ERR_NOT_FOUND: the other end has closed;
 * ATH_ERR_IO, ATH_ERR_NOMEM. */
ath_err hsm_channel_fill(struct hsm_channel *channel) ATH_MUST_USE;

/* Would hsm_channel_fill return at once? */
bool hsm_channel_is_readable(const struct hsm_channel *channel);

/* From any thread; needs the response's members no more when it returns. May wait until the other
 * end takes something. ATH_ERR_IO: it was not, or an earlier one was not taken; ATH_ERR_NOMEM,
 * ATH_ERR_LIMIT_EXCEEDED. */
ath_err hsm_channel_send(struct hsm_channel *channel,
                         const struct hsm_response *response) ATH_MUST_USE;

/* As hsm_channel_send, for who will send again soon or call hsm_channel_flush: the first of two
 * waits for the second, for one wake-up of the other end. */
ath_err hsm_channel_send_soon(struct hsm_channel *channel,
                              const struct hsm_response *response) ATH_MUST_USE;
/* What waits leaves. Whoever sends next is told if it could not. */
void hsm_channel_flush(struct hsm_channel *channel);

#endif
