/* From short strings (names, identifiers we made, DIDs the owner chose) to things. Keys are
 * borrowed: they must live as long as their entry, best inside the thing. Not for strings that
 * strangers choose in number: the hash is not keyed. */
#ifndef ATHD_STRING_MAP_H
#define ATHD_STRING_MAP_H

#include <stddef.h>

#include "ath/err.h"

struct string_map_slot {
    const char *key; /* NULL: free */
    void *value;
};

struct string_map { /* zero-initialise */
    struct string_map_slot *slots;
    size_t capacity, count;
};

void *string_map_get(const struct string_map *map, const char *key); /* NULL: none */
/* Adds, or replaces key and value of an entry of this key. ATH_ERR_NOMEM: the map is as it was. */
ath_err string_map_put(struct string_map *map, const char *key, void *value) ATH_MUST_USE;
void *string_map_remove(struct string_map *map, const char *key); /* the value; NULL: none */
/* Walks in no order: *cursor begins at 0; NULL at the end. The entry just given may be removed only
 * after the walk. */
void *string_map_next(const struct string_map *map, size_t *cursor);
void string_map_done(struct string_map *map); /* values are the caller's */

/* The values, in order of their keys; the caller frees the array. NULL when out of memory (and for
 * an empty map). */
void **string_map_sorted(const struct string_map *map);

#endif
