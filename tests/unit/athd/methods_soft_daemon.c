#include "methods_soft_daemon.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "athd/consent.h"
#include "athd/credential_store.h"
#include "athd/events.h"
#include "athd/handshake_table.h"
#include "athd/hsm_pool.h"
#include "athd/key_store.h"
#include "athd/listener.h"
#include "athd/peer_store.h"
#include "athd/policy_question.h"
#include "athd/replay_store.h"
#include "athd/session_table.h"
#include "base/clock.h"
#include "rpc/rpc_limits.h"
#include "test_key.h"

#define SLOTS 2
#define JOBS 8
#define PAIRS 8
#define TEXTS 32
#define TEXT_LEN 32768

struct soft soft;

/* ---- sockets: there are none ---- */

const char *
listener_path(const struct listener *listener)
{
    (void)listener;
    return "";
}

ath_err
listener_add(struct listener *listener, struct tenant *tenant, struct grant *grant,
             const char *path, struct why *why, struct listener_socket **ret_socket)
{
    (void)listener;
    (void)tenant;
    (void)grant;
    (void)path;
    (void)ret_socket;
    return why_set(why, ATH_ERR_IO, "no sockets here");
}

void
listener_drop(struct listener_socket *socket)
{
    (void)socket;
}

unsigned
listener_connections_of(const struct listener *listener, const struct grant *grant)
{
    (void)listener;
    (void)grant;
    return 0;
}

/* ---- requests: their answers stay here ---- */

static struct request requests[SLOTS];
static struct soft_answer answers[SLOTS];
static struct caller caller = {.references = 1, .pid = 1, .identity = 1};

static void
take_answer(struct request *request, ath_err err, const struct why *why, struct json *result,
            struct json *data)
{
    struct soft_answer *answer = &answers[request - requests];

    assert_false(answer->has_come);
    assert_null(request->cancel);
    answer->has_come = true;
    answer->err = err;
    answer->result = result;
    answer->data = data;
    if (why != NULL)
        answer->why = *why;
    json_free(request->params);
    request->params = NULL;
    policy_kept_free(request->kept);
    request->kept = NULL;
    json_free(request->denied);
    request->denied = NULL;
    soft.failed |= fail_allocation_happened();
    fail_allocation(0);
}

void
request_finish(struct request *request, struct json *taken_result)
{
    take_answer(request, taken_result == NULL ? ATH_ERR_NOMEM : ATH_OK, NULL, taken_result, NULL);
}

void
request_finish_maker(struct request *request, struct json_maker *result)
{
    struct json *object = NULL;

    if (json_maker_end(result, &object) != ATH_OK)
        object = NULL;
    request_finish(request, object);
}

void
request_fail_data(struct request *request, ath_err err, const struct why *why,
                  struct json *taken_data)
{
    assert_int_not_equal(err, ATH_OK);
    take_answer(request, err, why, NULL, taken_data);
}

void
request_fail(struct request *request, ath_err err, const struct why *why)
{
    request_fail_data(request, err, why, NULL);
}

void
request_set_deadline(struct request *request, uint64_t deadline_ms)
{
    request->deadline_ms = deadline_ms;
}

void
request_cancel(struct request *request, ath_err err)
{
    void (*cancel)(struct request *, ath_err) = request->cancel;

    request->cancel = NULL;
    if (cancel != NULL)
        cancel(request, err);
}

ath_err
request_table_init(struct request_table *table, uv_loop_t *loop)
{
    (void)table;
    (void)loop;
    return ATH_OK;
}

void
request_table_close(struct request_table *table)
{
    (void)table;
}

/* ---- hardware: key pairs by OpenSSL, whose allocations do not fail ---- */

static struct pair {
    struct test_key *test_key;
    EVP_PKEY *pkey;
} pairs[PAIRS];

static struct hsm_job {
    bool is_used;
    struct deferred deferred;
    struct hsm_job_params params;
    struct hsm_outcome outcome;
    uint8_t signature[SIGNATURE_MAX_LEN];
    char blob[16];
} jobs[JOBS];
static uint32_t key_number;

static void
make_pair(struct pair *pair, size_t number)
{
    struct ath_buf pem = {.max = 4096};
    char name[32];
    BIO *bio;

    (void)snprintf(name, sizeof(name), "soft-%zu", number);
    pair->test_key = test_key_new(TEST_KEY_P256, name);
    test_key_put_private_pem(pair->test_key, &pem);
    bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    assert_non_null(pair->pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL));
    BIO_free(bio);
    ath_buf_done(&pem);
}

