/*
 * Logging in to a TPM's keys that have a PIN, each for itself. What needs such a key stands beside
 * the queue until its PIN was right, so that nobody else waits; one question is asked for all who
 * wait for one key, and one try is made, by the helper (hsm_wire.h). Wrong ones are counted by key
 * (hsm_throttle.h): the TPM does not. Private to hsm_*.c.
 */
#ifndef ATHD_HSM_KEY_LOGIN_H
#define ATHD_HSM_KEY_LOGIN_H

#include "athd/hsm_unit.h"

/* A job that was popped and needs its key's PIN. False: it is there, go on. True: the job has been
 * taken, and comes back to the front of the queue when the PIN is there, or fails. */
bool hsm_key_login_takes(struct hsm_unit *unit, struct hsm_job *job);
/* A job that was taken is cancelled: the question goes if it was the last. how: for its record. */
void hsm_key_login_leave(struct hsm_job *job, ath_err how);
/* How many of one caller's were taken and wait. */
unsigned hsm_key_login_count_of(const struct hsm_unit *unit, uint64_t identity);
/* `each` may end the job. */
void hsm_key_login_each_waiting(struct hsm_unit *unit,
                                void (*each)(struct hsm_job *job, uint64_t now_ms),
                                uint64_t now_ms);

/* Is a try under way? */
bool hsm_key_login_is_trying(const struct hsm_unit *unit);
/* One that should have been over by now? */
bool hsm_key_login_hangs(const struct hsm_unit *unit, uint64_t now_ms);
/* The answer to a LOGIN; false: to none of ours. */
bool hsm_key_login_is_answer(const struct hsm_unit *unit, const struct hsm_response *response);
void hsm_key_login_take_response(struct hsm_unit *unit, const struct hsm_response *response);

/* The helper does not have the PIN any more, or it is not right any more. */
void hsm_key_login_is_lost(struct hsm_unit *unit, uint32_t key);
/* The key could not be opened, or is gone: who waits for it is told. */
void hsm_key_login_fails(struct hsm_unit *unit, uint32_t key, const struct hsm_outcome *failure);
/* The helper is gone, and all PINs with it. */
void hsm_key_login_lose(struct hsm_unit *unit);
/* All PINs of this tenant's keys (NULL: of everybody's) are forgotten, who waits for one is told:
 * AGENT_LOCKED. */
void hsm_key_login_shut(struct hsm_unit *unit, const struct tenant *tenant);
/* Takes the questions from the screen; who waits is the caller's to end. */
void hsm_key_login_close(struct hsm_unit *unit);
void hsm_key_login_done(struct hsm_unit *unit); /* frees what there is; after the loop */

#endif
