/* Which keys the helper knows: a key is opened before its first use in a helper's life. */
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/hsm_key_login.h"
#include "base/clock.h"

static bool
key_is_opened(const struct hsm_unit *unit, uint32_t key)
{
    return key / 8 < unit->opened_len && (unit->opened[key / 8] >> (key % 8) & 1) != 0;
}

static ath_err
set_opened(struct hsm_unit *unit, uint32_t key, bool opened)
{
    size_t len = (size_t)key / 8 + 1;
    uint8_t bit = (uint8_t)(1u << (key % 8)), *grown;

    if (len > unit->opened_len) {
        if (!opened)
            return ATH_OK;
        len = len < 32 ? 32 : len * 2;
        if ((grown = realloc(unit->opened, len)) == NULL)
            return ATH_ERR_NOMEM;
        memset(grown + unit->opened_len, 0, len - unit->opened_len);
        unit->opened = grown;
        unit->opened_len = len;
    }
    if (opened)
        unit->opened[key / 8] |= bit;
    else
        unit->opened[key / 8] &= (uint8_t)~bit;
    return ATH_OK;
}

ath_err
hsm_opened_note(struct hsm_unit *unit, uint32_t key)
{
    return set_opened(unit, key, true);
}

void
hsm_opened_clear(struct hsm_unit *unit, uint32_t key)
{
    (void)set_opened(unit, key, false); /* cannot fail: nothing grows */
}

void
hsm_unit_forget(struct hsm_unit *unit, uint32_t key)
{
    const struct hsm_outcome failure = {.err = ATH_ERR_KEY_NOT_FOUND};

    hsm_key_login_fails(unit, key, &failure);
    if (unit->process == NULL || unit->is_leaving || !key_is_opened(unit, key))
        return;
    hsm_opened_clear(unit, key);
    hsm_process_send(unit->process,
                     &(struct hsm_request){.id = 0, .op = HSM_OP_KEY_CLOSE, .key = key});
}

/* Is its key to be opened first? */
static bool
uses_key(const struct hsm_job *job)
{
    return job->op == HSM_OP_SIGN || job->op == HSM_OP_COUNTER || job->op == HSM_OP_KEY_DELETE ||
           job->op == HSM_OP_LOGIN;
}

/* The pool's own KEY_OPEN, sent before a key's first signature of a helper's life. */
ath_err
hsm_opened_before(struct hsm_unit *unit, const struct hsm_job *job)
{
    struct hsm_job *open;
    ath_err err;

    if (!uses_key(job) || key_is_opened(unit, job->key))
        return ATH_OK;
    if ((open = calloc(1, sizeof(*open))) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = hsm_opened_note(unit, job->key)) != ATH_OK) {
        free(open);
        return err;
    }
    open->unit = unit;
    open->op = HSM_OP_KEY_OPEN;
    open->key = job->key;
    open->is_own = true;
    open->queued_us = clock_monotonic_us();
    hsm_unit_send_request(unit, open,
                          &(struct hsm_request){.id = hsm_unit_next_id(unit),
                                                .op = HSM_OP_KEY_OPEN,
                                                .key = job->key,
                                                .data = job->key_blob});
    return ATH_OK;
}

/* A key that could not be opened: the signatures sent behind it will fail for the same reason, and
 * so does who waits for its PIN. */
void
hsm_opened_fails(struct hsm_unit *unit, const struct hsm_job *open,
                 const struct hsm_outcome *outcome)
{
    /* the caller's parameters are right: it is our file that the hardware does not take */
    const struct hsm_outcome failure = {
        .err = outcome->err == ATH_ERR_INVALID_PARAMS ? ATH_ERR_HSM_ERROR : outcome->err,
        .why = outcome->why,
        .native = outcome->native};
    struct hsm_job *job;

    hsm_opened_clear(unit, open->key);
    TAILQ_FOREACH (job, &unit->flying, flying)
        if (uses_key(job) && job->key == open->key && !job->deferred.waiting)
            job->failed = failure;
    hsm_key_login_fails(unit, open->key, &failure);
}