static void
sign(const struct pair *pair, struct ath_slice message, uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t der[128];
    const uint8_t *at = der;
    size_t len = sizeof(der);
    ECDSA_SIG *sig;

    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pair->pkey), 1);
    assert_int_equal(EVP_DigestSign(ctx, der, &len, message.data, message.len), 1);
    assert_non_null(sig = d2i_ECDSA_SIG(NULL, &at, (long)len));
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret_signature, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret_signature + 32, 32), 32);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
}

static void
on_job(void *ctx)
{
    struct hsm_job *job = ctx;

    job->is_used = false;
    job->params.done(job->params.ctx, &job->outcome);
}

static struct hsm_job *
job_new(const struct hsm_job_params *params)
{
    for (size_t i = 0; i < JOBS; i++)
        if (!jobs[i].is_used) {
            jobs[i] = (struct hsm_job){.is_used = true, .params = *params};
            if (!soft.hold)
                deferred_add(&soft.stores.athd.deferred, &jobs[i].deferred, on_job, &jobs[i]);
            return &jobs[i];
        }
    fail_msg("more than %d jobs for the hardware", JOBS);
    return NULL;
}

ath_err
hsm_pool_new(struct athd *athd, struct why *why, struct hsm_pool **ret_pool)
{
    (void)why;
    (void)athd;
    *ret_pool = NULL;
    return ATH_OK;
}

void
hsm_pool_start(struct hsm_pool *pool)
{
    (void)pool;
}

void
hsm_pool_close(struct hsm_pool *pool, void (*done)(void *ctx), void *ctx)
{
    (void)pool;
    done(ctx);
}

void
hsm_pool_free(struct hsm_pool *pool)
{
    (void)pool;
}

const char *
hsm_pool_find(const struct hsm_pool *pool, const char *name)
{
    (void)pool;
    return name == NULL || strcmp(name, "soft") == 0 ? "soft" : NULL;
}

ath_err
hsm_pool_sign(struct hsm_pool *pool, const struct hsm_key_ref *key, struct ath_slice message,
              const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    struct hsm_job *job = job_new(params);

    (void)pool;
    assert_true(key->blob.len > 5 && key->blob.len < sizeof(job->blob));
    memcpy(job->blob, key->blob.data, key->blob.len);
    job->outcome.err = soft.hsm_err;
    if (soft.hsm_err == ATH_OK) {
        sign(&pairs[atoi(job->blob + 5)], message, job->signature);
        job->outcome.signature = ath_slice_of(job->signature, 64);
        soft.signatures++;
    }
    if (ret_job != NULL)
        *ret_job = job;
    return ATH_OK;
}

/* The first pair that none of the keys these tests make has. */
static size_t
free_pair(void)
{
    static const char *const names[] = {"alice", "agent", "shop"};
    bool is_used[PAIRS] = {false};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const struct key *key = key_store_find(soft.tenant->keys, names[i]);

        if (key != NULL)
            is_used[key->blob.data[5] - '0'] = true;
    }
    for (size_t i = 0; i < PAIRS; i++)
        if (!is_used[i])
            return i;
    fail_msg("more than %d keys", PAIRS);
    return 0;
}

ath_err
hsm_pool_key_create(struct hsm_pool *pool, const char *hsm, uint8_t algorithm,
                    enum hsm_key_usage usage, const char *label,
                    const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    struct hsm_job *job = job_new(params);
    size_t pair = free_pair();

    (void)pool;
    (void)hsm;
    (void)usage;
    (void)label;
    assert_int_equal(algorithm, KEY_ES256);
    (void)snprintf(job->blob, sizeof(job->blob), "pair-%zu", pair);
    job->outcome.blob = ath_slice_of_string(job->blob);
    job->outcome.public_der = test_key_der(pairs[pair].test_key);
    job->outcome.facts = soft.facts;
    *ret_job = job;
    return ATH_OK;
}

ath_err
hsm_pool_key_create_with_pin(struct hsm_pool *pool, const char *hsm, uint8_t algorithm,
                             const char *label, const struct hsm_job_params *params,
                             struct hsm_job **ret_job)
{
    soft.facts.empty_auth = false;
    return hsm_pool_key_create(pool, hsm, algorithm, HSM_KEY_IDENTITY, label, params, ret_job);
}

ath_err
hsm_pool_key_login(struct hsm_pool *pool, const struct hsm_key_ref *key,
                   const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    (void)pool;
    (void)key;
    (void)params;
    (void)ret_job;
    return ATH_ERR_HSM_UNAVAILABLE;
}

