/* The last message a machine took from one peer and the answer it was given: the same message again
 * (equal JCS) gets the same answer, byte for byte, without a signature or a change of state (profile
 * section 5). */
#ifndef PROTOCOL_HANDSHAKE_MEMORY_H
#define PROTOCOL_HANDSHAKE_MEMORY_H

#include "protocol/handshake.h"

struct handshake_memory { /* zero-initialise */
    bool has_message, has_answer; /* the answer comes later than the message */
    uint8_t hash[SHA256_LEN]; /* H(JCS(message)) */
    struct handshake_need answer; /* without confirm: */
    struct ath_buf confirm; /* as text: M6 holds M5 whole, and a tree of what a stranger chose can take
                             * forty times the room of its text */
};

/* Is this the last message, and was it answered? */
bool handshake_memory_is(const struct handshake_memory *memory, const uint8_t hash[SHA256_LEN]);
/* A new message: the answer to the one before is forgotten. */
void handshake_memory_begin(struct handshake_memory *memory, const uint8_t hash[SHA256_LEN]);
/* Remembers what the last message was answered with, in the place of an earlier answer. ATH_ERR_NOMEM. */
ath_err handshake_memory_answer(struct handshake_memory *memory, const struct handshake_need *need) ATH_MUST_USE;
/* The answer again, marked as repeated. ATH_ERR_NOMEM. */
ath_err handshake_memory_repeat(const struct handshake_memory *memory, struct handshake_need *need) ATH_MUST_USE;
void handshake_memory_done(struct handshake_memory *memory);

#endif
