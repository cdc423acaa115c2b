/* What grant_table.c and grant_load.c (the table's beginning, from its files) share. */
#ifndef ATHD_GRANT_TABLE_PRIVATE_H
#define ATHD_GRANT_TABLE_PRIVATE_H

#include <sys/queue.h>

#include "athd/grant_table.h"
#include "athd/string_map.h"
#include "athd/wall_timer.h"

struct grant_found { /* a file, until the listener is there */
    struct grant_found *next;
    struct grant_file file;
    bool is_over;
    enum grant_end_reason reason; /* of one that is over, or has no process */
};

struct grant_table {
    struct tenant *tenant;
    char *dir;
    struct string_map by_name;
    LIST_HEAD(, grant) all;
    struct grant_found *found;
    struct wall_timer *timer; /* NULL: closed */
};

/* grant_table.c: ends when its time is over from now on. The table has a reference of its own.
 * ATH_ERR_NOMEM: it is not in the table. */
ath_err grant_table_insert(struct grant_table *table, struct grant *grant);
/* grant_table.c: of the timer; ends those that are over. */
void grant_table_on_due(void *ctx);
/* grant_table.c: listens for one of the table's, and watches its process if it has one; is_new: its
 * directory is made. Errors as grant_table_add: the caller ends it. */
ath_err grant_table_serve(struct grant *grant, bool is_new, struct why *why) ATH_MUST_USE;

/* grant_load.c */
void grant_table_free_found(struct grant_table *table);

#endif
