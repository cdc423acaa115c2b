#include "hsm/hsm_workers.h"

#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/clock.h"

#define QUICK_US 300u /* hardware that is this quick has its answers leave in twos */

struct job_list {
    struct hsm_sign_job *head, *tail;
};

struct worker {
    struct hsm_workers *workers;
    unsigned number;
    pthread_t thread;
};

/* What the main thread waits for. */
enum awaited { AWAITS_NOTHING, AWAITS_JOB, AWAITS_IDLE };

struct hsm_workers {
    struct hsm_workers_setup setup;
    struct worker workers[HSM_WORKERS_MAX];
    unsigned started;
    struct hsm_sign_job jobs[HSM_JOBS_MAX];

    pthread_mutex_t lock; /* never held while the hardware works or bytes are sent */
    pthread_cond_t work, progress;
    /* under the lock: */
    struct job_list queue, idle, refused;
    unsigned in_flight; /* queued, or with a worker */
    bool has_waiting;   /* an answer may wait for others to leave with it */
    unsigned asleep;    /* workers that wait for work */
    unsigned called;    /* of those, how many have been called and are not awake yet */
    enum awaited awaited;
    bool is_ending;
    ath_err err;
    struct hsm_fault gone; /* why the hardware is unavailable */
};

static void
list_put(struct job_list *list, struct hsm_sign_job *job)
{
    job->next = NULL;
    if (list->tail == NULL)
        list->head = job;
    else
        list->tail->next = job;
    list->tail = job;
}

static struct hsm_sign_job *
list_take(struct job_list *list)
{
    struct hsm_sign_job *job = list->head;

    if (job != NULL && (list->head = job->next) == NULL)
        list->tail = NULL;
    return job;
}

/* ---- a worker ---- */

/* With its PIN, while nobody else tries one. */
static ath_err
sign_with_pin(const struct worker *worker, struct hsm_sign_job *job, uint8_t *ret_signature)
{
    const struct hsm_workers_setup *setup = &worker->workers->setup;
    struct hsm_pins *pins = setup->pins;
    const struct ath_secret *pin;
    ath_err err;

    pthread_mutex_lock(&pins->lock);
    pin = job->pin_from == HSM_PIN_KEPT ? &pins->kept : &job->pin;
    if ((err = hsm_pins_check(pins, job->pin_from, job->stamp, &job->fault.why)) == ATH_OK) {
        err = setup->ops->sign_with(setup->hsm, worker->number, job->key,
                                    ath_buf_slice(&job->message), ath_secret_slice(pin),
                                    &job->fault, ret_signature);
        hsm_pins_note(pins, job->pin_from, job->stamp, err, &job->fault);
    }
    pthread_mutex_unlock(&pins->lock);
    return err;
}

static ath_err
sign(const struct worker *worker, struct hsm_sign_job *job, struct hsm_response *response,
     uint8_t *ret_signature)
{
    const struct hsm_workers_setup *setup = &worker->workers->setup;
    uint64_t since = clock_monotonic_us();
    ath_err err;

    if (job->pin_from != HSM_PIN_NONE)
        err = sign_with_pin(worker, job, ret_signature);
    else
        err = setup->ops->sign_with(setup->hsm, worker->number, job->key,
                                    ath_buf_slice(&job->message), ath_slice_of(NULL, 0),
                                    &job->fault, ret_signature);
    response->hardware_us = hsm_answer_elapsed_us(since);
    return err;
}

/* A PIN that is wrong, or may be, is answered by the main thread, which may ask how many tries are
 * left. */
static bool
is_for_main(const struct hsm_sign_job *job, ath_err err)
{
    return job->pin_from != HSM_PIN_NONE &&
           (err == ATH_ERR_PIN_INCORRECT || err == ATH_ERR_PIN_LOCKED ||
            (err == ATH_ERR_HSM_ERROR && job->fault.pin_in_doubt));
}

/* An answer behind which others come soon may wait for the next. */
static ath_err
answer(const struct worker *worker, const struct hsm_sign_job *job, struct hsm_response *response,
       bool *ret_waits)
{
    struct hsm_channel *channel = worker->workers->setup.channel;

    *ret_waits = job->has_followers && response->err == ATH_OK && response->hardware_us < QUICK_US;
    return *ret_waits ? hsm_answer_soon(channel, &job->fault, response)
                      : hsm_answer(channel, &job->fault, response);
}

