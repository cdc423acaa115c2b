/* What the methods consent.* have in common; private to method_consent*.c. */
#ifndef ATHD_METHOD_CONSENT_H
#define ATHD_METHOD_CONSENT_H

#include "athd/request.h"

/* True: the user's own program, at the user's own socket. Else the request has been failed. */
bool consent_method_is_users(struct request *request);
/* A refusal that no rule of the policy can change; note: the record of it. */
void consent_method_deny(struct request *request, const char *missing, const char *sentence);
void consent_method_note_denied(struct request *request, const char *missing);
/* The id names nothing (any more). */
void consent_method_not_found(struct request *request);
/* An empty result. */
void consent_method_finish(struct request *request);

#endif
