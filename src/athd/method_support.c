#include "athd/method_support.h"

#include <stdio.h>
#include <stdlib.h>

#include "athd/grant_room.h"
#include "athd/peer_store.h"
#include "athd/policy_again.h"
#include "athd/policy_question.h"
#include "athd/policy_record.h"
#include "athd/replay_store.h"
#include "base/clock.h"
#include "protocol/handshake_message.h"

const char *
method_param(const struct request *request, const char *name)
{
    return json_get_string(request->params, name);
}

const struct json *
method_param_json(const struct request *request, const char *name)
{
    return json_get(request->params, name);
}

size_t
method_strings(const struct json *param, const char **ret_texts, size_t max)
{
    const struct json *entry = json_first(param);
    size_t count = 0;

    if (json_string(param) != NULL && max > 0) {
        ret_texts[0] = json_string(param);
        return 1;
    }
    for (; entry != NULL && count < max; entry = json_next(entry))
        if (json_string(entry) != NULL)
            ret_texts[count++] = json_string(entry);
    return count;
}

ath_err
method_key(const struct request *request, const char *name, enum did_role role, struct why *why,
           struct key **ret_key)
{
    struct key *key = key_store_find(request->tenant->keys, name);

    if (key == NULL)
        return why_set(why, ATH_ERR_KEY_NOT_FOUND, "there is no key \"%s\"", name);
    if (key->role != role)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "key \"%s\" is a %s key; this needs a %s key",
                       name, did_role_name(key->role), did_role_name(role));
    if (key_is_expired(key, clock_now()))
        return why_set(why, ATH_ERR_KEY_EXPIRED, "key \"%s\" has expired", name);
    *ret_key = key;
    return ATH_OK;
}

struct key *
method_named_key(struct request *request)
{
    const char *name = method_param(request, "name");
    struct key *key = key_store_find(request->tenant->keys, name);
    struct why why;

    if (key == NULL)
        request_fail(request, why_set(&why, ATH_ERR_KEY_NOT_FOUND, "there is no key \"%s\"", name),
                     &why);
    return key;
}

