/* Parties with keys, and tokens of every kind, also those that no honest party would sign. */
#ifndef TESTS_UNIT_PROTOCOL_TOKEN_H
#define TESTS_UNIT_PROTOCOL_TOKEN_H

#include <stdio.h>

#include "base/base64url.h"
#include "base/json.h"
#include "protocol/did.h"
#include "protocol/jws.h"
#include "tests/support/support.h"
#include "tests/support/test_key.h"

struct party {
    struct test_key *pair;
    struct public_key *key;
    char did[DID_ATH_MAX_LEN];
};

static inline struct party
party_new(enum test_key_kind kind, enum did_role role, const char *name)
{
    struct party party = {.pair = test_key_new(kind, name)};

    assert_int_equal(public_key_from_der(test_key_der(party.pair), NULL, &party.key), ATH_OK);
    did_of_key(role, party.key, party.did);
    return party;
}

static inline void
party_done(struct party *party)
{
    public_key_free(party->key);
    test_key_free(party->pair);
}

static inline struct json *
json_of(const char *text)
{
    const struct json_limits limits = {MESSAGE_MAX_LEN, MESSAGE_MAX_DEPTH, MESSAGE_MAX_MEMBERS,
                                       JSON_INTEGERS};
    struct json *json = NULL;
    struct why why = {""};

    if (json_parse(ath_slice_of_string(text), &limits, &why, &json) != ATH_OK)
        fail_msg("%s in %s", why.text, text);
    return json;
}

static inline char *
json_text(const struct json *json)
{
    struct ath_buf text = {0};
    char *copy;

    json_write(json, &text);
    copy = ath_slice_dup(ath_buf_slice(&text));
    assert_non_null(copy);
    ath_buf_done(&text);
    return copy;
}

/* The object with member `name` set to the JSON `value`, or without it where value is NULL. The
 * caller frees the text. */
static inline char *
edited(const char *object, const char *name, const char *value)
{
    struct json *from = json_of(object), *to = NULL;
    struct json_maker maker = {0};
    char *text;

    json_object_begin(&maker);
    for (const struct json *m = json_first(from); m != NULL; m = json_next(m))
        if (strcmp(json_name(m), name) != 0)
            json_put_copy(&maker, json_name(m), m);
    if (value != NULL)
        json_put_take(&maker, name, json_of(value));
    assert_int_equal(json_maker_end(&maker, &to), ATH_OK);
    text = json_text(to);
    json_free(to);
    json_free(from);
    return text;
}

/* Two texts as they stand, signed: header and claims need not even be JSON. */
static inline void
token_sign(const struct party *party, const char *header, const char *claims, struct ath_buf *token)
{
    struct ath_buf signature = {0};

    base64url_put(token, ath_slice_of_string(header));
    ath_buf_put_byte(token, '.');
    base64url_put(token, ath_slice_of_string(claims));
    test_key_sign(party->pair, ath_buf_slice(token), &signature);
    ath_buf_put_byte(token, '.');
    base64url_put(token, ath_buf_slice(&signature));
    assert_non_null(ath_buf_text(token));
    ath_buf_done(&signature);
}

/* A signing input made by the product, signed. */
static inline void
token_finish(const struct party *party, struct ath_buf *signing_input, struct ath_buf *token)
{
    struct ath_buf signature = {0};

    test_key_sign(party->pair, ath_buf_slice(signing_input), &signature);
    jws_join(ath_buf_slice(signing_input), ath_buf_slice(&signature), token);
    assert_non_null(ath_buf_text(token));
    ath_buf_done(&signature);
}

/* {"alg","typ","kid"} as party would write it, with its jwk where asked. The caller frees it. */
static inline char *
header_of(const struct party *party, const char *typ, bool with_jwk)
{
    struct json_maker maker = {0};
    struct json *jwk = NULL, *header = NULL;
    char *text;

    json_object_begin(&maker);
    json_put_string(&maker, "alg", key_algorithm_name(public_key_algorithm(party->key)));
    json_put_string(&maker, "typ", typ);
    json_put_string(&maker, "kid", public_key_jkt(party->key));
    if (with_jwk) {
        assert_int_equal(public_key_jwk(party->key, &jwk), ATH_OK);
        json_put_take(&maker, "jwk", jwk);
    }
    assert_int_equal(json_maker_end(&maker, &header), ATH_OK);
    text = json_text(header);
    json_free(header);
    return text;
}

#endif
