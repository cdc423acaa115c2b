/* Logging in and out, and signing: everything for which a PIN may have to be had first. A PIN is
 * tried once for a request, never again by ourselves. */
#include <string.h>

#include "base/fd.h"
#include "hsm/hsm_helper_state.h"
#include "hsm/hsm_pin_source.h"
#include "hsm/wire/hsm_fd.h"

/* ---- where PINs come from ---- */

void
helper_drop_prompter(struct helper *helper, const struct hsm_request *request)
{
    int fd = -1;

    if (request->pin.from == HSM_PIN_PROMPTER &&
        hsm_fd_receive(helper->options->prompter_fd, request->id, &fd) == ATH_OK)
        fd_close(&fd);
}

ath_err
helper_ask_person(struct helper *helper, const struct hsm_request *request,
                  const struct public_key *key, struct hsm_response *response)
{
    int fd = -1;

    if (hsm_fd_receive(helper->options->prompter_fd, request->id, &fd) != ATH_OK)
        response->err = why_set(&helper->fault.why, ATH_ERR_NO_PROMPTER,
                                "athd has passed no connection to a prompter");
    else
        response->err = hsm_dialogues_start(&helper->dialogues, request, &helper->info, key, fd,
                                            &helper->fault.why);
    return response->err == ATH_OK ? ATH_OK : helper_respond(helper, response);
}

/* ---- LOGIN, LOGOUT ---- */

/* Tries it, once, and answers. `pin` is used up if it is right: from then on it is the one that is
 * kept, or none is. */
static ath_err
try_login(struct helper *helper, struct hsm_response *response, enum hsm_pin_from from,
          const char *stamp, bool keep, struct ath_secret *pin)
{
    struct hsm_pins *pins = &helper->pins;

    pthread_mutex_lock(&pins->lock);
    response->err = hsm_pins_check(pins, from, stamp, &helper->fault.why);
    if (response->err == ATH_OK) {
        response->err = helper->ops->login(helper->hsm, ath_secret_slice(pin), &helper->fault);
        hsm_pins_note(pins, from, stamp, response->err, &helper->fault);
        helper->ops->info(helper->hsm, &helper->info);
    }
    pthread_mutex_unlock(&pins->lock);
    response->tries_left = helper->info.tries_left;
    if (response->err == ATH_OK && !keep)
        ath_secret_done(pin);
    if (response->err == ATH_OK) /* an older one may not be right any more */
        hsm_pins_keep(pins, pin);
    if (response->err != ATH_OK)
        response->stamp = ath_slice_of_string(stamp);
    return helper_respond(helper, response);
}

static ath_err
login_from_source(struct helper *helper, const struct hsm_request *request,
                  struct hsm_response *response)
{
    struct ath_secret pin = {NULL, 0};
    char stamp[HSM_WIRE_MAX_STAMP + 1] = "";
    ath_err err;

    response->err = pin_source_read(helper->options->uri, request->pin.refused, &helper->fault.why,
                                    &pin, stamp);
    if (response->err != ATH_OK)
        err = helper_respond(helper, response);
    else
        err = try_login(helper, response, HSM_PIN_SOURCE, stamp, request->pin.keep, &pin);
    ath_secret_done(&pin);
    return err;
}

static ath_err
login_without_pin(struct helper *helper, struct hsm_response *response)
{
    struct ath_secret none = {NULL, 0};

    if (helper->info.login != HSM_LOGIN_PIN)
        return try_login(helper, response, HSM_PIN_NONE, "", false, &none);
    response->err =
        why_set(&helper->fault.why, ATH_ERR_PIN_REQUIRED, "the token wants a PIN to log in");
    return helper_respond(helper, response);
}

ath_err
helper_on_login(struct helper *helper, const struct hsm_request *request,
                struct hsm_response *response)
{
    enum hsm_pin_from from = request->pin.from;

