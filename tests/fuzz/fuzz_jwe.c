/* First byte 'r': lines, each a session message as it came. Else: header, line end, plaintext,
 * which are encrypted with the right key and the IV that the first byte chooses. What was opened
 * once is never opened again. */
#include "tests/fuzz/signer.h"

#include "crypto/aead.h"
#include "protocol/jwe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Keys of 32 bytes 1 and of 32 bytes 2; sid is 22 times 'A'. */
static void
channel_make(struct jwe_channel *channel, enum jwe_side side)
{
    struct session_keys keys = {.sid = "AAAAAAAAAAAAAAAAAAAAAA"};

    if (ath_secret_init(&keys.c2s, AEAD_KEY_LEN) != ATH_OK ||
        ath_secret_init(&keys.s2c, AEAD_KEY_LEN) != ATH_OK)
        abort();
    memset(keys.c2s.data, 1, AEAD_KEY_LEN);
    memset(keys.s2c.data, 2, AEAD_KEY_LEN);
    jwe_channel_init(channel, &keys, side);
}

static void
open_twice(struct jwe_channel *server, struct ath_slice jwe)
{
    struct ath_buf plaintext = {.max = SESSION_PLAINTEXT_MAX};
    uint32_t seq = 0;
    int64_t re = -1;

    if (jwe_open(server, jwe, NULL, &plaintext, &seq, &re) == ATH_OK) {
        assert(server->received_any && server->highest >= seq && re >= -1);
        ath_buf_clear(&plaintext);
        assert(jwe_open(server, jwe, NULL, &plaintext, &seq, &re) == ATH_ERR_SESSION_REPLAYED);
    }
    assert(plaintext.len == 0);
    ath_buf_done(&plaintext);
}

static void
put_encrypted(const struct jwe_channel *channel, uint8_t seq, struct ath_slice input,
              struct ath_buf *jwe)
{
    struct ath_slice header = take_line(&input);
    struct ath_buf ciphertext = {0};
    uint8_t iv[AEAD_IV_LEN] = {0}, tag[AEAD_TAG_LEN];

    iv[AEAD_IV_LEN - 1] = seq;
    base64url_put(jwe, header);
    if (jwe->err != ATH_OK ||
        aead_seal(&channel->keys.c2s, iv, ath_buf_slice(jwe), input, &ciphertext, tag) != ATH_OK)
        abort();
    ath_buf_put_string(jwe, "..");
    base64url_put(jwe, ath_slice_of(iv, sizeof(iv)));
    ath_buf_put_byte(jwe, '.');
    base64url_put(jwe, ath_buf_slice(&ciphertext));
    ath_buf_put_byte(jwe, '.');
    base64url_put(jwe, ath_slice_of(tag, sizeof(tag)));
    ath_buf_done(&ciphertext);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jwe_channel server;
    struct ath_slice rest = ath_slice_of(data, size);
    struct ath_buf jwe = {0};

    if (size == 0 || size > JWE_MAX_LEN)
        return 0;
    channel_make(&server, JWE_SERVER);
    rest = ath_slice_of(data + 1, size - 1);
    if (data[0] == 'r') {
        while (rest.len != 0)
            open_twice(&server, take_line(&rest));
    } else {
        put_encrypted(&server, data[0], rest, &jwe);
        open_twice(&server, ath_buf_slice(&jwe));
    }
    ath_buf_done(&jwe);
    jwe_channel_done(&server);
    return 0;
}
