/* agent.lock, agent.unlock. */
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "athd/consent.h"
#include "athd/dispatch.h"
#include "athd/lock.h"
#include "athd/passphrase_hash.h"
#include "athd/passphrase_question.h"
#include "base/clock.h"
#include "crypto/random.h"

/* NIST SP 800-63B, 5.1.1.1: no shorter secret is for a person to choose. */
#define PASSPHRASE_MIN 8u
#define PASSPHRASE_MAX 255u
#define NET_MS 10000u /* the request's own deadline comes after the question's */

/* 32 MiB, a quarter of a second: OWASP's Password Storage Cheat Sheet, "scrypt". */
static const struct scrypt_cost cost = {32768, 8, 3};

/* A request on its way through dialogue, hash and file. */
struct locking {
    struct request *request;
    struct passphrase_question *question; /* NULL: answered */
    struct ath_secret passphrase;         /* while a try is being written down */
    struct lock_verifier verifier;
    uint64_t seen; /* how often it had been locked when the person answered */
};

/* ---- the end ---- */

static struct lock *
lock_of(const struct locking *locking)
{
    return locking->request->tenant->lock;
}

static struct request *
end(struct locking *locking)
{
    struct request *request = locking->request;

    lock_give_screen(lock_of(locking));
    passphrase_question_end(locking->question);
    ath_secret_done(&locking->passphrase);
    free(locking);
    return request;
}

static void
finish(struct request *request)
{
    struct json_maker result;

    json_object_begin(&result);
    lock_put_status(request->tenant->lock, &result);
    request_finish_maker(request, &result);
}

static struct json *
retry_data(uint32_t retry_after_s)
{
    struct json_maker data;
    struct json *object = NULL;

    if (retry_after_s == 0)
        return NULL;
    json_object_begin(&data);
    json_put_int(&data, "retry_after", retry_after_s);
    return json_maker_end(&data, &object) == ATH_OK ? object : NULL;
}

/* A lock that stays is on record with its reason. */
static void
refuse_unlock(struct request *request, ath_err err, const struct why *why, uint32_t retry_after_s)
{
    struct athd *athd = request->athd;
    struct json_maker record;

    if (audit_flood_admits(&athd->flood, "unlock_refused", request->caller->uid)) {
        audit_record_begin(&record, "unlock_refused", request);
        json_put_string(&record, "denial_reason", ath_err_reason(err));
        if (retry_after_s != 0)
            json_put_int(&record, "retry_after", retry_after_s);
        audit_record_note(athd, &record);
    }
    log_warning("event=unlock-refused caller=%ld/%lu err=%s", (long)request->caller->pid,
                (unsigned long)request->caller->uid, ath_err_reason(err));
    request_fail_data(request, err, why, retry_data(retry_after_s));
}

/* ---- the dialogue ---- */

static void
on_cancel(struct request *request, ath_err err)
{
    request_fail(end(request->stage), err, NULL);
}

/* athd reads the passphrase itself: it is asked at a prompter of athd's own or not at all. */
static ath_err
refuse_system(const struct request *request, bool is_new, struct why *why)
{
    static const char sentence[] = "an athd for the whole machine (--system) asks nobody for a "
                                   "passphrase";

    if (is_new)
        return why_set(why, ATH_ERR_NO_PROMPTER,
                       "%s: nothing has been locked. `ath freeze --all` lets your keys sign "
                       "nothing until `ath unfreeze --all`",
                       sentence);
    return why_set(why, ATH_ERR_NO_PROMPTER,
                   "%s: whoever runs it ends this lock by removing users/%lu/lock.json from its "
                   "state directory and starting it again",
                   sentence, (unsigned long)request->tenant->uid);
}

