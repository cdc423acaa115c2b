/* Whole notes. What is accepted has one form: its text written again is the same. Evidence of a
 * counter, first byte 'e', likewise never runs over. */
#include <stdlib.h>

#include "protocol/checkpoint.h"
#include "protocol/counter_evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
must(bool holds)
{
    if (!holds)
        abort();
}

static void
try_evidence(struct ath_slice bytes)
{
    struct counter_evidence evidence;
    struct why why = {""};
    ath_err err = counter_evidence_decode(bytes, &why, &evidence);

    must(err == ATH_OK || why.text[0] != '\0');
    if (err == ATH_OK)
        must(evidence.signature.len == 64 && evidence.attest.len < bytes.len);
}

static void
try_note(struct ath_slice bytes)
{
    struct checkpoint_note note;
    struct ath_buf text = {0};
    struct why why = {""};

    if (checkpoint_decode(bytes, &why, &note) != ATH_OK) {
        must(why.text[0] != '\0');
        return;
    }
    checkpoint_put_text(&note.checkpoint, &text);
    must(ath_slice_equal(ath_buf_slice(&text), note.text));
    must(note.line_count > 0 && note.line_count <= CHECKPOINT_MAX_LINES);
    ath_buf_done(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len != 0 && data[0] == 'e')
        try_evidence(ath_slice_of(data + 1, len - 1));
    else
        try_note(ath_slice_of(data, len));
    return 0;
}
