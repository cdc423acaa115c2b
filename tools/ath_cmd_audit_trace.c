/* `ath audit trace`: one action's records, told as a story. The same trace-id, and the same
 * b64u(T5), find it on the user's, the agent's and the application's side. */
#include "ath_cmd_audit_log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_ID_LEN 32
#define NAME_LEN 43 /* of a handshake, b64u(T5); a handshake_id is shorter */
#define NAME_WIDTH 24

struct story {
    const struct cmd_context *context;
    char *name;         /* of the handshake, b64u(T5); NULL: not known (yet) */
    char *handshake_id; /* of the first record that has one */
    char *trace;        /* the same */
    char *agent, *user, *provider, *role;
    int64_t begun_ms; /* of the first record's day */
    size_t count;
};

/* ---- what is looked for ---- */

/* 32 hexadecimal digits, or a whole traceparent: as audit.query wants it. */
static char *
traceparent_of(const char *text)
{
    struct ath_buf made = {0};
    char *copy;

    if (strlen(text) == TRACE_ID_LEN && strspn(text, "0123456789abcdef") == TRACE_ID_LEN)
        ath_buf_printf(&made, "00-%s-0000000000000001-00", text);
    else if (strlen(text) > NAME_LEN && text[2] == '-') /* a name may have one there, too */
        ath_buf_put_string(&made, text);
    copy = made.len > 0 ? ath_strdup(ath_buf_text(&made)) : NULL;
    ath_buf_done(&made);
    return copy;
}

static struct json *
filter_of(const char *member, const char *text)
{
    struct json_maker maker;
    struct json *filter = NULL;

    json_object_begin(&maker);
    json_put_string(&maker, member, text);
    return json_maker_end(&maker, &filter) == ATH_OK ? filter : NULL;
}

static void
note(char **kept, const char *text)
{
    if (*kept == NULL && text != NULL)
        *kept = ath_strdup(text);
}

/* What else the records of this handshake can be found by. */
static bool
learn(void *ctx, const struct json *record)
{
    struct story *story = ctx;

    note(&story->name, json_get_string(record, "handshake"));
    note(&story->handshake_id, json_get_string(record, "handshake_id"));
    note(&story->trace, json_get_string(record, "trace"));
    note(&story->agent, json_get_string(record, "agent_id"));
    note(&story->user, json_get_string(record, "user_id"));
    note(&story->provider, json_get_string(record, "provider_id"));
    note(&story->role, json_get_string(record, "role"));
    story->count++;
    return true;
}

/* ---- telling ---- */

static const struct {
    const char *event, *words;
} sentences[] = {
    {"authorization_started", "it begins"},
    {"handshake_step", "a step"},
    {"signature", "signed"},
    {"credential_issued", "the user's grant, signed"},
    {"attestation_issued", "an attestation, signed"},
    {"attestation_verified", "an attestation holds"},
    {"attestation_failed", "an attestation does not hold"},
    {"confirmation_given", "the user's yes, signed"},
    {"confirmation_refused", "the user's no, signed"},
    {"consent_asked", "the user is asked"},
    {"consent_given", "the user says yes"},
    {"consent_refused", "no yes from the user"},
    {"policy_denied", "policy says no"},
    {"peer_pinned", "the peer is trusted from now on"},
    {"access_granted", "access is granted"},
    {"access_denied", "access is denied"},
    {"handshake_aborted", "it is aborted"},
    {"session_opened", "a session is open"},
    {"session_closed", "the session is closed"},
    {"session_expired", "the session has expired"},
    {"session_token_given", "a caller gets the token"},
    {"scope_violation", "a scope that the token does not hold"},
    {"token_refused", "the token is refused"},
};

/* "came: identity_result; went: scope_request" */
static void
put_messages(const struct json *record, struct ath_buf *out)
{
    const struct json *received = json_get(record, "received"), *sent = json_get(record, "sent");

    if (received != NULL) {
        ath_buf_put_string(out, "came: ");
        cmd_print_value("received", received, out);
    }
    if (json_first(sent) != NULL) {
        ath_buf_put_string(out, received != NULL ? "; went: " : "went: ");
        cmd_print_value("sent", sent, out);
    }
}

static const char *
words_of(const char *event)
{
    for (size_t i = 0; i < sizeof(sentences) / sizeof(*sentences); i++)
        if (event != NULL && strcmp(sentences[i].event, event) == 0)
            return sentences[i].words;
    return event != NULL ? event : "-";
}

