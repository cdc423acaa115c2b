/*
 * Each leaf goes into a tree that grows as athd's did; where that tree completes a tile, or has the
 * size of one that is there as a file, the two are compared; where it has the size of a checkpoint,
 * the roots are. So the first thing that is wrong is met first, and no more than a tile of records
 * is ever between it and its discovery.
 */
#include "protocol/audit_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

uint64_t
audit_run_newest(const struct audit_run *run)
{
    const struct audit_note *newest = audit_notes_newest(&run->notes);

    return newest != NULL ? newest->checkpoint.size : 0;
}

/* ---- saying which record or file it is ---- */

ath_err
audit_run_wrong(struct audit_run *run, const struct audit_place *place, uint64_t index,
                const char *what)
{
    char file[AUDIT_SEGMENT_NAME_SIZE];
    ath_err err;

    audit_segment_name(place->segment, file);
    err = audit_wrong_set(run->wrong, file, "%s", what);
    run->wrong->offset = place->offset;
    run->wrong->has_index = true;
    run->wrong->index = index;
    return err;
}

/* Does this leaf stand at index in the tree that the newest checkpoint signs, as far as the other
 * tiles say? */
static bool
leaf_is_signed(struct audit_run *run, uint64_t index, const uint8_t *leaf)
{
    struct audit_tile_files files = {run->options->dir, audit_run_newest(run)};
    const struct audit_note *newest = audit_notes_newest(&run->notes);
    struct audit_tiles *tiles = NULL;
    struct ath_buf proof = {0};
    uint8_t root[SHA256_LEN];
    bool is_signed;

    if (newest == NULL || audit_tiles_new(audit_tile_file_read, &files, &tiles) != ATH_OK)
        return false;
    is_signed =
        audit_tiles_inclusion(tiles, index, files.size, NULL, &proof) == ATH_OK &&
        merkle_root_from_leaf(leaf, index, files.size, ath_buf_slice(&proof), root) == ATH_OK &&
        memcmp(root, newest->checkpoint.root, SHA256_LEN) == 0;
    ath_buf_done(&proof);
    audit_tiles_free(tiles);
    return is_signed;
}

/* Record and tile differ at this leaf. Whichever leads to the signed root is right. */
static ath_err
wrong_leaf(struct audit_run *run, const struct audit_tile *tile, unsigned at,
           const uint8_t *in_tile)
{
    uint64_t index = tile->index * AUDIT_TILE_WIDTH + at;
    const struct audit_place *place = &run->places[at];
    char file[AUDIT_TILE_MAX_PATH];

    audit_tile_path(tile, file);
    if (place->segment != 0 && leaf_is_signed(run, index, in_tile))
        return audit_run_wrong(run, place, index,
                               "the record was changed: it is not what was signed");
    if (leaf_is_signed(run, index, run->tree.hashes[0] + (size_t)at * SHA256_LEN))
        return audit_wrong_set(run->wrong, file,
                               "the tile was changed: hash %u in it is not that "
                               "of record %llu, which is what was signed",
                               at, (unsigned long long)index);
    if (place->segment == 0)
        return audit_wrong_set(run->wrong, file, "hash %u in it is not what was signed", at);
    return audit_run_wrong(run, place, index,
                           "the record is not the one whose hash is in its tile");
}

/* ---- tiles ---- */

ath_err
audit_run_wrong_tile(struct audit_run *run, const char *file, ath_err err)
{
    if (err == ATH_ERR_NOT_FOUND)
        return audit_wrong_set(run->wrong, file, "the tile is missing");
    if (err == ATH_ERR_LIMIT_EXCEEDED)
        return audit_wrong_set(run->wrong, file, "the tile is not as long as its name says");
    return err;
}

static ath_err
read_tile(struct audit_run *run, const struct audit_tile *tile, struct ath_buf *content)
{
    char file[AUDIT_TILE_MAX_PATH];
    char *path;
    ath_err err;

    audit_tile_path(tile, file);
    if ((path = file_path(run->options->dir, file)) == NULL)
        return ATH_ERR_NOMEM;
    err = audit_run_wrong_tile(run, file, file_read(path, content, &run->wrong->why));
    free(path);
    if (err == ATH_OK && content->len != (size_t)tile->width * SHA256_LEN)
        err = audit_run_wrong_tile(run, file, ATH_ERR_LIMIT_EXCEEDED);
    return err;
}

/* The file of this tile against the tree's own hashes. */
static ath_err
compare_tile(struct audit_run *run, const struct audit_tile *tile)
{
    const uint8_t *hashes = run->tree.hashes[tile->level];
    struct ath_buf content = {.max = AUDIT_TILE_MAX_LEN};
    char file[AUDIT_TILE_MAX_PATH];
    ath_err err = read_tile(run, tile, &content);

    for (unsigned at = 0; err == ATH_OK && at < tile->width; at++) {
        size_t offset = (size_t)at * SHA256_LEN;

        if (memcmp(content.data + offset, hashes + offset, SHA256_LEN) == 0)
            continue;
        audit_tile_path(tile, file);
        err = tile->level == 0 ? wrong_leaf(run, tile, at, content.data + offset)
                               : audit_wrong_set(run->wrong, file,
                                                 "the tile was changed: hash %u in it is not "
                                                 "that of the tile below",
                                                 at);
    }
    ath_buf_done(&content);
    return err;
}

