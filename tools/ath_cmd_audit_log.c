/* `ath audit show`, `follow` and `checkpoint`: the log as athd has it, by its socket. */
#include "ath_cmd_audit_log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define PAGE 1000
#define SHOWN_DEFAULT 50 /* where nothing says which */
#define SHOWN_MAX 100000
#define EVENT_WIDTH 22

/* ---- asking ---- */

static struct json *
page_params(const struct json *filter, int64_t after)
{
    struct json_maker maker;
    const struct json *member;
    struct json *params = NULL;

    json_object_begin(&maker);
    for (member = json_first(filter); member != NULL; member = json_next(member))
        json_put_copy(&maker, json_name(member), member);
    json_put_int(&maker, "limit", PAGE);
    if (after >= 0)
        json_put_int(&maker, "after", after);
    return json_maker_end(&maker, &params) == ATH_OK ? params : NULL;
}

static ath_err
ask(const struct cmd_context *context, struct ath_client *client, const struct json *filter,
    int64_t after, struct json **ret_page)
{
    struct json *params = page_params(filter, after);
    ath_err err;

    if (params == NULL) {
        cmd_error("out of memory");
        return ATH_ERR_NOMEM;
    }
    err = cmd_call(context, client, "audit.query", params, ret_page);
    json_free(params);
    return err;
}

ath_err
cmd_audit_each(const struct cmd_context *context, struct ath_client *client,
               const struct json *filter, int64_t after, cmd_audit_record_fn *each, void *ctx,
               int64_t *ret_last)
{
    bool goes_on = true;
    ath_err err = ATH_OK;

    while (goes_on) {
        const struct json *record;
        struct json *page = NULL;
        bool wants_more = true;

        if ((err = ask(context, client, filter, after, &page)) != ATH_OK)
            break;
        for (record = json_first(json_get(page, "records")); record != NULL && wants_more;
             record = json_next(record)) {
            (void)json_get_int(record, "index", &after);
            wants_more = each(ctx, record);
        }
        goes_on = wants_more && json_get_int(page, "next", &after);
        json_free(page);
    }
    if (ret_last != NULL)
        *ret_last = after;
    return err;
}

/* ---- one record ---- */

