/* A unit's logins to keys: one for each key that somebody is logged in to, or wants to, and the
 * jobs that wait for it. Private to hsm_key_login*.c. */
#ifndef ATHD_HSM_KEY_LOGIN_LIST_H
#define ATHD_HSM_KEY_LOGIN_LIST_H

#include "athd/hsm_key_login.h"

struct hsm_key_login {
    TAILQ_ENTRY(hsm_key_login) of_unit;
    struct hsm_unit *unit;
    uint32_t key;
    const struct tenant *tenant;   /* whose key it is; NULL: athd's own */
    char *key_name;                /* for records; NULL: not said */
    struct hsm_throttle *throttle; /* borrowed from the pool's list */
    struct hsm_jobs waiting;
    enum hsm_login_stage stage;
    uint32_t id; /* of the request */
    uint64_t asked_by;
    uint64_t limit_ms; /* the helper hangs when it has not answered by then */
    struct pin_dialogue *dialogue;
    bool is_in;
    bool is_abandoned; /* nobody waits for what was asked any more */
    ath_err over;      /* why the question ended before its answer; ATH_OK: it did not */
    uint64_t since_ms; /* logged in */
    struct hsm_outcome failure; /* NOTING: what all are told */
};

struct hsm_key_login *key_login_find(const struct hsm_unit *unit, uint32_t key); /* NULL: none */
/* For the key of this job. NULL: out of memory. */
struct hsm_key_login *key_login_add(struct hsm_unit *unit, const struct hsm_job *job);
void key_login_free(struct hsm_key_login *login);
/* It goes when nobody is logged in, nothing is under way and nobody waits. */
void key_login_free_if_unused(struct hsm_key_login *login);

/* The one of the same throttle, so of the same key, that somebody is asked for, or that is being
 * tried or written down. NULL: none. */
const struct hsm_key_login *key_login_find_busy(const struct hsm_key_login *login);

/* Jobs that wait beside the queue. */
void key_login_put(struct hsm_key_login *login, struct hsm_job *job);
void key_login_take(struct hsm_job *job);
/* In the order they came, before everybody else. */
void key_login_requeue(struct hsm_key_login *login);
/* Those of the same throttle that waited for this one's end (hsm_key_login.c, join). */
void key_login_requeue_behind(const struct hsm_key_login *login);
void key_login_fail_all(struct hsm_key_login *login, const struct hsm_outcome *failure);

#endif
