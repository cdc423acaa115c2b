/* peer.*: the owner's own pins. */
#include "athd/dispatch.h"
#include "athd/method_support.h"
#include "athd/peer_store.h"
#include "base/clock.h"
#include "protocol/origin.h"

static void
record_peer(struct request *request, const char *event)
{
    struct json_maker record;

    audit_record_begin(&record, event, request);
    json_put_string(&record, "did", method_param(request, "did"));
    json_put_string(&record, "origin", method_param(request, "origin"));
    audit_record_note(request->athd, &record);
}

/* A DID that proves its key cannot be pinned to another one, in whatever role it stands. */
static ath_err
check_self_certifying(const char *did, const struct public_key *public_key, struct why *why)
{
    const struct did_pins no_pins = {0};

    for (int role = DID_USER; role <= DID_SERVER; role++)
        if (did_check(did, (enum did_role)role, public_key, &no_pins, NULL) == ATH_OK)
            return ATH_OK;
    return why_set(why, ATH_ERR_UNKNOWN_PEER, "the DID proves another key than this one");
}

static ath_err
check_pin(const struct request *request, const struct public_key *public_key, struct why *why)
{
    const char *did = method_param(request, "did"), *origin = method_param(request, "origin");
    bool proves_itself;

    if (!did_is_valid(did))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "did is not a DID");
    if (origin != NULL && !origin_is_valid(origin))
        return why_set(
            why, ATH_ERR_INVALID_PARAMS,
            "origin must be https://host[:port] (http:// on loopback), lower case, without "
            "default port and slash");
    proves_itself = did_is_self_certifying(did) || did_is_key(did);
    if (public_key == NULL && !proves_itself)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "public_key is needed: this DID does not prove its key by itself");
    return public_key != NULL && proves_itself ? check_self_certifying(did, public_key, why)
                                               : ATH_OK;
}

static void
on_pinned(void *ctx, ath_err err, const struct why *why)
{
    struct request *request = ctx;
    struct json_maker result;

    if (err != ATH_OK) {
        request_fail(request, err, why);
        return;
    }
    record_peer(request, "peer_pinned");
    json_object_begin(&result);
    request_finish_maker(request, &result);
}

void
method_peer_pin(struct request *request)
{
    const struct json *key_param = method_param_json(request, "public_key");
    struct public_key *public_key = NULL;
    struct peer *peer = NULL;
    struct why why = {""};
    ath_err err = ATH_OK;

    if (key_param != NULL)
        err = method_public_key(key_param, &why, &public_key);
    if (err == ATH_OK)
        err = check_pin(request, public_key, &why);
    if (err == ATH_OK)
        err = peer_new(method_param(request, "did"), public_key, method_param(request, "origin"),
                       method_param(request, "name"), clock_now(), &peer);
    public_key_free(public_key);
    if (err == ATH_OK)
        err = peer_store_put(request->tenant->peers, peer, on_pinned, request);
    if (err != ATH_OK)
        request_fail(request, err, &why);
}

static void
list_peer(void *ctx, const struct peer *peer)
{
    struct json *object = NULL;

    if (peer_encode(peer, &object) != ATH_OK)
        object = NULL;
    json_put_take(ctx, NULL, object);
}

void
method_peer_list(struct request *request)
{
    struct json_maker result, array;

    json_array_begin(&array);
    peer_store_each(request->tenant->peers, list_peer, &array);
    json_object_begin(&result);
    json_put_maker(&result, "peers", &array);
    request_finish_maker(request, &result);
}

static void
on_removed(void *ctx, ath_err err, const struct why *why)
{
    struct request *request = ctx;
    struct json_maker result;

    if (err != ATH_OK) {
        request_fail(request, err, why);
        return;
    }
    record_peer(request, "peer_removed");
    json_object_begin(&result);
    request_finish_maker(request, &result);
}

void
method_peer_remove(struct request *request)
{
    struct why why = {""};
    ath_err err;

    err =
        peer_store_remove(request->tenant->peers, method_param(request, "did"), on_removed, request);
    if (err != ATH_OK) {
        if (err == ATH_ERR_NOT_FOUND)
            why_set(&why, err, "this DID is not pinned");
        request_fail(request, err, &why);
    }
}