static bool
is_one_of(const char *name, const char *const *names)
{
    for (; names != NULL && *names != NULL; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

void
cmd_audit_put_members(const struct json *record, const char *const *left_out, struct ath_buf *out)
{
    static const char *const always[] = {"index", "timestamp", "event", "caller", NULL};
    const struct json *member;

    for (member = json_first(record); member != NULL; member = json_next(member)) {
        const char *name = json_name(member);

        if (is_one_of(name, always) || is_one_of(name, left_out))
            continue;
        ath_buf_printf(out, "%s%s=", out->len > 0 ? " " : "", name);
        cmd_print_value(name, member, out);
    }
}

/* "python3[4711] shop.service" */
static void
put_caller(const struct json *record, struct ath_buf *out)
{
    const struct json *caller = json_get(record, "caller");
    const char *exe = json_get_string(caller, "exe"), *unit = json_get_string(caller, "unit");
    const char *slash = exe == NULL ? NULL : strrchr(exe, '/');
    int64_t pid = 0, uid = 0;

    if (!json_get_int(caller, "pid", &pid) || !json_get_int(caller, "uid", &uid))
        return;
    ath_buf_printf(out, "%s[%" PRId64 "] uid %" PRId64, slash != NULL ? slash + 1 : "?", pid, uid);
    if (unit != NULL)
        ath_buf_printf(out, " %s", unit);
}

static void
print_json(const struct json *record)
{
    struct ath_buf line = {0};

    json_write(record, &line);
    if (ath_buf_text(&line) != NULL)
        cmd_print_json(ath_buf_text(&line));
    ath_buf_done(&line);
}

void
cmd_audit_print_line(const struct cmd_context *context, const struct json *record)
{
    static const char *const noise[] = {"trace", "rule", "duration_us", "sha256", NULL};
    const char *event = json_get_string(record, "event");
    const char *time = json_get_string(record, "timestamp");
    struct ath_buf text = {0}, caller = {0};
    int64_t index = 0;

    if (context->json) {
        print_json(record);
        return;
    }
    (void)json_get_int(record, "index", &index);
    cmd_audit_put_members(record, noise, &text);
    put_caller(record, &caller);
    printf("%7" PRId64 " ", index);
    cmd_print_text(stdout, time != NULL ? time : "-");
    printf(" ");
    cmd_print_text(stdout, event != NULL ? event : "-");
    for (size_t width = strlen(event != NULL ? event : "-"); width < EVENT_WIDTH; width++)
        putchar(' ');
    printf(" ");
    cmd_print_text(stdout, ath_buf_text(&text) != NULL ? ath_buf_text(&text) : "");
    if (caller.len > 0) {
        printf(" by ");
        cmd_print_text(stdout, ath_buf_text(&caller));
    }
    printf("\n");
    ath_buf_done(&text);
    ath_buf_done(&caller);
}

/* ---- show ---- */

struct showing { /* the last `limit` of what matches */
    struct json **kept;
    size_t limit, count; /* count: all that came */
};

static bool
keep(void *ctx, const struct json *record)
{
    struct showing *showing = ctx;
    struct json **place = &showing->kept[showing->count % showing->limit];

    json_free(*place);
    *place = json_clone(record);
    showing->count++;
    return true;
}

static void
print_kept(const struct cmd_context *context, struct showing *showing)
{
    size_t first = showing->count > showing->limit ? showing->count - showing->limit : 0;

    for (size_t i = first; i < showing->count; i++)
        if (showing->kept[i % showing->limit] != NULL)
            cmd_audit_print_line(context, showing->kept[i % showing->limit]);
    for (size_t i = 0; i < showing->limit; i++)
        json_free(showing->kept[i]);
    free(showing->kept);
}

struct printing {
    const struct cmd_context *context;
    uint64_t count;
};

static bool
print_at_once(void *ctx, const struct json *record)
{
    struct printing *printing = ctx;

    cmd_audit_print_line(printing->context, record);
    printing->count++;
    return true;
}

/* How many records there are; what failed has been said. 0 where athd does not tell, as at a grant's
 * socket: audit.query says why. */
static ath_err
log_size(const struct cmd_context *context, struct ath_client *client, int64_t *ret_size)
{
    struct json *status = NULL;
    ath_err err = cmd_call(context, client, "agent.status", NULL, &status);

    if (err == ATH_OK && !json_get_int(json_get(status, "audit"), "size", ret_size))
        *ret_size = 0;
    json_free(status);
    return err;
}

/* An empty answer looks like a misspelt name: docs/audit-events.md has those of events. */
static ath_err
say_if_none(const struct cmd_context *context, ath_err err, uint64_t count)
{
    if (err == ATH_OK && count == 0)
        cmd_note(context, "no record matches");
    return err;
}

static ath_err
show_last(const struct cmd_context *context, struct ath_client *client, int64_t limit,
          int64_t after)
{
    struct showing showing = {.limit = (size_t)limit};
    ath_err err;

    if ((showing.kept = calloc(showing.limit, sizeof(*showing.kept))) == NULL) {
        cmd_error("out of memory");
        return ATH_ERR_NOMEM;
    }
    err = cmd_audit_each(context, client, context->params, after, keep, &showing, NULL);
    print_kept(context, &showing);
    return say_if_none(context, err, showing.count);
}

static ath_err
show_all(const struct cmd_context *context, struct ath_client *client)
{
    struct printing printing = {.context = context};
    ath_err err =
        cmd_audit_each(context, client, context->params, -1, print_at_once, &printing, NULL);

    return say_if_none(context, err, printing.count);
}

static ath_err
show(struct cmd_context *context, struct ath_client *client)
{
    bool is_filtered = json_first(context->params) != NULL;
    int64_t limit = 0, size = 0;
    ath_err err;

    if (!json_get_int(context->extra, "--limit", &limit)) {
        if (is_filtered)
            return show_all(context, client);
        limit = SHOWN_DEFAULT;
    }
    if (is_filtered)
        return show_last(context, client, limit, -1);
    if ((err = log_size(context, client, &size)) != ATH_OK)
        return err;
    return show_last(context, client, limit, size - limit - 1);
}

int
cmd_run_audit_show(struct cmd_context *context)
{
    int status = EXIT_SUCCESS;
    struct ath_client *client;
    int64_t limit = 1;
    ath_err err;

    if (json_get_int(context->extra, "--limit", &limit) && (limit < 1 || limit > SHOWN_MAX))
        return cmd_error("--limit must be 1 to %d", SHOWN_MAX);
    if ((client = cmd_connect(context, NULL, &status)) == NULL)
        return status;
    if ((err = show(context, client)) != ATH_OK)
        status = ath_err_exit_status(err);
    ath_client_free(client);
    return status;
}

/* ---- follow ---- */

static ath_err
subscribe(const struct cmd_context *context, struct ath_client *client)
{
    struct json_maker maker, topics;
    struct json *params = NULL, *ignored = NULL;
    ath_err err;

    json_array_begin(&topics);
    json_put_string(&topics, NULL, "audit");
    json_object_begin(&maker);
    json_put_maker(&maker, "topics", &topics);
    if ((err = json_maker_end(&maker, &params)) != ATH_OK)
        return err;
    err = cmd_call(context, client, "events.subscribe", params, &ignored);
    json_free(ignored);
    json_free(params);
    return err;
}

/* One connection tells that there is more, the other one asks for it. */
static ath_err
follow(struct cmd_context *context, struct ath_client *told, struct ath_client *asking,
       int *ret_status)
{
    struct printing printing = {.context = context};
    int64_t last = 0;
    ath_err err;

    if ((err = subscribe(context, told)) != ATH_OK ||
        (err = log_size(context, asking, &last)) != ATH_OK) {
        *ret_status = ath_err_exit_status(err);
        return ATH_OK;
    }
    last--;
    ath_client_set_timeout(told, -1);
    do {
        char *event = NULL;

        err =
            cmd_audit_each(context, asking, context->params, last, print_at_once, &printing, &last);
        fflush(stdout);
        if (err != ATH_OK) {
            *ret_status = ath_err_exit_status(err);
            return ATH_OK;
        }
        err = ath_client_event(told, &event);
        ath_string_free(event);
    } while (err == ATH_OK);
    return err;
}

int
cmd_run_audit_follow(struct cmd_context *context)
{
    int status = EXIT_SUCCESS;
    struct ath_client *told = cmd_connect(context, NULL, &status), *asking = NULL;
    ath_err err;

    if (told == NULL || (asking = cmd_connect(context, NULL, &status)) == NULL) {
        ath_client_free(told);
        return status;
    }
    if ((err = follow(context, told, asking, &status)) != ATH_OK)
        status = cmd_fail(context, told, err);
    ath_client_free(asking);
    ath_client_free(told);
    return status;
}
