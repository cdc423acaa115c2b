/* From when to when a session's keys were there, on record. */
#ifndef ATHD_SESSION_RECORD_H
#define ATHD_SESSION_RECORD_H

#include "athd/request.h"
#include "athd/session_table.h"

/* session_opened, session_closed, session_expired, session_token_given. request may be NULL. All
 * sessions end when athd does, which has one record. */
void session_record(struct tenant *tenant, const struct session *session, const char *event,
                    const struct request *request);

#endif
