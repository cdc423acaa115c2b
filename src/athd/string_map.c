/* Open addressing with linear probing; removal shifts the entries behind it back, so there are no
 * tombstones. */
#include "athd/string_map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 16u

static size_t
hash_of(const char *key)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */

    for (; *key != '\0'; key++) {
        hash ^= (uint8_t)*key;
        hash *= 0x100000001b3u;
    }
    return (size_t)(hash ^ (hash >> 32));
}

/* The slot of key, or the free one where it belongs. */
static struct string_map_slot *
slot_of(const struct string_map *map, const char *key)
{
    size_t i = hash_of(key) & (map->capacity - 1);

    while (map->slots[i].key != NULL && strcmp(map->slots[i].key, key) != 0)
        i = (i + 1) & (map->capacity - 1);
    return &map->slots[i];
}

void *
string_map_get(const struct string_map *map, const char *key)
{
    return map->capacity == 0 || key == NULL ? NULL : slot_of(map, key)->value;
}

static ath_err
grow(struct string_map *map)
{
    struct string_map bigger = {.count = map->count};

    bigger.capacity = map->capacity == 0 ? CAPACITY_MIN : map->capacity * 2;
    if ((bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots))) == NULL)
        return ATH_ERR_NOMEM;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].key != NULL)
            *slot_of(&bigger, map->slots[i].key) = map->slots[i];
    free(map->slots);
    *map = bigger;
    return ATH_OK;
}

ath_err
string_map_put(struct string_map *map, const char *key, void *value)
{
    struct string_map_slot *slot;
    ath_err err;

    if (map->count >= map->capacity / 4 * 3 && (err = grow(map)) != ATH_OK)
        return err;
    slot = slot_of(map, key);
    if (slot->key == NULL)
        map->count++;
    *slot = (struct string_map_slot){key, value};
    return ATH_OK;
}

void *
string_map_remove(struct string_map *map, const char *key)
{
    struct string_map_slot *slot;
    size_t hole, i, home;
    void *value;

    if (map->capacity == 0 || (slot = slot_of(map, key))->key == NULL)
        return NULL;
    value = slot->value;
    hole = (size_t)(slot - map->slots);
    for (i = (hole + 1) & (map->capacity - 1); map->slots[i].key != NULL;
         i = (i + 1) & (map->capacity - 1)) {
        home = hash_of(map->slots[i].key) & (map->capacity - 1);
        /* may it move to the hole without coming before its home? */
        if (((i - home) & (map->capacity - 1)) >= ((i - hole) & (map->capacity - 1))) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct string_map_slot){0};
    map->count--;
    return value;
}

void *
string_map_next(const struct string_map *map, size_t *cursor)
{
    while (*cursor < map->capacity) {
        const struct string_map_slot *slot = &map->slots[(*cursor)++];

        if (slot->key != NULL)
            return slot->value;
    }
    return NULL;
}

void
string_map_done(struct string_map *map)
{
    free(map->slots);
    *map = (struct string_map){0};
}

static int
slot_compare(const void *a, const void *b)
{
    const struct string_map_slot *left = a, *right = b;

    return strcmp(left->key, right->key);
}

void **
string_map_sorted(const struct string_map *map)
{
    struct string_map_slot *slots;
    void **values = NULL;
    size_t n = 0;

    if (map->count == 0 || (slots = calloc(map->count, sizeof(*slots))) == NULL)
        return NULL;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].key != NULL)
            slots[n++] = map->slots[i];
    qsort(slots, n, sizeof(*slots), slot_compare);
    if ((values = calloc(n, sizeof(*values))) != NULL)
        for (size_t i = 0; i < n; i++)
            values[i] = slots[i].value;
    free(slots);
    return values;
}
