#include "hsm_token_fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "athd/consent.h"
#include "base/clock.h"

struct fixture token_fixture;
int token_completions, token_requests_ended;
static int closed;

struct token_result token_results[TOKEN_JOBS];

static void
on_done(void *ctx, const struct hsm_outcome *outcome)
{
    struct token_result *result = ctx;

    result->done++;
    result->place = ++token_completions;
    result->err = outcome->err;
    result->why = outcome->why;
    result->tries_left = outcome->tries_left;
    result->retry_after_s = outcome->retry_after_s;
    snprintf(result->blob, sizeof(result->blob), "%.*s", (int)outcome->blob.len,
             outcome->blob.len == 0 ? "" : (const char *)outcome->blob.data);
    if (result->request != NULL)
        request_fail(result->request, ATH_ERR_USER_DENIED, NULL);
    if (result->victim != NULL)
        hsm_job_cancel(result->victim, ATH_ERR_USER_DENIED);
    token_requests_ended += result->request != NULL;
    result->request = NULL;
}

void
token_start_pool(void)
{
    memset(token_results, 0, sizeof(token_results));
    token_completions = closed = token_requests_ended = 0;
    assert_int_equal(consent_new(&token_fixture.athd, &token_fixture.athd.consent), ATH_OK);
    assert_int_equal(hsm_pool_new(&token_fixture.athd, NULL, &token_fixture.athd.hsms), ATH_OK);
    hsm_pool_start(token_fixture.athd.hsms);
}

void
token_begin(const char *uri, const char *prompter)
{
    fixture_begin(&token_fixture, uri);
    setenv("FAKE_PROMPTER", prompter, 1);
    setenv("FAKE_PROMPTER_LOG", fixture_path(&token_fixture, "prompter"), 1);
    unsetenv("GPG_TTY");
    token_start_pool();
}

static void
on_closed(void *ctx)
{
    ++*(int *)ctx;
}

void
token_stop_pool(void)
{
    int turns;

    consent_close(token_fixture.athd.consent);
    hsm_pool_close(token_fixture.athd.hsms, on_closed, &closed);
    fixture_run_until(&token_fixture, &closed, 1);
    for (turns = 0; turns < 100000 && (!consent_is_idle(token_fixture.athd.consent) ||
                                       !store_queue_is_empty(&token_fixture.athd.stores));
         turns++)
        uv_run(token_fixture.athd.loop, UV_RUN_ONCE);
    assert_true(consent_is_idle(token_fixture.athd.consent));
    fixture_turn(&token_fixture); /* what was closed is so after a turn */
    consent_free(token_fixture.athd.consent);
    hsm_pool_free(token_fixture.athd.hsms);
}

void
token_end(void)
{
    token_stop_pool();
    fixture_end(&token_fixture);
}

struct hsm_job_params
token_params_of(size_t job)
{
    return (struct hsm_job_params){.caller_identity = 1,
                                   .priority = HSM_PRIORITY_NORMAL,
                                   .deadline_ms = clock_monotonic_ms() + 30000,
                                   .done = on_done,
                                   .ctx = &token_results[job],
                                   .request = token_results[job].request,
                                   .key_name = "alice"};
}

struct hsm_job *
token_sign(size_t job, const char *message, bool wants_pin)
{
    const struct hsm_key_ref ref = {
        .number = 3, .hsm = "one", .blob = ath_slice_of_string("URI"), .wants_pin = wants_pin};
    struct request *request = token_results[job].request;
    struct hsm_job_params params;
    struct hsm_job *made = NULL;

    token_results[job] = (struct token_result){.request = request};
    params = token_params_of(job);
    if (strcmp(message, "hang") == 0)
        params.deadline_ms = UINT64_MAX;
    assert_int_equal(
        hsm_pool_sign(token_fixture.athd.hsms, &ref, ath_slice_of_string(message), &params, &made),
        ATH_OK);
    assert_int_equal(token_results[job].done, 0);
    return made;
}

void
token_sign_ends(size_t job, const char *message, bool wants_pin, ath_err expected)
{
    token_sign(job, message, wants_pin);
    fixture_run_until(&token_fixture, &token_results[job].done, 1);
    assert_int_equal(token_results[job].err, expected);
}

/* How often `text` stands in a file of the test's. */
int
token_count(const char *file, const char *text)
{
    char *content, *at;
    int found = 0;

    if (access(fixture_path(&token_fixture, file), F_OK) != 0)
        return 0;
    content = fixture_read(&token_fixture, file);
    for (at = strstr(content, text); at != NULL; at = strstr(at + 1, text))
        found++;
    free(content);
    return found;
}

struct saying {
    const char *file, *text;
    int count;
};

static bool
is_said(void *ctx)
{
    const struct saying *saying = ctx;

    return token_count(saying->file, saying->text) >= saying->count;
}

void
token_run_until_count(const char *file, const char *text, int count)
{
    struct saying saying = {file, text, count};

    fixture_run_until_so(&token_fixture, is_said, &saying);
}

void
token_run_until_file_says(const char *file, const char *text)
{
    token_run_until_count(file, text, 1);
}

bool
token_status_has(const char *name, const char *value)
{
    struct json *status = NULL;
    const char *text;
    bool has;

    assert_int_equal(hsm_pool_status(token_fixture.athd.hsms, &status), ATH_OK);
    text = json_get_string(json_first(status), name);
    has = text != NULL && strcmp(text, value) == 0;
    json_free(status);
    return has;
}

struct member {
    const char *name, *value;
};

static bool
is_in_status(void *ctx)
{
    const struct member *member = ctx;

    return token_status_has(member->name, member->value);
}

void
token_run_until_status(const char *name, const char *value)
{
    struct member member = {name, value};

    fixture_run_until_so(&token_fixture, is_in_status, &member);
}

void
token_run_until_state(const char *state)
{
    token_run_until_status("state", state);
}

void
token_touch(const char *name)
{
    FILE *file = fopen(fixture_path(&token_fixture, name), "w");

    assert_non_null(file);
    fclose(file);
}
