/* How a handshake went and ended, for the audit log, in ATH's shape of such a record. Nobody waits
 * for these: the signatures they follow from have their own records, which were on disk before. */
#ifndef ATHD_HANDSHAKE_RECORD_H
#define ATHD_HANDSHAKE_RECORD_H

#include "athd/handshake_table.h"

/* handshake_id, trace, and as soon as it is known `handshake`: b64u(T5), by which the records of all
 * three parties are joined. */
void handshake_record_join(struct json_maker *record, const struct handshake *handshake);

/* handshake_step, or authorization_started where the step opened the handshake: what came, what is
 * sent, and what is waited for. Before the messages leave the need. */
void handshake_record_step(struct tenant *tenant, const struct handshake *handshake,
                           const struct request *request, const char *state);
/* access_granted. request may be NULL. */
void handshake_record_granted(struct tenant *tenant, const struct handshake *handshake,
                              const struct request *request, const struct handshake_result *result);
/* access_denied with err's reason; m8 (may be NULL) says which scopes were denied. */
void handshake_record_denied(struct tenant *tenant, const struct handshake *handshake,
                             const struct request *request, ath_err err, const struct json *m8);

#endif