/* With ATH_OK the request waits for the person. */
static ath_err
ask(struct request *request, const char *title, const struct passphrase_words *words,
    passphrase_question_fn *done, struct why *why)
{
    int64_t timeout_s = request->athd->config->consent_timeout_s;
    struct consent_text text = {0};
    struct locking *locking;
    ath_err err;

    if (!lock_take_screen(request->tenant->lock))
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                       "somebody is being asked for a passphrase already");
    if ((locking = calloc(1, sizeof(*locking))) == NULL) {
        lock_give_screen(request->tenant->lock);
        return ATH_ERR_NOMEM;
    }
    locking->request = request;
    consent_text_title(&text, title);
    consent_text_caller(&text, request->caller);
    err = passphrase_question_ask(request->athd, &text.text, words, done, locking,
                                  &locking->question);
    if (err != ATH_OK) {
        end(locking);
        return err == ATH_ERR_NO_PROMPTER ? refuse_system(request, words->new_max > 0, why) : err;
    }
    request->stage = locking;
    request->cancel = on_cancel;
    request_set_deadline(request, clock_monotonic_ms() + (uint64_t)timeout_s * 1000 + NET_MS);
    return ATH_OK;
}

/* The person has answered: what follows takes no time that anybody would want to cut short. */
static void
take_answer(struct locking *locking)
{
    locking->question = NULL;
    locking->seen = lock_count(lock_of(locking));
    locking->request->cancel = NULL;
    request_set_deadline(locking->request, clock_monotonic_ms() + REQUEST_DEADLINE_MS);
}

/* ---- agent.lock ---- */

static void
on_locked(void *ctx, ath_err err, const struct why *why)
{
    struct request *request = end(ctx);

    if (err == ATH_OK)
        finish(request);
    else
        request_fail(request, err, why);
}

static void
on_new_hash(void *ctx, ath_err err, const struct ath_secret *hash)
{
    struct locking *locking = ctx;

    if (err == ATH_OK) {
        memcpy(locking->verifier.hash, hash->data, LOCK_HASH_LEN);
        err = lock_with_passphrase(lock_of(locking), &locking->verifier, locking->request,
                                   on_locked, locking);
    }
    if (err != ATH_OK)
        request_fail(end(locking), err == ATH_ERR_EXISTS ? ATH_ERR_AGENT_LOCKED : err, NULL);
}

static void
on_new_passphrase(void *ctx, ath_err err, struct ath_secret *taken_passphrase)
{
    struct locking *locking = ctx;

    take_answer(locking);
    locking->verifier.cost = cost;
    if (err == ATH_OK && (err = random_bytes(locking->verifier.salt, LOCK_SALT_LEN)) != ATH_OK)
        ath_secret_done(taken_passphrase);
    if (err == ATH_OK)
        err = passphrase_hash_start(locking->request->athd, taken_passphrase, &locking->verifier,
                                    on_new_hash, locking);
    if (err != ATH_OK)
        request_fail(end(locking), err, NULL);
}

void
method_agent_lock(struct request *request)
{
    static const struct passphrase_words words = {.prompt = "Passphrase",
                                                  .again = "Once more",
                                                  .ok = "Lock",
                                                  .new_min = PASSPHRASE_MIN,
                                                  .new_max = PASSPHRASE_MAX};
    struct why why = {{0}};
    ath_err err = ask(request,
                      "Lock athd? Until you unlock it with the passphrase that you choose here, "
                      "it signs nothing.",
                      &words, on_new_passphrase, &why);

    if (err != ATH_OK)
        request_fail(request, err, &why);
}

/* ---- agent.unlock, with the passphrase ---- */

static void
on_unlocked(void *ctx, ath_err err, const struct why *why)
{
    struct request *request = end(ctx);

    if (err == ATH_OK)
        finish(request);
    else
        refuse_unlock(request, err, why, 0);
}

static void
refuse_passphrase(struct locking *locking)
{
    struct why why = {{0}};
    ath_err err = ATH_ERR_PIN_INCORRECT;
    uint32_t wait_s;

    lock_begin_pause(lock_of(locking));
    wait_s = lock_wait_s(lock_of(locking));
    if (wait_s > 0)
        why_set(&why, err, "the passphrase is wrong; try again in %u s", (unsigned)wait_s);
    else
        why_set(&why, err, "the passphrase is wrong");
    refuse_unlock(end(locking), err, &why, wait_s);
}

