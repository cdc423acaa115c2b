#include "athd/audit_counter_private.h"

#include "athd/athd.h"
#include "athd/store_load.h"
#include "base/bytes.h"
#include "base/file.h"

/* TPM2B_NV_PUBLIC: u16 size, then TPMS_NV_PUBLIC, whose first member is the index (TPM 2.0 part 2,
 * 13.6). */
bool
audit_counter_read_index(struct ath_slice blob, uint32_t *ret_index)
{
    struct byte_reader reader = byte_reader_of(blob);
    uint16_t size = byte_reader_u16(&reader);

    *ret_index = byte_reader_u32(&reader);
    return !reader.bad && size == blob.len - 2;
}

/* The file is TPM2B_NV_PUBLIC and, behind it, the value the counter was made with (u64). */
static bool
split_file(struct audit_counter *counter)
{
    struct ath_slice file = ath_buf_slice(&counter->blob);
    struct byte_reader reader;

    if (file.len <= sizeof(uint64_t))
        return false;
    file.len -= sizeof(uint64_t);
    reader = byte_reader_of(ath_slice_of(file.data + file.len, sizeof(uint64_t)));
    counter->made_value = byte_reader_u64(&reader);
    counter->blob.len = file.len;
    return audit_counter_read_index(file, &counter->index);
}

ath_err
audit_counter_read_files(struct audit_counter *counter, struct why *why)
{
    const char *dir = AUDIT_KEY_DIR;
    ath_err err = file_read_own(counter->counter_path, &counter->blob, why);

    if (err == ATH_ERR_NOMEM)
        return err;
    if (err == ATH_OK && !split_file(counter))
        err = why_set(why, ATH_ERR_PARSE, "it is no counter");
    if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
        damage_note(&counter->athd->damage, dir, AUDIT_COUNTER_NAME, err, why);
    if (err != ATH_OK)
        ath_buf_clear(&counter->blob);
    err = file_read_own(counter->pending_path, &counter->pending_text, why);
    if (err == ATH_OK)
        err = checkpoint_decode_text(ath_buf_slice(&counter->pending_text), why, &counter->pending);
    if (err == ATH_ERR_NOMEM)
        return err;
    if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
        damage_note(&counter->athd->damage, dir, AUDIT_COUNTER_PENDING_NAME, err, why);
    counter->has_pending = err == ATH_OK && counter->pending.has_counter;
    return ATH_OK;
}

void
audit_counter_forget_pending(struct audit_counter *counter)
{
    if (!counter->has_pending)
        return;
    counter->has_pending = false;
    store_remove(counter->athd, counter->pending_path, NULL, NULL);
}
