/*
 * One hsm as athd sees it: its helper's lives, its queue, what is on its way, which keys the helper
 * knows, and whether somebody has logged in. Private to hsm_*.c.
 *
 *   queue ─pop─▶ [asking: a PIN for this one signature] ─▶ flying (a window, so that the helper can
 *     ▲             check a signature while the hardware makes the next) ─response─▶ completion
 *     └──────────── helper gone, or somebody logged out: once more, if that does no harm
 *     └──────────── waiting: for the PIN of a TPM's key (hsm_key_login.h)
 *
 * While a token's PIN is needed the queue stands still; one login is tried for all that wait in it.
 */
#ifndef ATHD_HSM_UNIT_H
#define ATHD_HSM_UNIT_H

#include "athd/config.h"
#include "athd/deferred.h"
#include "athd/hsm_pool.h"
#include "athd/hsm_process.h"
#include "athd/hsm_queue.h"
#include "athd/hsm_throttle.h"
#include "athd/pin_dialogue.h"

#define HSM_WINDOW 4u /* for each thing the hardware does at once */
#define HSM_WINDOW_MAX 128u
/* More than can fly: a window, as many prompters, and a key opened for each. */
#define HSM_IDS 512u
/* Of one caller, each for a signature of its own. */
#define HSM_PIN_QUESTIONS_CALLER_MAX 8u
#define HSM_QUEUE_MAX 4096u
#define HSM_QUEUE_CALLER_MAX 1024u

enum hsm_unit_state {
    HSM_UNIT_STARTING,
    HSM_UNIT_ABSENT,
    HSM_UNIT_READY,
    HSM_UNIT_FAILED,
    HSM_UNIT_LOCKED
};

struct hsm_job {
    struct hsm_queue_item item;
    TAILQ_ENTRY(hsm_job) flying; /* or asking, or waiting for a key's PIN */
    struct hsm_unit *unit;
    struct deferred deferred; /* a completion that is due though no response came */
    enum hsm_op op;
    uint32_t id; /* on the wire, while it flies */
    uint32_t key;
    struct ath_slice key_blob; /* borrowed; not used after the completion */
    struct ath_buf data;       /* SIGN: message; KEY_OPEN, COUNTER: blob */
    char *label;               /* KEY_CREATE */
    uint8_t algorithm;
    enum hsm_key_usage usage;
    uint32_t count;    /* COUNTER: steps */
    uint8_t nonce[32]; /* COUNTER */
    uint64_t deadline_ms, queued_us, sent_us;
    uint64_t moved_ms; /* when it was sent, or what was sent before it was last answered */
    bool is_flying;
    bool is_own;       /* the pool's, before another job; nobody asked for it */
    bool is_repeated;  /* was on its way when a helper was lost */
    bool is_relogged;  /* was refused because nobody was logged in */
    bool wants_pin;    /* SIGN: the key wants its PIN for each signature; KEY_CREATE: a new one */
    bool needs_login;  /* a TPM's key that has a PIN (hsm_key_login.h) */
    bool waits_person; /* its deadlines stand still */
    bool is_noted;     /* its outcome waits until it is on disk that the PIN was wrong */
    bool is_asking;    /* its own prompter is not up yet; in unit->asking */
    ath_err over;      /* why its own question ended before its answer; ATH_OK: it did not */
    enum hsm_pin_from pin_from;
    struct pin_dialogue *dialogue; /* its own; NULL: none */
    struct hsm_outcome failed;     /* err: its key could not be opened, or what run_failed tells */
    const char *jkt;               /* needs_login: its public key's; borrowed as key_blob */
    struct hsm_key_login
        *key_login;    /* whose PIN it waits for, beside the queue; NULL: it does not */
    hsm_done_fn *done; /* NULL: the pool's own, or its completion has been called */
    void *ctx;
    void (*sent)(void *ctx); /* NULL: not asked, or told */
    struct request *request; /* borrowed until the completion; NULL: athd itself asks */
    const char *key_name;    /* likewise */
};

