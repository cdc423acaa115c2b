/*
 * The records are read once, in order. Each leaf goes into a tree that grows as athd's did; where
 * that tree completes a tile, or has the size of one that is there as a file, the two are compared;
 * where it has the size of a checkpoint, the roots are. So the first thing that is wrong is met
 * first, and no more than a tile of records is ever between it and its discovery.
 */
#include "protocol/audit_verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "protocol/audit_reader.h"
#include "protocol/audit_tile_list.h"
#include "protocol/audit_tree.h"

#define TRIES 5 /* while athd writes checkpoints under our hands */

struct place {
    uint32_t segment; /* 0: the record was removed, its hash is from a tile */
    uint64_t offset;
};

struct run {
    const struct audit_verify_options *options;
    struct audit_report *report;
    struct audit_wrong *wrong; /* the report's */
    struct audit_notes notes;
    struct audit_tile_list tiles;
    size_t next_tile, next_note; /* not compared yet */
    struct audit_reader *reader;
    struct audit_tree tree;
    struct place places[AUDIT_TILE_WIDTH]; /* of the records of the last tile */
    uint64_t good;                         /* size of the last checkpoint whose root held */
    uint64_t kept_from;                    /* as the covered records say */
    struct checkpoint_note from;
    bool has_from;
};

static uint64_t
newest_size(const struct run *run)
{
    const struct audit_note *newest = audit_notes_newest(&run->notes);

    return newest != NULL ? newest->checkpoint.size : 0;
}

/* ---- saying which record or file it is ---- */

static ath_err
wrong_record(struct run *run, const struct place *place, uint64_t index, const char *what)
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
leaf_is_signed(struct run *run, uint64_t index, const uint8_t *leaf)
{
    struct audit_tile_files files = {run->options->dir, newest_size(run)};
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
wrong_leaf(struct run *run, const struct audit_tile *tile, unsigned at, const uint8_t *in_tile)
{
    uint64_t index = tile->index * AUDIT_TILE_WIDTH + at;
    const struct place *place = &run->places[at];
    char file[AUDIT_TILE_MAX_PATH];

    audit_tile_path(tile, file);
    if (place->segment != 0 && leaf_is_signed(run, index, in_tile))
        return wrong_record(run, place, index, "the record was changed: it is not what was signed");
    if (leaf_is_signed(run, index, run->tree.hashes[0] + (size_t)at * SHA256_LEN))
        return audit_wrong_set(run->wrong, file,
                               "the tile was changed: hash %u in it is not that "
                               "of record %llu, which is what was signed",
                               at, (unsigned long long)index);
    if (place->segment == 0)
        return audit_wrong_set(run->wrong, file, "hash %u in it is not what was signed", at);
    return wrong_record(run, place, index, "the record is not the one whose hash is in its tile");
}

/* ---- tiles ---- */

static ath_err
wrong_tile_read(struct run *run, const char *file, ath_err err)
{
    if (err == ATH_ERR_NOT_FOUND)
        return audit_wrong_set(run->wrong, file, "the tile is missing");
    if (err == ATH_ERR_LIMIT_EXCEEDED)
        return audit_wrong_set(run->wrong, file, "the tile is not as long as its name says");
    return err;
}

static ath_err
read_tile(struct run *run, const struct audit_tile *tile, struct ath_buf *content)
{
    char file[AUDIT_TILE_MAX_PATH];
    char *path;
    ath_err err;

    audit_tile_path(tile, file);
    if ((path = file_path(run->options->dir, file)) == NULL)
        return ATH_ERR_NOMEM;
    err = wrong_tile_read(run, file, file_read(path, content, &run->wrong->why));
    free(path);
    if (err == ATH_OK && content->len != (size_t)tile->width * SHA256_LEN)
        err = wrong_tile_read(run, file, ATH_ERR_LIMIT_EXCEEDED);
    return err;
}

/* The file of this tile against the tree's own hashes. */
static ath_err
compare_tile(struct run *run, const struct audit_tile *tile)
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
    struct run *run = ctx;
    const struct audit_tile *next =
        run->next_tile < run->tiles.count ? &run->tiles.tiles[run->next_tile] : NULL;

    (void)hashes; /* the tree's own */
    if (next != NULL && next->level == tile->level && next->index == tile->index &&
        next->width == tile->width) {
        run->next_tile++;
        return compare_tile(run, tile);
    }
    if (audit_tile_end(tile) <= newest_size(run)) {
        char file[AUDIT_TILE_MAX_PATH];

        audit_tile_path(tile, file);
        return wrong_tile_read(run, file, ATH_ERR_NOT_FOUND);
    }
    return ATH_OK;
}

