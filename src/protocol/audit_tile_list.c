#include "protocol/audit_tile_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define MAX_TILES (64u * 1024u * 1024u)

uint64_t
audit_tile_end(const struct audit_tile *tile)
{
    unsigned shift = AUDIT_TILE_HEIGHT * tile->level;
    uint64_t hashes;

    if (tile->index > UINT64_MAX / AUDIT_TILE_WIDTH - 1)
        return UINT64_MAX;
    hashes = tile->index * AUDIT_TILE_WIDTH + tile->width;
    return hashes > UINT64_MAX >> shift ? UINT64_MAX : hashes << shift;
}

static ath_err
add_tile(struct audit_tile_list *list, const struct audit_tile *tile)
{
    if (list->count == list->cap) {
        size_t cap = list->cap == 0 ? 64 : 2 * list->cap;
        struct audit_tile *tiles;

        if (cap > MAX_TILES)
            return ATH_ERR_LIMIT_EXCEEDED;
        if ((tiles = realloc(list->tiles, cap * sizeof(*tiles))) == NULL)
            return ATH_ERR_NOMEM;
        list->tiles = tiles;
        list->cap = cap;
    }
    list->tiles[list->count++] = *tile;
    return ATH_OK;
}

/* Where the walk is: below dir at `path`. */
struct walk {
    const char *dir;
    struct audit_wrong *wrong;
    struct audit_tile_list *list;
    const char *path;
};

static ath_err walk_below(const struct walk *walk, const char *path);

/* tlog-tiles: "x001" goes on with the next three digits, "067.p" holds partial tiles; a level's
 * folder lies in tile/ itself. */
static bool
is_folder(const struct walk *walk, const char *name)
{
    size_t len = strlen(name);

    return strcmp(walk->path, "tile") == 0 || name[0] == 'x' ||
           (len > 2 && strcmp(name + len - 2, ".p") == 0);
}

static ath_err
each_name(void *ctx, const char *name)
{
    struct walk *walk = ctx;
    struct audit_tile tile;
    char path[AUDIT_TILE_MAX_PATH];
    int len = snprintf(path, sizeof(path), "%s/%s", walk->path, name);

    if (len < 0 || (size_t)len >= sizeof(path))
        return audit_wrong_set(walk->wrong, walk->path, "a name below it is no tile's");
    if (is_folder(walk, name))
        return walk_below(walk, path);
    if (audit_tile_parse(ath_slice_of_string(path), &tile) != ATH_OK)
        return audit_wrong_set(walk->wrong, path, "the name is no tile's");
    return add_tile(walk->list, &tile);
}

static ath_err
walk_below(const struct walk *walk, const char *path)
{
    struct walk below = *walk;
    char *folder = file_path(walk->dir, path);
    ath_err err;

    if (folder == NULL)
        return ATH_ERR_NOMEM;
    below.path = path;
    err = file_each(folder, "", each_name, &below, &walk->wrong->why);
    free(folder);
    return err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
}

static int
compare_tiles(const void *a, const void *b)
{
    const struct audit_tile *left = a, *right = b;
    uint64_t left_end = audit_tile_end(left), right_end = audit_tile_end(right);

    if (left_end != right_end)
        return left_end < right_end ? -1 : 1;
    return left->level < right->level ? -1 : left->level > right->level;
}

ath_err
audit_tile_list_load(const char *dir, struct audit_wrong *wrong, struct audit_tile_list *ret_list)
{
    struct audit_tile_list list = {0};
    struct walk walk = {.dir = dir, .wrong = wrong, .list = &list};
    ath_err err = walk_below(&walk, "tile");

    if (err != ATH_OK) {
        audit_tile_list_done(&list);
        return err;
    }
    if (list.count != 0)
        qsort(list.tiles, list.count, sizeof(list.tiles[0]), compare_tiles);
    *ret_list = list;
    return ATH_OK;
}

void
audit_tile_list_done(struct audit_tile_list *list)
{
    free(list->tiles);
    *list = (struct audit_tile_list){0};
}
