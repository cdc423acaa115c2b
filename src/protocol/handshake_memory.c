#include "protocol/handshake_memory.h"

#include <string.h>

#include "protocol/handshake_message.h"

bool
handshake_memory_is(const struct handshake_memory *memory, const uint8_t hash[SHA256_LEN])
{
    return memory->has_answer && memcmp(memory->hash, hash, SHA256_LEN) == 0;
}

void
handshake_memory_begin(struct handshake_memory *memory, const uint8_t hash[SHA256_LEN])
{
    handshake_memory_done(memory);
    memory->has_message = true;
    memcpy(memory->hash, hash, SHA256_LEN);
}

static void
forget_answer(struct handshake_memory *memory)
{
    handshake_need_done(&memory->answer);
    ath_buf_done(&memory->confirm);
    memory->has_answer = false;
}

ath_err
handshake_memory_answer(struct handshake_memory *memory, const struct handshake_need *need)
{
    struct handshake_need small = *need;
    ath_err err;

    forget_answer(memory);
    small.confirm = NULL;
    if ((err = handshake_need_copy(&small, &memory->answer)) != ATH_OK)
        return err;
    memory->confirm.max = MESSAGE_MAX_LEN;
    if (need->confirm != NULL)
        json_write(need->confirm, &memory->confirm);
    if ((err = memory->confirm.err) != ATH_OK) {
        forget_answer(memory);
        return err;
    }
    memory->has_answer = memory->has_message;
    return ATH_OK;
}

ath_err
handshake_memory_repeat(const struct handshake_memory *memory, struct handshake_need *need)
{
    struct ath_slice confirm = ath_buf_slice(&memory->confirm);
    ath_err err = handshake_need_copy(&memory->answer, need);

    if (err == ATH_OK && confirm.len > 0)
        err = handshake_message_parse(confirm, NULL, &need->confirm);
    if (err != ATH_OK) {
        handshake_need_done(need);
        return err == ATH_ERR_NOMEM ? err
                                    : ATH_ERR_INTERNAL; /* it was a message when it was made */
    }
    need->repeated = true;
    return ATH_OK;
}

void
handshake_memory_done(struct handshake_memory *memory)
{
    forget_answer(memory);
    *memory = (struct handshake_memory){0};
}
