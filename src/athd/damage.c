#include "athd/damage.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct damage {
    SLIST_ENTRY(damage) entry;
    char *file; /* as it is told */
    char *dir;
    struct why why;
};

static char *
short_path(const char *dir, const char *name)
{
    const char *slash = strrchr(dir, '/');
    struct ath_buf path = {.max = 8192};
    char *copy;

    ath_buf_printf(&path, "%s/%s", slash == NULL ? dir : slash + 1, name);
    copy = ath_buf_text(&path) == NULL ? NULL : ath_strdup((const char *)path.data);
    ath_buf_done(&path);
    return copy;
}

void
damage_note(struct damage_list *list, const char *dir, const char *name, ath_err err,
            const struct why *why)
{
    struct damage *damage = calloc(1, sizeof(*damage));

    log_error("event=state_damaged file=%s/%s err=%s why=\"%s\"", dir, name, ath_err_reason(err),
              why_text(why, err));
    if (damage == NULL || (damage->file = short_path(dir, name)) == NULL ||
        (damage->dir = ath_strdup(dir)) == NULL) {
        if (damage != NULL)
            free(damage->file);
        free(damage);
        return;
    }
    why_set(&damage->why, err, "%s", why_text(why, err));
    SLIST_INSERT_HEAD(list, damage, entry);
}

/* "/a/1" is in "/a/1" and "/a", not in "/a/10". */
static bool
is_in(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

ath_err
damage_report(const struct damage_list *list, const char *dir, struct json **ret_report)
{
    struct json_maker array, object;
    const struct damage *damage;

    json_array_begin(&array);
    SLIST_FOREACH(damage, list, entry)
    {
        if (!is_in(damage->dir, dir))
            continue;
        json_object_begin(&object);
        json_put_string(&object, "file", damage->file);
        json_put_string(&object, "message", damage->why.text);
        json_put_maker(&array, NULL, &object);
    }
    return json_maker_end(&array, ret_report);
}

void
damage_done(struct damage_list *list)
{
    struct damage *damage;

    while ((damage = SLIST_FIRST(list)) != NULL) {
        SLIST_REMOVE_HEAD(list, entry);
        free(damage->file);
        free(damage->dir);
        free(damage);
    }
}
