/* The daemon's own life on record: from when to when it ran, with what configuration. */
#ifndef ATHD_ATHD_RECORD_H
#define ATHD_ATHD_RECORD_H

#include "athd/athd.h"

/* athd_started: version, pid, hsms, and what makes times since boot (callers' start_ticks) times of
 * the day. A log in which one follows another without athd_stopping shows a crash or a kill. */
void athd_record_started(struct athd *athd);
void athd_record_stopping(struct athd *athd);

/* configuration_loaded, or with an error configuration_refused: each file that was read, with the
 * SHA-256 of what was read. */
void athd_record_configuration(struct athd *athd, ath_err err, const struct why *why);

#endif
