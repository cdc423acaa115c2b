/*
 * athd's side of the hardware: a helper process for each hsm, started and started again (after 0,
 * 50, 100 ... 5,000 ms), a queue in front of it that is fair by caller identity, and its keys.
 *
 * A job belongs to the pool from submit until its completion has been called, exactly once, always
 * from the event loop, never from inside submit. hsm_job_cancel drops a queued job at once; one the
 * hardware is already working on is finished and its result thrown away; the completion is called
 * with the given error either way.
 */
#ifndef ATHD_HSM_POOL_H
#define ATHD_HSM_POOL_H

#include "base/json.h"
#include "hsm/wire/hsm_wire.h"
#include "hsm/wire/pkcs11_uri.h"

struct athd;
struct request;
struct tenant;
struct hsm_pool;
struct hsm_job;

enum hsm_priority {
    HSM_PRIORITY_URGENT, /* M9, M6: goes before any M2 */
    HSM_PRIORITY_NORMAL,
    HSM_PRIORITY_LATE, /* M2 */
};

/* A key of the store as the pool knows it: its blob is sent to the helper once a helper's life. */
struct hsm_key_ref {
    uint32_t number;       /* athd's number for the key, never reused within a run */
    const char *hsm;       /* name of its hsm; borrowed from the key store */
    struct ath_slice blob; /* borrowed from the key store */
    const char *jkt;       /* of its public key; borrowed; NULL where has_pin is false */
    bool has_pin;          /* a TPM's key with a PIN of its own: asked for when it is not there */
    bool wants_pin;        /* CKA_ALWAYS_AUTHENTICATE: its PIN is asked for at each signature */
};

struct hsm_outcome {
    ath_err err;
    struct why why;
    uint32_t native;
    uint32_t hardware_us;
    uint32_t queue_us;
    uint8_t tries_left;     /* wrong PINs until the token locks; 0: not known */
    uint32_t retry_after_s; /* until athd lets a PIN be tried again; 0: it says nothing of it */
    /* valid during the completion: as in struct hsm_response */
    struct ath_slice signature, blob, public_der, random;
    uint64_t counter;          /* its value now */
    struct ath_slice evidence; /* of the counter: as struct hsm_response's data */
    struct hsm_key_facts facts;
};

typedef void hsm_done_fn(void *ctx, const struct hsm_outcome *outcome);

struct hsm_job_params {
    uint64_t caller_identity;
    enum hsm_priority priority;
    uint64_t deadline_ms; /* clock_monotonic_ms; HSM_UNAVAILABLE or HSM_BUSY when it is over */
    hsm_done_fn *done;
    void *ctx;
    /* The helper has it and the hardware begins: no more than it does at once were sent before it.
     * NULL: not asked. May come from inside submit; not at all where it ends before. */
    void (*sent)(void *ctx);
    /* For the question for a PIN: who asks, with which key. Borrowed until done; NULL: not said.
     * The request's deadline stands still while a person is asked, the job's too. */
    struct request *request;
    const char *key_name;
};

/* One hsm a configured URI; none is started. Reads what is known of wrong PINs from the state
 * directory. ATH_ERR_NOMEM, ATH_ERR_IO with why. */
ath_err hsm_pool_new(struct athd *athd, struct why *why, struct hsm_pool **ret_pool) ATH_MUST_USE;
/* Starts the helpers; returns at once, hsms become ready later. */
void hsm_pool_start(struct hsm_pool *pool);
/* Closes the helpers (end of file), calls done(ctx) when all have gone or were killed (2 s). */
void hsm_pool_close(struct hsm_pool *pool, void (*done)(void *ctx), void *ctx);
/* When it is closed, after the loop has turned once more: until then its timers are the loop's. */
void hsm_pool_free(struct hsm_pool *pool);

/* Name of the hsm for key.create: the first when name is NULL. NULL: there is none of this name. */
const char *hsm_pool_find(const struct hsm_pool *pool, const char *name);

/* *ret_job may be NULL. ATH_ERR_HSM_NOT_FOUND, ATH_ERR_NOMEM, ATH_ERR_LIMIT_EXCEEDED (4,096 jobs
 * queued for one hsm; 1,024 for one caller: ATH_ERR_HSM_BUSY); after an error done is not called.
 */
ath_err hsm_pool_sign(struct hsm_pool *pool, const struct hsm_key_ref *key,
                      struct ath_slice message, const struct hsm_job_params *params,
                      struct hsm_job **ret_job) ATH_MUST_USE;
ath_err hsm_pool_key_create(struct hsm_pool *pool, const char *hsm, uint8_t algorithm,
                            enum hsm_key_usage usage, const char *label,
                            const struct hsm_job_params *params,
                            struct hsm_job **ret_job) ATH_MUST_USE;
