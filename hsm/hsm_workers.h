/*
 * Signatures of hardware that makes several at once: a thread for each of its sessions. Each takes
 * a job, has it signed, verifies the signature and sends it; answers come in any order.
 *
 * All functions are for one thread, the main one.
 */
#ifndef HSM_HSM_WORKERS_H
#define HSM_HSM_WORKERS_H

#include "hsm/hsm_answer.h"
#include "hsm/hsm_pins.h"

#define HSM_WORKERS_MAX 16u
#define HSM_JOBS_MAX 64u /* taken from the socket and not answered yet */

struct hsm_sign_job {
    uint32_t id;
    struct hsm_key *key; /* borrowed: no key is closed while a job is there */
    struct ath_buf message;
    enum hsm_pin_from pin_from;
    struct ath_secret pin; /* PROMPTER, SOURCE */
    char stamp[HSM_WIRE_MAX_STAMP + 1];
    struct hsm_response refused; /* the answer that is still to be given, if the PIN was wrong */
    bool has_followers;          /* others were queued behind it when a worker took it */
    struct hsm_fault fault;
    struct hsm_sign_job *next;
};

struct hsm_workers;

struct hsm_workers_setup {
    const struct hsm_ops *ops; /* borrowed, as all of these */
    struct hsm *hsm;
    struct hsm_channel *channel;
    struct hsm_pins *pins;
    unsigned count; /* 1 to HSM_WORKERS_MAX */
    int wake_fd;    /* eventfd(2), written when the main thread has something to do here */
};

/* ATH_ERR_NOMEM (also: no more threads). */
ath_err hsm_workers_new(const struct hsm_workers_setup *setup,
                        struct hsm_workers **ret_workers) ATH_MUST_USE;
/* Waits for what is in flight; NULL is fine. */
void hsm_workers_free(struct hsm_workers *workers);

/* An empty job, to be filled and submitted or released; waits for one if all are in flight. NULL:
 * those with a refused PIN are to be taken first. */
struct hsm_sign_job *hsm_workers_take_job(struct hsm_workers *workers);
void hsm_workers_submit(struct hsm_workers *workers, struct hsm_sign_job *job);
void hsm_workers_release(struct hsm_workers *workers, struct hsm_sign_job *job); /* wipes its PIN */

/* Waits until no worker uses the hardware. */
void hsm_workers_drain(struct hsm_workers *workers);
bool hsm_workers_is_idle(struct hsm_workers *workers);

/* A job whose PIN the token refused: the caller completes job->refused (tries left), sends it and
 * releases the job. NULL: there is none. */
struct hsm_sign_job *hsm_workers_take_refused(struct hsm_workers *workers);

/* ATH_ERR_HSM_UNAVAILABLE: a worker was told so, and what is in flight is answered so; other
 * errors: an answer could not be sent. */
ath_err hsm_workers_err(struct hsm_workers *workers) ATH_MUST_USE;

#endif
