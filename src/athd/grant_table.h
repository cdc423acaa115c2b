/*
 * The grants of a tenant: TENANT/grants/NAME.json, and a socket for each at
 * DIR/grants/NAME/agent.sock, where DIR is that of athd's own socket (the system's athd:
 * DIR/grants/UID/NAME). The directory stays as long as the grant, over a restart of athd too, so
 * that it can be mounted into a sandbox; the socket in it is a new one then.
 */
#ifndef ATHD_GRANT_TABLE_H
#define ATHD_GRANT_TABLE_H

#include "athd/grant.h"
#include "athd/store.h"

struct request;
struct tenant;

#define GRANTS_MAX 256u

enum grant_end_reason {
    GRANT_REVOKED,
    GRANT_EXPIRED,
    GRANT_USED_UP,
    GRANT_PROCESS_ENDED,
    GRANT_PARENT_ENDED,
    GRANT_ATHD_RESTARTED,
    GRANT_FAILED, /* it could not be made after all, or its socket not again */
};

/* Reads the directory (blocking, start-up); nobody listens yet. Damaged files are logged and left
 * out. */
ath_err grant_table_open(struct tenant *tenant, const char *dir, struct why *why,
                         struct grant_table **ret_table) ATH_MUST_USE;
/* Ends those that do not outlive an athd, listens for the others. The listener is there. */
void grant_table_start(struct grant_table *table);
/* Their timer and watches, while the loop still runs; the files say what was used. */
void grant_table_close(struct grant_table *table);
void grant_table_free(struct grant_table *table); /* when it is closed; NULL is fine */

struct grant *grant_table_find(const struct grant_table *table, const char *name); /* NULL: none */
size_t grant_table_count(const struct grant_table *table);
/* In order of their names. ATH_ERR_NOMEM. */
ath_err grant_table_each(const struct grant_table *table,
                         void (*each)(void *ctx, const struct grant *grant),
                         void *ctx) ATH_MUST_USE;

/* Listens for the grant (with its process, if it has one, watched from now on) and writes its file;
 * done says when that is durable. The table has a reference of its own. ATH_ERR_GRANT_EXISTS,
 * ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_IO with why, ATH_ERR_NOMEM: done is not called. */
ath_err grant_table_add(struct grant_table *table, struct grant *grant, struct why *why,
                        store_done_fn *done, void *ctx) ATH_MUST_USE;
/* Gives a grant without a process one, on disk when done says so; takes the process. Errors as
 * above: done is not called, and the process is the caller's. */
ath_err grant_table_adopt(struct grant *grant, struct grant_process *process, store_done_fn *done,
                          void *ctx) ATH_MUST_USE;

/* The end, at once: whoever is connected is cut, what they asked is cancelled, their handshakes and
 * sessions end, and so do the grants within it. */
void grant_end(struct grant *grant, enum grant_end_reason reason);
/* The same, by whoever asked for it. done when its file is gone, or not (ATH_ERR_IO). */
void grant_revoke(struct grant *grant, const struct request *request, store_done_fn *done,
                  void *ctx);

/* grant_file.c: has it ended with the athd that wrote it, or before? Its process is looked for.
 * Once all of them are, one that has no process (grant_has_process) has ended too, for *ret_reason.
 */
bool grant_file_is_over(struct grant_file *file, uid_t uid, enum grant_end_reason *ret_reason);

/* grant_uses.c: writes the file, counting this many; the grant has not ended. Errors as
 * store_replace. */
void grant_table_write(struct grant *grant, int64_t uses, store_done_fn *done, void *ctx);
/* All are used from now on. */
void grant_table_note_used_up(struct grant *grant);

/* grant_record.c */
void grant_record_created(struct request *request, const struct grant *grant, bool is_adopted);
void grant_record_ended(const struct tenant *tenant, const struct grant *grant,
                        enum grant_end_reason reason, const struct request *request);

#endif
