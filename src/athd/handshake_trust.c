#include "athd/handshake_trust.h"

#include <string.h>

#include "athd/grant_issue.h"
#include "athd/handshake_step.h"
#include "athd/method_support.h"
#include "athd/peer_store.h"
#include "base/clock.h"

/* Questions end with the time the handshake has for them (profile section 2). */
static int64_t
seconds_left(const struct handshake *handshake)
{
    int64_t left = handshake_client_deadline(handshake->client) - clock_now();

    return left < 1 ? 1 : left;
}

/* Aborted, or too late, while somebody was asked? Then the step has ended. */
static bool
has_ended(struct handshake *handshake)
{
    if (handshake->ended_at == 0)
        return false;
    handshake_step_fail(handshake, handshake->ended_err, NULL);
    return true;
}

/* ---- trust ---- */

static void
go_on(struct handshake *handshake, bool trusted)
{
    struct handshake_need need = {0};
    ath_err err = handshake_client_trusted(handshake->client, trusted, clock_now(), &need);

    handshake_step_drive(handshake, err, &need);
}

static void
on_pinned(void *ctx, ath_err err, const struct why *why)
{
    struct handshake *handshake = ctx;

    if (has_ended(handshake))
        return;
    if (err != ATH_OK)
        handshake_step_fail(handshake, err, why);
    else
        go_on(handshake, true);
}

static ath_err
pin(struct handshake *handshake)
{
    struct tenant *tenant = handshake->request->tenant;
    const char *did = handshake_client_server_did(handshake->client);
    const struct peer *before = peer_store_find(tenant->peers, did);
    struct peer *peer = NULL;
    struct json_maker record;
    ath_err err;

    err = peer_new(did, handshake_client_server_key(handshake->client), handshake->origin,
                   before == NULL ? NULL : before->name, clock_now(), &peer);
    if (err != ATH_OK)
        return err;
    audit_record_begin(&record, "peer_pinned", handshake->request);
    json_put_string(&record, "did", peer->did);
    json_put_string(&record, "origin", peer->origin);
    audit_record_note(tenant->athd, &record);
    return peer_store_put(tenant->peers, peer, on_pinned, handshake);
}

/* Another handshake may have pinned the origin since this one began: to the same server, then there
 * is nothing to ask, or to another one, then no yes may move it silently. True: the step has gone
 * on. */
static bool
is_settled(struct handshake *handshake)
{
    const struct peer *peer =
        peer_store_find_origin(handshake->request->tenant->peers, handshake->origin);
    struct why why;

    if (peer == NULL)
        return false;
    if (strcmp(peer->did, handshake_client_server_did(handshake->client)) == 0) {
        go_on(handshake, true);
        return true;
    }
    (void)why_set(&why, ATH_ERR_PEER_KEY_CHANGED, "%s is pinned to another server",
                  handshake->origin);
    handshake_step_fail(handshake, ATH_ERR_PEER_KEY_CHANGED, &why);
    return true;
}

static void
on_trust_answer(void *ctx, ath_err err, const struct scope_list *narrowed)
{
    struct handshake *handshake = ctx;

    (void)narrowed; /* nothing is approved but the server */
    if (has_ended(handshake))
        return;
    if (err == ATH_ERR_USER_DENIED) {
        go_on(handshake, false);
        return;
    }
    if (err == ATH_OK && is_settled(handshake))
        return;
    if (err == ATH_OK)
        err = pin(handshake);
    if (err != ATH_OK)
        handshake_step_fail(handshake, err, NULL);
}

void
handshake_need_trust(struct handshake *handshake)
{
    const struct handshake_client *client = handshake->client;
    struct consent_text text = {0};

    if (is_settled(handshake))
        return;
    consent_text_title(&text, "Trust this application from now on?");
    consent_text_caller(&text, handshake->request->caller);
    consent_text_line(&text, "Agent key", handshake->key->name, CONSENT_OURS);
    consent_text_line(&text, "Reached at", handshake->origin, CONSENT_OURS);
    consent_text_line(&text, "It says it is", handshake_client_server_did(client), CONSENT_OURS);
    consent_text_line(&text, "Its key", public_key_jkt(handshake_client_server_key(client)),
                      CONSENT_OURS);
    consent_text_scopes(&text, "Will be asked for", &handshake->scopes);
    consent_text_duration(&text, "For", handshake->ttl);
    consent_ask(handshake->request, &text,
                &(struct consent_order){.ok_label = "Trust",
                                        .timeout_s = seconds_left(handshake),
                                        .key = handshake->key},
                on_trust_answer, handshake);
}

/* ---- grant ---- */

static void
use(struct handshake *handshake, const struct credential *credential)
{
    struct handshake_need need = {0};
    ath_err err = handshake_client_grant(handshake->client, credential->text, clock_now(), &need);

    handshake_step_drive(handshake, err, &need);
}

static void
on_issued(void *ctx, ath_err err, const struct why *why, struct json *taken_data,
          const struct credential *credential)
{
    struct handshake *handshake = ctx;

    if (handshake->ended_at != 0) {
        json_free(taken_data);
        handshake_step_fail(handshake, handshake->ended_err, NULL);
    } else if (err != ATH_OK) {
        handshake_step_fail_data(handshake, err, why, taken_data);
    } else {
        use(handshake, credential);
    }
}

void
handshake_need_grant(struct handshake *handshake)
{
    const char *server_did = handshake_client_server_did(handshake->client);
    const struct credential *credential;
    struct tenant *tenant = handshake->request->tenant;
    struct why why;

    if (handshake->user_key != NULL) {
        const struct grant_order order = {
            .client_did = handshake->key->did,
            .audiences = &server_did,
            .audience_count = 1,
            .scopes = &handshake->scopes,
            .ttl = handshake->ttl,
            .timeout_s = seconds_left(handshake),
        };

        grant_issue(handshake->request, handshake->user_key, &order, on_issued, handshake);
        return;
    }
    credential = credential_store_choose(tenant->credentials, handshake->key->did, server_did,
                                         &handshake->scopes, clock_now());
    if (credential == NULL) {
        (void)why_set(&why, ATH_ERR_INVALID_CREDENTIAL,
                      "there is no stored grant for this client and %s", server_did);
        handshake_step_fail(handshake, ATH_ERR_INVALID_CREDENTIAL, &why);
        return;
    }
    use(handshake, credential);
}
