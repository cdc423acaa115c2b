/*
 * How many signatures a grant has made. The file is ahead of them, so that no kill of athd makes
 * one more of them: it is written while the hardware works, and before it is given out a signature
 * waits until it is counted there. The file counts a few in advance where many are left; those that
 * a killed athd had not made yet are lost.
 */
#include <string.h>

#include "athd/grant.h"
#include "athd/grant_table.h"

#define AHEAD_MAX 64  /* counted in advance, at most */
#define AHEAD_PART 16 /* and no more than this part of what is left */

static void write_uses(struct grant *grant);

static int64_t
ahead_of(const struct grant *grant)
{
    int64_t left = grant->max_uses - grant->uses_sent, ahead = left / AHEAD_PART;

    return grant->uses_sent + (ahead < AHEAD_MAX ? ahead : AHEAD_MAX);
}

static void
step_end(struct grant_use_step *step, ath_err err)
{
    struct grant_use *use = step->use;

    TAILQ_REMOVE(&step->grant->waiting, step, entry);
    step->grant = NULL;
    if (err != ATH_OK)
        use->err = err;
    if (--use->waits == 0 && use->done != NULL)
        use->done(use->ctx, use->err);
}

/* Whoever was counted by the file goes on. Each end may begin and end other uses. */
static void
tell(struct grant *grant, ath_err err)
{
    struct grant_use_step *step;

    do {
        TAILQ_FOREACH (step, &grant->waiting, entry)
            if (err != ATH_OK || step->number <= grant->uses_on_disk)
                break;
        if (step != NULL)
            step_end(step, err);
    } while (step != NULL);
}

static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    struct grant *grant = ctx;

    (void)why; /* it is in the log */
    if (err == ATH_OK && grant->uses_being_written > grant->uses_on_disk)
        grant->uses_on_disk = grant->uses_being_written;
    grant->uses_being_written = 0;
    tell(grant, err == ATH_OK ? ATH_OK : ATH_ERR_AUDIT_UNAVAILABLE);
    if (!TAILQ_EMPTY(&grant->waiting))
        write_uses(grant);
    grant_free(grant);
}

static void
write_uses(struct grant *grant)
{
    if (grant->uses_being_written != 0 || grant->table == NULL)
        return;
    grant->uses_being_written = ahead_of(grant);
    grant_table_write(grant, grant->uses_being_written, on_written, grant_ref(grant));
}

ath_err
grant_use_begin(struct grant *grant, struct grant_use *use, struct why *why)
{
    struct grant *above;

    *use = (struct grant_use){.waits = 0};
    for (above = grant; above != NULL; above = above->parent) {
        if (above->table == NULL)
            return why_set(why, ATH_ERR_POLICY_DENIED, "the grant \"%s\" has ended", above->name);
        if (above->max_uses != 0 && above->uses >= above->max_uses)
            return why_set(why, ATH_ERR_POLICY_DENIED,
                           "the grant \"%s\" was for %lld signatures; all are used", above->name,
                           (long long)above->max_uses);
    }
    use->grant = grant_ref(grant);
    for (above = grant; above != NULL; above = above->parent)
        if (above->max_uses != 0 && ++above->uses == above->max_uses)
            grant_table_note_used_up(above);
    return ATH_OK;
}

static void
send_step(struct grant *grant, struct grant_use *use, struct grant_use_step *step)
{
    if (++grant->uses_sent <= grant->uses_on_disk)
        return;
    *step = (struct grant_use_step){.use = use, .grant = grant, .number = grant->uses_sent};
    TAILQ_INSERT_TAIL(&grant->waiting, step, entry);
    use->waits++;
    write_uses(grant);
}

void
grant_use_send(struct grant_use *use, void (*done)(void *ctx, ath_err err), void *ctx)
{
    struct grant *above;
    size_t count = 0;

    use->is_sent = true;
    use->done = done;
    use->ctx = ctx;
    for (above = use->grant; above != NULL; above = above->parent)
        if (above->max_uses != 0)
            send_step(above, use, &use->steps[count++]);
}

void
grant_use_end(struct grant_use *use, bool is_signed)
{
    struct grant *above;

    for (size_t i = 0; i < GRANT_DEPTH_MAX && use->waits > 0; i++)
        if (use->steps[i].grant != NULL) {
            TAILQ_REMOVE(&use->steps[i].grant->waiting, &use->steps[i], entry);
            use->waits--;
        }
    for (above = use->grant; above != NULL && !is_signed; above = above->parent)
        if (above->max_uses != 0) {
            above->uses--;
            above->uses_sent -= use->is_sent;
        }
    grant_free(use->grant);
    use->grant = NULL;
}

void
grant_uses_drop(struct grant *grant)
{
    tell(grant, ATH_ERR_POLICY_DENIED);
}

int64_t
grant_uses_claimed(const struct grant *grant)
{
    return grant->uses_being_written > grant->uses_on_disk ? grant->uses_being_written
                                                           : grant->uses_on_disk;
}

void
grant_uses_settle(struct grant *grant)
{
    if (grant->max_uses != 0 && grant->uses_sent != grant->uses_on_disk)
        grant_table_write(grant, grant->uses_sent, NULL, NULL);
}
