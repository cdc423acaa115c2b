/* Whom the server may ask again when (profile section 5, step 6): one open M6 a user and client; after
 * a refusal or silence a pause, doubled each time. A sorted array: few pairs, looked up rarely. */
#include <stdlib.h>
#include <string.h>

#include "protocol/confirmation.h"
#include "protocol/protocol_limits.h"

struct gate_entry {
    char *key;               /* user DID, a space, client DID */
    bool open;
    int64_t expires_at;      /* of the open M6 */
    int64_t pause_s;         /* the last pause; 0: none */
    int64_t not_before;      /* the end of the pause */
};

struct confirmation_gate {
    struct gate_entry **entries; /* sorted by key; owned */
    size_t count, capacity;
};

ath_err
confirmation_gate_new(struct confirmation_gate **ret_gate)
{
    *ret_gate = calloc(1, sizeof(**ret_gate));
    return *ret_gate == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

static void
entry_free(struct gate_entry *entry)
{
    if (entry == NULL)
        return;
    free(entry->key);
    free(entry);
}

void
confirmation_gate_free(struct confirmation_gate *gate)
{
    if (gate == NULL)
        return;
    for (size_t i = 0; i < gate->count; i++)
        entry_free(gate->entries[i]);
    free(gate->entries);
    free(gate);
}

static ath_err
entry_key(const char *user_did, const char *client_did, struct ath_buf *key)
{
    key->max = 2 * DID_MAX_LEN + 2;
    ath_buf_put_string(key, user_did);
    ath_buf_put_byte(key, ' '); /* no DID has one */
    ath_buf_put_string(key, client_did);
    (void)ath_buf_text(key);
    return key->err;
}

/* Where the key is, or where it belongs. */
static size_t
position(const struct confirmation_gate *gate, const char *key, bool *ret_found)
{
    size_t low = 0, high = gate->count;

    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(key, gate->entries[middle]->key);

        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void
pause_from(struct gate_entry *entry, int64_t start)
{
    entry->open = false;
    entry->pause_s = entry->pause_s == 0 ? CONFIRMATION_PAUSE_S : entry->pause_s * 2;
    if (entry->pause_s > CONFIRMATION_PAUSE_MAX_S)
        entry->pause_s = CONFIRMATION_PAUSE_MAX_S;
    entry->not_before = start + entry->pause_s;
}

/* Silence that nobody told us of: the pause begins when the M6 expired. */
static void
settle(struct gate_entry *entry, int64_t now)
{
    if (entry->open && now > entry->expires_at)
        pause_from(entry, entry->expires_at);
}

/* Nothing that still matters: an hour after its pause a refusal is forgotten. */
static bool
is_stale(struct gate_entry *entry, int64_t now)
{
    settle(entry, now);
    return !entry->open && now > entry->not_before + CONFIRMATION_PAUSE_MAX_S;
}

static void
drop_stale(struct confirmation_gate *gate, int64_t now)
{
    size_t kept = 0;

    for (size_t i = 0; i < gate->count; i++) {
        if (is_stale(gate->entries[i], now))
            entry_free(gate->entries[i]);
        else
            gate->entries[kept++] = gate->entries[i];
    }
    gate->count = kept;
}

static ath_err
make_room(struct confirmation_gate *gate, int64_t now)
{
    struct gate_entry **entries;
    size_t capacity;

    if (gate->count < gate->capacity)
        return ATH_OK;
    drop_stale(gate, now);
    if (gate->count >= CONFIRMATIONS_REMEMBERED)
        return ATH_ERR_LIMIT_EXCEEDED;
    if (gate->count < gate->capacity)
        return ATH_OK;
    capacity = gate->capacity == 0 ? 16 : gate->capacity * 2;
    if (capacity > CONFIRMATIONS_REMEMBERED)
        capacity = CONFIRMATIONS_REMEMBERED;
    if ((entries = realloc(gate->entries, capacity * sizeof(struct gate_entry *))) == NULL)
        return ATH_ERR_NOMEM;
    gate->entries = entries;
    gate->capacity = capacity;
    return ATH_OK;
}

static ath_err
insert(struct confirmation_gate *gate, const char *key, int64_t now, struct gate_entry **ret_entry)
{
    struct gate_entry *entry;
    size_t at;
    bool found;
    ath_err err;

    if ((err = make_room(gate, now)) != ATH_OK)
        return err;
    if ((entry = calloc(1, sizeof(*entry))) == NULL)
        return ATH_ERR_NOMEM;
    if ((entry->key = ath_strdup(key)) == NULL) {
        free(entry);
        return ATH_ERR_NOMEM;
    }
    at = position(gate, key, &found);
    memmove(gate->entries + at + 1, gate->entries + at,
            (gate->count - at) * sizeof(struct gate_entry *));
    gate->entries[at] = entry;
    gate->count++;
    *ret_entry = entry;
    return ATH_OK;
}

static struct gate_entry *
find(const struct confirmation_gate *gate, const char *key)
{
    bool found;
    size_t at = position(gate, key, &found);

    return found ? gate->entries[at] : NULL;
}

ath_err
confirmation_gate_open(struct confirmation_gate *gate, const char *user_did, const char *client_did,
                       int64_t now, int64_t expires_at, int64_t *ret_retry_after_s)
{
    struct ath_buf key = {0};
    struct gate_entry *entry;
    ath_err err;

    if ((err = entry_key(user_did, client_did, &key)) != ATH_OK)
        goto out;
    if ((entry = find(gate, ath_buf_text(&key))) == NULL &&
        (err = insert(gate, ath_buf_text(&key), now, &entry)) != ATH_OK)
        goto out;
    settle(entry, now);
    if (entry->open || now < entry->not_before) {
        *ret_retry_after_s = (entry->open ? entry->expires_at + 1 : entry->not_before) - now;
        err = ATH_ERR_RATE_LIMITED;
        goto out;
    }
    entry->open = true;
    entry->expires_at = expires_at;
out:
    ath_buf_done(&key);
    return err;
}

/* What the end of an open M6 means for the next one. */
static void
close_entry(struct gate_entry *entry, int64_t now, enum confirmation_end end)
{
    switch (end) {
    case CONFIRMATION_APPROVED:
        entry->open = false;
        entry->pause_s = 0;
        entry->not_before = 0;
        break;
    case CONFIRMATION_REFUSED:
        pause_from(entry, now);
        break;
    case CONFIRMATION_VOID:
        entry->open = false;
        break;
    }
}

void
confirmation_gate_close(struct confirmation_gate *gate, const char *user_did, const char *client_did,
                        int64_t expires_at, int64_t now, enum confirmation_end end)
{
    struct ath_buf key = {0};
    struct gate_entry *entry;

    if (entry_key(user_did, client_did, &key) == ATH_OK &&
        (entry = find(gate, ath_buf_text(&key))) != NULL) {
        settle(entry, now);
        if (entry->open && entry->expires_at == expires_at)
            close_entry(entry, now, end);
    }
    ath_buf_done(&key); /* out of memory: the entry expires by itself, with a pause */
}