TAILQ_HEAD(hsm_jobs, hsm_job);

enum hsm_login_stage {
    HSM_LOGIN_IDLE,
    HSM_LOGIN_ASKING, /* the prompter is not up yet: nothing has been sent */
    HSM_LOGIN_TRYING, /* the helper has the request */
    HSM_LOGIN_NOTING, /* a wrong PIN is being written down; then all are told */
};

/* hsm_login*.c */
struct hsm_unit_login {
    enum hsm_login kind;
    bool is_in;
    bool is_locked;     /* the token takes no PIN any more */
    uint8_t tries_left; /* 0: it does not say */
    bool has_source;    /* the URI has a pin-source */
    int64_t ttl_s;      /* 0: logged in until the token is gone */
    enum hsm_login_stage stage;
    uint32_t id; /* of the request */
    enum hsm_pin_from from;
    bool skips_source; /* one try is left: a person has to enter the PIN */
    bool is_abandoned; /* nobody waits for it any more */
    ath_err over;      /* why the question ended before its answer; ATH_OK: it did not */
    uint64_t limit_ms; /* the helper hangs when it has not answered by then */
    struct pin_dialogue *dialogue;
    const struct tenant *asked;      /* of a machine's: whose person; NULL: the only one there is */
    uint64_t since_ms;               /* logged in */
    struct hsm_throttle *throttle;   /* borrowed from the pool's list; NULL until INFO */
    struct hsm_throttle *tries_with; /* borrowed: whose only automatic try is ours; NULL: none */
    struct hsm_outcome failure;      /* NOTING: what all are told */
};

struct hsm_key_login; /* hsm_key_login.h */

struct hsm_unit {
    struct athd *athd;
    struct hsm_pool *pool;
    const char *name, *uri;          /* borrowed from config */
    const struct config_hsm *config; /* likewise */
    enum hsm_unit_state state;
    ath_err reason; /* why it is not ready */
    struct why why;
    struct why told; /* the why that was logged last */
    char kind[16], manufacturer[64], model[64], firmware[32], serial[64];
    bool software, has_ek_certificate, has_counter;
    bool is_token; /* PKCS#11, says its URI */
    unsigned parallel;

    struct hsm_process *process; /* NULL: none */
    bool is_open;                /* INFO has been answered well */
    bool has_refused;            /* INFO has been answered with an error */
    bool is_slow;                /* before that: the helper says that it takes long, and why */
    bool is_waiting;             /* the helper looks for the token and will answer INFO again */
    bool turns_away;             /* a token that is not there: jobs fail at once */
    bool was_removed;            /* this life ends because the token was taken out */
    bool has_served;             /* something but INFO has been answered well in this life */
    uint32_t info_id;
    bool is_leaving; /* the process was ended or killed; its answers no longer count */
    uint64_t left_at_ms;
    unsigned failures;     /* lives in a row that came to nothing */
    uint64_t opened_at_ms; /* of this life */
    uint64_t started_ms;   /* of this life: INFO was asked */
    unsigned restarts;     /* lives lost that had begun well */
    uv_timer_t restart, logout;
    bool is_closing; /* athd ends */

    struct hsm_queue queue;
    struct deferred turn_end; /* waits: requests are queued at the process */
    struct hsm_jobs flying;   /* in the order they were sent */
    unsigned flying_count;
    unsigned flying_dialogues; /* of these, who wait for a person: they take nobody's place */
    struct hsm_job *by_id[HSM_IDS];
    struct hsm_jobs asking;
    struct hsm_unit_login login;
    TAILQ_HEAD(, hsm_key_login) key_logins;
    unsigned waiting_count; /* jobs that wait for a key's PIN */
    uint32_t next_id;
    uint8_t *opened; /* bits: keys the helper knows, by number */
    size_t opened_len;
    uint64_t service_us; /* running mean of one job */
};

/* The handle is initialised; nothing is started. ATH_ERR_NOMEM. */
ath_err hsm_unit_init(struct hsm_unit *unit, struct athd *athd, struct hsm_pool *pool,
                      const struct config_hsm *config) ATH_MUST_USE;
