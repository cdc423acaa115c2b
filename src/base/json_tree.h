/* struct json is a cJSON; private to src/base/json*.c, which alone know it. */
#ifndef BASE_JSON_TREE_H
#define BASE_JSON_TREE_H

#include <cjson/cJSON.h>

#include "base/json.h"

static inline const cJSON *
tree_of(const struct json *json)
{
    return (const cJSON *)json;
}

static inline cJSON *
tree_of_mutable(struct json *json)
{
    return (cJSON *)json;
}

static inline struct json *
json_of(cJSON *tree)
{
    return (struct json *)tree;
}

/* cJSON's allocations through malloc and free, what is freed wiped first. Before any other call of
 * cJSON that allocates. */
void tree_init_hooks(void);

#endif
