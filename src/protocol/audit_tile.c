#include "protocol/audit_tile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* tlog-tiles: three digits a path element, all but the last begin with 'x'. */
static int
put_index(char *at, size_t room, uint64_t index)
{
    unsigned groups[7];
    size_t count = 0;
    int len = 0;

    do {
        groups[count++] = (unsigned)(index % 1000);
        index /= 1000;
    } while (index != 0);
    while (count-- > 0)
        len += snprintf(at + len, room - (size_t)len, "%s%03u%s", count != 0 ? "x" : "",
                        groups[count], count != 0 ? "/" : "");
    return len;
}

static void
put_path(const char *level, const struct audit_tile *tile, char *ret_path)
{
    int len = snprintf(ret_path, AUDIT_TILE_MAX_PATH, "tile/%s/", level);

    len += put_index(ret_path + len, AUDIT_TILE_MAX_PATH - (size_t)len, tile->index);
    if (tile->width < AUDIT_TILE_WIDTH)
        snprintf(ret_path + len, AUDIT_TILE_MAX_PATH - (size_t)len, ".p/%u", tile->width);
}

void
audit_tile_path(const struct audit_tile *tile, char ret_path[AUDIT_TILE_MAX_PATH])
{
    char level[12];

    snprintf(level, sizeof(level), "%u", tile->level);
    put_path(level, tile, ret_path);
}

void
audit_tile_entries_path(const struct audit_tile *tile, char ret_path[AUDIT_TILE_MAX_PATH])
{
    put_path("entries", tile, ret_path);
}

/* ---- decoding: numbers are read leniently, then the one form is compared ---- */

static bool
skip(struct ath_slice *rest, const char *text)
{
    size_t len = strlen(text);

    if (rest->len < len || memcmp(rest->data, text, len) != 0)
        return false;
    *rest = ath_slice_of(rest->data + len, rest->len - len);
    return true;
}

/* At most `max` digits, so that nothing overflows; 0 digits give false. */
static bool
read_digits(struct ath_slice *rest, size_t max, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t len = 0;

    for (; len < max && len < rest->len && rest->data[len] >= '0' && rest->data[len] <= '9'; len++)
        value = value * 10 + (uint64_t)(rest->data[len] - '0');
    *rest = ath_slice_of(rest->data + len, rest->len - len);
    *ret_value = value;
    return len != 0;
}

static bool
read_index(struct ath_slice *rest, uint64_t *ret_index)
{
    uint64_t index = 0, group = 0;
    bool is_last;

    do {
        is_last = !skip(rest, "x");
        if (!read_digits(rest, 3, &group) || index > (UINT64_MAX - group) / 1000)
            return false;
        index = index * 1000 + group;
    } while (!is_last && skip(rest, "/"));
    *ret_index = index;
    return is_last;
}

ath_err
audit_tile_parse(struct ath_slice path, struct audit_tile *ret_tile)
{
    struct audit_tile tile = {.width = AUDIT_TILE_WIDTH};
    uint64_t level = 0, width = AUDIT_TILE_WIDTH;
    char same[AUDIT_TILE_MAX_PATH];
    struct ath_slice rest = path;

    if (path.len >= AUDIT_TILE_MAX_PATH || !skip(&rest, "tile/") ||
        !read_digits(&rest, 2, &level) || !skip(&rest, "/") || !read_index(&rest, &tile.index))
        return ATH_ERR_PARSE;
    if (rest.len != 0 &&
        (!skip(&rest, ".p/") || !read_digits(&rest, 3, &width) || width >= AUDIT_TILE_WIDTH))
        return ATH_ERR_PARSE;
    if (level >= AUDIT_TILE_LEVELS || width == 0)
        return ATH_ERR_PARSE;
    tile.level = (unsigned)level;
    tile.width = (unsigned)width;
    audit_tile_path(&tile, same);
    if (!ath_slice_is(path, same))
        return ATH_ERR_PARSE;
    *ret_tile = tile;
    return ATH_OK;
}

/* ---- arithmetic ---- */

uint64_t
audit_tile_hashes(uint64_t size, unsigned level)
{
    return level < AUDIT_TILE_LEVELS ? size >> (AUDIT_TILE_HEIGHT * level) : 0;
}

unsigned
audit_tile_width(uint64_t size, unsigned level, uint64_t index)
{
    uint64_t hashes = audit_tile_hashes(size, level);

    if (index > hashes / AUDIT_TILE_WIDTH)
        return 0;
    hashes -= index * AUDIT_TILE_WIDTH;
    return hashes < AUDIT_TILE_WIDTH ? (unsigned)hashes : AUDIT_TILE_WIDTH;
}

ath_err
audit_tile_root(const uint8_t *hashes, unsigned width, uint8_t ret_root[SHA256_LEN])
{
    struct merkle_stack stack = {0};
    ath_err err;

    for (unsigned i = 0; i < width; i++)
        if ((err = merkle_stack_push(&stack, hashes + (size_t)i * SHA256_LEN)) != ATH_OK)
            return err;
    return merkle_stack_root(&stack, ret_root);
}

/* ---- files ---- */

static ath_err
read_file(const char *dir, const struct audit_tile *tile, struct ath_buf *content, struct why *why)
{
    char path[AUDIT_TILE_MAX_PATH];
    char *file;
    ath_err err;

    audit_tile_path(tile, path);
    if ((file = file_path(dir, path)) == NULL)
        return ATH_ERR_NOMEM;
    err = file_read(file, content, why);
    if (err == ATH_ERR_LIMIT_EXCEEDED ||
        (err == ATH_OK && content->len != (size_t)tile->width * SHA256_LEN))
        err =
            why_set(why, ATH_ERR_PARSE, "%s is not %u bytes long", path, tile->width * SHA256_LEN);
    free(file);
    return err;
}

ath_err
audit_tile_file_read(void *ctx, const struct audit_tile *tile, uint8_t *ret_hashes, struct why *why)
{
    const struct audit_tile_files *files = ctx;
    struct audit_tile file = {tile->level, tile->index, AUDIT_TILE_WIDTH};
    struct ath_buf content = {.max = AUDIT_TILE_MAX_LEN};
    unsigned width = audit_tile_width(files->size, tile->level, tile->index);
    ath_err err;

    err = read_file(files->dir, &file, &content, why);
    if (err == ATH_ERR_NOT_FOUND && width != 0 && width < AUDIT_TILE_WIDTH) {
        file.width = width;
        err = read_file(files->dir, &file, &content, why);
    }
    if (err == ATH_OK && file.width < tile->width)
        err = why_set(why, ATH_ERR_NOT_FOUND, "the log has no tile of %u hashes at level %u, %llu",
                      tile->width, tile->level, (unsigned long long)tile->index);
    if (err == ATH_OK)
        memcpy(ret_hashes, content.data, (size_t)tile->width * SHA256_LEN);
    ath_buf_done(&content);
    return err;
}
