/* Files of the state directory that athd could not use: it left them as they are and goes on
 * without them. For agent.status. */
#ifndef ATHD_DAMAGE_H
#define ATHD_DAMAGE_H

#include <sys/queue.h>

#include "base/json.h"

struct damage;
SLIST_HEAD(damage_list, damage); /* zeroed: empty */

/* Logs it and keeps it: DIR/NAME, of which the last part of dir and the name are told. Out of
 * memory: it is only logged. */
void damage_note(struct damage_list *list, const char *dir, const char *name, ath_err err,
                 const struct why *why);
/* [{file, message}] of the files in this directory and below; ATH_ERR_NOMEM. */
ath_err damage_report(const struct damage_list *list, const char *dir,
                      struct json **ret_report) ATH_MUST_USE;
void damage_done(struct damage_list *list);

#endif
