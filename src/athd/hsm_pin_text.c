/* What a person reads who is asked for a PIN: who wants what with which key. The helper adds the
 * token's name and how many tries are left: it knows them. */
#include "athd/athd.h"
#include "athd/consent.h"
#include "athd/hsm_unit.h"
#include "base/clock.h"

#define NET_MS 10000u /* the deadlines come after the question's end */

static void
put_asker(struct consent_text *text, const struct hsm_job *job)
{
    if (job == NULL || job->done == NULL || job->request == NULL) {
        consent_text_line(text, "Asked by", "athd itself", CONSENT_OURS);
        return;
    }
    consent_text_line(text, "For", job->request->method->name, CONSENT_OURS);
    consent_text_line(text, "Key", job->key_name, CONSENT_OURS);
    consent_text_caller(text, job->request->caller);
}

/* Whoever mistyped knows it then; whoever did not knows that somebody else tries. */
static void
put_wrong(struct consent_text *text, unsigned wrong)
{
    if (wrong == 1)
        ath_buf_put_string(&text->text, "The last PIN was wrong.\n");
    else if (wrong > 1)
        ath_buf_printf(&text->text, "The last %u PINs were wrong.\n", wrong);
}

void
hsm_pin_text_make(unsigned wrong, const struct hsm_job *first, unsigned others,
                  struct ath_buf *words, struct hsm_pin_request *pin)
{
    struct consent_text text = {.text = {.max = HSM_WIRE_MAX_TEXT}};

    put_wrong(&text, wrong);
    put_asker(&text, first);
    if (others > 0)
        ath_buf_printf(&text.text, "And %u more request%s\n", others, others == 1 ? "" : "s");
    ath_buf_put_slice(words, ath_buf_slice(&text.text));
    consent_text_done(&text);
    pin->text = ath_buf_slice(words);
}

void
hsm_pin_text_place(const struct pin_shown *shown, struct hsm_pin_request *pin)
{
    pin->ttyname = ath_slice_of_string(shown->ttyname);
    pin->ttytype = ath_slice_of_string(shown->ttytype);
    pin->lc_ctype = ath_slice_of_string(shown->lc_ctype);
}

/* ---- the same for programs that attend, before the helper is asked ---- */

static bool
is_asked_for(const struct hsm_job *job)
{
    return job != NULL && job->done != NULL && job->request != NULL;
}

/* athd's own work is the owner's, where it has one. */
static struct tenant *
tenant_of(const struct athd *athd, const struct hsm_job *job)
{
    if (is_asked_for(job))
        return job->request->tenant;
    return athd->config->is_system ? NULL : SLIST_FIRST(&athd->tenants.all);
}

static void
put_hardware(struct consent_text *text, const struct hsm_unit *unit, bool is_new)
{
    if (!unit->is_token) {
        ath_buf_printf(&text->text, "%s in the %s\n",
                       is_new ? "Choose a PIN for a new key" : "The PIN of a key",
                       unit->software ? "software TPM" : "TPM");
        return;
    }
    consent_text_line(text, "The PIN of the token", unit->name, CONSENT_OURS);
    consent_text_line(text, "Made by", unit->manufacturer, CONSENT_STRANGER);
    consent_text_line(text, "Serial number", unit->serial, CONSENT_STRANGER);
    if (unit->login.tries_left == 1)
        ath_buf_put_string(&text->text, "Only 1 try is left: a wrong PIN locks the token.\n");
    else if (unit->login.tries_left > 1)
        ath_buf_printf(&text->text, "%u tries are left before the token locks.\n",
                       unit->login.tries_left);
}

ath_err
hsm_pin_text_ask(struct hsm_unit *unit, unsigned wrong, const struct hsm_job *first,
                 const struct pin_dialogue_events *events, struct pin_dialogue **ret_dialogue)
{
    bool is_known = is_asked_for(first);
    struct consent_text text = {.text = {.max = HSM_WIRE_MAX_TEXT}};
    struct pin_dialogue_order order = {
        .tenant = tenant_of(unit->athd, first),
        .caller = is_known ? first->request->caller : NULL,
        .method = is_known ? first->request->method->name : NULL,
        .key = is_known ? first->key_name : NULL,
        .hsm = unit->name,
        .is_new = first != NULL && first->op == HSM_OP_KEY_CREATE,
        .tries_left = unit->is_token ? unit->login.tries_left : 0,
    };
    ath_err err = ATH_ERR_NOMEM;

    put_hardware(&text, unit, order.is_new);
    put_wrong(&text, wrong);
    put_asker(&text, first);
    if ((order.text = ath_buf_text(&text.text)) != NULL)
        err = pin_dialogue_start(unit->athd, &order, events, ret_dialogue);
    consent_text_done(&text);
    return err;
}

/* Whoever enters a wrong PIN spends a try of all who use the token: so it is for those whom the
 * machine's administrator names. A TPM's key is its owner's. */
static bool
may_enter(const struct hsm_unit *unit, const struct hsm_job *job)
{
    const struct config_hsm *config = unit->config;

    if (!unit->is_token || !unit->athd->config->is_system)
        return true;
    for (size_t i = 0; is_asked_for(job) && i < config->pin_uid_count; i++)
        if (config->pin_uids[i] == job->request->tenant->uid)
            return true;
    return false;
}

ath_err
hsm_pin_text_check(const struct hsm_unit *unit, const struct hsm_job *job, struct why *why)
{
    if (!may_enter(unit, job))
        return why_set(why, ATH_ERR_NO_PROMPTER,
                       "nobody is asked for the PIN of %s by an athd for the whole machine "
                       "(--system) but those whom \"pin_users\" of athd.json names",
                       unit->name);
    return pin_dialogue_check(unit->athd, tenant_of(unit->athd, job),
                              is_asked_for(job) ? job->request->caller : NULL, why);
}

/* ---- time that a person takes ---- */

void
hsm_job_wait_for_person(struct hsm_job *job, uint64_t until_ms)
{
    if (job->done == NULL || job->waits_person)
        return;
    job->waits_person = true;
    if (job->request != NULL)
        request_set_deadline(job->request, until_ms + NET_MS);
}

bool
hsm_job_holds_nobody_up(const struct hsm_job *job)
{
    return job->dialogue != NULL;
}

/* The person took their time; what follows has its own. */
void
hsm_job_go_on(struct hsm_job *job)
{
    uint64_t deadline_ms = clock_monotonic_ms() + REQUEST_DEADLINE_MS;

    if (!job->waits_person)
        return;
    job->waits_person = false;
    if (job->deadline_ms != UINT64_MAX)
        job->deadline_ms = deadline_ms;
    if (job->done != NULL && job->request != NULL)
        request_set_deadline(job->request, deadline_ms);
}