void hsm_unit_start(struct hsm_unit *unit);
/* Ends the helper and all jobs (HSM_UNAVAILABLE). The unit is closed when hsm_unit_is_gone. */
void hsm_unit_close(struct hsm_unit *unit);
bool hsm_unit_is_gone(const struct hsm_unit *unit);
void hsm_unit_done(struct hsm_unit *unit); /* frees what it owns; after the loop */

/* ---- hsm_status.c ---- */
/* Adds it to agent.status's list of hsms. */
void hsm_unit_put_status(const struct hsm_unit *unit, struct json_maker *array);

/* ---- hsm_flight.c ---- */
/* The job is the unit's until its completion. ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_HSM_BUSY as
 * hsm_pool.h. */
ath_err hsm_unit_submit(struct hsm_unit *unit, struct hsm_job *job) ATH_MUST_USE;
/* Sends as much as the window and the helper's state allow. */
void hsm_unit_pump(struct hsm_unit *unit);
uint32_t hsm_unit_next_id(struct hsm_unit *unit);
struct hsm_job *hsm_unit_find_flying(const struct hsm_unit *unit, uint32_t id,
                                     enum hsm_op op); /* NULL: none */
/* The answer to a job: its completion, unless it was cancelled. */
void hsm_unit_take_response(struct hsm_unit *unit, struct hsm_job *job,
                            const struct hsm_response *response);
/* The helper is gone: what flew is queued again, if it may be repeated, or fails. */
void hsm_unit_lose_flying(struct hsm_unit *unit);
/* A job whose turn it is, or whose prompter is up. */
void hsm_unit_send_now(struct hsm_unit *unit, struct hsm_job *job,
                       const struct hsm_pin_request *pin);
/* The same, with nothing before it. */
void hsm_unit_send_request(struct hsm_unit *unit, struct hsm_job *job,
                           const struct hsm_request *request);

/* ---- hsm_job.c ---- */
/* Nothing happens to one that has ended, or is about to. */
void hsm_unit_cancel(struct hsm_job *job, ath_err err, const struct why *why);
/* The job ends with err at the loop's next turn; it is not queued any more. */
void hsm_job_fail_later(struct hsm_job *job, ath_err err, const struct why *why);
void hsm_job_fail_with(struct hsm_job *job, const struct hsm_outcome *failure);
/* Takes every queued job out and ends it so. */
void hsm_unit_fail_queued(struct hsm_unit *unit, const struct hsm_outcome *failure);
/* Those of this tenant's requests. */
void hsm_unit_fail_queued_of(struct hsm_unit *unit, const struct tenant *tenant,
                             const struct hsm_outcome *failure);
/* Calls the completion; frees the job unless it flies. */
void hsm_job_complete(struct hsm_job *job, struct hsm_outcome *outcome);
void hsm_job_free(struct hsm_job *job);

/* ---- hsm_opened.c: keys the helper knows ---- */
/* Sends KEY_OPEN before the job where its key is to be opened first. ATH_ERR_NOMEM. */
ath_err hsm_opened_before(struct hsm_unit *unit, const struct hsm_job *job) ATH_MUST_USE;
/* The helper knows it from now on, or no longer. ATH_ERR_NOMEM. */
ath_err hsm_opened_note(struct hsm_unit *unit, uint32_t key) ATH_MUST_USE;
void hsm_opened_clear(struct hsm_unit *unit, uint32_t key);
/* A key could not be opened: the jobs sent behind it will fail for the same reason. */
void hsm_opened_fails(struct hsm_unit *unit, const struct hsm_job *open,
                      const struct hsm_outcome *outcome);
void hsm_unit_forget(struct hsm_unit *unit, uint32_t key);

/* ---- hsm_discard.c ---- */
/* Destroys a key that nobody will ever use, in a token; what comes of it is only logged. */
void hsm_unit_discard(struct hsm_unit *unit, struct ath_slice blob);

