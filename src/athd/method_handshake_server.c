/* handshake.accept: everything that costs no signature is checked before M2's is asked for. */
#include <stdlib.h>
#include <string.h>

#include "athd/dispatch.h"
#include "athd/handshake_step.h"
#include "athd/handshake_table.h"
#include "athd/method_support.h"
#include "athd/peer_store.h"
#include "base/base64url.h"
#include "base/clock.h"
#include "protocol/handshake_message.h"
#include "protocol/protocol_limits.h"

#define WAIT_MAX_MS 2000u     /* an M2 that would wait longer is not queued */
#define RETRY_AFTER_LIMIT_S 5 /* too many half-open handshakes: some of them end within 60 s */
#define RETRY_AFTER_MAX_S 60

struct accepting {
    struct request *request;
    struct service_entry *entry; /* borrowed from the store during this turn of the loop */
    struct key *key;             /* borrowed */
    struct handshake_server_config config;
    const char *source;
    struct handshake_hello hello; /* owned */
    char *hello_hash;             /* owned */
    bool proved; /* the client has signed for this handshake: it is not asked for that twice */
    int64_t now;
};

static ath_err
find_service(struct accepting *accepting, struct why *why)
{
    struct request *request = accepting->request;
    const char *name = method_param(request, "service");
    ath_err err;

    accepting->entry = service_store_find_for(request->tenant, request->caller, name);
    if (accepting->entry == NULL)
        return why_set(why, ATH_ERR_NOT_FOUND, "there is no service \"%s\"", name);
    err = method_key(request, accepting->entry->rules->key, DID_SERVER, why, &accepting->key);
    if (err != ATH_OK)
        return err;
    accepting->config = (struct handshake_server_config){
        .service = accepting->entry->rules,
        .server_did = accepting->key->did,
        .server_key = accepting->key->public_key,
        .pins = &request->tenant->pins,
        .gate = accepting->entry->memory->gate,
    };
    return ATH_OK;
}

static ath_err
hash_message(const struct json *message, char **ret_hash)
{
    struct ath_buf canonical = {.max = 2 * MESSAGE_MAX_LEN};
    char text[BASE64URL_LEN(SHA256_LEN) + 1];
    uint8_t digest[SHA256_LEN];
    ath_err err;

    json_canonical(message, &canonical);
    if ((err = canonical.err) == ATH_OK &&
        (err = sha256(ath_buf_slice(&canonical), digest)) == ATH_OK) {
        base64url_encode(ath_slice_of(digest, sizeof(digest)), text);
        *ret_hash = ath_strdup(text);
        err = *ret_hash == NULL ? ATH_ERR_NOMEM : ATH_OK;
    }
    ath_buf_done(&canonical);
    return err;
}

static ath_err
read_hello(struct accepting *accepting, struct why *why)
{
    struct json *message = NULL;
    const struct peer *peer;
    ath_err err;

    if ((err = method_message(method_param_json(accepting->request, "message"), why, &message)) !=
        ATH_OK)
        return err;
    err =
        handshake_server_hello(&accepting->config, message, accepting->now, why, &accepting->hello);
    if (err == ATH_OK)
        err = hash_message(message, &accepting->hello_hash);
    json_free(message);
    if (err == ATH_OK && (peer = peer_store_find(accepting->request->tenant->peers,
                                                 accepting->hello.client_did)) != NULL)
        accepting->config.client_name = peer->name;
    return err;
}

/* ---- load: limits, retries, cookies ---- */

/* 0: go on; else seconds after which to try again. */
static int64_t
load_wait_s(const struct accepting *accepting)
{
    const struct tenant *tenant = accepting->request->tenant;
    const struct service_memory *memory = accepting->entry->memory;
    uint64_t wait_ms = hsm_pool_wait_ms(tenant->athd->hsms, accepting->key->hsm,
                                        accepting->request->caller->lane);
    int64_t wait_s;

    if (memory->half_open >= HALF_OPEN_PER_SERVICE)
        return RETRY_AFTER_LIMIT_S;
    if (accepting->source[0] != '\0' &&
        handshake_table_half_open(tenant->handshakes, memory, accepting->source) >=
            HALF_OPEN_PER_SOURCE)
        return RETRY_AFTER_LIMIT_S;
    if (wait_ms <= WAIT_MAX_MS)
        return 0;
    wait_s = (int64_t)((wait_ms - WAIT_MAX_MS) / 1000) + 1;
    return wait_s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : wait_s;
}

/* A cookie that came is taken, and what its retry asked for is checked. ATH_ERR_RATE_LIMITED:
 * answer with another retry. */
