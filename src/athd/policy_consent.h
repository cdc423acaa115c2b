/* Consent that a rule wants for a method that asks the user nothing by itself. */
#ifndef ATHD_POLICY_CONSENT_H
#define ATHD_POLICY_CONSENT_H

#include "athd/policy.h"
#include "athd/request.h"

/* Asks the user; goes_on(request) after a yes, else the request fails. The memo is copied. */
void policy_consent_ask(struct request *request, const struct policy_question *question,
                        const struct policy_memo *memo, void (*goes_on)(struct request *request));

#endif
