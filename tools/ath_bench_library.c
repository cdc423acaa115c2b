/* The comparison: the same TPM back end in this process, without athd, socket, JSON or audit record.
 * Like the helper it verifies each signature with the public key before it counts. */
#include "ath_bench.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "hsm/hsm.h"

#define MESSAGE_LEN 400 /* about the signing input of an attestation */

struct bench_library {
    struct hsm *hsm;
    struct hsm_key *key;
    uint8_t message[MESSAGE_LEN];
};

ath_err
bench_library_open(const char *dir, struct why *why, struct bench_library **ret_library)
{
    const struct hsm_options options = {.uri = "swtpm:", .state_dir = dir};
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct hsm_fault fault = {0};
    struct bench_library *library;
    ath_err err;

    if (!(library = calloc(1, sizeof(*library))))
        return ATH_ERR_NOMEM;
    if ((err = tpm_backend_ops.open(&options, &fault, &library->hsm)) != ATH_OK)
        goto out;
    if ((err = tpm_backend_ops.key_create(library->hsm, KEY_ES256, "bench", &fault, &blob)) != ATH_OK)
        goto out;
    if ((err = tpm_backend_ops.key_open(library->hsm, ath_buf_slice(&blob), &fault, &library->key)) !=
        ATH_OK)
        goto out;
    memset(library->message, 'm', sizeof(library->message));
    *ret_library = library;
    library = NULL;
out:
    if (err != ATH_OK)
        why_set(why, err, "library: %s", why_text(&fault.why, err));
    ath_buf_done(&blob);
    bench_library_close(library);
    return err;
}

void
bench_library_close(struct bench_library *library)
{
    if (!library)
        return;
    if (library->key)
        tpm_backend_ops.key_close(library->hsm, library->key);
    tpm_backend_ops.close(library->hsm);
    free(library);
}

static ath_err
sign_once(struct bench_library *library, uint64_t number, struct why *why)
{
    const struct public_key *public_key = tpm_backend_ops.key_public(library->key);
    const struct ath_slice message = ath_slice_of(library->message, sizeof(library->message));
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct hsm_fault fault = {0};
    ath_err err;

    memcpy(library->message, &number, sizeof(number));
    if ((err = tpm_backend_ops.sign(library->hsm, library->key, message, &fault, signature)) != ATH_OK)
        return why_set(why, err, "library: %s", why_text(&fault.why, err));
    return public_key_verify(public_key, message,
                             ath_slice_of(signature, key_algorithm_signature_len(KEY_ES256)));
}

ath_err
bench_library_run(struct bench_library *library, double seconds, struct why *why,
                  struct bench_run *ret_run)
{
    const uint64_t began = clock_monotonic_us(), length = (uint64_t)(seconds * 1e6);
    struct bench_samples samples = {0};
    uint64_t now = began;
    ath_err err = ATH_OK;

    while (now - began < length && !bench_interrupted) {
        uint64_t before = now;

        if ((err = sign_once(library, now, why)) != ATH_OK)
            goto out;
        now = clock_monotonic_us();
        bench_samples_add(&samples, now - before);
    }
    *ret_run = bench_run_of(&samples, now - began);
out:
    bench_samples_done(&samples);
    return err;
}
