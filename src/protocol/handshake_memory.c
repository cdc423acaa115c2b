#include "protocol/handshake_memory.h"

#include <string.h>

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

ath_err
handshake_memory_answer(struct handshake_memory *memory, const struct handshake_need *need)
{
    handshake_need_done(&memory->answer);
    memory->has_answer = false;
    ath_err err = handshake_need_copy(need, &memory->answer);

    if (err == ATH_OK)
        memory->has_answer = memory->has_message;
    return err;
}

ath_err
handshake_memory_repeat(const struct handshake_memory *memory, struct handshake_need *need)
{
    ath_err err = handshake_need_copy(&memory->answer, need);

    if (err == ATH_OK)
        need->repeated = true;
    return err;
}

void
handshake_memory_done(struct handshake_memory *memory)
{
    handshake_need_done(&memory->answer);
    *memory = (struct handshake_memory){0};
}
