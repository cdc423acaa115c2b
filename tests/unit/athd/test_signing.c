#include "fixture_daemon.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "athd/freeze.h"
#include "athd/signing.h"
#include "base/clock.h"

static const char client_key_pem[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMKBCTNIcKUSDii11ySs3526iDZ8A\n"
    "iTo7Tu6KPAqv7D7gS2XpJFbZiItSs3m9+9Ue6GnvHw/GW2ZZaVtszggXIw==\n"
    "-----END PUBLIC KEY-----\n";
/* A label, and two hashes as text (profile section 4). */
static const char hello[] = "ATH-TB1 client-hello AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
                            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static struct fixture fixture;
static struct key *key;
static int completions, closed;

struct result {
    struct request *request;
    int done;
    ath_err err;
    struct why why;
    size_t signature_len;
};

static void
on_closed(void *ctx)
{
    ++*(int *)ctx;
}

static void
begin(const char *uri)
{
    struct ath_buf blob = {0};
    struct public_key *public_key = NULL;
    struct why why = {{0}};

    completions = closed = 0;
    fixture_begin(&fixture, uri);
    assert_int_equal(audit_log_open(&fixture.athd, fixture.dir, &why, &fixture.athd.audit), ATH_OK);
    assert_int_equal(hsm_pool_new(&fixture.athd, NULL, &fixture.athd.hsms), ATH_OK);
    hsm_pool_start(fixture.athd.hsms);
    assert_int_equal(public_key_from_pem(ath_slice_of_string(client_key_pem), &why, &public_key),
                     ATH_OK);
    assert_non_null(key = key_new());
    key->name = ath_strdup("bot");
    key->hsm = ath_strdup("one");
    key->role = DID_CLIENT;
    key_set_public(key, public_key);
    ath_buf_put_string(&blob, "BLOB");
    key_set_facts(key, &(struct hsm_key_facts){.empty_auth = true});
    key_attach(key, &blob, hsm_pool_next_key_number(fixture.athd.hsms));
}

static void
end(void)
{
    hsm_pool_close(fixture.athd.hsms, on_closed, &closed);
    audit_log_close(fixture.athd.audit, on_closed, &closed);
    fixture_run_until(&fixture, &closed, 2);
    fixture_turn(&fixture); /* what was closed is so after a turn */
    hsm_pool_free(fixture.athd.hsms);
    audit_log_free(fixture.athd.audit);
    key_free(key);
    fixture_end(&fixture);
}

/* The others tell of the helper. */
static uint64_t
signature_records(void)
{
    char *text = fixture_read(&fixture, "audit/00000001.jsonl"), *at = text;
    uint64_t count = 0;

    while ((at = strstr(at, "\"event\":\"signature\"")) != NULL) {
        count++;
        at++;
    }
    free(text);
    return count;
}

static void
on_signed(void *ctx, const struct signing_outcome *outcome)
{
    struct result *result = ctx;

    result->done++;
    result->err = outcome->err;
    result->why = outcome->why;
    result->signature_len = outcome->signature.len;
    completions++;
    request_fail(result->request, ATH_ERR_INTERNAL, NULL);
}

static void
start(struct request *request, const char *message, enum sign_purpose purpose,
      struct result *result)
{
    struct json_maker record;

    assert_non_null(request);
    *result = (struct result){.request = request};
    assert_true(snprintf(request->allowed_key, sizeof(request->allowed_key), "%s", key->name) > 0);
    audit_record_begin(&record, "signature", request);
    json_put_string(&record, "jti", "j1");
    signing_start(request, key, purpose, ath_slice_of_string(message), HSM_PRIORITY_NORMAL, &record,
                  on_signed, result);
    assert_int_equal(result->done, 0);
}

static void
sign(const char *message, enum sign_purpose purpose, struct result *result)
{
    start(fixture_request(&fixture, RPC_HANDSHAKE_START), message, purpose, result);
}

static void
test_signature_comes_with_its_record_on_disk(void **state)
{
    struct result result;
    char *text;

    (void)state;
    begin("swtpm:");
    sign(hello, PURPOSE_CLIENT_HELLO, &result);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_OK);
    assert_int_equal(result.signature_len, 64);
    text = fixture_read(&fixture, "audit/00000001.jsonl");
    assert_non_null(strstr(text, "\"event\":\"signature\""));
    assert_non_null(strstr(text, "\"key\":\"bot\""));
    assert_non_null(strstr(text, "\"purpose\":\"client-hello\""));
    assert_non_null(strstr(text, "\"jti\":\"j1\""));
    assert_non_null(strstr(text, "\"sha256\":\""));
    assert_non_null(strstr(text, public_key_jkt(key->public_key)));
    assert_int_equal(fixture.tenant->counters.signatures, 1);
    free(text);
    end();
}

