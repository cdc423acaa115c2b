/* consent.pinentry: a program of the user's gives the connection to its pinentry to the helper that
 * waits for a PIN. From then on nothing of it is athd's. */
#include "athd/connection.h"
#include "athd/consent_environment.h"
#include "athd/dispatch.h"
#include "athd/method_consent.h"
#include "athd/method_support.h"
#include "athd/pin_offer.h"

static ath_err
read_place(const struct request *request, struct why *why, struct pin_shown *place)
{
    place->ttyname = method_param(request, "GPG_TTY");
    place->ttytype = method_param(request, "TERM");
    place->lc_ctype = method_param(request, "LC_CTYPE");
    if (place->ttyname != NULL && !consent_environment_is_terminal(place->ttyname))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"GPG_TTY\" must be the path of a terminal (tty(1))");
    if ((place->ttytype != NULL && !consent_environment_is_word(place->ttytype)) ||
        (place->lc_ctype != NULL && !consent_environment_is_word(place->lc_ctype)))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"TERM\" and \"LC_CTYPE\" are letters, digits and ._@+-");
    return ATH_OK;
}

/* The helper says nothing on it before a pinentry has, so the answer is there first. */
static void
give(struct request *request, struct pin_dialogue *dialogue)
{
    struct connection *connection = request->connection;
    struct pin_shown shown = {.fd = -1};
    struct why why = {{0}};
    ath_err err;

    if ((err = read_place(request, &why, &shown)) == ATH_OK &&
        (err = connection_copy_fd(connection, &shown.fd)) == ATH_OK)
        err = pin_offer_take(dialogue, request, &shown, &why);
    if (err != ATH_OK) {
        request_fail(request, err, &why);
        return;
    }
    consent_method_finish(request);
    connection_close(connection); /* the copy lives on: the helper has it */
}

void
method_consent_pinentry(struct request *request)
{
    struct consent *consent = request->athd->consent;
    struct pin_dialogue *dialogue;
    const char *missing = NULL;
    struct why why = {{0}};
    ath_err err;

    if (!consent_method_is_users(request))
        return;
    if ((err = connection_check_alone(request, &why)) != ATH_OK) {
        request_fail(request, err, &why);
        return;
    }
    dialogue = pin_offer_find(consent, request->tenant->uid, method_param(request, "id"));
    if (dialogue == NULL) {
        consent_method_not_found(request);
    } else if ((err = pin_offer_check(dialogue, request->caller, &missing, &why)) == ATH_OK) {
        give(request, dialogue);
    } else if (missing == NULL) {
        request_fail(request, err, &why);
    } else {
        consent_method_note_denied(request, missing);
        consent_method_deny(request, missing, why.text);
    }
}