static ath_err
redeem(struct accepting *accepting, struct why *why)
{
    const struct handshake_hello *hello = &accepting->hello;
    bool wants_proof = false;
    ath_err err;

    if (hello->cookie == NULL)
        return ATH_OK;
    err = cookie_jar_redeem(accepting->entry->memory->cookies, hello->cookie, hello->client_did,
                            accepting->source, accepting->now, &wants_proof);
    if (err == ATH_ERR_INVALID_MESSAGE)
        return why_set(why, err, "the cookie is forged, stale, used, or another's");
    if (err != ATH_OK || !wants_proof)
        return err;
    if (!hello->has_proof)
        return why_set(why, ATH_ERR_INVALID_MESSAGE, "the proof that was asked for is missing");
    err = handshake_hello_check_proof(hello);
    accepting->proved = err == ATH_OK;
    return err;
}

static void
answer_retry(struct accepting *accepting, int64_t retry_after_s)
{
    struct request *request = accepting->request;
    struct json_maker result;
    struct json *retry = NULL;
    ath_err err;

    err = cookie_jar_retry(accepting->entry->memory->cookies, accepting->hello.client_did,
                           accepting->source, !accepting->proved, retry_after_s, accepting->now,
                           &retry);
    if (err != ATH_OK) {
        request_fail(request, err, NULL);
        return;
    }
    json_object_begin(&result);
    json_put_take(&result, "send", retry);
    request_finish_maker(request, &result);
}

/* ---- M2 ---- */

/* The same M1 again, while its M2 waits for M3, gets the same M2. */
static bool
answer_again(struct accepting *accepting)
{
    struct request *request = accepting->request;
    struct handshake *handshake;

    handshake = handshake_table_find_hello(request->tenant->handshakes, accepting->hello_hash,
                                           accepting->source);
    if (handshake == NULL || !caller_sees(request->caller, handshake->caller_identity) ||
        strcmp(handshake->service->rules->name, accepting->entry->rules->name) != 0)
        return false;
    if (handshake->request != NULL)
        request_fail(request, ATH_ERR_HSM_BUSY, NULL);
    else
        handshake_step_repeat(handshake, request);
    return true;
}

static ath_err
begin(struct accepting *accepting)
{
    struct request *request = accepting->request;
    struct handshake *handshake = handshake_new(accepting->key, request->trace);
    struct handshake_need need = {0};
    ath_err err = ATH_ERR_NOMEM;

    if (handshake == NULL)
        return err;
    handshake->service = service_entry_ref(accepting->entry);
    handshake->caller_identity = request->caller->identity;
    handshake->hello = accepting->hello_hash;
    accepting->hello_hash = NULL;
    if ((handshake->source = ath_strdup(accepting->source)) == NULL)
        goto out;
    err = handshake_server_start(&accepting->config, &accepting->hello, accepting->now,
                                 &handshake->server, &need);
    if (err != ATH_OK)
        goto out;
    (void)strncat(handshake->id, handshake_server_id(handshake->server), HANDSHAKE_ID_LEN);
    if (handshake->trace == NULL)
        handshake->trace = ath_strdup(handshake_server_traceparent(handshake->server));
    if ((err = handshake_table_add(request->tenant->handshakes, handshake)) != ATH_OK)
        goto out;
    handshake_step_begin(handshake, request, NULL);
    handshake_step_drive(handshake, ATH_OK, &need);
out:
    handshake_need_done(&need);
    handshake_free(handshake);
    return err;
}

/* ATH_OK: the request has been or will be answered. */
static ath_err
accept_hello(struct accepting *accepting, struct why *why)
{
    int64_t wait_s;
    ath_err err;

    if ((err = find_service(accepting, why)) != ATH_OK ||
        (err = read_hello(accepting, why)) != ATH_OK)
        return err;
    if (answer_again(accepting))
        return ATH_OK;
    err = redeem(accepting, why);
    if (err != ATH_OK && err != ATH_ERR_RATE_LIMITED)
        return err;
    wait_s = load_wait_s(accepting);
    if (err == ATH_ERR_RATE_LIMITED || wait_s > 0) {
        answer_retry(accepting, wait_s);
        return ATH_OK;
    }
    return begin(accepting);
}

void
method_handshake_accept(struct request *request)
{
    const char *source = method_param(request, "source");
    struct accepting accepting = {
        .request = request,
        .source = source == NULL ? "" : source,
        .now = clock_now(),
    };
    struct why why = {""};
    ath_err err = accept_hello(&accepting, &why);

    if (err != ATH_OK)
        request_fail(request, err, &why);
    handshake_hello_done(&accepting.hello);
    free(accepting.hello_hash);
}