/* The tree completed this tile: its file must be next, if a checkpoint needs it. */
static ath_err
on_full_tile(void *ctx, const struct audit_tile *tile, const uint8_t *hashes)
{
    struct audit_run *run = ctx;
    const struct audit_tile *next =
        run->next_tile < run->tiles.count ? &run->tiles.tiles[run->next_tile] : NULL;

    (void)hashes; /* the tree's own */
    if (next != NULL && next->level == tile->level && next->index == tile->index &&
        next->width == tile->width) {
        run->next_tile++;
        return compare_tile(run, tile);
    }
    if (audit_tile_end(tile) <= audit_run_newest(run)) {
        char file[AUDIT_TILE_MAX_PATH];

        audit_tile_path(tile, file);
        return audit_run_wrong_tile(run, file, ATH_ERR_NOT_FOUND);
    }
    return ATH_OK;
}

/* Partial tiles that belong to the tree as it is now. */
static ath_err
compare_partial_tiles(struct audit_run *run)
{
    ath_err err = ATH_OK;

    while (err == ATH_OK && run->next_tile < run->tiles.count &&
           audit_tile_end(&run->tiles.tiles[run->next_tile]) == run->tree.size)
        err = compare_tile(run, &run->tiles.tiles[run->next_tile++]);
    return err;
}

static ath_err
require_partial_tile(void *ctx, const struct audit_tile *tile, const uint8_t *hashes)
{
    struct audit_run *run = ctx;
    char file[AUDIT_TILE_MAX_PATH];

    (void)hashes;
    for (size_t i = run->next_tile; i-- > 0;)
        if (run->tiles.tiles[i].level == tile->level && run->tiles.tiles[i].index == tile->index &&
            run->tiles.tiles[i].width == tile->width)
            return ATH_OK;
    audit_tile_path(tile, file);
    return audit_run_wrong_tile(run, file, ATH_ERR_NOT_FOUND);
}

/* ---- checkpoints ---- */

/* The leaves since the last full tile, against the tile they are in, if that is there. */
static ath_err
search_leaves(struct audit_run *run)
{
    struct audit_tile_files files = {run->options->dir, audit_run_newest(run)};
    struct audit_tile tile = {0, run->tree.size / AUDIT_TILE_WIDTH,
                              (unsigned)(run->tree.size % AUDIT_TILE_WIDTH)};
    uint8_t hashes[AUDIT_TILE_MAX_LEN];

    if (tile.width == 0 || audit_tile_file_read(&files, &tile, hashes, NULL) != ATH_OK)
        return ATH_OK;
    for (unsigned at = 0; at < tile.width; at++)
        if (memcmp(hashes + (size_t)at * SHA256_LEN, run->tree.hashes[0] + (size_t)at * SHA256_LEN,
                   SHA256_LEN) != 0) {
            tile.width = audit_tile_width(files.size, 0, tile.index);
            return wrong_leaf(run, &tile, at, hashes + (size_t)at * SHA256_LEN);
        }
    return ATH_OK;
}

static ath_err
compare_root(struct audit_run *run, const struct checkpoint *checkpoint, const char *file)
{
    uint8_t root[SHA256_LEN];
    ath_err err = audit_tree_root(&run->tree, root);

    if (err != ATH_OK || memcmp(root, checkpoint->root, SHA256_LEN) == 0)
        return err;
    if ((err = search_leaves(run)) != ATH_OK)
        return err;
    return audit_wrong_set(run->wrong, file,
                           "records %llu to %llu with their tiles are not what was signed",
                           (unsigned long long)run->good, (unsigned long long)checkpoint->size - 1);
}

static ath_err
compare_checkpoints(struct audit_run *run)
{
    char file[AUDIT_MAX_NAME], name[CHECKPOINT_NAME_LEN + 1];
    ath_err err;

    if (run->next_note < run->notes.count &&
        run->notes.notes[run->next_note].checkpoint.size == run->tree.size) {
        checkpoint_name(run->tree.size, name);
        snprintf(file, sizeof(file), "checkpoints/%s", name);
        err = compare_root(run, &run->notes.notes[run->next_note++].checkpoint, file);
        if (err != ATH_OK)
            return err;
        run->good = run->tree.size;
        if (run->tree.size == audit_run_newest(run) &&
            (err = audit_tree_partials(&run->tree, require_partial_tile, run)) != ATH_OK)
            return err;
    }
    for (size_t i = 0; i < run->older_count; i++)
        if (run->older[i].size == run->tree.size &&
            (err = compare_root(run, &run->older[i], run->options->older[i].name)) != ATH_OK)
            return err;
    return ATH_OK;
}

ath_err
audit_run_compare(struct audit_run *run)
{
    ath_err err = compare_partial_tiles(run);

    return err != ATH_OK ? err : compare_checkpoints(run);
}

ath_err
audit_run_add(struct audit_run *run, const uint8_t *leaf, const struct audit_place *place)
{
    ath_err err;

    run->places[run->tree.size % AUDIT_TILE_WIDTH] = *place;
    if ((err = audit_tree_append(&run->tree, leaf, on_full_tile, run)) != ATH_OK)
        return err;
    return audit_run_compare(run);
}