static void
assert_refused(const char *message, enum sign_purpose purpose, ath_err expected)
{
    struct result result;
    int before = completions;

    sign(message, purpose, &result);
    fixture_run_until(&fixture, &completions, before + 1);
    assert_int_equal(result.err, expected);
    assert_int_equal(result.signature_len, 0);
    assert_int_equal(signature_records(), 0);
}

/* Whatever a method forgets: it is our mistake, and nobody's signature. */
static void
test_a_key_that_policy_was_not_asked_about_signs_nothing(void **state)
{
    static const char *const others[] = {"", "bo", "bott", "Bot"};
    struct json_maker record;
    struct result result;

    (void)state;
    begin("swtpm:");
    log_set_level(LOG_LEVEL_ERROR);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct request *request = fixture_request(&fixture, RPC_HANDSHAKE_START);
        int before = completions;

        assert_non_null(request);
        result = (struct result){.request = request};
        assert_true(snprintf(request->allowed_key, sizeof(request->allowed_key), "%s", others[i]) >=
                    0);
        audit_record_begin(&record, "signature", request);
        signing_start(request, key, PURPOSE_CLIENT_HELLO, ath_slice_of_string(hello),
                      HSM_PRIORITY_NORMAL, &record, on_signed, &result);
        fixture_run_until(&fixture, &completions, before + 1);
        assert_int_equal(result.err, ATH_ERR_INTERNAL);
        assert_int_equal(result.signature_len, 0);
        assert_int_equal(signature_records(), 0);
    }
    end();
}

static void
on_frozen(void *ctx, ath_err err, const struct why *why)
{
    (void)why;
    assert_int_equal(err, ATH_OK);
    ++*(int *)ctx;
}

static void
test_a_key_that_is_frozen_on_the_way_gives_no_signature(void **state)
{
    struct result result;
    int frozen = 0;

    (void)state;
    begin("swtpm:");
    sign(hello, PURPOSE_CLIENT_HELLO, &result);
    assert_int_equal(freeze_set(fixture.tenant->freeze, key->name, NULL, on_frozen, &frozen),
                     ATH_OK);
    fixture_run_until(&fixture, &completions, 1);
    fixture_run_until(&fixture, &frozen, 1);
    assert_int_equal(result.err, ATH_ERR_POLICY_DENIED);
    assert_int_equal(result.signature_len, 0);
    end();
}

static void
test_bytes_that_are_not_of_their_purpose_are_not_signed(void **state)
{
    (void)state;
    begin("swtpm:");
    assert_refused("anything", PURPOSE_CLIENT_HELLO, ATH_ERR_POLICY_DENIED);
    assert_refused(hello, PURPOSE_CLIENT_IDENTITY, ATH_ERR_POLICY_DENIED);
    assert_refused(hello, PURPOSE_ATTESTATION, ATH_ERR_POLICY_DENIED);
    key->role = DID_USER; /* the right bytes, by a key of another role */
    assert_refused(hello, PURPOSE_CLIENT_HELLO, ATH_ERR_POLICY_DENIED);
    end();
}

static void
test_expired_key_does_not_sign(void **state)
{
    (void)state;
    begin("swtpm:");
    key->expires_at = clock_now() - 1;
    assert_refused(hello, PURPOSE_CLIENT_HELLO, ATH_ERR_KEY_EXPIRED);
    end();
}

static void
limit_file_size(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
test_signature_without_its_record_does_not_leave(void **state)
{
    struct result bad, good;

    (void)state;
    begin("swtpm:");
    signal(SIGXFSZ, SIG_IGN);
    /* the helper is up, and what it notes is out of the way, before the disk is "full" */
    sign(hello, PURPOSE_CLIENT_HELLO, &good);
    fixture_run_until(&fixture, &completions, 1);
    limit_file_size(300);
    sign(hello, PURPOSE_CLIENT_HELLO, &bad);
    fixture_run_until(&fixture, &completions, 2);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(bad.err, ATH_ERR_AUDIT_UNAVAILABLE);
    assert_int_equal(bad.signature_len, 0);
    sign(hello, PURPOSE_CLIENT_HELLO, &good);
    fixture_run_until(&fixture, &completions, 3);
    assert_int_equal(good.err, ATH_OK);
    assert_int_equal(signature_records(), 2);
    end();
}

static void
test_cancelled_signature_ends_with_the_given_error(void **state)
{
    struct result result;

    (void)state;
    begin("swtpm:absent"); /* nobody will sign */
    sign(hello, PURPOSE_CLIENT_HELLO, &result);
    request_cancel(result.request, ATH_ERR_CONSENT_TIMEOUT);
    assert_int_equal(result.done, 0);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_ERR_CONSENT_TIMEOUT);
    assert_int_equal(result.done, 1);
    assert_int_equal(signature_records(), 1);
    end();
}

