/*
 * One step of a handshake: from what its machine needs to the answer for the caller. Signatures,
 * questions to the user, pins and grants on the way; whatever goes wrong, the handshake is
 * afterwards either as it was (the same message may come again), or at its end.
 */
#ifndef ATHD_HANDSHAKE_STEP_H
#define ATHD_HANDSHAKE_STEP_H

#include "athd/handshake_table.h"

/* The handshake works for this request from now on (takes a reference and the message, NULL: M1 is
 * being made). The handshake must be free: no request, not stalled. */
void handshake_step_begin(struct handshake *handshake, struct request *request,
                          struct json *taken_message);
/* What the machine said: err is the call's, need (emptied) what it needs. Ends the request, now or
 * later. */
void handshake_step_drive(struct handshake *handshake, ath_err err,
                          struct handshake_need *taken_need);
/* Takes a stalled step up again for another request. */
void handshake_step_resume(struct handshake *handshake, struct request *request);
/* Ends step and handshake with an error of ours or of the caller; data (taken) is for
 * request_fail_data. */
void handshake_step_fail(struct handshake *handshake, ath_err err, const struct why *why);
void handshake_step_fail_data(struct handshake *handshake, ath_err err, const struct why *why,
                              struct json *taken_data);

/* Answers a request with what the last step was answered with. */
void handshake_step_repeat(struct handshake *handshake, struct request *request);

#endif