/* Partial tiles that belong to the tree as it is now. */
static ath_err
compare_partial_tiles(struct run *run)
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
    struct run *run = ctx;
    char file[AUDIT_TILE_MAX_PATH];

    (void)hashes;
    for (size_t i = run->next_tile; i-- > 0;)
        if (run->tiles.tiles[i].level == tile->level && run->tiles.tiles[i].index == tile->index &&
            run->tiles.tiles[i].width == tile->width)
            return ATH_OK;
    audit_tile_path(tile, file);
    return wrong_tile_read(run, file, ATH_ERR_NOT_FOUND);
}

/* ---- checkpoints ---- */

/* The leaves since the last full tile, against the tile they are in, if that is there. */
static ath_err
search_leaves(struct run *run)
{
    struct audit_tile_files files = {run->options->dir, newest_size(run)};
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
compare_root(struct run *run, const struct checkpoint *checkpoint, const char *file)
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
compare_checkpoints(struct run *run)
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
        if (run->tree.size == newest_size(run) &&
            (err = audit_tree_partials(&run->tree, require_partial_tile, run)) != ATH_OK)
            return err;
    }
    if (run->has_from && run->from.checkpoint.size == run->tree.size)
        return compare_root(run, &run->from.checkpoint, run->options->from_name);
    return ATH_OK;
}

/* ---- records ---- */

static ath_err
add_leaf(struct run *run, const uint8_t *leaf, const struct place *place)
{
    ath_err err;

    run->places[run->tree.size % AUDIT_TILE_WIDTH] = *place;
    if ((err = audit_tree_append(&run->tree, leaf, on_full_tile, run)) != ATH_OK ||
        (err = compare_partial_tiles(run)) != ATH_OK)
        return err;
    return compare_checkpoints(run);
}

/* What stands in the place of the record that must follow. */
static ath_err
wrong_index(struct run *run, const struct place *place, uint64_t index)
{
    char what[128];

    snprintf(what, sizeof(what), "record %llu must stand here, not %llu: %s",
             (unsigned long long)run->tree.size, (unsigned long long)index,
             index > run->tree.size ? "one or more are missing" : "it stands here again");
    return wrong_record(run, place, run->tree.size, what);
}

static ath_err
check_record(struct run *run, const struct audit_record *record)
{
    struct place place = {record->segment, record->offset};
    uint8_t leaf[SHA256_LEN];
    struct audit_line line;
    struct why why = {""};
    ath_err err = audit_line_check(record->line, &why, &line);

    if (err == ATH_ERR_PARSE || err == ATH_ERR_LIMIT_EXCEEDED)
        return wrong_record(run, &place, run->tree.size, why_text(&why, err));
    if (err != ATH_OK)
        return err;
    if (line.index != run->tree.size)
        return wrong_index(run, &place, line.index);
    if (line.is_retention && line.index < newest_size(run) && line.kept_from > run->kept_from)
        run->kept_from = line.kept_from;
    if ((err = merkle_leaf(record->line, leaf)) != ATH_OK)
        return err;
    return add_leaf(run, leaf, &place);
}

/* The leaves of records that were removed, out of their tiles. */
static ath_err
add_removed(struct run *run, uint64_t count)
{
    struct audit_tile_files files = {run->options->dir, newest_size(run)};
    static const struct place nowhere = {0, 0};
    uint8_t hashes[AUDIT_TILE_MAX_LEN];
    ath_err err;

    while (run->tree.size < count) {
        uint64_t rest = count - run->tree.size;
        struct audit_tile tile = {0, run->tree.size / AUDIT_TILE_WIDTH,
                                  rest < AUDIT_TILE_WIDTH ? (unsigned)rest : AUDIT_TILE_WIDTH};
        char file[AUDIT_TILE_MAX_PATH];

        audit_tile_path(&tile, file);
        err = audit_tile_file_read(&files, &tile, hashes, &run->wrong->why);
        if (err == ATH_ERR_PARSE)
            err = ATH_ERR_LIMIT_EXCEEDED;
        if ((err = wrong_tile_read(run, file, err)) != ATH_OK)
            return err;
        for (unsigned at = 0; at < tile.width; at++)
            if ((err = add_leaf(run, hashes + (size_t)at * SHA256_LEN, &nowhere)) != ATH_OK)
                return err;
    }
    return ATH_OK;
}