ath_err
method_message(const struct json *param, struct why *why, struct json **ret_message)
{
    const char *text = json_string(param);
    ath_err err;

    if (text != NULL)
        return handshake_message_parse(ath_slice_of_string(text), why, ret_message);
    if ((err = handshake_message_check(param, why)) != ATH_OK)
        return err;
    *ret_message = json_clone(param);
    return *ret_message == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

ath_err
method_public_key(const struct json *param, struct why *why, struct public_key **ret_key)
{
    const char *pem = json_string(param);

    return pem != NULL ? public_key_from_pem(ath_slice_of_string(pem), why, ret_key)
                       : public_key_from_jwk(param, why, ret_key);
}

ath_err
method_use(struct request *request, const char *kid, const char *jti, int64_t expires_at,
           store_done_fn *done, void *ctx, struct why *why)
{
    struct replay_store *replays = request->tenant->replays;
    ath_err err =
        grant_room_take(request->caller->through, replay_store_count(replays),
                        replay_store_max(replays), clock_now(), why);

    return err != ATH_OK ? err : replay_store_use(replays, kid, jti, expires_at, done, ctx);
}

/* ---- may this be signed ---- */

/* It is put once more where somebody takes their time: the user who is asked, or whoever enters a
 * PIN. */
static ath_err
keep_question(struct request *request, const struct policy_question *question)
{
    (void)snprintf(request->allowed_key, sizeof(request->allowed_key), "%s", question->key);
    policy_kept_free(request->kept);
    request->kept = NULL;
    return policy_kept_new(question, &request->kept);
}

ath_err
method_policy(struct request *request, const struct policy_question *question, struct why *why,
              struct json **ret_data, bool *ret_ask)
{
    struct policy_answer answer =
        policy_decide(request->tenant, request->caller, question, request->is_rated);

    request->rule = answer.rule;
    request->is_rated = true;
    request->memo = answer.memo;
    *ret_ask = answer.verdict == POLICY_ASK;
    if (answer.is_observed)
        policy_record_denied(request, question, &answer);
    if (answer.verdict == POLICY_ALLOW || answer.verdict == POLICY_ASK)
        return keep_question(request, question);
    return policy_refusal(request, question, &answer, why, ret_data);
}

struct asking {
    struct request *request;
    struct key *key; /* counted */
    consent_done_fn *done;
    void *ctx;
};

static bool
is_confirmed(const struct caller *caller, const struct key *key)
{
    return caller->through != NULL ? grant_is_confirmed(caller->through, key) : key->confirmed;
}

static void
confirm(const struct caller *caller, struct key *key)
{
    if (caller->through != NULL)
        grant_confirm(caller->through, key);
    else
        key->confirmed = true;
}

bool
method_would_ask(const struct caller *caller, const struct key *key, bool ask)
{
    return ask || key->confirm == KEY_CONFIRM_ALWAYS ||
           (key->confirm == KEY_CONFIRM_SESSION && !is_confirmed(caller, key));
}

static void
on_answer(void *ctx, ath_err err, const struct scope_list *narrowed)
{
    struct asking *asking = ctx;
    struct why why; /* it is in request->denied */

    if (err == ATH_OK)
        err = policy_again_after_yes(asking->request, &why);
    /* a yes to less is none to the next of the same; one for a while says itself for how long */
    if (err == ATH_OK && narrowed == NULL && !asking->request->is_by_window) {
        confirm(asking->request->caller, asking->key);
        policy_remember(asking->request->tenant, &asking->request->memo);
    }
    /* the hardware gets its usual time after the person took theirs */
    if (err == ATH_OK)
        request_set_deadline(asking->request, clock_monotonic_ms() + REQUEST_DEADLINE_MS);
    asking->done(asking->ctx, err, narrowed);
    key_free(asking->key);
    free(asking);
}

void
method_confirm(struct request *request, bool ask, struct consent_text *taken_text,
               const struct consent_order *order, struct key *key, consent_done_fn *done, void *ctx)
{
    struct consent_order about_key = *order;
    struct asking *asking;

    if (!method_would_ask(request->caller, key, ask)) {
        consent_text_done(taken_text);
        done(ctx, ATH_OK, NULL);
        return;
    }
    if ((asking = calloc(1, sizeof(*asking))) == NULL) {
        consent_text_done(taken_text);
        done(ctx, ATH_ERR_NOMEM, NULL);
        return;
    }
    *asking = (struct asking){request, key_ref(key), done, ctx};
    about_key.key = key;
    about_key.memo = &request->memo;
    about_key.key_asks_once =
        key->confirm == KEY_CONFIRM_SESSION && !is_confirmed(request->caller, key);
    consent_ask(request, taken_text, &about_key, on_answer, asking);
}

void
method_put_party(struct consent_text *text, const struct tenant *tenant, const char *label,
                 const char *did)
{
    const struct peer *peer = peer_store_find(tenant->peers, did);
    const struct key *key = key_store_find_did(tenant->keys, did);
    const char *name = peer != NULL && peer->name != NULL ? peer->name
                       : key != NULL                      ? key->name
                                                          : NULL;

    if (name != NULL)
        consent_text_line(text, label, name, CONSENT_OURS);
    consent_text_line(text, name != NULL ? "  its DID" : label, did, CONSENT_OURS);
}

/* ---- errors ---- */

struct json *
method_hardware(uint32_t native, uint8_t tries_left, uint32_t retry_after_s)
{
    struct json_maker data;
    struct json *object = NULL;
    char text[16];

    if (native == 0 && tries_left == 0 && retry_after_s == 0)
        return NULL;
    (void)snprintf(text, sizeof(text), "0x%08x", (unsigned)native);
    json_object_begin(&data);
    if (native != 0)
        json_put_string(&data, "native", text);
    if (tries_left != 0)
        json_put_int(&data, "tries_left", tries_left);
    if (retry_after_s != 0)
        json_put_int(&data, "retry_after", retry_after_s);
    return json_maker_end(&data, &object) == ATH_OK ? object : NULL;
}
