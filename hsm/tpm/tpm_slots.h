/*
 * The TPM's few places for loaded objects (three in swtpm), as a cache: whoever was used longest
 * ago is saved (once; TPM2_ContextSave) and flushed, and comes back by TPM2_ContextLoad. The
 * storage key lives in the same cache, so it takes no place that it does not earn.
 */
#ifndef HSM_TPM_TPM_SLOTS_H
#define HSM_TPM_TPM_SLOTS_H

#include "hsm/tpm/tpm_context.h"

#define TPM_SLOTS_MAX 16u

/* Part of whatever can be loaded; zero is "not loaded, nothing saved". */
struct tpm_object {
    bool resident;
    bool pinned; /* must stay while another object is loaded with its help */
    TPM2_HANDLE handle;
    uint64_t used_at;
    struct ath_buf saved; /* TPMS_CONTEXT, marshalled; empty: never saved */
};

struct tpm_slots {
    struct tpm_context *context;              /* borrowed: outlives us, tpm_device owns both */
    struct tpm_object *loaded[TPM_SLOTS_MAX]; /* borrowed: objects leave through tpm_slots_drop */
    unsigned count, capacity;
    uint64_t clock;
};

/* capacity: TPM2_PT_HR_TRANSIENT_AVAIL with nothing loaded; at least 2 are assumed. */
void tpm_slots_init(struct tpm_slots *slots, struct tpm_context *context, unsigned capacity);

/* Makes object resident if it ever was. ATH_ERR_NOT_FOUND: it must be loaded from its blob (its
 * saved context, if there was one, is no longer good). Else what the TPM said. */
ath_err tpm_slots_use(struct tpm_slots *slots, struct tpm_object *object,
                      struct hsm_fault *fault) ATH_MUST_USE;

/* Makes sure of `wanted` empty places, as far as what can be evicted allows. */
void tpm_slots_make_room(struct tpm_slots *slots, unsigned wanted);

/* Takes in an object that was just loaded under handle; make room first. */
void tpm_slots_adopt(struct tpm_slots *slots, struct tpm_object *object, TPM2_HANDLE handle);

/* Saves and flushes the one that was used longest ago; false: nothing can go. */
bool tpm_slots_evict(struct tpm_slots *slots);

/* Flushes object if it is loaded, and forgets its saved context. */
void tpm_slots_drop(struct tpm_slots *slots, struct tpm_object *object);

/* Flushes everything. */
void tpm_slots_clear(struct tpm_slots *slots);

#endif
