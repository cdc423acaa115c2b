#include "base/json.h"

#include <string.h>

#include "base/json_check.h"
#include "base/json_tree.h"

bool
json_is_object(const struct json *json)
{
    return cJSON_IsObject(tree_of(json));
}

bool
json_is_array(const struct json *json)
{
    return cJSON_IsArray(tree_of(json));
}

bool
json_is_null(const struct json *json)
{
    return cJSON_IsNull(tree_of(json));
}

bool
json_is_bool(const struct json *json)
{
    return cJSON_IsBool(tree_of(json));
}

bool
json_is_number(const struct json *json)
{
    return cJSON_IsNumber(tree_of(json));
}

bool
json_is_true(const struct json *json)
{
    return cJSON_IsTrue(tree_of(json));
}

const char *
json_string(const struct json *json)
{
    return cJSON_IsString(tree_of(json)) ? tree_of(json)->valuestring : NULL;
}

bool
json_int(const struct json *json, int64_t *ret_value)
{
    double value;

    if (!json_is_number(json))
        return false;
    value = tree_of(json)->valuedouble;
    if (!(value >= (double)-JSON_INTEGER_MAX && value <= (double)JSON_INTEGER_MAX))
        return false;
    if ((double)(int64_t)value < value || (double)(int64_t)value > value)
        return false;
    *ret_value = (int64_t)value;
    return true;
}

/* cJSON's own look-up is not used: it differs in what it does with NULL names and arrays. */
const struct json *
json_get(const struct json *object, const char *name)
{
    const struct json *child;

    if (!json_is_object(object))
        return NULL;
    for (child = json_first(object); child != NULL; child = json_next(child))
        if (strcmp(json_name(child), name) == 0)
            return child;
    return NULL;
}

struct json *
json_get_mutable(struct json *object, const char *name)
{
    cJSON *child;

    if (!json_is_object(object))
        return NULL;
    for (child = tree_of_mutable(object)->child; child != NULL; child = child->next)
        if (strcmp(child->string, name) == 0)
            return json_of(child);
    return NULL;
}

const char *
json_get_string(const struct json *object, const char *name)
{
    return json_string(json_get(object, name));
}

bool
json_get_int(const struct json *object, const char *name, int64_t *ret_value)
{
    return json_int(json_get(object, name), ret_value);
}

const struct json *
json_first(const struct json *container)
{
    if (!json_is_object(container) && !json_is_array(container))
        return NULL;
    return json_of(tree_of(container)->child);
}

const struct json *
json_next(const struct json *child)
{
    return child == NULL ? NULL : json_of(tree_of(child)->next);
}

const char *
json_name(const struct json *child)
{
    return child == NULL ? NULL : tree_of(child)->string;
}

size_t
json_count(const struct json *container)
{
    const struct json *child;
    size_t count = 0;

    for (child = json_first(container); child != NULL; child = json_next(child))
        count++;
    return count;
}

struct json *
json_detach(struct json *object, const char *name)
{
    struct json *child = json_get_mutable(object, name);

    if (child == NULL)
        return NULL;
    return json_of(cJSON_DetachItemViaPointer(tree_of_mutable(object), tree_of_mutable(child)));
}

struct json *
json_detach_first(struct json *container)
{
    cJSON *tree = tree_of_mutable(container);

    if (tree == NULL || tree->child == NULL)
        return NULL;
    return json_of(cJSON_DetachItemViaPointer(tree, tree->child));
}

void
json_remove(struct json *object, const char *name)
{
    json_free(json_detach(object, name));
}