/* Milliseconds of the day of "2026-01-02T03:04:05.678Z"; 0: not such a text. */
static int64_t
milliseconds_of(const char *time)
{
    int hour, minute, second, ms;

    if (time == NULL ||
        sscanf(time, "%*4d-%*2d-%*2dT%2d:%2d:%2d.%3dZ", &hour, &minute, &second, &ms) != 4)
        return 0;
    return (((int64_t)hour * 60 + minute) * 60 + second) * 1000 + ms;
}

static void
put_head(const char *label, const char *text)
{
    if (text == NULL)
        return;
    printf("%-12s ", label);
    cmd_print_text(stdout, text);
    printf("\n");
}

static void
tell_begin(struct story *story, const struct json *record)
{
    const char *time = json_get_string(record, "timestamp");

    story->begun_ms = milliseconds_of(time);
    put_head("handshake", story->name);
    put_head("trace", story->trace);
    put_head("agent", story->agent);
    put_head("user", story->user);
    put_head("application", story->provider);
    put_head("this side", story->role != NULL ? story->role : "user");
    put_head("began", time);
}

static bool
tell(void *ctx, const struct json *record)
{
    /* said once above, or by the words */
    static const char *const left_out[] = {
        "handshake", "handshake_id", "trace",      "rule",        "role", "sha256",
        "jkt",       "session",      "agent_id",   "user_id",     "peer", "provider_id",
        "audience",  "consent",      "request_id", "duration_us", NULL};
    struct story *story = ctx;
    const char *event = json_get_string(record, "event");
    const char *words = words_of(event);
    struct ath_buf text = {0};
    int64_t after_ms;

    if (story->context->json) {
        cmd_audit_print_line(story->context, record);
        return true;
    }
    if (story->count++ == 0)
        tell_begin(story, record);
    after_ms = milliseconds_of(json_get_string(record, "timestamp")) - story->begun_ms;
    if (after_ms < 0)
        after_ms += (int64_t)86400 * 1000; /* past midnight */
    printf("%5" PRId64 ".%03" PRId64 " s  ", after_ms / 1000, after_ms % 1000);
    cmd_print_text(stdout, words);
    for (size_t width = strlen(words); width < NAME_WIDTH; width++)
        putchar(' ');
    printf("  ");
    if (json_get(record, "sent") != NULL)
        put_messages(record, &text);
    else
        cmd_audit_put_members(record, left_out, &text);
    cmd_print_text(stdout, ath_buf_text(&text) != NULL ? ath_buf_text(&text) : "");
    printf("\n");
    ath_buf_done(&text);
    return true;
}

/* ---- looking ---- */

static ath_err
each_of(struct story *story, struct ath_client *client, const char *member, const char *text,
        cmd_audit_record_fn *each)
{
    struct json *filter = filter_of(member, text);
    ath_err err;

    if (filter == NULL) {
        cmd_error("out of memory");
        return ATH_ERR_NOMEM;
    }
    err = cmd_audit_each(story->context, client, filter, -1, each, story, NULL);
    json_free(filter);
    return err;
}

/* By its trace where it has one, since that begins with the first record; else by the id that the
 * handshake has at this side; T5 is known from the fifth message on only. */
static ath_err
find_and_tell(struct story *story, struct ath_client *client, const char *wanted)
{
    char *trace = traceparent_of(wanted);
    ath_err err;

    if (trace != NULL)
        err = each_of(story, client, "trace", trace, learn);
    else
        err = each_of(story, client, "handshake", wanted, learn);
    if (err == ATH_OK && story->count > 0) {
        story->count = 0;
        if (trace != NULL)
            err = each_of(story, client, "trace", trace, tell);
        else if (story->handshake_id != NULL)
            err = each_of(story, client, "handshake", story->handshake_id, tell);
        else
            err = each_of(story, client, "handshake", wanted, tell);
    }
    free(trace);
    return err;
}

static void
story_done(struct story *story)
{
    free(story->name);
    free(story->handshake_id);
    free(story->trace);
    free(story->agent);
    free(story->user);
    free(story->provider);
    free(story->role);
}

int
cmd_run_audit_trace(struct cmd_context *context)
{
    const char *wanted = json_get_string(context->extra, "TRACE-ID|HANDSHAKE");
    struct story story = {.context = context};
    int status = EXIT_SUCCESS;
    struct ath_client *client = cmd_connect(context, NULL, &status);
    ath_err err;

    if (client == NULL)
        return status;
    if ((err = find_and_tell(&story, client, wanted)) != ATH_OK)
        status = ath_err_exit_status(err);
    else if (story.count == 0)
        status = (cmd_error("no record of this athd is of %s", wanted), EXIT_FAILURE);
    story_done(&story);
    ath_client_free(client);
    return status;
}
