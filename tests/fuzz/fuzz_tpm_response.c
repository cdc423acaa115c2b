/*
 * A TPM that answers whatever it likes: the input is a list of responses (u16 length and bytes),
 * one for each command; after the last it is gone. Opening it, making a key, signing and closing
 * must end in an error or a success, never in a crash, and never in a signature: the session key is
 * not in the input, so no response HMAC can hold.
 */
#include <stdlib.h>
#include <string.h>

#include "crypto/digest.h"
#include "hsm/tpm/tpm_device.h"
#include "hsm/tpm/tpm_info.h"
#include "hsm/tpm/tpm_key.h"
#include "hsm/tpm/tpm_sign.h"
#include "hsm/tpm/tpm_transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct liar {
    TSS2_TCTI_CONTEXT_COMMON_V2 common;
    struct byte_reader script;
};

static TSS2_RC
liar_transmit(TSS2_TCTI_CONTEXT *tcti, size_t len, const uint8_t *command)
{
    (void)tcti;
    (void)len;
    (void)command;
    return TSS2_RC_SUCCESS;
}

static TSS2_RC
liar_receive(TSS2_TCTI_CONTEXT *tcti, size_t *len, uint8_t *response, int32_t timeout)
{
    struct liar *liar = (struct liar *)(void *)tcti;
    struct ath_slice answer;

    (void)timeout;
    answer = byte_reader_bytes(&liar->script, byte_reader_u16(&liar->script));
    if (liar->script.bad || answer.len > *len)
        return TSS2_TCTI_RC_IO_ERROR;
    if (answer.len > 0)
        memcpy(response, answer.data, answer.len);
    /* RETRY and its like would only make us wait. */
    if (answer.len >= 10 && response[8] == 0x09 && response[9] != 0x02)
        response[9] = 0x02;
    *len = answer.len;
    return TSS2_RC_SUCCESS;
}

static void
liar_finalize(TSS2_TCTI_CONTEXT *tcti)
{
    (void)tcti;
}

static void
must(bool holds)
{
    if (!holds)
        abort();
}

static void
use(struct tpm_device *device)
{
    static const char pem[] = /* of a software TPM that is no more */
        "-----BEGIN TSS2 PRIVATE KEY-----\n"
        "MIHyBgZngQUKAQOgAwEB/wIEQAAAAQRaAFgAIwALAAQEcgAAABAAGAALAAMAEAAg\n"
        "UzCbVHQnMMJXQDMYk+UIsyiDOmWdVWTlVukXHgQkRzwAIDIUBdGqoTz1NAvsk+fh\n"
        "4/Biq9oOWNsgo9smV65N4QmMBIGAAH4AIB85Tdwx1MXzsq9CMrhgKb/I2iT0Y6Qa\n"
        "020vOHd6sXcLABBhwJKj7InsjZmRsiIT7uEbXnX4gI19JAJ1iUGwOh4jhhVsr2v/\n"
        "FhgIwZOmTSWJB30JWEIkETrddLxPlDPzBttmod0t70LR+t6GTrEgJ1aKzIUQPZkY\n"
        "LJqlpzM=\n"
        "-----END TSS2 PRIVATE KEY-----\n";
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;
    struct hsm_info info;
    uint8_t random[16];

    (void)!tpm_info_read(device->context, &fault, &info);
    must(tpm_key_create(device, KEY_ES256, HSM_KEY_IDENTITY, &fault, &blob) != ATH_OK);
    must(tpm_key_open(device, ath_slice_of_string(pem), &fault, &key) != ATH_OK);
    must(tpm_random(device, random, sizeof(random), &fault) != ATH_OK);
    ath_buf_done(&blob);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct liar *liar = calloc(1, sizeof(*liar));
    TSS2_TCTI_CONTEXT *transport = NULL;
    struct tpm_device *device = NULL;
    struct hsm_fault fault = {0};

    must(liar != NULL && crypto_init() == ATH_OK);
    liar->common.v1.version = 2;
    liar->common.v1.transmit = liar_transmit;
    liar->common.v1.receive = liar_receive;
    liar->common.v1.finalize = liar_finalize;
    liar->script = byte_reader_of(ath_slice_of(data, len));
    must(tpm_transport_over_tcti((TSS2_TCTI_CONTEXT *)(void *)liar, false, &transport) == ATH_OK);
    if (tpm_device_open(transport, true, &fault, &device) == ATH_OK) {
        use(device);
        tpm_device_close(device);
    }
    return 0;
}