/* ---- hsm_login.c: the PIN of the token ---- */
/* What INFO says of it: sets the unit's state. ATH_ERR_NOMEM. */
ath_err hsm_login_take_info(struct hsm_unit *unit,
                            const struct hsm_response *response) ATH_MUST_USE;
/* May jobs be sent? If not, and somebody waits, sees to it that a login is under way. */
bool hsm_login_is_ready(struct hsm_unit *unit);
void hsm_login_take_response(struct hsm_unit *unit, const struct hsm_response *response);
/* A job was refused with PIN_REQUIRED: somebody logged out. */
void hsm_login_is_lost(struct hsm_unit *unit);
/* The pool is shut: nobody is logged in any more, the helper keeps no PIN, no prompter asks. */
void hsm_login_shut(struct hsm_unit *unit);
/* The helper is gone. */
void hsm_login_lose(struct hsm_unit *unit);
/* The time that LOGIN has is over. */
bool hsm_login_hangs(const struct hsm_unit *unit, uint64_t now_ms);
void hsm_login_close(struct hsm_unit *unit);
/* A token that takes no PIN may have been unblocked meanwhile: a fresh INFO will say so. True: it
 * is asked for, and nothing is sent until then. */
bool hsm_login_looks_again(struct hsm_unit *unit);
/* Who waits in the queue is told, and the login is over. Where several people are served and it is
 * one of them that gave no PIN, those who wait for that one: the next may be asked. */
void hsm_login_refuse(struct hsm_unit *unit, struct hsm_outcome *failure);

/* ---- hsm_login_ask.c: one attempt, for all who wait ---- */
/* Begins it, unless another hsm of the same token is trying its PIN. */
void hsm_login_start(struct hsm_unit *unit);
/* A job came into the queue. */
void hsm_login_note_waiter(struct hsm_unit *unit, struct hsm_job *job);
/* A job left the queue: the question goes if it was the last. how: for its record. */
void hsm_login_note_leaver(struct hsm_unit *unit, ath_err how);
/* The question is over: the deadlines of all who wait count again. */
void hsm_login_let_go_on(struct hsm_unit *unit);

/* ---- hsm_login_count.c: tries of a PIN, a token's and where it says so a key's ---- */
#define HSM_LOGIN_LOCKED                                                                           \
    "too many wrong PINs: it takes none until it is unblocked (with its PUK or SO PIN)"
/* A PIN was tried, by LOGIN or SIGN: counts it, also one in doubt. done comes when a wrong one is
 * on disk. response: NULL where the helper died of it. */
void hsm_login_count_wrong(struct hsm_unit *unit, const struct hsm_response *response,
                           store_done_fn *done, void *ctx);
void hsm_login_count_right(struct hsm_unit *unit, enum hsm_pin_from from);
/* athd's own pause or the token's lock stands against another try: *ret_failure says so. */
bool hsm_login_is_refused(struct hsm_unit *unit, struct hsm_outcome *ret_failure);
/* Says in the log where a wrong PIN, of a token or key, could not be written down. */
void hsm_login_log_noted(const struct hsm_unit *unit, ath_err err, const struct why *why);
/* The pin-source is spared because one try is left, and nobody can be asked: *failure says so. */
void hsm_login_refuse_last_try(const struct hsm_unit *unit, struct hsm_outcome *failure);
/* What the helper says of a login, to a token or key, that failed. over: why the question
 * ended before; that is said then, unless the PIN was wrong. ATH_OK: it did not. */
void hsm_login_fill_failure(const struct hsm_response *response, ath_err over,
                            struct hsm_outcome *ret_failure);
/* How long a login to the token or a key, made at since_ms (clock_boot_ms), is good for;
 * UINT64_MAX: without end. */
uint64_t hsm_login_ttl_left_ms(const struct hsm_unit *unit, uint64_t since_ms);