/* Signs and answers. ATH_ERR_PIN_INCORRECT: the answer is left to the main thread. */
static ath_err
serve(const struct worker *worker, struct hsm_sign_job *job, ath_err known, bool *ret_waits)
{
    const struct hsm_workers_setup *setup = &worker->workers->setup;
    struct hsm_response response = {.id = job->id, .op = HSM_OP_SIGN, .err = known};
    uint8_t signature[SIGNATURE_MAX_LEN];
    ath_err err;

    if (known == ATH_OK)
        response.err = sign(worker, job, &response, signature);
    ath_secret_done(&job->pin);
    if (is_for_main(job, response.err)) {
        job->refused = response;
        return ATH_ERR_PIN_INCORRECT;
    }
    if (response.err == ATH_OK)
        hsm_answer_put_signature(&response, setup->ops->key_public(job->key),
                                 ath_buf_slice(&job->message), signature, &job->fault);
    if ((err = answer(worker, job, &response, ret_waits)) != ATH_OK)
        return err;
    return response.err == ATH_ERR_HSM_UNAVAILABLE ? ATH_ERR_HSM_UNAVAILABLE : ATH_OK;
}

/* The lock is held; what the main thread waits for may have happened. */
static void
tell_progress(struct hsm_workers *workers)
{
    if (workers->awaited == AWAITS_JOB ||
        (workers->awaited == AWAITS_IDLE && workers->in_flight == 0)) {
        workers->awaited = AWAITS_NOTHING;
        pthread_cond_signal(&workers->progress);
    }
}

/* The lock is held. */
static void
finish(struct hsm_workers *workers, struct hsm_sign_job *job, ath_err err)
{
    bool wakes = err != ATH_OK && (err == ATH_ERR_PIN_INCORRECT || workers->err == ATH_OK);

    if (err == ATH_ERR_PIN_INCORRECT) {
        list_put(&workers->refused, job);
    } else {
        if (err != ATH_OK && workers->err == ATH_OK) {
            workers->err = err;
            workers->gone = job->fault;
        }
        list_put(&workers->idle, job);
    }
    workers->in_flight--;
    tell_progress(workers);
    if (wakes)
        (void)eventfd_write(workers->setup.wake_fd, 1);
}

/* The lock is held. NULL: the end. */
static struct hsm_sign_job *
wait_for_job(struct hsm_workers *workers)
{
    struct hsm_sign_job *job;

    while (workers->queue.head == NULL && !workers->is_ending) {
        workers->asleep++;
        pthread_cond_wait(&workers->work, &workers->lock);
        workers->asleep--;
        if (workers->called > 0)
            workers->called--;
    }
    if ((job = list_take(&workers->queue)) != NULL)
        job->has_followers = workers->queue.head != NULL;
    return job;
}

/* The lock is held. The followers may have been answered before, though they were still in flight
 * when the answer that waits was done: whoever is the last looks for both. */
static void
flush_if_last(struct hsm_workers *workers, bool waits)
{
    workers->has_waiting = workers->has_waiting || waits;
    if (workers->in_flight > 0 || !workers->has_waiting)
        return;
    workers->has_waiting = false;
    pthread_mutex_unlock(&workers->lock);
    hsm_channel_flush(workers->setup.channel);
    pthread_mutex_lock(&workers->lock);
}