static void
on_hash(void *ctx, ath_err err, const struct ath_secret *hash)
{
    struct locking *locking = ctx;
    struct lock *lock = lock_of(locking);

    if (err != ATH_OK)
        refuse_unlock(end(locking), err, NULL, 0);
    else if (!ath_secret_equal(hash, ath_slice_of(locking->verifier.hash, LOCK_HASH_LEN)))
        refuse_passphrase(locking);
    else
        lock_end(lock, lock_reasons(lock), locking->seen, locking->request, on_unlocked, locking);
}

static void
on_counted(void *ctx, ath_err err, const struct why *why)
{
    struct locking *locking = ctx;

    if (err == ATH_OK)
        err = passphrase_hash_start(locking->request->athd, &locking->passphrase,
                                    &locking->verifier, on_hash, locking);
    if (err != ATH_OK)
        refuse_unlock(end(locking), err, why, 0);
}

static void
on_passphrase(void *ctx, ath_err err, struct ath_secret *taken_passphrase)
{
    struct locking *locking = ctx;

    take_answer(locking);
    if (err != ATH_OK) {
        refuse_unlock(end(locking), err, NULL, 0);
        return;
    }
    locking->passphrase = *taken_passphrase;
    *taken_passphrase = (struct ath_secret){NULL, 0};
    locking->verifier = *lock_verifier(lock_of(locking));
    lock_count_try(lock_of(locking), on_counted, locking);
}

static void
ask_passphrase(struct request *request)
{
    static const struct passphrase_words words = {.prompt = "Passphrase", .ok = "Unlock"};
    uint32_t wait_s = lock_wait_s(request->tenant->lock);
    struct why why = {{0}};
    ath_err err;

    if (wait_s > 0)
        err = why_set(&why, ATH_ERR_PIN_LOCKED,
                      "wrong passphrases: athd makes a pause; try again in %u s", (unsigned)wait_s);
    else
        err = ask(request, "Unlock athd?", &words, on_passphrase, &why);
    if (err != ATH_OK)
        refuse_unlock(request, err, &why, wait_s);
}

/* ---- agent.unlock, without one ---- */

static void
on_opened(void *ctx, ath_err err, const struct why *why)
{
    struct request *request = ctx;

    if (err == ATH_OK)
        finish(request);
    else
        refuse_unlock(request, err, why, 0);
}

/* A passphrase that came while the person thought is not ended by a yes. */
static void
on_yes(void *ctx, ath_err err, const struct scope_list *narrowed)
{
    struct request *request = ctx;
    struct lock *lock = request->tenant->lock;

    (void)narrowed;
    if (err != ATH_OK)
        refuse_unlock(request, err, NULL, 0);
    else
        lock_end(lock, LOCK_BY_SUSPEND | LOCK_BY_SESSION, lock_count(lock), request, on_opened,
                 request);
}

static void
ask_yes(struct request *request, unsigned reasons)
{
    struct consent_order order = {.ok_label = "Unlock"};
    struct consent_text text = {0};

    consent_text_title(&text, "Unlock athd?");
    consent_text_caller(&text, request->caller);
    if ((reasons & LOCK_BY_SUSPEND) != 0)
        consent_text_line(&text, "Locked because", "the machine slept", CONSENT_OURS);
    if ((reasons & LOCK_BY_SESSION) != 0)
        consent_text_line(&text, "Locked because", "a session of yours is locked", CONSENT_OURS);
    /* a machine's athd has no prompter: there the programs of the user's that attend are asked */
    order.only_prompter = !request->athd->config->is_system;
    consent_ask(request, &text, &order, on_yes, request);
}

void
method_agent_unlock(struct request *request)
{
    unsigned reasons = lock_reasons(request->tenant->lock);
    struct why why = {{0}};

    if (reasons == 0)
        finish(request);
    else if ((reasons & LOCK_BY_DAMAGE) != 0)
        refuse_unlock(request, lock_refusal(reasons, &why), &why, 0);
    else if ((reasons & LOCK_BY_PASSPHRASE) != 0)
        ask_passphrase(request);
    else
        ask_yes(request, reasons);
}
