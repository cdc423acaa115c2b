/* How a handshake ended, for the audit log, in ATH's shape of such a record. Nobody waits for
 * these: the signatures they follow from have their own records, which were on disk before. */
#ifndef ATHD_HANDSHAKE_RECORD_H
#define ATHD_HANDSHAKE_RECORD_H

#include "athd/handshake_table.h"

/* access_granted. request may be NULL. */
void handshake_record_granted(struct athd *athd, const struct handshake *handshake,
                              const struct request *request, const struct handshake_result *result);
/* access_denied with err's reason; m8 (may be NULL) says which scopes were denied. */
void handshake_record_denied(struct athd *athd, const struct handshake *handshake,
                             const struct request *request, ath_err err, const struct json *m8);

#endif