/* The first record there is says how many were removed. */
static ath_err
begin(struct run *run, const struct audit_record *record)
{
    struct place place = {record->segment, record->offset};
    struct audit_line line;
    struct why why = {""};
    ath_err err = audit_line_begin(record->line, &why, &line);

    if (err != ATH_OK)
        return wrong_record(run, &place, 0, why_text(&why, err));
    if (record->segment == 1 && line.index != 0)
        return wrong_index(run, &place, line.index);
    if (record->segment != 1 && line.index == 0)
        return wrong_record(run, &place, 0, "the first record must be in 00000001.jsonl");
    if (line.index > newest_size(run))
        return wrong_record(run, &place, line.index,
                            "the records before it are missing, and no checkpoint covers them");
    run->report->first_index = line.index;
    return add_removed(run, line.index);
}

/* What reading a line ended with, other than the end. */
static ath_err
wrong_line_read(struct run *run, const struct audit_record *record, ath_err err)
{
    struct place place = {record->segment, record->offset};
    struct why why = run->wrong->why;

    if (err != ATH_ERR_PARSE && err != ATH_ERR_LIMIT_EXCEEDED)
        return err;
    return wrong_record(run, &place, run->tree.size, why_text(&why, err));
}

static ath_err
check_records(struct run *run)
{
    struct audit_record record;
    bool is_first = true;
    ath_err err;

    while ((err = audit_reader_next(run->reader, &run->wrong->why, &record)) == ATH_OK) {
        if (is_first && (err = begin(run, &record)) != ATH_OK)
            return err;
        is_first = false;
        if ((err = check_record(run, &record)) != ATH_OK)
            return err;
    }
    return err == ATH_ERR_NOT_FOUND ? ATH_OK : wrong_line_read(run, &record, err);
}

/* ---- before and after ---- */

static ath_err
check_segments(struct run *run)
{
    const uint32_t *numbers = NULL;
    size_t count = audit_reader_segments(run->reader, &numbers);
    char file[AUDIT_SEGMENT_NAME_SIZE];

    for (size_t i = 1; i < count; i++)
        if (numbers[i] != numbers[i - 1] + 1) {
            audit_segment_name(numbers[i - 1] + 1, file);
            return audit_wrong_set(run->wrong, file, "the segment is missing");
        }
    return ATH_OK;
}

static ath_err
check_end(struct run *run)
{
    struct audit_report *report = run->report;
    uint32_t segment = 0;
    uint64_t offset = 0;

    report->size = run->tree.size;
    report->torn = audit_reader_torn(run->reader, &segment, &offset);
    if (run->tree.size < newest_size(run)) {
        struct place end = {segment, offset};

        if (segment == 0)
            return audit_wrong_set(run->wrong, "00000001.jsonl", "the segment is missing");
        return wrong_record(run, &end, run->tree.size,
                            "the log ends here, but the newest checkpoint covers this record: it "
                            "was cut off");
    }
    if (run->next_tile < run->tiles.count) {
        char file[AUDIT_TILE_MAX_PATH];

        audit_tile_path(&run->tiles.tiles[run->next_tile], file);
        return audit_wrong_set(run->wrong, file, "the tile is of records that are not there");
    }
    if (report->first_index > run->kept_from)
        return audit_wrong_set(run->wrong, NULL,
                               "records 0 to %llu are missing, and no record says that they were "
                               "removed",
                               (unsigned long long)report->first_index - 1);
    return ATH_OK;
}

static bool
is_expected(const struct audit_verify_options *options, const char *jkt)
{
    for (size_t i = 0; i < options->jkt_count; i++)
        if (strcmp(options->jkts[i], jkt) == 0)
            return true;
    return options->jkt_count == 0;
}

/* Who signed what; and nobody else did. */
static ath_err
check_keys(struct run *run)
{
    struct audit_report *report = run->report;

    for (size_t i = 0; i < run->notes.count; i++) {
        const struct checkpoint *checkpoint = &run->notes.notes[i].checkpoint;
        struct audit_signed *last =
            report->by_count != 0 ? &report->by[report->by_count - 1] : NULL;

        if (!is_expected(run->options, checkpoint->jkt))
            return audit_wrong_set(run->wrong, NULL,
                                   "the checkpoint of %llu records is signed by "
                                   "another key: %s",
                                   (unsigned long long)checkpoint->size, checkpoint->jkt);
        if ((last == NULL || strcmp(last->jkt, checkpoint->jkt) != 0) &&
            report->by_count < AUDIT_MAX_KEYS) {
            uint64_t from = last != NULL ? last->to : 0;

            last = &report->by[report->by_count++];
            *last = (struct audit_signed){.from = from};
            memcpy(last->jkt, checkpoint->jkt, sizeof(last->jkt));
        }
        if (last != NULL)
            last->to = checkpoint->size;
    }
    return ATH_OK;
}