/* ---- hsm_pin_sign.c: keys that want their PIN for each signature, and new ones with a PIN ---- */
/* Sends it, at once or when a prompter is up for it. */
void hsm_pin_sign_start(struct hsm_unit *unit, struct hsm_job *job);
/* It ends with LIMIT_EXCEEDED: its caller has too many questions open. */
void hsm_pin_question_refuse(struct hsm_job *job);
/* It has been cancelled, its helper is lost, or it has been answered: no more prompter. */
void hsm_pin_sign_end(struct hsm_job *job, ath_err how);
/* What the helper says of its PIN. True: the job is not to be completed now. */
bool hsm_pin_sign_take(struct hsm_unit *unit, struct hsm_job *job,
                       const struct hsm_response *response, const struct hsm_outcome *outcome);

/* ---- hsm_pin_text.c: the words of a PIN question ---- */
/* Fills in the text; `words` holds it and is the caller's to free. `wrong`: PINs in a row before
 * this. place: the terminal and the language, where the user is now. */
void hsm_pin_text_make(unsigned wrong, const struct hsm_job *first, unsigned others,
                       struct ath_buf *words, struct hsm_pin_request *pin);
void hsm_pin_text_place(const struct pin_shown *shown, struct hsm_pin_request *pin);
/* Begins the dialogue for what `first` (NULL: athd itself) wants of the unit; the errors are those
 * of pin_dialogue_start. */
ath_err hsm_pin_text_ask(struct hsm_unit *unit, unsigned wrong, const struct hsm_job *first,
                         const struct pin_dialogue_events *events,
                         struct pin_dialogue **ret_dialogue) ATH_MUST_USE;
/* Can anybody be asked for what this job wants? As pin_dialogue_check. */
ath_err hsm_pin_text_check(const struct hsm_unit *unit, const struct hsm_job *job,
                           struct why *why) ATH_MUST_USE;
/* Does it wait for a person, and whatever was sent behind it goes on? */
bool hsm_job_holds_nobody_up(const struct hsm_job *job);
/* A job's deadlines, and its request's, stand still until a person has answered, or start anew. */
void hsm_job_wait_for_person(struct hsm_job *job, uint64_t until_ms);
void hsm_job_go_on(struct hsm_job *job);

/* ---- hsm_state.c ---- */
/* "ready", "absent", "failed", "locked". */
const char *hsm_unit_state_name(const struct hsm_unit *unit);
/* By then unit->why says why it is not ready. All are told (log, record, event), though not again
 * of the same state for the same reason. */
void hsm_unit_set_state(struct hsm_unit *unit, enum hsm_unit_state state);
/* The state of a helper that is open: ready, or locked with this reason. */
void hsm_unit_set_locked(struct hsm_unit *unit, ath_err reason, const char *why);
void hsm_unit_set_ready(struct hsm_unit *unit);

/* ---- hsm_unit.c ---- */
/* Lets go of the helper, if there is one; what flies is dealt with when it is gone. kill: it is not
 * given time for a clean end. */
void hsm_unit_leave(struct hsm_unit *unit, bool kill);
/* Ends the helper; the next life starts at once and is no failure of this one. */
void hsm_unit_renew(struct hsm_unit *unit);

/* ---- hsm_tick.c ---- */
/* Deadlines, hangs. */
void hsm_unit_tick(struct hsm_unit *unit, uint64_t now_ms);
bool hsm_unit_wants_ticks(const struct hsm_unit *unit);

/* ---- hsm_pool.c ---- */
struct hsm_unit *hsm_pool_find_unit(struct hsm_pool *pool, const char *name); /* NULL: none */
/* hsm_unit_tick from now on, until no unit wants it. */
void hsm_pool_want_ticks(struct hsm_pool *pool);
/* Sees whether another unit waits for what this one has given free. */
void hsm_pool_pump_others(struct hsm_pool *pool, const struct hsm_unit *unit);
/* A unit is ready. */
void hsm_pool_note_open(struct hsm_pool *pool);
struct hsm_throttles *hsm_pool_throttles(const struct hsm_pool *pool);
bool hsm_pool_is_shut(const struct hsm_pool *pool);

#endif
