#include "protocol/scope.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/protocol_limits.h"

bool
scope_is_valid(const char *scope)
{
    size_t len = 0;

    for (; scope != NULL && scope[len] != '\0'; len++) {
        unsigned char c = (unsigned char)scope[len];

        if (len == SCOPE_MAX_LEN || c < 0x21 || c > 0x7e || c == '"' || c == '\\')
            return false;
    }
    return len > 0;
}

bool
scope_list_has(const struct scope_list *list, const char *scope)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], scope) == 0)
            return true;
    return false;
}

ath_err
scope_list_add(struct scope_list *list, const char *scope)
{
    char **items;
    char *copy;

    if (list->count >= SCOPES_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    if ((copy = ath_strdup(scope)) == NULL)
        return ATH_ERR_NOMEM;
    if ((items = realloc(list->items, (list->count + 1) * sizeof(*items))) == NULL) {
        free(copy);
        return ATH_ERR_NOMEM;
    }
    items[list->count++] = copy;
    list->items = items;
    return ATH_OK;
}

void
scope_list_done(struct scope_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct scope_list){0};
}

static ath_err
add_checked(struct scope_list *list, const char *scope, struct why *why)
{
    if (!scope_is_valid(scope))
        return why_set(why, ATH_ERR_PARSE, "scope %zu is not a scope-token (RFC 6749 3.3)",
                       list->count + 1);
    if (scope_list_has(list, scope))
        return why_set(why, ATH_ERR_PARSE, "scope \"%s\" is there twice", scope);
    return scope_list_add(list, scope);
}

ath_err
scope_list_decode(const struct json *array, size_t min, struct why *why,
                  struct scope_list *ret_list)
{
    struct scope_list list = {0};
    size_t count = json_count(array);
    ath_err err = ATH_OK;

    if (!json_is_array(array) || count < min || count > SCOPES_MAX)
        return why_set(why, ATH_ERR_PARSE, "scopes must be a list of %zu to %u", min, SCOPES_MAX);
    for (const struct json *item = json_first(array); item != NULL; item = json_next(item))
        if ((err = add_checked(&list, json_string(item), why)) != ATH_OK) {
            scope_list_done(&list);
            return err;
        }
    *ret_list = list;
    return ATH_OK;
}

/* One scope of text, up to a space or the end; *ret_rest is behind that space, NULL at the end. */
static ath_err
split_one(const char *text, struct scope_list *list, struct why *why, const char **ret_rest)
{
    size_t len = strcspn(text, " ");
    char scope[SCOPE_MAX_LEN + 1];

    if (len > SCOPE_MAX_LEN)
        return why_set(why, ATH_ERR_PARSE, "a scope is longer than %u characters", SCOPE_MAX_LEN);
    memcpy(scope, text, len);
    scope[len] = '\0';
    *ret_rest = text[len] == '\0' ? NULL : text + len + 1;
    if (list->count == SCOPES_MAX)
        return why_set(why, ATH_ERR_PARSE, "more than %u scopes", SCOPES_MAX);
    return add_checked(list, scope, why);
}

ath_err
scope_list_split(const char *text, struct why *why, struct scope_list *ret_list)
{
    struct scope_list list = {0};
    const char *rest = text;
    ath_err err = ATH_OK;

    while (err == ATH_OK && rest != NULL)
        err = split_one(rest, &list, why, &rest);
    if (err != ATH_OK) {
        scope_list_done(&list);
        return err;
    }
    *ret_list = list;
    return ATH_OK;
}

ath_err
scope_list_copy(const struct scope_list *from, struct scope_list *ret_list)
{
    struct scope_list list = {0};
    ath_err err;

    for (size_t i = 0; i < from->count; i++)
        if ((err = scope_list_add(&list, from->items[i])) != ATH_OK) {
            scope_list_done(&list);
            return err;
        }
    *ret_list = list;
    return ATH_OK;
}

bool
scope_list_is_subset(const struct scope_list *part, const struct scope_list *whole)
{
    for (size_t i = 0; i < part->count; i++)
        if (!scope_list_has(whole, part->items[i]))
            return false;
    return true;
}

bool
scope_list_equal(const struct scope_list *a, const struct scope_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

ath_err
scope_list_encode(const struct scope_list *list, struct json **ret_array)
{
    struct json_maker maker = {0};

    json_array_begin(&maker);
    for (size_t i = 0; i < list->count; i++)
        json_put_string(&maker, NULL, list->items[i]);
    return json_maker_end(&maker, ret_array);
}

void
scope_list_put_joined(const struct scope_list *list, struct ath_buf *out)
{
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            ath_buf_put_byte(out, ' ');
        ath_buf_put_string(out, list->items[i]);
    }
}

/* ---- decision ---- */

static ath_err
deny(struct scope_decision *decision, const char *scope, const char *reason)
{
    struct scope_denial *denied =
        realloc(decision->denied, (decision->denied_count + 1) * sizeof(*denied));

    if (denied == NULL)
        return ATH_ERR_NOMEM;
    decision->denied = denied;
    if ((denied[decision->denied_count].scope = ath_strdup(scope)) == NULL)
        return ATH_ERR_NOMEM;
    denied[decision->denied_count++].reason = reason;
    return ATH_OK;
}

ath_err
scope_decide(const struct scope_list *requested, const struct scope_list *server,
             const struct scope_list *grant, const struct scope_list *confirmed,
             struct scope_decision *ret_decision)
{
    struct scope_decision decision = {0};
    ath_err err = ATH_OK;

    for (size_t i = 0; err == ATH_OK && i < requested->count; i++) {
        const char *scope = requested->items[i];

        if (!scope_list_has(server, scope))
            err = deny(&decision, scope, "server_policy");
        else if (!scope_list_has(grant, scope))
            err = deny(&decision, scope, "user_grant");
        else if (confirmed != NULL && !scope_list_has(confirmed, scope))
            err = deny(&decision, scope, "user_confirmation");
        else
            err = scope_list_add(&decision.granted, scope);
    }
    if (err != ATH_OK) {
        scope_decision_done(&decision);
        return err;
    }
    *ret_decision = decision;
    return ATH_OK;
}

void
scope_decision_done(struct scope_decision *decision)
{
    scope_list_done(&decision->granted);
    for (size_t i = 0; i < decision->denied_count; i++)
        free(decision->denied[i].scope);
    free(decision->denied);
    *decision = (struct scope_decision){0};
}

ath_err
scope_denied_encode(const struct scope_decision *decision, struct json **ret_array)
{
    struct json_maker maker = {0};

    json_array_begin(&maker);
    for (size_t i = 0; i < decision->denied_count; i++) {
        struct json_maker entry = {0};

        json_object_begin(&entry);
        json_put_string(&entry, "scope", decision->denied[i].scope);
        json_put_string(&entry, "reason", decision->denied[i].reason);
        json_put_maker(&maker, NULL, &entry);
    }
    return json_maker_end(&maker, ret_array);
}
