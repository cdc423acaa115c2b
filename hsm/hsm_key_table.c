#include "hsm/hsm_key_table.h"

#include <stdlib.h>
#include <string.h>

/* Where number is or would be. */
static size_t
position(const struct hsm_key_table *table, uint32_t number)
{
    size_t low = 0, high = table->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (table->entries[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool
is_at(const struct hsm_key_table *table, size_t i, uint32_t number)
{
    return i < table->count && table->entries[i].number == number;
}

struct hsm_key *
hsm_key_table_find(const struct hsm_key_table *table, uint32_t number)
{
    size_t i = position(table, number);

    return is_at(table, i, number) ? table->entries[i].key : NULL;
}

static ath_err
grow(struct hsm_key_table *table)
{
    size_t cap = table->cap == 0 ? 16 : table->cap * 2;
    struct hsm_key_entry *entries = realloc(table->entries, cap * sizeof(*entries));

    if (entries == NULL)
        return ATH_ERR_NOMEM;
    table->entries = entries;
    table->cap = cap;
    return ATH_OK;
}

ath_err
hsm_key_table_put(struct hsm_key_table *table, uint32_t number, struct hsm_key *key)
{
    size_t i = position(table, number);
    ath_err err;

    if (is_at(table, i, number))
        return ATH_ERR_EXISTS;
    if (table->count == HSM_KEY_TABLE_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    if (table->count == table->cap && (err = grow(table)) != ATH_OK)
        return err;
    memmove(&table->entries[i + 1], &table->entries[i],
            (table->count - i) * sizeof(*table->entries));
    table->entries[i] = (struct hsm_key_entry){number, key};
    table->count++;
    return ATH_OK;
}

struct hsm_key *
hsm_key_table_remove(struct hsm_key_table *table, uint32_t number)
{
    size_t i = position(table, number);
    struct hsm_key *key;

    if (!is_at(table, i, number))
        return NULL;
    key = table->entries[i].key;
    table->count--;
    memmove(&table->entries[i], &table->entries[i + 1],
            (table->count - i) * sizeof(*table->entries));
    return key;
}

void
hsm_key_table_done(struct hsm_key_table *table)
{
    free(table->entries);
    *table = (struct hsm_key_table){0};
}
