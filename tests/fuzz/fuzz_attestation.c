/* First byte 'r': an attestation as it came; 'd': an identity document; 'a': an agent_id. Else:
 * header, line end, claims, which are signed. */
#include "tests/fuzz/signer.h"

#include "protocol/attestation.h"
#include "protocol/identity_document.h"

#define NOW 1700000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_attestation(struct ath_slice token)
{
    struct attestation attestation = {0};

    if (attestation_verify(token, signer_get()->key, "https://gateway.example", NULL, NOW, NULL,
                           &attestation) == ATH_OK) {
        assert(agent_id_is_valid(json_get_string(attestation.claims, "sub")));
        assert(strncmp(json_get_string(attestation.claims, "iss"), "did:", 4) != 0);
        assert(attestation.expires_at > NOW && attestation.fresh_until >= NOW);
        assert(attestation.fresh_until <= attestation.expires_at);
    }
    attestation_done(&attestation);
}

static void
try_document(struct ath_slice text)
{
    const struct json_limits limits = {65536, 16, 1024, JSON_INTEGERS};
    struct json *document = NULL, *encoded = NULL;
    struct public_key *key = NULL;
    struct display display = {0};
    const char *agent_id = NULL;

    if (json_parse(text, &limits, NULL, &document) != ATH_OK)
        return;
    if (identity_document_read(document, NULL, &agent_id, &key) == ATH_OK)
        assert(agent_id_is_valid(agent_id));
    if (display_decode(document, NULL, &display) == ATH_OK &&
        display_encode(&display, &encoded) == ATH_OK)
        assert(json_equal(document, encoded));
    display_done(&display);
    json_free(encoded);
    public_key_free(key);
    json_free(document);
}

static void
try_agent_id(struct ath_slice text)
{
    char *agent_id = ath_slice_dup(text);
    struct ath_buf origin = {0};

    if (agent_id_is_valid(agent_id)) {
        agent_id_origin(agent_id, &origin);
        assert(origin.err != ATH_OK || agent_id_is_valid(ath_buf_text(&origin)));
    }
    ath_buf_done(&origin);
    free(agent_id);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ath_slice rest = ath_slice_of(size > 0 ? data + 1 : data, size > 0 ? size - 1 : 0);
    struct ath_buf token = {0};

    if (size == 0)
        return 0;
    switch (data[0]) {
    case 'r':
        try_attestation(rest);
        break;
    case 'd':
        try_document(rest);
        break;
    case 'a':
        try_agent_id(rest);
        break;
    default:
        put_signed_token(rest, &token);
        if (token.err == ATH_OK)
            try_attestation(ath_buf_slice(&token));
        ath_buf_done(&token);
    }
    return 0;
}
