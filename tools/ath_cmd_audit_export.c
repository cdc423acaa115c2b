/* `ath audit export`: a record at a time through one of three forms; tlog-tiles is its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ath_cmd_audit.h"

#define MAX_FORM (4u * 1024u * 1024u) /* of one record: escapes of escapes */

typedef ath_err put_record_fn(struct ath_slice line, struct ath_buf *out);

static ath_err
put_line(struct ath_slice line, struct ath_buf *out)
{
    ath_buf_put_slice(out, line);
    ath_buf_put_byte(out, '\n');
    return out->err;
}

static const struct {
    const char *name;
    put_record_fn *put;
} forms[] = {
    {"jsonl", put_line},
    {"journald", cmd_audit_put_journal},
    {"otel", cmd_audit_put_otel},
    {"tlog-tiles", NULL},
};

int64_t
cmd_audit_microseconds(struct ath_slice timestamp)
{
    struct tm utc = {0};
    char text[CLOCK_TEXT_SIZE];

    memcpy(text, timestamp.data, CLOCK_TEXT_SIZE - 1);
    text[CLOCK_TEXT_SIZE - 1] = '\0';
    if (strptime(text, "%Y-%m-%dT%H:%M:%S", &utc) == NULL)
        return 0;
    return (int64_t)timegm(&utc) * 1000000 + strtol(text + 20, NULL, 10) * 1000;
}

static ath_err
export_records(struct audit_reader *reader, put_record_fn *put, FILE *file, struct why *why,
               uint64_t *ret_count)
{
    struct ath_buf out = {.max = MAX_FORM};
    struct audit_record record;
    ath_err err;

    for (*ret_count = 0; (err = audit_reader_next(reader, why, &record)) == ATH_OK; ++*ret_count) {
        ath_buf_clear(&out);
        err = put(record.line, &out);
        if (err != ATH_OK) {
            err = why_set(why, err, "%08u.jsonl, byte %llu: %s", record.segment,
                          (unsigned long long)record.offset, ath_err_sentence(err));
            break;
        }
        if (fwrite(out.data, 1, out.len, file) != out.len) {
            err = why_set(why, ATH_ERR_IO, "cannot write: %s", strerror(errno));
            break;
        }
    }
    ath_buf_done(&out);
    return err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
}

static ath_err
export_to(const struct cmd_context *context, const char *dir, put_record_fn *put, FILE *file,
          struct why *why)
{
    struct audit_reader *reader = NULL;
    uint64_t count = 0;
    int64_t from = 0;
    ath_err err;

    if ((err = audit_reader_open(dir, why, &reader)) != ATH_OK)
        return err;
    if (json_get_int(context->extra, "--from", &from))
        err = audit_reader_seek(reader, (uint64_t)from, why);
    if (err == ATH_OK)
        err = export_records(reader, put, file, why, &count);
    if (err == ATH_OK && count == 0)
        cmd_note(context, "no record was there to be exported; ath audit verify says whether "
                          "segments of the log are missing");
    audit_reader_free(reader);
    return err;
}

static int
run_records(const struct cmd_context *context, const char *dir, put_record_fn *put)
{
    const char *output = json_get_string(context->extra, "--output");
    bool is_file = output != NULL && strcmp(output, "-") != 0;
    FILE *file = is_file ? fopen(output, "wbe") : stdout;
    struct why why = {""};
    ath_err err;

    if (file == NULL) {
        cmd_error("cannot write %s: %s", output, strerror(errno));
        return EXIT_FAILURE;
    }
    err = export_to(context, dir, put, file, &why);
    if ((is_file ? fclose(file) : fflush(file)) != 0 && err == ATH_OK)
        err = why_set(&why, ATH_ERR_IO, "cannot write: %s", strerror(errno));
    return err == ATH_OK ? EXIT_SUCCESS : cmd_audit_fail(dir, err, &why);
}

int
cmd_run_audit_export(struct cmd_context *context)
{
    const char *format = json_get_string(context->extra, "--format");
    const char *output = json_get_string(context->extra, "--output");
    size_t form = 0;
    char *dir;
    int status;

    while (form < sizeof(forms) / sizeof(forms[0]) && strcmp(forms[form].name, format) != 0)
        form++;
    if (form == sizeof(forms) / sizeof(forms[0]))
        return cmd_error("--format takes jsonl, journald, otel or tlog-tiles, not %s", format);
    if (forms[form].put == NULL && output == NULL)
        return cmd_error("--format tlog-tiles writes a directory: --output says which");
    if ((dir = cmd_audit_dir(context)) == NULL)
        return EXIT_FAILURE;
    status = forms[form].put == NULL ? cmd_audit_export_tiles(context, dir, output)
                                     : run_records(context, dir, forms[form].put);
    free(dir);
    return status;
}
