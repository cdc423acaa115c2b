/* The records are read once, in order; audit_run.c compares what they give. */
#include "protocol/audit_verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "protocol/audit_run.h"

#define TRIES 64    /* while athd writes checkpoints under our hands */
#define WHOLE_TRY 8 /* what one costs that went through the records */

/* ---- records ---- */

/* What stands in the place of the record that must follow. */
static ath_err
wrong_index(struct audit_run *run, const struct audit_place *place, uint64_t index)
{
    char what[128];

    snprintf(what, sizeof(what), "record %llu must stand here, not %llu: %s",
             (unsigned long long)run->tree.size, (unsigned long long)index,
             index > run->tree.size ? "one or more are missing" : "it stands here again");
    return audit_run_wrong(run, place, run->tree.size, what);
}

static ath_err
check_record(struct audit_run *run, const struct audit_record *record)
{
    struct audit_place place = {record->segment, record->offset};
    uint8_t leaf[SHA256_LEN];
    struct audit_line line;
    struct why why = {""};
    ath_err err = audit_line_check(record->line, &why, &line);

    if (err == ATH_ERR_PARSE || err == ATH_ERR_LIMIT_EXCEEDED)
        return audit_run_wrong(run, &place, run->tree.size, why_text(&why, err));
    if (err != ATH_OK)
        return err;
    if (line.index != run->tree.size)
        return wrong_index(run, &place, line.index);
    if (line.is_retention && line.index < audit_run_newest(run) && line.kept_from > run->kept_from)
        run->kept_from = line.kept_from;
    if (line.is_rollback && run->report->rollbacks++ == 0)
        run->report->first_rollback = line.index;
    if ((err = merkle_leaf(record->line, leaf)) != ATH_OK)
        return err;
    return audit_run_add(run, leaf, &place);
}

/* The leaves of records that were removed, out of their tiles. */
static ath_err
add_removed(struct audit_run *run, uint64_t count)
{
    struct audit_tile_files files = {run->options->dir, audit_run_newest(run)};
    static const struct audit_place nowhere = {0, 0};
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
        if ((err = audit_run_wrong_tile(run, file, err)) != ATH_OK)
            return err;
        for (unsigned at = 0; at < tile.width; at++)
            if ((err = audit_run_add(run, hashes + (size_t)at * SHA256_LEN, &nowhere)) != ATH_OK)
                return err;
    }
    return ATH_OK;
}

/* The first record there is says how many were removed. */
static ath_err
begin(struct audit_run *run, const struct audit_record *record)
{
    struct audit_place place = {record->segment, record->offset};
    struct audit_line line;
    struct why why = {""};
    ath_err err = audit_line_begin(record->line, &why, &line);

    if (err != ATH_OK)
        return audit_run_wrong(run, &place, 0, why_text(&why, err));
    if (record->segment == 1 && line.index != 0)
        return wrong_index(run, &place, line.index);
    if (record->segment != 1 && line.index == 0)
        return audit_run_wrong(run, &place, 0, "the first record must be in 00000001.jsonl");
    if (line.index > audit_run_newest(run))
        return audit_run_wrong(run, &place, line.index,
                               "the records before it are missing, and no checkpoint covers them");
    run->report->first_index = line.index;
    return add_removed(run, line.index);
}

/* What reading a line ended with, other than the end. */
static ath_err
wrong_line_read(struct audit_run *run, const struct audit_record *record, ath_err err)
{
    struct audit_place place = {record->segment, record->offset};
    struct why why = run->wrong->why;

    if (err != ATH_ERR_PARSE && err != ATH_ERR_LIMIT_EXCEEDED)
        return err;
    return audit_run_wrong(run, &place, run->tree.size, why_text(&why, err));
}