static void *
work(void *arg)
{
    struct worker *worker = arg;
    struct hsm_workers *workers = worker->workers;
    struct hsm_sign_job *job;

    pthread_mutex_lock(&workers->lock);
    while ((job = wait_for_job(workers)) != NULL) {
        ath_err known = workers->err, err;
        bool waits = false;

        if (known != ATH_OK)
            job->fault = workers->gone;
        pthread_mutex_unlock(&workers->lock);
        err = serve(worker, job, known, &waits);
        if (err != ATH_ERR_PIN_INCORRECT)
            ath_buf_clear(&job->message);
        pthread_mutex_lock(&workers->lock);
        finish(workers, job, err);
        flush_if_last(workers, waits);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

/* ---- the main thread ---- */

ath_err
hsm_workers_new(const struct hsm_workers_setup *setup, struct hsm_workers **ret_workers)
{
    struct hsm_workers *workers = calloc(1, sizeof(*workers));
    unsigned count = setup->count < HSM_WORKERS_MAX ? setup->count : HSM_WORKERS_MAX;

    if (workers == NULL)
        return ATH_ERR_NOMEM;
    workers->setup = *setup;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->work, NULL);
    pthread_cond_init(&workers->progress, NULL);
    for (size_t i = 0; i < HSM_JOBS_MAX; i++) {
        workers->jobs[i].message.max = HSM_WIRE_MAX_MESSAGE;
        list_put(&workers->idle, &workers->jobs[i]);
    }
    for (; workers->started < count; workers->started++) {
        struct worker *worker = &workers->workers[workers->started];

        worker->workers = workers;
        worker->number = workers->started;
        if (pthread_create(&worker->thread, NULL, work, worker) != 0) {
            hsm_workers_free(workers);
            return ATH_ERR_NOMEM;
        }
    }
    *ret_workers = workers;
    return ATH_OK;
}

void
hsm_workers_free(struct hsm_workers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->is_ending = true;
    pthread_cond_broadcast(&workers->work);
    pthread_mutex_unlock(&workers->lock);
    for (unsigned i = 0; i < workers->started; i++)
        (void)pthread_join(workers->workers[i].thread, NULL);
    for (size_t i = 0; i < HSM_JOBS_MAX; i++) {
        ath_secret_done(&workers->jobs[i].pin);
        ath_buf_done(&workers->jobs[i].message);
    }
    pthread_cond_destroy(&workers->progress);
    pthread_cond_destroy(&workers->work);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}

struct hsm_sign_job *
hsm_workers_take_job(struct hsm_workers *workers)
{
    struct hsm_sign_job *job;

    pthread_mutex_lock(&workers->lock);
    while ((job = list_take(&workers->idle)) == NULL && workers->refused.head == NULL) {
        workers->awaited = AWAITS_JOB;
        pthread_cond_wait(&workers->progress, &workers->lock);
    }
    workers->awaited = AWAITS_NOTHING;
    pthread_mutex_unlock(&workers->lock);
    if (job != NULL) {
        job->pin_from = HSM_PIN_NONE;
        job->stamp[0] = '\0';
        job->fault = (struct hsm_fault){0};
    }
    return job;
}

void
hsm_workers_submit(struct hsm_workers *workers, struct hsm_sign_job *job)
{
    bool calls;

    pthread_mutex_lock(&workers->lock);
    list_put(&workers->queue, job);
    workers->in_flight++;
    calls = workers->asleep > workers->called;
    workers->called += calls ? 1 : 0;
    pthread_mutex_unlock(&workers->lock);
    if (calls)
        pthread_cond_signal(&workers->work);
}

void
hsm_workers_release(struct hsm_workers *workers, struct hsm_sign_job *job)
{
    ath_secret_done(&job->pin);
    ath_buf_clear(&job->message);
    pthread_mutex_lock(&workers->lock);
    list_put(&workers->idle, job);
    pthread_mutex_unlock(&workers->lock);
}

void
hsm_workers_drain(struct hsm_workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    while (workers->in_flight > 0) {
        workers->awaited = AWAITS_IDLE;
        pthread_cond_wait(&workers->progress, &workers->lock);
    }
    workers->awaited = AWAITS_NOTHING;
    pthread_mutex_unlock(&workers->lock);
}

bool
hsm_workers_is_idle(struct hsm_workers *workers)
{
    bool is_idle;

    pthread_mutex_lock(&workers->lock);
    is_idle = workers->in_flight == 0;
    pthread_mutex_unlock(&workers->lock);
    return is_idle;
}

struct hsm_sign_job *
hsm_workers_take_refused(struct hsm_workers *workers)
{
    struct hsm_sign_job *job;

    pthread_mutex_lock(&workers->lock);
    job = list_take(&workers->refused);
    pthread_mutex_unlock(&workers->lock);
    return job;
}

ath_err
hsm_workers_err(struct hsm_workers *workers)
{
    ath_err err;

    pthread_mutex_lock(&workers->lock);
    err = workers->err;
    pthread_mutex_unlock(&workers->lock);
    return err;
}