/* Only a token has keys of its own: one, which it calls by a longer name. */
ath_err
hsm_pool_key_open(struct hsm_pool *pool, const struct hsm_key_ref *key,
                  const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    struct hsm_job *job;

    (void)pool;
    if (!soft.is_token)
        return ATH_ERR_HSM_UNAVAILABLE;
    job = job_new(params);
    (void)snprintf(soft.opened, sizeof(soft.opened), "%.*s", (int)key->blob.len,
                   (const char *)key->blob.data);
    job->outcome.err = soft.hsm_err;
    job->outcome.blob = ath_slice_of_string("pkcs11:token=card;serial=7;id=%01");
    job->outcome.public_der = test_key_der(pairs[PAIRS - 1].test_key);
    job->outcome.facts = soft.facts;
    *ret_job = job;
    return ATH_OK;
}

ath_err
hsm_pool_counter(struct hsm_pool *pool, const struct hsm_key_ref *key, struct ath_slice blob,
                 uint32_t steps, const uint8_t nonce[32], const struct hsm_job_params *params,
                 struct hsm_job **ret_job)
{
    (void)pool;
    (void)key;
    (void)blob;
    (void)steps;
    (void)nonce;
    (void)params;
    (void)ret_job;
    return ATH_ERR_HSM_UNAVAILABLE;
}

ath_err
hsm_pool_key_delete(struct hsm_pool *pool, const struct hsm_key_ref *key,
                    const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    (void)pool;
    (void)key;
    (void)params;
    (void)ret_job;
    return ATH_ERR_HSM_UNAVAILABLE;
}

void
hsm_pool_key_discard(struct hsm_pool *pool, const char *hsm, struct ath_slice blob)
{
    (void)pool;
    (void)hsm;
    (void)blob;
}

bool
hsm_pool_is_token(const struct hsm_pool *pool, const char *hsm)
{
    (void)pool;
    (void)hsm;
    return soft.is_token;
}

bool
hsm_pool_is_open(const struct hsm_pool *pool, const char *hsm)
{
    (void)pool;
    (void)hsm;
    return true;
}

void
hsm_pool_watch(struct hsm_pool *pool, void (*opened)(void *ctx), void *ctx)
{
    (void)pool;
    (void)opened;
    (void)ctx;
}

bool
hsm_pool_needs_pin(const struct hsm_pool *pool, const char *hsm)
{
    (void)pool;
    (void)hsm;
    return false;
}

const char *
hsm_pool_find_token(const struct hsm_pool *pool, const struct pkcs11_uri *key)
{
    (void)pool;
    return soft.is_token && strcmp(key->token, "card") == 0 ? "soft" : NULL;
}

bool
hsm_pool_has_counter(const struct hsm_pool *pool, const char *hsm)
{
    (void)pool;
    (void)hsm;
    return false;
}

void
hsm_pool_shut(struct hsm_pool *pool, bool is_shut)
{
    (void)pool;
    soft.is_shut = is_shut;
}

void
hsm_pool_forget_pins(struct hsm_pool *pool, const struct tenant *tenant)
{
    (void)pool;
    (void)tenant;
}

void
hsm_pool_key_forget(struct hsm_pool *pool, const struct hsm_key_ref *key)
{
    (void)pool;
    (void)key;
    soft.forgotten++;
}

void
hsm_job_cancel(struct hsm_job *job, ath_err err)
{
    assert_true(job->is_used);
    deferred_remove(&soft.stores.athd.deferred, &job->deferred);
    job->outcome = (struct hsm_outcome){.err = err};
    on_job(job);
}

uint32_t
hsm_pool_next_key_number(struct hsm_pool *pool)
{
    (void)pool;
    return ++key_number;
}

uint64_t
hsm_pool_wait_ms(const struct hsm_pool *pool, const char *hsm, uint64_t caller_identity)
{
    (void)caller_identity;
    (void)pool;
    (void)hsm;
    return soft.wait_ms;
}

void
hsm_pool_describe(const struct hsm_pool *pool, const char *hsm, const char **ret_kind,
                  bool *ret_software)
{
    (void)pool;
    (void)hsm;
    *ret_kind = "tpm";
    *ret_software = true;
}

void
soft_release(void)
{
    for (size_t i = 0; i < JOBS; i++)
        if (jobs[i].is_used && !jobs[i].deferred.waiting)
            deferred_add(&soft.stores.athd.deferred, &jobs[i].deferred, on_job, &jobs[i]);
}

