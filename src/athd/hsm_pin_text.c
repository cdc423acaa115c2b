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
hsm_pin_text_place(const struct hsm_unit *unit, struct hsm_pin_request *pin)
{
    const struct consent *consent = unit->athd->consent;

    pin->ttyname = ath_slice_of_string(consent_ttyname(consent));
    pin->ttytype = ath_slice_of_string(consent_ttytype(consent));
    pin->lc_ctype = ath_slice_of_string(consent_lc_ctype(consent));
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
