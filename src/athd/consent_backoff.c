#include "athd/consent_backoff.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static void
end(struct consent_backoffs *backoffs, struct consent_backoff *backoff)
{
    TAILQ_REMOVE(backoffs, backoff, entry);
    free(backoff->key);
    free(backoff);
}

/* The oldest come first. */
static void
end_old(struct consent_backoffs *backoffs)
{
    struct consent_backoff *first;
    uint64_t now_ms = clock_boot_ms();

    while ((first = TAILQ_FIRST(backoffs)) != NULL &&
           now_ms - first->refused_at_ms >= CONSENT_BACKOFF_FORGET_S * 1000u)
        end(backoffs, first);
}

static struct consent_backoff *
find(struct consent_backoffs *backoffs, const struct consent_asker *asker, const char *key)
{
    struct consent_backoff *backoff;

    end_old(backoffs);
    TAILQ_FOREACH (backoff, backoffs, entry)
        if ((key == NULL) == (backoff->key == NULL) &&
            (key == NULL || strcmp(backoff->key, key) == 0) &&
            consent_asker_is_as_one(&backoff->asker, asker))
            return backoff;
    return NULL;
}

uint64_t
consent_backoffs_wait(struct consent_backoffs *backoffs, const struct consent_asker *asker,
                      const char *key, bool *ret_is_refused)
{
    const struct consent_backoff *backoff = find(backoffs, asker, key);
    uint64_t now_ms = clock_boot_ms();

    *ret_is_refused = false;
    if (backoff == NULL || now_ms >= backoff->next_at_ms)
        return 0;
    *ret_is_refused = backoff->refusals > CONSENT_BACKOFF_SHOWN_LATER;
    return backoff->next_at_ms - now_ms;
}

/* 1, 2, 4 s, then 8, 16 and so on */
static uint64_t
pause_s(unsigned refusals)
{
    uint64_t seconds = refusals > 9 ? CONSENT_BACKOFF_MAX_S : UINT64_C(1) << (refusals - 1);

    return seconds < CONSENT_BACKOFF_MAX_S ? seconds : CONSENT_BACKOFF_MAX_S;
}

static struct consent_backoff *
add(struct consent_backoffs *backoffs, const struct consent_asker *asker, const char *key)
{
    struct consent_backoff *backoff = calloc(1, sizeof(*backoff)), *other;
    size_t count = 0;

    if (backoff == NULL || ath_strdup_to(key, &backoff->key) != ATH_OK ||
        consent_id_make('b', backoff->id) != ATH_OK) {
        if (backoff != NULL)
            free(backoff->key);
        free(backoff);
        return NULL;
    }
    backoff->asker = *asker;
    if (asker->outermost_serial != 0) { /* it holds whatever runs there */
        backoff->asker.unit[0] = backoff->asker.exe[0] = '\0';
        backoff->asker.exe_file = (struct caller_file){0};
    }
    TAILQ_FOREACH_REVERSE(other, backoffs, consent_backoffs, entry)
    if (other->asker.tenant == asker->tenant && ++count >= CONSENT_BACKOFFS_MAX)
        break;
    if (other != NULL)
        end(backoffs, other);
    TAILQ_INSERT_TAIL(backoffs, backoff, entry);
    return backoff;
}

void
consent_backoffs_refused(struct consent_backoffs *backoffs, const struct consent_asker *asker,
                         const char *key)
{
    struct consent_backoff *backoff = find(backoffs, asker, key);

    if (backoff == NULL && (backoff = add(backoffs, asker, key)) == NULL)
        return;
    TAILQ_REMOVE(backoffs, backoff, entry);
    TAILQ_INSERT_TAIL(backoffs, backoff, entry);
    backoff->refusals++;
    backoff->refused_at_ms = clock_boot_ms();
    backoff->next_at_ms = backoff->refused_at_ms + pause_s(backoff->refusals) * 1000;
}

void
consent_backoffs_unanswered(struct consent_backoffs *backoffs, const struct consent_asker *asker,
                            const char *key, uint64_t shown_at_ms)
{
    const struct consent_backoff *backoff = find(backoffs, asker, key);

    if (backoff == NULL || shown_at_ms >= backoff->refused_at_ms)
        consent_backoffs_refused(backoffs, asker, key);
}

void
consent_backoffs_approved(struct consent_backoffs *backoffs, const struct consent_asker *asker,
                          const char *key)
{
    struct consent_backoff *backoff = find(backoffs, asker, key);

    if (backoff != NULL)
        end(backoffs, backoff);
}

bool
consent_backoffs_forget(struct consent_backoffs *backoffs, uid_t tenant, const char *id)
{
    struct consent_backoff *backoff;

    end_old(backoffs);
    TAILQ_FOREACH (backoff, backoffs, entry)
        if (backoff->asker.tenant == tenant && strcmp(backoff->id, id) == 0) {
            end(backoffs, backoff);
            return true;
        }
    return false;
}

void
consent_backoffs_end(struct consent_backoffs *backoffs)
{
    while (!TAILQ_EMPTY(backoffs))
        end(backoffs, TAILQ_FIRST(backoffs));
}

static void
put(const struct consent_backoff *backoff, struct json_maker *list)
{
    uint64_t now_ms = clock_boot_ms();
    uint64_t left_ms = backoff->next_at_ms > now_ms ? backoff->next_at_ms - now_ms : 0;
    struct json_maker object;

    json_object_begin(&object);
    json_put_string(&object, "id", backoff->id);
    json_put_string(&object, "key", backoff->key);
    consent_asker_put(&backoff->asker, &object, "asker");
    json_put_int(&object, "refusals", backoff->refusals);
    json_put_int(&object, "next_at", clock_now() + (int64_t)((left_ms + 999) / 1000));
    json_put_maker(list, NULL, &object);
}

void
consent_backoffs_put(struct consent_backoffs *backoffs, uid_t tenant, struct json_maker *object,
                     const char *name)
{
    const struct consent_backoff *backoff;
    struct json_maker list;

    end_old(backoffs);
    json_array_begin(&list);
    TAILQ_FOREACH (backoff, backoffs, entry)
        if (backoff->asker.tenant == tenant)
            put(backoff, &list);
    json_put_maker(object, name, &list);
}