    if (request->key != 0)
        return helper_on_key_login(helper, request, response);
    if (helper->ops->login == NULL || !helper_is_token(helper))
        response->err = why_set(&helper->fault.why, ATH_ERR_INVALID_PARAMS,
                                "nobody logs in to this hsm: it has no PIN of its own");
    else if (from == HSM_PIN_KEPT)
        response->err = why_set(&helper->fault.why, ATH_ERR_INVALID_REQUEST,
                                "a PIN that was kept is for signatures, not for logging in");
    if (response->err == ATH_OK) {
        helper->ops->info(helper->hsm, &helper->info);
        if (helper->info.pin_locked)
            response->err = why_set(&helper->fault.why, ATH_ERR_PIN_LOCKED,
                                    "the token takes no PIN any more: it was wrong too often; its "
                                    "owner or issuer must unblock it");
    }
    if (response->err != ATH_OK) {
        helper_drop_prompter(helper, request);
        return helper_respond(helper, response);
    }
    if (from == HSM_PIN_PROMPTER)
        return helper_ask_person(helper, request, NULL, response);
    if (from == HSM_PIN_SOURCE)
        return login_from_source(helper, request, response);
    return login_without_pin(helper, response);
}

ath_err
helper_on_logout(struct helper *helper, const struct hsm_request *request,
                 struct hsm_response *response)
{
    struct ath_secret none = {NULL, 0};

    hsm_pins_keep(&helper->pins, &none);
    if (helper->ops->logout != NULL)
        helper->ops->logout(helper->hsm);
    else if (helper->ops->key_logout != NULL)
        helper_key_logout(helper, request->key);
    else
        response->err = why_set(&helper->fault.why, ATH_ERR_INVALID_PARAMS,
                                "nobody logs in to this hsm, or out");
    return helper_respond(helper, response);
}

/* ---- SIGN ---- */

/* The worker has left the answer to us, for the back end says how many tries are left. */
static ath_err
answer_refused(struct helper *helper, struct hsm_sign_job *job)
{
    ath_err err;

    hsm_workers_drain(helper->workers);
    helper->ops->info(helper->hsm, &helper->info);
    hsm_pins_forget_refused(&helper->pins);
    job->refused.tries_left = helper->info.tries_left;
    job->refused.stamp = ath_slice_of_string(job->stamp);
    err = hsm_answer(&helper->channel, &job->fault, &job->refused);
    hsm_workers_release(helper->workers, job);
    return err;
}

static ath_err
answer_all_refused(struct helper *helper)
{
    struct hsm_sign_job *job;
    ath_err err = ATH_OK;

    while (err == ATH_OK && helper->workers != NULL &&
           (job = hsm_workers_take_refused(helper->workers)) != NULL)
        err = answer_refused(helper, job);
    return err;
}

/* A job for this, whatever is in the way. */
static ath_err
take_job(struct helper *helper, uint32_t id, struct hsm_key *key, struct hsm_sign_job **ret_job)
{
    struct hsm_sign_job *job;
    ath_err err;

    while ((job = hsm_workers_take_job(helper->workers)) == NULL)
        if ((err = answer_all_refused(helper)) != ATH_OK)
            return err;
    job->id = id;
    job->key = key;
    *ret_job = job;
    return ATH_OK;
}

/* The job is submitted if all is well with it, else answered. */
static ath_err
submit(struct helper *helper, struct hsm_sign_job *job, struct hsm_response *response)
{
    if (response->err == ATH_OK)
        response->err = job->message.err;
    if (response->err == ATH_OK) {
        hsm_workers_submit(helper->workers, job);
        return ATH_OK;
    }
    hsm_workers_release(helper->workers, job);
    return helper_respond(helper, response);
}

static ath_err
sign_now(struct helper *helper, struct hsm_key *key, const struct hsm_request *request,
         enum hsm_pin_from from, struct hsm_response *response)
{
    struct hsm_sign_job *job = NULL;
    ath_err err;

    if ((err = take_job(helper, request->id, key, &job)) != ATH_OK)
        return err;
    ath_buf_put_slice(&job->message, request->data);
    job->pin_from = from;
    if (from == HSM_PIN_SOURCE)
        response->err = pin_source_read(helper->options->uri, request->pin.refused,
                                        &helper->fault.why, &job->pin, job->stamp);
    return submit(helper, job, response);
}

static ath_err
sign_with_workers(struct helper *helper, struct hsm_key *key, const struct hsm_request *request,
                  struct hsm_response *response)
{
    struct hsm_key_facts facts;

