/* Step 9 at the client: everything the access token must say, and the session's keys. */
#include <string.h>

#include "protocol/handshake_client_state.h"
#include "protocol/handshake_decode.h"
#include "protocol/jwt.h"

/* ath_th = H(T8 || H(JCS(M9 without access_token))) */
static ath_err
final_transcript(const struct handshake_client *client, const struct json *message,
                 uint8_t ret_transcript[SHA256_LEN])
{
    struct json *without_token = message_without(message, NULL, "access_token");
    ath_err err;

    if (without_token == NULL)
        return ATH_ERR_NOMEM;
    memcpy(ret_transcript, client->t, SHA256_LEN);
    err = transcript_add(ret_transcript, without_token);
    json_free(without_token);
    return err;
}

static const char *
wrong_party(const struct handshake_client *client, const struct access_token *token)
{
    if (strcmp(token->server_did, client->server_did) != 0)
        return "the token is not by this server";
    if (strcmp(token->client_did, client->client_did) != 0)
        return "the token is for another client";
    if (strcmp(token->client_jkt, public_key_jkt(client->client_key)) != 0)
        return "the token is bound to another key";
    if (strcmp(token->user_did, client->grant.user_did) != 0)
        return "the token is of another user";
    return NULL;
}

/* Equal by JCS, or in neither. By their hashes, so that running out of memory is not taken for a
 * difference. */
static ath_err
check_restrictions(const struct json *of_token, const struct json *of_result, struct why *why)
{
    uint8_t a[SHA256_LEN] = {0}, b[SHA256_LEN] = {0};
    ath_err err = ATH_OK;

    if (of_token != NULL)
        err = transcript_hash(of_token, a);
    if (err == ATH_OK && of_result != NULL)
        err = transcript_hash(of_result, b);
    if (err != ATH_OK || memcmp(a, b, SHA256_LEN) == 0)
        return err;
    return why_set(why, ATH_ERR_INVALID_CREDENTIAL,
                   "the token's restrictions are not those of scope_result");
}

static const char *
wrong_content(const struct handshake_client *client, const struct access_token *token, int64_t now)
{
    if (token->expires_at - token->issued_at != client->ttl_granted)
        return "the token's life is not the one that was granted";
    if (!access_token_is_current(token, now))
        return "the token has expired or is from the future";
    if (token->expires_at > client->grant.expires_at)
        return "the token outlives the user's grant";
    if (memcmp(token->transcript, client->result.transcript, SHA256_LEN) != 0)
        return "the token is not of this handshake";
    return NULL;
}

static ath_err
check_token(const struct handshake_client *client, const struct access_token *token, int64_t now,
            struct why *why)
{
    const char *wrong = wrong_party(client, token);

    if (wrong != NULL)
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "%s", wrong);
    if (!scope_list_equal(&token->scopes, &client->result.scopes.granted))
        return why_set(why, ATH_ERR_SCOPE_NOT_APPROVED,
                       "the token's scopes are not those that were granted");
    if ((wrong = wrong_content(client, token, now)) != NULL)
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL, "%s", wrong);
    return check_restrictions(token->restrictions, client->result.restrictions, why);
}

/* Z, the keys, and no ephemeral key any more. */
static ath_err
derive_keys(struct handshake_client *client, const char *peer_share, struct why *why)
{
    struct ath_secret z = {0};
    ath_err err = key_agreement_derive(client->agreement, peer_share, &z);

    key_agreement_free(client->agreement);
    client->agreement = NULL;
    if (err == ATH_ERR_INVALID_KEY_SHARE)
        (void)why_set(why, err, "the server's key share is not a fresh point of P-256");
    if (err == ATH_OK)
        err = session_keys_derive(&z, client->result.transcript, &client->result.keys);
    ath_secret_done(&z);
    return err;
}

static ath_err
fill_result(struct handshake_client *client, const struct access_token *token, const char *text)
{
    struct handshake_result *result = &client->result;

    result->peer_key = public_key_ref(client->server_key);
    result->expires_at = token->expires_at;
    result->access_token.max = JWS_MAX_LEN;
    ath_buf_put_string(&result->access_token, text);
    result->peer_did = ath_strdup(client->server_did);
    result->user_did = ath_strdup(client->grant.user_did);
    if (result->peer_did == NULL || result->user_did == NULL)
        return ATH_ERR_NOMEM;
    return result->access_token.err;
}

ath_err
client_on_complete(struct handshake_client *client, const struct json *message, int64_t now,
                   struct why *why, struct handshake_need *need)
{
    struct access_token token = {0};
    struct handshake_complete complete;
    ath_err err;

    if ((err = handshake_complete_decode(message, why, &complete)) != ATH_OK ||
        (err = handshake_timestamp_check(complete.timestamp, now, why)) != ATH_OK ||
        (err = final_transcript(client, message, client->result.transcript)) != ATH_OK)
        return err;
    if ((err = access_token_read(ath_slice_of_string(complete.access_token), client->server_key, why,
                                 &token)) != ATH_OK)
        return err;
    if ((err = check_token(client, &token, now, why)) != ATH_OK ||
        (err = derive_keys(client, complete.key_share, why)) != ATH_OK ||
        (err = fill_result(client, &token, complete.access_token)) != ATH_OK)
        goto out;
    client->state = CLIENT_DONE;
    need->kind = HANDSHAKE_NEED_DONE;
out:
    access_token_done(&token);
    return err;
}
