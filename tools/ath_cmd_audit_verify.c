/* `ath audit verify`: audit_verify, its options and what it found as text or JSON. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ath_cmd_audit.h"
#include "base/base64url.h"
#include "base/file.h"
#include "protocol/audit_key.h"
#include "protocol/audit_verify.h"

struct verifying {
    struct audit_verify_options options;
    char jkts[AUDIT_MAX_KEYS][JKT_LEN + 1];
    const char *jkt_list[AUDIT_MAX_KEYS];
    struct audit_older older[AUDIT_MAX_OLDER];
    struct ath_buf from, fresh; /* notes */
    struct audit_report report;
};

/* ---- options ---- */

static ath_err
read_key_file(const char *path, char ret_jkt[JKT_LEN + 1])
{
    struct ath_buf content = {.max = AUDIT_KEY_MAX_LEN};
    struct public_key *key = NULL;
    struct why why = {""};
    ath_err err;

    if ((err = file_read(path, &content, &why)) == ATH_OK)
        err = audit_key_decode(ath_buf_slice(&content), &why, &key);
    if (err == ATH_OK)
        memcpy(ret_jkt, public_key_jkt(key), JKT_LEN + 1);
    else
        cmd_error("--key: %s is no thumbprint (43 characters) and no public key: %s", path,
                  why_text(&why, err));
    public_key_free(key);
    ath_buf_done(&content);
    return err;
}

static ath_err
read_keys(const struct cmd_context *context, struct verifying *verifying)
{
    const struct json *keys = json_get(context->extra, "--key"), *key;
    struct audit_verify_options *options = &verifying->options;

    for (key = json_first(keys); key != NULL; key = json_next(key)) {
        struct ath_slice text = ath_slice_of_string(json_string(key));
        char *jkt = verifying->jkts[options->jkt_count];

        if (options->jkt_count == AUDIT_MAX_KEYS) {
            cmd_error("--key: at most %u", AUDIT_MAX_KEYS);
            return ATH_ERR_USAGE;
        }
        if (base64url_is_alphabet(text, JKT_LEN, JKT_LEN))
            memcpy(jkt, text.data, JKT_LEN);
        else if (read_key_file(json_string(key), jkt) != ATH_OK)
            return ATH_ERR_USAGE;
        verifying->jkt_list[options->jkt_count++] = jkt;
    }
    options->jkts = verifying->jkt_list;
    return ATH_OK;
}

static ath_err
read_from(const struct cmd_context *context, struct verifying *verifying)
{
    const char *path = json_get_string(context->extra, "--from");
    struct why why = {""};
    ath_err err;

    if (path == NULL)
        return ATH_OK;
    verifying->from.max = CHECKPOINT_MAX_LEN;
    if ((err = file_read(path, &verifying->from, &why)) == ATH_OK && verifying->from.len == 0)
        err = why_set(&why, ATH_ERR_PARSE, "%s is empty", path);
    if (err != ATH_OK) {
        cmd_error("--from: %s", why_text(&why, err));
        return ATH_ERR_USAGE;
    }
    verifying->older[verifying->options.older_count++] =
        (struct audit_older){ath_buf_slice(&verifying->from), path};
    return ATH_OK;
}

/* Of the athd whose log this is: the one that runs with the usual state directory. */
static void
read_fresh(const struct cmd_context *context, struct verifying *verifying)
{
    if (json_is_true(json_get(context->extra, "--offline")) ||
        json_get(context->extra, "--state-dir") != NULL ||
        !cmd_audit_fresh_checkpoint(context, &verifying->fresh))
        return;
    verifying->older[verifying->options.older_count++] =
        (struct audit_older){ath_buf_slice(&verifying->fresh),
                             "the checkpoint that athd made now (without it: --offline)"};
}

/* ---- what was found ---- */

static void
put_wrong(struct json_maker *result, const struct audit_wrong *wrong)
{
    struct json_maker object;

    json_object_begin(&object);
    if (wrong->file[0] != '\0')
        json_put_string(&object, "file", wrong->file);
    if (wrong->has_index) {
        json_put_int(&object, "offset", (int64_t)wrong->offset);
        json_put_int(&object, "index", (int64_t)wrong->index);
    }
    json_put_string(&object, "reason", wrong->why.text);
    json_put_maker(result, "wrong", &object);
}

static void
put_found(struct json_maker *result, const struct audit_report *report)
{
    struct json_maker keys, key;

    json_put_int(result, "first_index", (int64_t)report->first_index);
    json_put_int(result, "size", (int64_t)report->size);
    json_put_int(result, "covered", (int64_t)report->covered);
    json_put_int(result, "checkpoints", (int64_t)report->checkpoints);
    json_put_int(result, "torn", (int64_t)report->torn);
    if (report->rollbacks != 0) {
        json_put_int(result, "rollbacks", (int64_t)report->rollbacks);
        json_put_int(result, "first_rollback", (int64_t)report->first_rollback);
    }
    json_put_string(result, "time", report->newest.time);
    if (report->is_unfinished)
        json_put_bool(result, "unfinished", true);
    if (report->newest.has_counter)
        json_put_int(result, "counter", (int64_t)report->newest.counter);
    json_array_begin(&keys);
    for (size_t i = 0; i < report->by_count; i++) {
        json_object_begin(&key);
        json_put_string(&key, "jkt", report->by[i].jkt);
        json_put_int(&key, "from", (int64_t)report->by[i].from);
        json_put_int(&key, "to", (int64_t)report->by[i].to);
        json_put_maker(&keys, NULL, &key);
    }
    json_put_maker(result, "keys", &keys);
}

