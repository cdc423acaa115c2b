/* uids that users may take for their containers (subuid(5)): one person has many of them, and is
 * still one. */
#ifndef ATHD_SUB_UID_H
#define ATHD_SUB_UID_H

#include <sys/types.h>

#include <stdbool.h>

#define SUB_UID_FILE "/etc/subuid"
#define SUB_UID_LENDER_SIZE 65

/* Does a line "USER:FIRST:COUNT" of the file lend it, and to whom? False where there is no such
 * file. Blocking: a small local file. */
bool sub_uid_is_lent(const char *path, uid_t uid, char ret_user[SUB_UID_LENDER_SIZE]);

#endif
