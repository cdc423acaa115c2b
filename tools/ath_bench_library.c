/* The comparison: the same TPM back end in this process, without athd, socket, JSON or audit
 * record. Like the helper it verifies each signature with the public key before it counts. */
#include "ath_bench.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "hsm/hsm.h"

#define MESSAGE_LEN 400 /* about the signing input of an attestation */

struct bench_library {
    struct hsm *hsm;
    struct hsm_key *key;
    uint8_t messages[2][MESSAGE_LEN];
    uint64_t count;
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
    if ((err = tpm_backend_ops.key_create(library->hsm, KEY_ES256, HSM_KEY_IDENTITY, "bench",
                                          &fault, &blob)) != ATH_OK)
        goto out;
    if ((err = tpm_backend_ops.key_open(library->hsm, ath_buf_slice(&blob), &fault,
                                        &library->key)) != ATH_OK)
        goto out;
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

/* What the signatures are made over differs each time. */
static struct ath_slice
next_message(struct bench_library *library)
{
    uint8_t *message = library->messages[++library->count % 2];

    memcpy(message, &library->count, sizeof(library->count));
    return ath_slice_of(message, MESSAGE_LEN);
}

static ath_err
verify(const struct bench_library *library, struct ath_slice message, const uint8_t *signature)
{
    return public_key_verify(tpm_backend_ops.key_public(library->key), message,
                             ath_slice_of(signature, key_algorithm_signature_len(KEY_ES256)));
}

/* One after the other: sign, verify, sign ... */
static ath_err
run_in_turn(struct bench_library *library, uint64_t ends_us, struct bench_samples *samples,
            struct hsm_fault *fault)
{
    uint8_t signature[SIGNATURE_MAX_LEN];
    uint64_t now = clock_monotonic_us();
    ath_err err;

    while (now < ends_us && !bench_interrupted) {
        const struct ath_slice message = next_message(library);
        const uint64_t before = now;

        if ((err = hsm_sign(&tpm_backend_ops, library->hsm, library->key, message, fault,
                            signature)) != ATH_OK ||
            (err = verify(library, message, signature)) != ATH_OK)
            return err;
        now = clock_monotonic_us();
        bench_samples_add(samples, now - before);
    }
    return ATH_OK;
}

/* As the helper does when more is waiting: the TPM has the next one while the last is verified. */
static ath_err
run_overlapped(struct bench_library *library, uint64_t ends_us, struct bench_samples *samples,
               struct hsm_fault *fault)
{
    struct ath_slice message = next_message(library), next = {0};
    uint64_t before = clock_monotonic_us(), now;
    uint8_t signature[SIGNATURE_MAX_LEN];
    bool more = true;
    ath_err err;

    if ((err = tpm_backend_ops.sign_begin(library->hsm, library->key, message, fault)) != ATH_OK)
        return err;
    while (more) {
        if ((err = tpm_backend_ops.sign_finish(library->hsm, fault, signature)) != ATH_OK)
            return err;
        now = clock_monotonic_us();
        more = now < ends_us && !bench_interrupted;
        if (more) {
            next = next_message(library);
            if ((err = tpm_backend_ops.sign_begin(library->hsm, library->key, next, fault)) !=
                ATH_OK)
                return err;
        }
        bench_samples_add(samples, now - before);
        before = now;
        if ((err = verify(library, message, signature)) != ATH_OK)
            return err;
        message = next;
    }
    return ATH_OK;
}

ath_err
bench_library_run(struct bench_library *library, double seconds, bool overlapped, struct why *why,
                  struct bench_run *ret_run)
{
    const uint64_t began = clock_monotonic_us(), ends = began + (uint64_t)(seconds * 1e6);
    struct bench_samples samples = {0};
    struct hsm_fault fault = {0};
    ath_err err;

    err = overlapped ? run_overlapped(library, ends, &samples, &fault)
                     : run_in_turn(library, ends, &samples, &fault);
    if (err == ATH_OK)
        *ret_run = bench_run_of(&samples, clock_monotonic_us() - began);
    else
        why_set(why, err, "library: %s", why_text(&fault.why, err));
    bench_samples_done(&samples);
    return err;
}