/* ---- the user, and events ---- */

static struct question {
    struct deferred deferred;
    consent_done_fn *done;
    void *ctx;
} question;

static void
on_question(void *ctx)
{
    (void)ctx;
    question.done(question.ctx, soft.consent,
                  soft.consent == ATH_OK && soft.narrowed.count > 0 ? &soft.narrowed : NULL);
}

void
consent_ask(struct request *request, struct consent_text *taken_text,
            const struct consent_order *order, consent_done_fn *done, void *ctx)
{
    assert_true(order->timeout_s >= 0);
    assert_true(order->can_narrow || soft.narrowed.count == 0);
    (void)snprintf(soft.question, sizeof(soft.question), "%.*s", (int)taken_text->text.len,
                   (const char *)taken_text->text.data);
    consent_text_done(taken_text);
    soft.questions++;
    question.done = done;
    question.ctx = ctx;
    deferred_add(&request->athd->deferred, &question.deferred, on_question, NULL);
}

/* Nobody sits at this screen. */
void
consent_turn_wait(struct consent *consent, struct consent_turn *turn)
{
    (void)consent;
    (void)turn;
}

void
consent_turn_end(struct consent *consent, struct consent_turn *turn)
{
    (void)consent;
    (void)turn;
}

const char *
consent_ttyname(const struct consent *consent)
{
    (void)consent;
    return NULL;
}

const char *
consent_ttytype(const struct consent *consent)
{
    (void)consent;
    return NULL;
}

const char *
consent_lc_ctype(const struct consent *consent)
{
    (void)consent;
    return NULL;
}

char *const *
consent_environment(const struct consent *consent)
{
    (void)consent;
    return environ;
}

void
consent_end_windows(struct consent *consent)
{
    (void)consent;
}

void
consent_end_windows_of(struct consent *consent, uid_t tenant)
{
    (void)consent;
    (void)tenant;
}

void
consent_end_windows_of_key(struct consent *consent, uid_t tenant, const char *key)
{
    (void)consent;
    (void)tenant;
    (void)key;
}

void
consent_end_frozen(struct consent *consent, uid_t tenant, const char *key)
{
    (void)consent;
    (void)tenant;
    (void)key;
}

bool
events_wanted(const struct athd *athd, enum event_topic topic)
{
    (void)athd;
    (void)topic;
    return true;
}

void
events_publish(struct athd *athd, enum event_topic topic, struct json_maker *event)
{
    (void)athd;
    (void)topic;
    json_maker_done(event);
}

void
events_publish_of(const struct request *request, enum event_topic topic, struct json_maker *event)
{
    events_publish(request->athd, topic, event);
}

void
events_publish_to(struct tenant *tenant, enum event_topic topic, struct json_maker *event)
{
    events_publish(tenant->athd, topic, event);
}

/* ---- the daemon ---- */

/* All but those that speak of connections and hardware. */
method_fn *const method_table[RPC_METHOD_COUNT] = {
    [RPC_KEY_CREATE] = method_key_create,
    [RPC_KEY_LIST] = method_key_list,
    [RPC_KEY_GET] = method_key_get,
    [RPC_KEY_DELETE] = method_key_delete,
    [RPC_KEY_IMPORT] = method_key_import,
    [RPC_KEY_EXPORT] = method_key_export,
    [RPC_ATTESTATION_CREATE] = method_attestation_create,
    [RPC_ATTESTATION_VERIFY] = method_attestation_verify,
    [RPC_HANDSHAKE_START] = method_handshake_start,
    [RPC_HANDSHAKE_RECEIVE] = method_handshake_receive,
    [RPC_HANDSHAKE_ACCEPT] = method_handshake_accept,
    [RPC_HANDSHAKE_GET] = method_handshake_get,
    [RPC_HANDSHAKE_LIST] = method_handshake_list,
    [RPC_HANDSHAKE_ABORT] = method_handshake_abort,
    [RPC_CONFIRMATION_ANSWER] = method_confirmation_answer,
    [RPC_SERVICE_PUT] = method_service_put,
    [RPC_SERVICE_LIST] = method_service_list,
    [RPC_SERVICE_DELETE] = method_service_delete,
    [RPC_CREDENTIAL_ISSUE] = method_credential_issue,
    [RPC_CREDENTIAL_PUT] = method_credential_put,
    [RPC_CREDENTIAL_VERIFY] = method_credential_verify,
    [RPC_CREDENTIAL_LIST] = method_credential_list,
    [RPC_SESSION_SEAL] = method_session_seal,
    [RPC_SESSION_OPEN] = method_session_open,
    [RPC_SESSION_TOKEN] = method_session_token,
    [RPC_SESSION_LIST] = method_session_list,
    [RPC_SESSION_CLOSE] = method_session_close,
    [RPC_TOKEN_VERIFY] = method_token_verify,
    [RPC_PEER_PIN] = method_peer_pin,
    [RPC_PEER_LIST] = method_peer_list,
    [RPC_PEER_REMOVE] = method_peer_remove,
};

