/* The text of a message: what is taken can be written and read again, and decodes or is refused
 * cleanly. */
#include "tests/fuzz/overlay.h"

#include "protocol/handshake_decode.h"
#include "protocol/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TRY(type, decode, done)                                                                    \
    do {                                                                                           \
        struct type decoded;                                                                       \
        if (decode(message, &why, &decoded) == ATH_OK)                                             \
            done(&decoded);                                                                        \
        else                                                                                       \
            assert(why.text[0] != '\0');                                                           \
    } while (0)

static void
nothing(void *decoded)
{
    (void)decoded;
}

static void
decode_all(const struct json *message)
{
    struct service *service = NULL;
    struct why why = {{0}};

    TRY(handshake_request, handshake_request_decode, handshake_request_done);
    TRY(handshake_response, handshake_response_decode, handshake_response_done);
    TRY(identity_proof, identity_proof_decode, nothing);
    TRY(identity_result, identity_result_decode, identity_result_done);
    TRY(scope_request, scope_request_decode, scope_request_done);
    TRY(confirmation_request, confirmation_request_decode, confirmation_request_done);
    TRY(confirmation_response, confirmation_response_decode, confirmation_response_done);
    TRY(scope_result, scope_result_decode, scope_result_done);
    TRY(handshake_complete, handshake_complete_decode, nothing);
    TRY(handshake_retry, handshake_retry_decode, nothing);
    if (service_decode(message, &why, &service) == ATH_OK) {
        struct json *again = NULL;

        assert(service_encode(service, &again) == ATH_OK);
        json_free(again);
    }
    service_free(service);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json *message = NULL, *again = NULL;
    struct ath_buf text = {0};

    if (handshake_message_parse(ath_slice_of(data, size), NULL, &message) != ATH_OK)
        return 0;
    json_canonical(message, &text);
    assert(text.err == ATH_OK);
    if (text.len <= MESSAGE_MAX_LEN) { /* an escape can be longer than what it stands for */
        assert(handshake_message_parse(ath_buf_slice(&text), NULL, &again) == ATH_OK);
        assert(json_equal(message, again));
    }
    decode_all(message);
    json_free(again);
    json_free(message);
    ath_buf_done(&text);
    return 0;
}
