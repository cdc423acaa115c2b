/* Both decoders and the frame finder: no crash, and what is decoded encodes to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "hsm/wire/hsm_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must_be_same(const struct ath_buf *frame, struct ath_slice content)
{
    if (frame->err != ATH_OK)
        return;
    if (frame->len != content.len + 4 ||
        (content.len != 0 && memcmp(frame->data + 4, content.data, content.len) != 0))
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ath_slice content, stream = ath_slice_of(data, size);
    struct hsm_response response;
    struct hsm_request request;
    struct ath_buf frame = {0};
    size_t total;

    if (hsm_frame_peek(stream, &content, &total) == ATH_OK && total > size)
        abort();
    if (hsm_request_decode(stream, &request) == ATH_OK) {
        hsm_request_encode(&request, &frame);
        must_be_same(&frame, stream);
        ath_buf_clear(&frame);
    }
    if (hsm_response_decode(stream, &response) == ATH_OK) {
        hsm_response_encode(&response, &frame);
        must_be_same(&frame, stream);
    }
    ath_buf_done(&frame);
    return 0;
}