/* The checkpoint from elsewhere: signed by a key of this log, and no newer than it. */
static ath_err
check_from(struct run *run)
{
    const char *name = run->options->from_name;
    const struct checkpoint *from = &run->from.checkpoint,
                            *newest = &audit_notes_newest(&run->notes)->checkpoint;
    const struct public_key *key;
    struct why why = {""};
    ath_err err;

    if (run->options->from.len == 0)
        return ATH_OK;
    if ((err = checkpoint_decode(run->options->from, &why, &run->from)) != ATH_OK)
        return audit_wrong_set(run->wrong, name, "%s", why_text(&why, err));
    if ((key = audit_keys_find(&run->notes.keys, from->jkt)) == NULL)
        return audit_wrong_set(run->wrong, name,
                               "it is signed by a key that this log does not "
                               "have: %s",
                               from->jkt);
    if ((err = checkpoint_verify(&run->from, key, &why)) != ATH_OK)
        return audit_wrong_set(run->wrong, name, "%s", why_text(&why, err));
    if (from->size > newest->size)
        return audit_wrong_set(run->wrong, name,
                               "it covers %llu records, the newest checkpoint here only %llu: the "
                               "log was rolled back",
                               (unsigned long long)from->size, (unsigned long long)newest->size);
    if (strcmp(from->jkt, newest->jkt) == 0 && from->has_counter && from->counter > newest->counter)
        return audit_wrong_set(run->wrong, name,
                               "its counter stands at %llu, that of the newest checkpoint here at "
                               "%llu: the log was rolled back",
                               (unsigned long long)from->counter,
                               (unsigned long long)newest->counter);
    run->has_from = true;
    return ATH_OK;
}

static ath_err
prepare(struct run *run)
{
    struct audit_report *report = run->report;
    const char *dir = run->options->dir;
    ath_err err;

    if ((err = audit_reader_open(dir, &run->wrong->why, &run->reader)) != ATH_OK ||
        (err = audit_notes_load(dir, run->wrong, &run->notes)) != ATH_OK)
        return err;
    report->checkpoints = run->notes.count;
    report->covered = newest_size(run);
    report->newest = audit_notes_newest(&run->notes)->checkpoint;
    if ((err = check_keys(run)) != ATH_OK || (err = check_from(run)) != ATH_OK ||
        (err = audit_tile_list_load(dir, run->wrong, &run->tiles)) != ATH_OK)
        return err;
    /* after the tiles: those that are there are of records that are there now */
    if ((err = audit_reader_refresh(run->reader, &run->wrong->why)) != ATH_OK)
        return err;
    return check_segments(run);
}

static ath_err
verify_once(const struct audit_verify_options *options, struct audit_report *report)
{
    struct run *run = calloc(1, sizeof(*run));
    ath_err err;

    *report = (struct audit_report){0};
    if (run == NULL)
        return ATH_ERR_NOMEM;
    run->options = options;
    run->report = report;
    run->wrong = &report->wrong;
    if ((err = prepare(run)) == ATH_OK && (err = compare_partial_tiles(run)) == ATH_OK &&
        (err = compare_checkpoints(run)) == ATH_OK && (err = check_records(run)) == ATH_OK)
        err = check_end(run);
    audit_reader_free(run->reader);
    audit_tile_list_done(&run->tiles);
    audit_notes_done(&run->notes);
    free(run);
    return err;
}

/* The newest checkpoint's bytes; nothing if it cannot be read. */
static void
read_newest(const char *dir, struct ath_buf *content)
{
    char *path = file_path(dir, "checkpoint");

    ath_buf_clear(content);
    if (path == NULL || file_read(path, content, NULL) != ATH_OK)
        ath_buf_clear(content);
    free(path);
}

ath_err
audit_verify(const struct audit_verify_options *options, struct audit_report *report)
{
    struct ath_buf before = {.max = CHECKPOINT_MAX_LEN}, after = {.max = CHECKPOINT_MAX_LEN};
    ath_err err;
    int tries = 0;

    do {
        read_newest(options->dir, &before);
        err = verify_once(options, report);
        if (err == ATH_OK)
            break;
        read_newest(options->dir, &after); /* athd went on: what was seen was of two times */
    } while (!ath_slice_equal(ath_buf_slice(&before), ath_buf_slice(&after)) && ++tries < TRIES);
    ath_buf_done(&before);
    ath_buf_done(&after);
    return err;
}