/* The same of a TPM's key with a PIN, an identity key, which a person is asked to choose. */
ath_err hsm_pool_key_create_with_pin(struct hsm_pool *pool, const char *hsm, uint8_t algorithm,
                                     const char *label, const struct hsm_job_params *params,
                                     struct hsm_job **ret_job) ATH_MUST_USE;
/* Has the PIN of a key that has one (has_pin) entered, if it is not there. ATH_ERR_PIN_INCORRECT,
 * ATH_ERR_PIN_LOCKED and what a question can end with come to done, as for hsm_pool_sign. */
ath_err hsm_pool_key_login(struct hsm_pool *pool, const struct hsm_key_ref *key,
                           const struct hsm_job_params *params,
                           struct hsm_job **ret_job) ATH_MUST_USE;
/* Steps (`steps` 1) or reads (0) the monotonic counter that `blob` names and has it certified by
 * `key`, an audit key; an empty blob makes a counter, whose blob is the outcome's. The nonce is in
 * what is certified. A step is never repeated: where a helper is lost on the way, the job fails.
 * Where hsm_pool_has_counter says no: ATH_ERR_HSM_ERROR comes to done. */
ath_err hsm_pool_counter(struct hsm_pool *pool, const struct hsm_key_ref *key,
                         struct ath_slice blob, uint32_t steps, const uint8_t nonce[32],
                         const struct hsm_job_params *params,
                         struct hsm_job **ret_job) ATH_MUST_USE;
/* Checks a blob with its hardware (key.import, start-up). */
ath_err hsm_pool_key_open(struct hsm_pool *pool, const struct hsm_key_ref *key,
                          const struct hsm_job_params *params,
                          struct hsm_job **ret_job) ATH_MUST_USE;
/* Destroys the key in its token. ATH_ERR_KEY_NOT_FOUND comes to done where the token has none such.
 */
ath_err hsm_pool_key_delete(struct hsm_pool *pool, const struct hsm_key_ref *key,
                            const struct hsm_job_params *params,
                            struct hsm_job **ret_job) ATH_MUST_USE;
/* Destroys a key that was just made in a token and that nobody will know of: `blob` is copied, a
 * failure is logged. */
void hsm_pool_key_discard(struct hsm_pool *pool, const char *hsm, struct ath_slice blob);
/* Forgets the key in the helper and waits for nothing. */
void hsm_pool_key_forget(struct hsm_pool *pool, const struct hsm_key_ref *key);
void hsm_job_cancel(struct hsm_job *job, ath_err err);

/* The user of this athd has locked it: who is logged in is logged out, PINs of tokens and keys that
 * helpers keep are forgotten, and until it is opened again nobody logs in to a token, nor is asked
 * for its PIN (AGENT_LOCKED), athd itself neither. Jobs on their way are finished. */
void hsm_pool_shut(struct hsm_pool *pool, bool is_shut);
/* One of several tenants is locked: the PINs of its keys are forgotten. A token's login stays. */
void hsm_pool_forget_pins(struct hsm_pool *pool, const struct tenant *tenant);

/* A fresh number for hsm_key_ref. */
uint32_t hsm_pool_next_key_number(struct hsm_pool *pool);

/* Milliseconds a job of LATE priority of this caller would wait now (what goes before it, others' many
 * in their turn only, times measured service time); 0 when idle: an M2 that would wait for more than
 * 2 s is not queued. */
uint64_t hsm_pool_wait_ms(const struct hsm_pool *pool, const char *hsm, uint64_t caller_identity);

/* Can a job be carried out without anybody being asked for a PIN? */
bool hsm_pool_is_open(const struct hsm_pool *pool, const char *hsm);
/* opened(ctx) whenever an hsm becomes so; one for the whole pool. */
void hsm_pool_watch(struct hsm_pool *pool, void (*opened)(void *ctx), void *ctx);
/* Is it a PKCS#11 token, by its URI; do its keys need a PIN (false while that is not known)? */
bool hsm_pool_is_token(const struct hsm_pool *pool, const char *hsm);
bool hsm_pool_needs_pin(const struct hsm_pool *pool, const char *hsm);
/* The first token whose URI does not contradict what a key's URI says of its token; NULL: none. */
const char *hsm_pool_find_token(const struct hsm_pool *pool, const struct pkcs11_uri *key);
/* Facts for KeyInfo: "tpm" or "pkcs11" ("" while unknown), and whether keys are protected by file
 * permissions only. */
void hsm_pool_describe(const struct hsm_pool *pool, const char *hsm, const char **ret_kind,
                       bool *ret_software);
/* Has the hardware a counter (a TPM that is ready, or was)? */
bool hsm_pool_has_counter(const struct hsm_pool *pool, const char *hsm);
/* The array of agent.status. */
ath_err hsm_pool_status(const struct hsm_pool *pool, struct json **ret_array) ATH_MUST_USE;

#endif