void
soft_begin(void)
{
    struct athd *athd = &soft.stores.athd;

    soft = (struct soft){.consent = ATH_OK, .hsm_err = ATH_OK};
    secret_allow_unlocked();
    stores_begin(&soft.stores);
    caller.uid = athd->owner;
    if (pairs[0].pkey == NULL)
        for (size_t i = 0; i < PAIRS; i++)
            make_pair(&pairs[i], i);
    assert_int_equal(policy_open(athd, NULL, &athd->policy), ATH_OK);
    assert_int_equal(tenants_open(athd, NULL), ATH_OK);
    soft.tenant = SLIST_FIRST(&athd->tenants.all);
}

static void
forget_answer(struct soft_answer *answer)
{
    json_free(answer->result);
    json_free(answer->data);
    *answer = (struct soft_answer){0};
}

void
soft_end(void)
{
    struct athd *athd = &soft.stores.athd;

    for (size_t i = 0; i < SLOTS; i++)
        forget_answer(&answers[i]);
    tenants_close(athd);
    stores_end(&soft.stores); /* runs out what is being written */
    tenants_free(athd);
    policy_free(athd->policy);
}

void
soft_send(int slot, enum rpc_method_id method, const char *params)
{
    struct request *request = &requests[slot];
    struct why why = {""};

    forget_answer(&answers[slot]);
    caller.identity = soft.caller == 0 ? 1 : soft.caller;
    *request = (struct request){
        .athd = &soft.stores.athd,
        .tenant = soft.tenant,
        .method = method_at(method),
        .caller = &caller,
        .deadline_ms = clock_monotonic_ms() + REQUEST_DEADLINE_MS,
    };
    assert_int_equal(
        json_parse(ath_slice_of_string(params), &RPC_JSON_LIMITS, &why, &request->params), ATH_OK);
    if (method_check_params(request->method, request->params, &why) != ATH_OK)
        fail_msg("%s", why.text);
    request->trace = json_get_string(request->params, "trace");
    soft.failed = false;
    fail_allocation(soft.fail_allocation);
    soft.fail_allocation = 0;
    method_table[method](request);
}

const struct soft_answer *
soft_wait(int slot)
{
    while (!answers[slot].has_come)
        assert_true(uv_run(&soft.stores.loop, UV_RUN_ONCE) != 0 || answers[slot].has_come);
    return &answers[slot];
}

const struct soft_answer *
soft_call(enum rpc_method_id method, const char *params)
{
    soft_send(0, method, params);
    return soft_wait(0);
}

const struct json *
soft_ok(enum rpc_method_id method, const char *params)
{
    const struct soft_answer *answer = soft_call(method, params);

    if (answer->err != ATH_OK)
        fail_msg("%s: %s: %s", method_at(method)->name, ath_err_reason(answer->err),
                 answer->why.text);
    return answer->result;
}

void
soft_cancel(int slot, ath_err err)
{
    request_cancel(&requests[slot], err);
}

void
soft_turn(void)
{
    (void)uv_run(&soft.stores.loop, UV_RUN_NOWAIT);
}

/* ---- texts ---- */

static char *
next_text(void)
{
    static char texts[TEXTS][TEXT_LEN];
    static size_t next;

    return texts[next++ % TEXTS];
}

const char *
soft_text(const char *fmt, ...)
{
    char *text = next_text();
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(text, TEXT_LEN, fmt, args);
    va_end(args);
    assert_true(len >= 0 && len < TEXT_LEN);
    return text;
}

const char *
soft_json(const struct json *json)
{
    struct ath_buf text = {.max = TEXT_LEN - 1};
    const char *copy;

    json_write(json, &text);
    assert_int_equal(text.err, ATH_OK);
    copy = soft_text("%.*s", (int)text.len, (const char *)text.data);
    ath_buf_done(&text);
    return copy;
}
