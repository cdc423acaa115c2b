#include "athd/consent_window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/random.h"

ath_err
consent_id_make(char prefix, char ret_id[CONSENT_ID_SIZE])
{
    uint8_t bytes[(CONSENT_ID_SIZE - 2) / 2];
    ath_err err = random_bytes(bytes, sizeof(bytes));

    if (err != ATH_OK)
        return err;
    ret_id[0] = prefix;
    for (size_t i = 0; i < sizeof(bytes); i++)
        (void)snprintf(ret_id + 1 + 2 * i, 3, "%02x", bytes[i]);
    return ATH_OK;
}

static void
end(struct consent_windows *windows, struct consent_window *window)
{
    TAILQ_REMOVE(windows, window, entry);
    consent_about_done(&window->about);
    free(window);
}

/* The wall clock counts, too: what the user saw was a time of day. */
static bool
is_over(const struct consent_window *window)
{
    return clock_boot_ms() >= window->until_ms || clock_now() >= window->expires_at;
}

static void
end_old(struct consent_windows *windows)
{
    struct consent_window *window, *next;

    for (window = TAILQ_FIRST(windows); window != NULL; window = next) {
        next = TAILQ_NEXT(window, entry);
        if (is_over(window))
            end(windows, window);
    }
}

static size_t
count_of(const struct consent_windows *windows, uid_t tenant)
{
    const struct consent_window *window;
    size_t count = 0;

    TAILQ_FOREACH (window, windows, entry)
        count += window->asker.tenant == tenant;
    return count;
}

ath_err
consent_windows_add(struct consent_windows *windows, const struct consent_asker *asker,
                    struct consent_about *taken_about, unsigned uses, unsigned seconds,
                    const struct consent_window **ret_window)
{
    struct consent_window *window = NULL;
    ath_err err = ATH_ERR_NOMEM;

    end_old(windows);
    if (count_of(windows, asker->tenant) >= CONSENT_WINDOWS_MAX) {
        err = ATH_ERR_LIMIT_EXCEEDED;
        goto out;
    }
    if ((window = calloc(1, sizeof(*window))) == NULL ||
        (err = consent_id_make('w', window->id)) != ATH_OK)
        goto out;
    window->asker = *asker;
    window->about = *taken_about;
    *taken_about = (struct consent_about){.method = ""};
    window->uses_left = uses;
    window->until_ms = clock_boot_ms() + (uint64_t)seconds * 1000;
    window->expires_at = clock_now() + seconds;
    TAILQ_INSERT_TAIL(windows, window, entry);
    *ret_window = window;
    window = NULL;
out:
    free(window);
    consent_about_done(taken_about);
    return err;
}

bool
consent_windows_use(struct consent_windows *windows, const struct consent_asker *asker,
                    const struct consent_about *about, char ret_id[CONSENT_ID_SIZE])
{
    struct consent_window *window;

    end_old(windows);
    TAILQ_FOREACH (window, windows, entry)
        if (consent_asker_equal(&window->asker, asker) &&
            consent_about_covers(&window->about, about))
            break;
    if (window == NULL)
        return false;
    memcpy(ret_id, window->id, CONSENT_ID_SIZE);
    if (--window->uses_left == 0)
        end(windows, window);
    return true;
}

bool
consent_windows_forget(struct consent_windows *windows, uid_t tenant, const char *id)
{
    struct consent_window *window;

    end_old(windows);
    TAILQ_FOREACH (window, windows, entry)
        if (window->asker.tenant == tenant && strcmp(window->id, id) == 0) {
            end(windows, window);
            return true;
        }
    return false;
}

void
consent_windows_end_key(struct consent_windows *windows, uid_t tenant, const char *key)
{
    struct consent_window *window, *next;

    for (window = TAILQ_FIRST(windows); window != NULL; window = next) {
        next = TAILQ_NEXT(window, entry);
        if (window->asker.tenant == tenant && window->about.key != NULL &&
            strcmp(window->about.key, key) == 0)
            end(windows, window);
    }
}

size_t
consent_windows_end_tenant(struct consent_windows *windows, uid_t tenant)
{
    struct consent_window *window, *next;
    size_t count = 0;

    for (window = TAILQ_FIRST(windows); window != NULL; window = next) {
        next = TAILQ_NEXT(window, entry);
        if (window->asker.tenant != tenant)
            continue;
        end(windows, window);
        count++;
    }
    return count;
}

size_t
consent_windows_end(struct consent_windows *windows)
{
    size_t count = 0;

    for (; !TAILQ_EMPTY(windows); count++)
        end(windows, TAILQ_FIRST(windows));
    return count;
}

static void
put(const struct consent_window *window, struct json_maker *list)
{
    struct json_maker object;

    json_object_begin(&object);
    json_put_string(&object, "id", window->id);
    consent_about_put(&window->about, &object);
    consent_asker_put(&window->asker, &object, "asker");
    json_put_int(&object, "uses_left", window->uses_left);
    json_put_int(&object, "expires_at", window->expires_at);
    json_put_maker(list, NULL, &object);
}

void
consent_windows_put(struct consent_windows *windows, uid_t tenant, struct json_maker *object,
                    const char *name)
{
    const struct consent_window *window;
    struct json_maker list;

    end_old(windows);
    json_array_begin(&list);
    TAILQ_FOREACH (window, windows, entry)
        if (window->asker.tenant == tenant)
            put(window, &list);
    json_put_maker(object, name, &list);
}