/* As athd knows it: what a thread has just written is in the file before. */
static bool
has_records(void *ctx)
{
    return audit_log_size(fixture.athd.audit) >= *(const uint64_t *)ctx;
}

static void
test_record_is_written_when_the_hardware_starts_and_not_before(void **state)
{
    struct result results[6];
    uint64_t records = 2; /* of the helper's start and of its hsm's: no other will come */
    int i;

    (void)state;
    begin("swtpm:hang"); /* takes work and never ends it */
    fixture_run_until_so(&fixture, has_records, &records);
    assert_true(hsm_pool_is_open(fixture.athd.hsms, "one"));
    sign(hello, PURPOSE_CLIENT_HELLO, &results[0]);
    records++;
    fixture_run_until_so(&fixture, has_records, &records);
    assert_int_equal(signature_records(), 1);
    for (i = 1; i < 6; i++)
        sign(hello, PURPOSE_CLIENT_HELLO, &results[i]);
    for (i = 0; i < 20; i++) { /* this hardware does one thing at a time: the others wait for it */
        usleep(1000);
        fixture_turn(&fixture);
    }
    assert_int_equal(signature_records(), 1);
    assert_int_equal(completions, 0);
    for (i = 0; i < 6; i++)
        request_cancel(results[i].request, ATH_ERR_CONSENT_TIMEOUT);
    fixture_run_until(&fixture, &completions, 6);
    assert_int_equal(signature_records(), 6);
    end();
}

static void
test_error_of_the_hardware_is_passed_on(void **state)
{
    struct result result;

    (void)state;
    begin("swtpm:bad-key");
    sign(hello, PURPOSE_CLIENT_HELLO, &result);
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_ERR_HSM_ERROR);
    assert_string_equal(result.why.text, "integrity check failed");
    end();
}

static void
test_key_deleted_meanwhile_is_still_there_for_the_signature(void **state)
{
    struct result result;

    (void)state;
    begin("swtpm:");
    sign(hello, PURPOSE_CLIENT_HELLO, &result);
    key_free(key);
    key = NULL;
    fixture_run_until(&fixture, &completions, 1);
    assert_int_equal(result.err, ATH_OK);
    end();
}

static ath_err
sign_once(void *ctx)
{
    struct request *request = fixture_request(&fixture, RPC_HANDSHAKE_START);
    struct result *result = ctx;
    int before = completions;

    if (request == NULL)
        return ATH_ERR_NOMEM;
    start(request, hello, PURPOSE_CLIENT_HELLO, result);
    fixture_run_until(&fixture, &completions, before + 1);
    return result->err;
}

static void
test_each_failing_allocation_is_told_from_the_loop(void **state)
{
    struct result result;

    (void)state;
    begin("swtpm:");
    each_allocation_failing(sign_once, &result);
    end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signature_comes_with_its_record_on_disk),
        cmocka_unit_test(test_bytes_that_are_not_of_their_purpose_are_not_signed),
        cmocka_unit_test(test_a_key_that_policy_was_not_asked_about_signs_nothing),
        cmocka_unit_test(test_a_key_that_is_frozen_on_the_way_gives_no_signature),
        cmocka_unit_test(test_expired_key_does_not_sign),
        cmocka_unit_test(test_signature_without_its_record_does_not_leave),
        cmocka_unit_test(test_cancelled_signature_ends_with_the_given_error),
        cmocka_unit_test(test_record_is_written_when_the_hardware_starts_and_not_before),
        cmocka_unit_test(test_error_of_the_hardware_is_passed_on),
        cmocka_unit_test(test_key_deleted_meanwhile_is_still_there_for_the_signature),
        cmocka_unit_test(test_each_failing_allocation_is_told_from_the_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
