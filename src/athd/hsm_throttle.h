/*
 * Our own brake before a PIN: after wrong ones in a row the next is tried only after 0, 1, 5, 30,
 * 120, 600, 3,600 s (some tokens never lock, others lock for good), and a pin-source whose PIN was
 * refused is not tried again until it has changed. A TPM's key with a PIN of its own has five tries
 * before the first pause: the TPM does not lock it. It outlives athd: one small file a token, or
 * key, in the state directory.
 */
#ifndef ATHD_HSM_THROTTLE_H
#define ATHD_HSM_THROTTLE_H

#include "athd/store.h"

struct hsm_throttles; /* all that are known */

/* Of one token, or key. Belongs to its list; lives as long. */
struct hsm_throttle {
    struct hsm_throttle *next;
    char id[33];        /* name of its file */
    bool is_key;        /* a TPM's key, not a token */
    unsigned wrong;     /* PINs in a row */
    int64_t failed_at;  /* the last of them, Unix seconds */
    uint64_t until_ms;  /* the pause's end, clock_boot_ms: no change of the time of day moves it */
    const void *trying; /* an hsm that tries a PIN by itself; NULL: none (hsm_login_ask.c) */
    uint8_t refused[64];
    size_t refused_len; /* 0: no pin-source has been refused */
};

/* When a pause that began before this start, at failed_at (Unix seconds), ends: clock_boot_ms. */
uint64_t hsm_throttle_until_ms(int64_t pause_s, int64_t failed_at);

/* Reads the directory (blocking, start-up). ATH_ERR_NOMEM, ATH_ERR_IO with why. */
ath_err hsm_throttle_open(struct athd *athd, const char *dir, struct why *why,
                          struct hsm_throttles **ret_throttles) ATH_MUST_USE;
void hsm_throttle_free(struct hsm_throttles *throttles); /* NULL is fine */

/* The throttle of a token: by what is written on it where it has a serial number, else by the name
 * of its hsm. NULL: out of memory. */
struct hsm_throttle *hsm_throttle_of(struct hsm_throttles *throttles, const char *hsm,
                                     const char *manufacturer, const char *model,
                                     const char *serial);
/* The throttle of a TPM's key, by the JWK thumbprint of its public half: whatever it is called, and
 * however often it is deleted and imported. NULL: out of memory. */
struct hsm_throttle *hsm_throttle_of_key(struct hsm_throttles *throttles, const char *jkt);
/* Seconds until a PIN may be tried; 0: now. */
uint32_t hsm_throttle_wait_s(const struct hsm_throttle *throttle);
/* A wrong PIN; `stamp` (may be empty) is that of the pin-source it came from. done comes when it is
 * on disk, or cannot be; NULL: nobody waits. */
void hsm_throttle_failed(struct hsm_throttles *throttles, struct hsm_throttle *throttle,
                         struct ath_slice stamp, store_done_fn *done, void *ctx);
/* A right one; from_source: what was refused of the pin-source is forgotten, too. */
void hsm_throttle_passed(struct hsm_throttles *throttles, struct hsm_throttle *throttle,
                         bool from_source);

#endif