static int
show_json(const struct audit_report *report, ath_err err)
{
    struct ath_buf text = {0};
    struct json *result = NULL;
    struct json_maker maker;

    json_object_begin(&maker);
    json_put_bool(&maker, "ok", err == ATH_OK);
    if (err == ATH_OK)
        put_found(&maker, report);
    else
        put_wrong(&maker, &report->wrong);
    if (json_maker_end(&maker, &result) == ATH_OK)
        json_write(result, &text);
    if (ath_buf_text(&text) != NULL)
        cmd_print_json(ath_buf_text(&text));
    json_free(result);
    ath_buf_done(&text);
    return ath_err_exit_status(err);
}

static void
show_wrong(const struct audit_wrong *wrong)
{
    printf("The audit log does NOT hold.\n");
    if (wrong->has_index)
        printf("record %" PRIu64 ", in %s at byte %" PRIu64 ": ", wrong->index, wrong->file,
               wrong->offset);
    else if (wrong->file[0] != '\0')
        printf("%s: ", wrong->file);
    cmd_print_text(stdout, wrong->why.text);
    printf("\n");
}

static void
show_uncovered(const struct audit_report *report)
{
    uint64_t uncovered = report->size - report->covered;

    if (uncovered != 0)
        printf("%" PRIu64 " record%s behind it %s not covered yet\n", uncovered,
               uncovered == 1 ? "" : "s", uncovered == 1 ? "is" : "are");
    if (report->torn != 0)
        printf("%zu bytes behind the last record are not a whole one (yet)\n", report->torn);
}

/* The log holds from there on; what was lost before, nobody can say from it. */
static void
show_rollbacks(const struct audit_report *report)
{
    if (report->rollbacks == 0)
        return;
    printf("BUT in record %" PRIu64, report->first_rollback);
    if (report->rollbacks > 1)
        printf(" (and %" PRIu64 " more)", report->rollbacks - 1);
    printf(
        " athd found that log, checkpoints and the TPM's counter did not agree: what was written "
        "before may have been put back to an earlier state, and records lost (ath audit show "
        "--event audit_rollback)\n");
}

static void
show_found(const struct cmd_context *context, const struct audit_report *report, bool was_expected)
{
    if (report->size == report->first_index)
        printf("no record");
    else
        printf("records %" PRIu64 " to %" PRIu64, report->first_index, report->size - 1);
    if (report->first_index != 0)
        printf(" (those before were removed, as the log says; their hashes are there)");
    printf(": all as they were written\n");
    show_rollbacks(report);
    printf("%" PRIu64 " checkpoint%s, the newest of %s covers %" PRIu64 " records\n",
           report->checkpoints, report->checkpoints == 1 ? "" : "s", report->newest.time,
           report->covered);
    if (report->is_unfinished)
        printf(
            "the newest checkpoint is being written: athd does the rest, at its next start if it "
            "was killed in between\n");
    show_uncovered(report);
    if (report->newest.has_counter)
        printf("the TPM's counter %08" PRIx32 " stood at %" PRIu64 "\n",
               report->newest.counter_index, report->newest.counter);
    else
        cmd_note(context, "no TPM counter: that all of it was put back to an earlier state would "
                          "not show; keep checkpoints elsewhere and give them as --from");
    for (size_t i = 0; i < report->by_count; i++)
        printf("signed by %s: records %" PRIu64 " to %" PRIu64 "\n", report->by[i].jkt,
               report->by[i].from, report->by[i].to - (report->by[i].to != 0 ? 1 : 0));
    if (!was_expected)
        cmd_note(context, "compare that thumbprint with the one you noted when athd was set up, or "
                          "give it as --key");
}

int
cmd_run_audit_verify(struct cmd_context *context)
{
    struct verifying *verifying = calloc(1, sizeof(*verifying));
    char *dir = NULL;
    int status = EXIT_FAILURE;
    ath_err err;

    if (verifying == NULL || (dir = cmd_audit_dir(context)) == NULL)
        goto out;
    verifying->options.dir = dir;
    verifying->options.older = verifying->older;
    if ((err = read_keys(context, verifying)) != ATH_OK ||
        (err = read_from(context, verifying)) != ATH_OK) {
        status = ath_err_exit_status(err);
        goto out;
    }
    read_fresh(context, verifying);
    err = audit_verify(&verifying->options, &verifying->report);
    if (err != ATH_OK && err != ATH_ERR_INVALID_EVIDENCE) {
        status = cmd_audit_fail(dir, err, &verifying->report.wrong.why);
        goto out;
    }
    status = ath_err_exit_status(err);
    if (context->json)
        show_json(&verifying->report, err);
    else if (err == ATH_OK)
        show_found(context, &verifying->report, verifying->options.jkt_count != 0);
    else
        show_wrong(&verifying->report.wrong);
out:
    if (verifying != NULL) {
        ath_buf_done(&verifying->from);
        ath_buf_done(&verifying->fresh);
    }
    free(verifying);
    free(dir);
    return status;
}
