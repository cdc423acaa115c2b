#include "athd/hsm_key_login_list.h"

#include <stdlib.h>

#include "athd/athd.h"

/* ---- one for each key that somebody is logged in to, or wants to ---- */

struct hsm_key_login *
key_login_find(const struct hsm_unit *unit, uint32_t key)
{
    struct hsm_key_login *login;

    TAILQ_FOREACH (login, &unit->key_logins, of_unit)
        if (login->key == key)
            return login;
    return NULL;
}

void
key_login_free(struct hsm_key_login *login)
{
    TAILQ_REMOVE(&login->unit->key_logins, login, of_unit);
    free(login->key_name);
    free(login);
}

void
key_login_free_if_unused(struct hsm_key_login *login)
{
    if (login->stage == HSM_LOGIN_IDLE && !login->is_in && TAILQ_EMPTY(&login->waiting))
        key_login_free(login);
}

struct hsm_key_login *
key_login_add(struct hsm_unit *unit, const struct hsm_job *job)
{
    struct hsm_key_login *login = calloc(1, sizeof(*login));

    if (login == NULL)
        return NULL;
    login->unit = unit;
    login->key = job->key;
    login->tenant = job->request == NULL ? NULL : job->request->tenant;
    TAILQ_INIT(&login->waiting);
    login->throttle = hsm_throttle_of_key(hsm_pool_throttles(unit->pool), job->jkt);
    if (login->throttle == NULL ||
        (job->key_name != NULL && (login->key_name = ath_strdup(job->key_name)) == NULL)) {
        free(login);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&unit->key_logins, login, of_unit);
    return login;
}

const struct hsm_key_login *
key_login_find_busy(const struct hsm_key_login *login)
{
    const struct hsm_key_login *other;

    TAILQ_FOREACH (other, &login->unit->key_logins, of_unit)
        if (other != login && other->throttle == login->throttle && other->stage != HSM_LOGIN_IDLE)
            return other;
    return NULL;
}

/* ---- who waits ---- */

void
key_login_put(struct hsm_key_login *login, struct hsm_job *job)
{
    job->key_login = login;
    TAILQ_INSERT_TAIL(&login->waiting, job, flying);
    login->unit->waiting_count++;
}

void
key_login_take(struct hsm_job *job)
{
    struct hsm_key_login *login = job->key_login;

    job->key_login = NULL;
    TAILQ_REMOVE(&login->waiting, job, flying);
    login->unit->waiting_count--;
}

void
key_login_requeue(struct hsm_key_login *login)
{
    struct hsm_job *job;

    while ((job = TAILQ_LAST(&login->waiting, hsm_jobs)) != NULL) {
        key_login_take(job);
        hsm_job_go_on(job);
        hsm_queue_push_front(&login->unit->queue, &job->item);
    }
}

void
key_login_requeue_behind(const struct hsm_key_login *login)
{
    struct hsm_key_login *other, *next;

    for (other = TAILQ_FIRST(&login->unit->key_logins); other != NULL; other = next) {
        next = TAILQ_NEXT(other, of_unit);
        if (other == login || other->throttle != login->throttle ||
            other->stage != HSM_LOGIN_IDLE || TAILQ_EMPTY(&other->waiting))
            continue;
        key_login_requeue(other);
        key_login_free_if_unused(other);
    }
}

void
key_login_fail_all(struct hsm_key_login *login, const struct hsm_outcome *failure)
{
    struct hsm_job *job;

    while ((job = TAILQ_FIRST(&login->waiting)) != NULL) {
        key_login_take(job);
        hsm_job_fail_with(job, failure);
    }
}

unsigned
hsm_key_login_count_of(const struct hsm_unit *unit, uint64_t identity)
{
    const struct hsm_key_login *login;
    const struct hsm_job *job;
    unsigned count = 0;

    TAILQ_FOREACH (login, &unit->key_logins, of_unit)
        TAILQ_FOREACH (job, &login->waiting, flying)
            count += job->item.identity == identity;
    return count;
}

void
hsm_key_login_each_waiting(struct hsm_unit *unit,
                           void (*each)(struct hsm_job *job, uint64_t now_ms), uint64_t now_ms)
{
    struct hsm_key_login *login, *next_login;
    struct hsm_job *job, *next;

    for (login = TAILQ_FIRST(&unit->key_logins); login != NULL; login = next_login) {
        next_login = TAILQ_NEXT(login, of_unit);
        for (job = TAILQ_FIRST(&login->waiting); job != NULL; job = next) {
            next = TAILQ_NEXT(job, flying); /* `login` goes with its last job at most */
            each(job, now_ms);
        }
    }
}