static ath_err
check_records(struct audit_run *run)
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
check_segments(struct audit_run *run)
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
check_end(struct audit_run *run)
{
    struct audit_report *report = run->report;
    uint32_t segment = 0;
    uint64_t offset = 0;

    report->size = run->tree.size;
    report->torn = audit_reader_torn(run->reader, &segment, &offset);
    if (run->tree.size < audit_run_newest(run)) {
        struct audit_place end = {segment, offset};

        if (segment == 0)
            return audit_wrong_set(run->wrong, "00000001.jsonl", "the segment is missing");
        return audit_run_wrong(
            run, &end, run->tree.size,
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
check_keys(struct audit_run *run)
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

/* A checkpoint from elsewhere: signed by a key of this log, and no newer than it. */
static ath_err
check_older(struct audit_run *run, const struct audit_older *given, struct checkpoint *ret_older)
{
    const struct checkpoint *newest = &audit_notes_newest(&run->notes)->checkpoint, *older;
    struct checkpoint_note note;
    const struct public_key *key;
    struct why why = {""};
    ath_err err;

    if ((err = checkpoint_decode(given->note, &why, &note)) != ATH_OK)
        return audit_wrong_set(run->wrong, given->name, "%s", why_text(&why, err));
    older = &note.checkpoint;
    if ((key = audit_keys_find(&run->notes.keys, older->jkt)) == NULL)
        return audit_wrong_set(run->wrong, given->name,
                               "it is signed by a key that this log does not have: %s", older->jkt);
    if ((err = checkpoint_verify(&note, key, &why)) != ATH_OK)
        return audit_wrong_set(run->wrong, given->name, "%s", why_text(&why, err));
    if (older->size > newest->size)
        return audit_wrong_set(run->wrong, given->name,
                               "it covers %llu records, the newest checkpoint here only %llu: the "
                               "log was rolled back",
                               (unsigned long long)older->size, (unsigned long long)newest->size);
    if (strcmp(older->jkt, newest->jkt) == 0 && older->has_counter &&
        older->counter > newest->counter)
        return audit_wrong_set(run->wrong, given->name,
                               "its counter stands at %llu, that of the newest checkpoint here at "
                               "%llu: the log was rolled back",
                               (unsigned long long)older->counter,
                               (unsigned long long)newest->counter);
    *ret_older = *older;
    return ATH_OK;
}

static ath_err
check_all_older(struct audit_run *run)
{
    const struct audit_verify_options *options = run->options;
    ath_err err = ATH_OK;

    for (size_t i = 0; err == ATH_OK && i < options->older_count && i < AUDIT_MAX_OLDER; i++)
        if ((err = check_older(run, &options->older[i], &run->older[i])) == ATH_OK)
            run->older_count++;
    return err;
}

static ath_err
prepare(struct audit_run *run)
{
    struct audit_report *report = run->report;
    const char *dir = run->options->dir;
    ath_err err;

    if ((err = audit_reader_open(dir, &run->wrong->why, &run->reader)) != ATH_OK ||
        (err = audit_notes_load(dir, run->wrong, &run->notes)) != ATH_OK)
        return err;
    report->checkpoints = run->notes.count;
    report->covered = audit_run_newest(run);
    report->newest = audit_notes_newest(&run->notes)->checkpoint;
    report->is_unfinished = run->notes.is_unfinished;
    if ((err = check_keys(run)) != ATH_OK || (err = check_all_older(run)) != ATH_OK ||
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
    struct audit_run *run = calloc(1, sizeof(*run));
    ath_err err;

    *report = (struct audit_report){0};
    if (run == NULL)
        return ATH_ERR_NOMEM;
    run->options = options;
    run->report = report;
    run->wrong = &report->wrong;
    if ((err = prepare(run)) == ATH_OK && (err = audit_run_compare(run)) == ATH_OK &&
        (err = check_records(run)) == ATH_OK)
        err = check_end(run);
    audit_reader_free(run->reader);
    audit_tile_list_done(&run->tiles);
    audit_notes_done(&run->notes);
    free(run);
    return err;
}

/* What athd changes while it runs: the newest checkpoint's bytes (empty if it cannot be read), and
 * which segment is the first. */
struct moment {
    struct ath_buf newest;
    uint32_t first;
};

static void
look(const char *dir, struct moment *moment)
{
    char *path = file_path(dir, "checkpoint");
    struct audit_reader *reader = NULL;
    const uint32_t *numbers = NULL;

    *moment = (struct moment){.newest = {.max = CHECKPOINT_MAX_LEN}};
    if (path == NULL || file_read(path, &moment->newest, NULL) != ATH_OK)
        ath_buf_clear(&moment->newest);
    if (audit_reader_open(dir, NULL, &reader) == ATH_OK &&
        audit_reader_segments(reader, &numbers) != 0)
        moment->first = numbers[0];
    audit_reader_free(reader);
    free(path);
}

/* Has athd written another checkpoint since, or removed segments? Then what was seen was of two
 * times. */
static bool
went_on(const char *dir, const struct moment *before)
{
    struct moment after;
    bool is_other;

    look(dir, &after);
    is_other = after.first != before->first ||
               !ath_slice_equal(ath_buf_slice(&after.newest), ath_buf_slice(&before->newest));
    ath_buf_done(&after.newest);
    return is_other;
}

ath_err
audit_verify(const struct audit_verify_options *options, struct audit_report *report)
{
    struct moment before;
    unsigned tries = 0;
    bool again;
    ath_err err;

    do {
        look(options->dir, &before);
        err = verify_once(options, report);
        tries += report->wrong.is_between ? 1 : WHOLE_TRY;
        again = err != ATH_OK && err != ATH_ERR_NOT_FOUND && tries < TRIES &&
                went_on(options->dir, &before);
        ath_buf_done(&before.newest);
    } while (again);
    return err;
}
