/* The caller's numbers for its open keys. */
#ifndef HSM_HSM_KEY_TABLE_H
#define HSM_HSM_KEY_TABLE_H

#include "hsm/hsm.h"

#define HSM_KEY_TABLE_MAX 4096u

struct hsm_key_entry {
    uint32_t number;
    struct hsm_key *key;
};

struct hsm_key_table {
    struct hsm_key_entry *entries; /* ascending numbers */
    size_t count, cap;
};

/* NULL: not there. */
struct hsm_key *hsm_key_table_find(const struct hsm_key_table *table, uint32_t number);

/* ATH_ERR_EXISTS, ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM; the key stays the caller's to close. */
ath_err hsm_key_table_put(struct hsm_key_table *table, uint32_t number,
                          struct hsm_key *key) ATH_MUST_USE;

/* Takes the number out and gives its key back; NULL: not there. */
struct hsm_key *hsm_key_table_remove(struct hsm_key_table *table, uint32_t number);

void hsm_key_table_done(struct hsm_key_table *table); /* frees the table, not the keys */

#endif
