#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64url.h"
#include "base/json_check.h"
#include "base/json_tree.h"
#include "base/utf8.h"

static void
fail(struct json_maker *maker, ath_err err)
{
    if (maker->err == ATH_OK)
        maker->err = err;
}

static void
begin(struct json_maker *maker, cJSON *(*create)(void))
{
    tree_init_hooks();
    *maker = (struct json_maker){json_of(create()), ATH_OK};
    if (maker->root == NULL)
        fail(maker, ATH_ERR_NOMEM);
}

void
json_object_begin(struct json_maker *maker)
{
    begin(maker, cJSON_CreateObject);
}

void
json_array_begin(struct json_maker *maker)
{
    begin(maker, cJSON_CreateArray);
}

static bool
add(struct json *container, const char *name, cJSON *item)
{
    if (name == NULL) {
        /* an entry has no name, also if it was a member before */
        cJSON_free(item->string);
        item->string = NULL;
        return cJSON_AddItemToArray(tree_of_mutable(container), item);
    }
    json_remove(container, name);
    return cJSON_AddItemToObject(tree_of_mutable(container), name, item);
}

/* Takes item; NULL stands for an allocation that failed. */
static void
put(struct json_maker *maker, const char *name, cJSON *item)
{
    bool fits = name == NULL ? json_is_array(maker->root) : json_is_object(maker->root);

    if (item == NULL)
        fail(maker, ATH_ERR_NOMEM);
    else if (!fits)
        fail(maker, ATH_ERR_INTERNAL);
    if (maker->err != ATH_OK) {
        cJSON_Delete(item);
    } else if (!add(maker->root, name, item)) {
        fail(maker, ATH_ERR_NOMEM);
        cJSON_Delete(item);
    }
}

/* A string item around text, which it takes; NULL (and text freed) when out of memory. */
static cJSON *
string_item(char *text)
{
    cJSON *item = text == NULL ? NULL : cJSON_CreateNull();

    if (item == NULL) {
        free(text);
        return NULL;
    }
    item->type = cJSON_String;
    item->valuestring = text;
    return item;
}

struct json *
json_string_new(struct ath_slice text)
{
    tree_init_hooks();
    if (!utf8_is_valid(text) || (text.len > 0 && memchr(text.data, 0, text.len) != NULL))
        return NULL;
    return json_of(string_item(ath_slice_dup(text)));
}

void
json_put_slice(struct json_maker *maker, const char *name, struct ath_slice text)
{
    if (maker->err != ATH_OK)
        return;
    if (!utf8_is_valid(text) || (text.len > 0 && memchr(text.data, 0, text.len) != NULL)) {
        fail(maker, ATH_ERR_PARSE);
        return;
    }
    put(maker, name, string_item(ath_slice_dup(text)));
}

void
json_put_string(struct json_maker *maker, const char *name, const char *text)
{
    if (text != NULL)
        json_put_slice(maker, name, ath_slice_of_string(text));
}

void
json_put_base64url(struct json_maker *maker, const char *name, struct ath_slice bytes)
{
    char *text;

    if (maker->err != ATH_OK)
        return;
    if ((text = malloc(BASE64URL_LEN(bytes.len) + 1)) != NULL)
        base64url_encode(bytes, text);
    put(maker, name, string_item(text));
}

void
json_put_int(struct json_maker *maker, const char *name, int64_t value)
{
    if (maker->err != ATH_OK)
        return;
    if (value > JSON_INTEGER_MAX || value < -JSON_INTEGER_MAX) {
        fail(maker, ATH_ERR_LIMIT_EXCEEDED);
        return;
    }
    put(maker, name, cJSON_CreateNumber((double)value));
}

void
json_put_bool(struct json_maker *maker, const char *name, bool value)
{
    if (maker->err == ATH_OK)
        put(maker, name, cJSON_CreateBool(value));
}

void
json_put_null(struct json_maker *maker, const char *name)
{
    if (maker->err == ATH_OK)
        put(maker, name, cJSON_CreateNull());
}

void
json_put_take(struct json_maker *maker, const char *name, struct json *taken)
{
    put(maker, name, tree_of_mutable(taken));
}

void
json_put_copy(struct json_maker *maker, const char *name, const struct json *copied)
{
    if (maker->err == ATH_OK)
        put(maker, name, tree_of_mutable(json_clone(copied)));
}

void
json_put_maker(struct json_maker *maker, const char *name, struct json_maker *inner)
{
    struct json *made = NULL;
    ath_err err = json_maker_end(inner, &made);

    if (err != ATH_OK)
        fail(maker, err);
    else
        json_put_take(maker, name, made);
}

ath_err
json_maker_end(struct json_maker *maker, struct json **ret_json)
{
    ath_err err = maker->err;

    if (err == ATH_OK && maker->root == NULL)
        err = ATH_ERR_INTERNAL;
    if (err == ATH_OK) {
        *ret_json = maker->root;
        maker->root = NULL;
    }
    json_maker_done(maker);
    return err;
}

void
json_maker_done(struct json_maker *maker)
{
    json_free(maker->root);
    maker->root = NULL;
}
