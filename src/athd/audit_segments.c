#include "athd/audit_segments.h"

#include <stdlib.h>
#include <string.h>

#include "athd/audit_line.h"
#include "base/file.h"
#include "base/log.h"
#include "protocol/audit_reader.h"

#define SUFFIX ".jsonl"

static ath_err
each_name(void *ctx, const char *name)
{
    struct audit_segments *segments = ctx;
    uint32_t number;

    if (audit_segment_parse(name, &number) != ATH_OK)
        return ATH_OK;
    if (segments->first == 0 || number < segments->first)
        segments->first = number;
    if (number > segments->last)
        segments->last = number;
    return ATH_OK;
}

/* Where the log ends before segment `number`: a kill may have left that one without a record. */
static ath_err
find_end_before(const struct audit_segments *segments, uint32_t number, struct why *why,
                uint64_t *ret_next_index)
{
    ath_err err = ATH_ERR_NOT_FOUND;

    while (err == ATH_ERR_NOT_FOUND && number > segments->first)
        err = audit_file_end(segments->dir, --number, why, ret_next_index);
    return err;
}

/* The last one; where the one before it cannot be read, that matters only if it must tell where
 * the log ends. */
static ath_err
open_last(struct audit_segments *segments, struct why *why)
{
    uint64_t next_index = AUDIT_INDEX_UNKNOWN;
    struct why before_why = {{0}};
    ath_err before = find_end_before(segments, segments->last, &before_why, &next_index);
    ath_err err = audit_file_open(&segments->file, segments->dir, segments->last, next_index,
                                  segments->limits.covered, why);

    if (err != ATH_OK || segments->file.size != 0 || before == ATH_OK ||
        before == ATH_ERR_NOT_FOUND)
        return err;
    return why_set(why, before, "%s", before_why.text);
}

ath_err
audit_segments_open(struct audit_segments *segments, const char *dir,
                    const struct audit_limits *limits, struct why *why)
{
    ath_err err;

    *segments = (struct audit_segments){.limits = *limits, .file = {.fd = -1}};
    if ((segments->dir = ath_strdup(dir)) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = file_make_private_dir(dir, why)) != ATH_OK ||
        (err = file_remove_temporaries(dir, why)) != ATH_OK ||
        (err = file_each(dir, SUFFIX, each_name, segments, why)) != ATH_OK)
        goto out;
    if (segments->last == 0)
        segments->first = segments->last = 1;
    err = open_last(segments, why);
out:
    if (err != ATH_OK)
        audit_segments_close(segments);
    return err;
}

static bool
is_full(const struct audit_segments *segments)
{
    const struct audit_file *file = &segments->file;
    char oldest[CLOCK_TEXT_SIZE];

    if (file->size == 0)
        return false;
    if (segments->limits.segment_size != 0 && file->size >= (off_t)segments->limits.segment_size)
        return true;
    if (segments->limits.segment_age_s == 0 || file->first_time[0] == '\0')
        return false;
    audit_time_text(clock_now() - segments->limits.segment_age_s, oldest);
    return strcmp(file->first_time, oldest) < 0;
}

static void
rotate(struct audit_segments *segments)
{
    struct audit_file fresh = {.fd = -1};
    struct why why = {{0}};
    ath_err err = audit_file_mend(&segments->file);

    if (err != ATH_OK)
        why = segments->file.why;
    else
        err = audit_file_open(&fresh, segments->dir, segments->last + 1, segments->file.next_index,
                              segments->limits.covered, &why);
    if (err == ATH_OK && fresh.size != 0) {
        err = why_set(&why, ATH_ERR_IO, "%s is there already", fresh.path);
        audit_file_close(&fresh);
    }
    if (err != ATH_OK) {
        if (!segments->is_rotation_failing)
            log_warning("event=audit reason=\"no new segment: %s\"; the old one grows on",
                        why_text(&why, err));
        segments->is_rotation_failing = true;
        return;
    }
    segments->is_rotation_failing = false;
    audit_file_close(&segments->file);
    segments->file = fresh;
    segments->last++;
}

ath_err
audit_segments_append(struct audit_segments *segments, struct ath_slice lines, uint64_t count)
{
    if (is_full(segments))
        rotate(segments);
    return audit_file_append(&segments->file, lines, count);
}

struct audit_span
audit_segments_span(const struct audit_segments *segments)
{
    return (struct audit_span){segments->first, segments->last, segments->file.next_index};
}

void
audit_segments_close(struct audit_segments *segments)
{
    if (audit_file_mend(&segments->file) != ATH_OK)
        log_debug("event=audit reason=\"a record that was not written may be there at the next "
                  "start\"");
    audit_file_close(&segments->file);
    free(segments->dir);
    segments->dir = NULL;
}