    if (request->pin.from == HSM_PIN_NONE)
        return sign_now(helper, key, request, HSM_PIN_NONE, response);
    helper->ops->key_facts(key, &facts);
    if (!facts.always_authenticate) {
        helper_drop_prompter(helper, request);
        return sign_now(helper, key, request, HSM_PIN_NONE, response);
    }
    if (request->pin.from != HSM_PIN_PROMPTER)
        return sign_now(helper, key, request, request->pin.from, response);
    hsm_workers_drain(helper->workers); /* the back end says how many tries are left */
    helper->ops->info(helper->hsm, &helper->info);
    return helper_ask_person(helper, request, helper->ops->key_public(key), response);
}

ath_err
helper_on_sign(struct helper *helper, const struct hsm_request *request,
               struct hsm_response *response)
{
    struct hsm_key *key = hsm_key_table_find(&helper->keys, request->key);
    ath_err err;

    if (key != NULL && helper->workers != NULL)
        return sign_with_workers(helper, key, request, response);
    helper_drop_prompter(helper, request);
    if (key != NULL)
        return hsm_overlap_sign(&helper->overlap, key, request, &response->err);
    if ((err = hsm_overlap_release(&helper->overlap)) != ATH_OK)
        return err;
    response->err = ATH_ERR_KEY_NOT_FOUND;
    return helper_respond(helper, response);
}

/* ---- what comes later ---- */

struct hsm_key *
helper_find_asked_key(const struct helper *helper, const struct hsm_dialogue *dialogue)
{
    struct hsm_key *key = hsm_key_table_find(&helper->keys, dialogue->key);

    return key != NULL && public_key_equal(helper->ops->key_public(key), dialogue->public) ? key
                                                                                           : NULL;
}

static ath_err
sign_after_dialogue(struct helper *helper, struct hsm_dialogue *dialogue,
                    struct hsm_response *response)
{
    struct hsm_key *key = helper_find_asked_key(helper, dialogue);
    struct hsm_sign_job *job = NULL;
    ath_err err;

    if (response->err == ATH_OK && key == NULL)
        response->err = ATH_ERR_KEY_NOT_FOUND;
    if (response->err != ATH_OK)
        return helper_respond(helper, response);
    if ((err = take_job(helper, dialogue->id, key, &job)) != ATH_OK)
        return err;
    ath_buf_put_slice(&job->message, ath_buf_slice(&dialogue->message));
    job->pin_from = HSM_PIN_PROMPTER;
    job->pin = dialogue->pin;
    dialogue->pin = (struct ath_secret){NULL, 0};
    return submit(helper, job, response);
}

static ath_err
on_dialogue_over(struct helper *helper, struct hsm_dialogue *dialogue)
{
    struct hsm_response response = {.id = dialogue->id, .op = dialogue->op, .err = dialogue->err};
    ath_err err;

    helper->fault = (struct hsm_fault){.why = dialogue->why};
    if (dialogue->op == HSM_OP_SIGN)
        return sign_after_dialogue(helper, dialogue, &response);
    if (dialogue->err != ATH_OK)
        return helper_respond(helper, &response);
    if ((err = helper_settle(helper)) != ATH_OK)
        return err;
    if (dialogue->op == HSM_OP_KEY_CREATE)
        return helper_create_after_dialogue(helper, dialogue, &response);
    if (dialogue->key != 0)
        return helper_login_after_dialogue(helper, dialogue, &response);
    err = try_login(helper, &response, HSM_PIN_PROMPTER, "", dialogue->keep, &dialogue->pin);
    return err == ATH_OK && response.err == ATH_ERR_HSM_UNAVAILABLE ? response.err : err;
}

ath_err
helper_on_wake(struct helper *helper)
{
    struct hsm_dialogue *dialogue;
    ath_err err = answer_all_refused(helper);

    while (err == ATH_OK && (dialogue = hsm_dialogues_take_over(&helper->dialogues)) != NULL) {
        err = on_dialogue_over(helper, dialogue);
        hsm_dialogue_free(dialogue);
    }
    return err;
}
