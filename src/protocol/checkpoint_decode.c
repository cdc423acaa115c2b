/* Strict decoding of notes: the text is written again from what was read and must be the same, so
 * that every checkpoint has one form. */
#include <string.h>

#include "base/base64.h"
#include "base/base64url.h"
#include "base/utf8.h"
#include "protocol/checkpoint.h"

#define DASH "\xe2\x80\x94 "
#define MAX_LINE 4096u /* base64 of a signature and its key's name */

/* Cuts the line that text begins with, without its LF. False: there is none. */
static bool
take_line(struct ath_slice *text, struct ath_slice *ret_line)
{
    const uint8_t *end = text->len != 0 ? memchr(text->data, '\n', text->len) : NULL;

    if (end == NULL)
        return false;
    *ret_line = ath_slice_of(text->data, (size_t)(end - text->data));
    *text = ath_slice_of(end + 1, text->len - ret_line->len - 1);
    return true;
}

static bool
take_prefix(struct ath_slice *line, const char *prefix)
{
    size_t len = strlen(prefix);

    if (line->len < len || memcmp(line->data, prefix, len) != 0)
        return false;
    *line = ath_slice_of(line->data + len, line->len - len);
    return true;
}

/* All of line; the caller compares the form. */
static bool
read_number(struct ath_slice line, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (line.len == 0 || line.len > 20)
        return false;
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] < '0' || line.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(line.data[i] - '0');
    }
    *ret_value = value;
    return true;
}

static bool
read_hex(struct ath_slice digits, uint32_t *ret_value)
{
    uint32_t value = 0;

    for (size_t i = 0; i < digits.len; i++) {
        uint8_t digit = digits.data[i];

        if (digit >= '0' && digit <= '9')
            value = value << 4 | (uint32_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            value = value << 4 | (uint32_t)(digit - 'a' + 10);
        else
            return false;
    }
    *ret_value = value;
    return true;
}

/* ---- the six lines ---- */

static bool
read_origin(struct ath_slice line, struct checkpoint *checkpoint)
{
    if (!take_prefix(&line, CHECKPOINT_ORIGIN) || !base64url_is_alphabet(line, JKT_LEN, JKT_LEN))
        return false;
    memcpy(checkpoint->jkt, line.data, JKT_LEN);
    return true;
}

static bool
read_size(struct ath_slice line, struct checkpoint *checkpoint)
{
    return read_number(line, &checkpoint->size);
}

static bool
read_root(struct ath_slice line, struct checkpoint *checkpoint)
{
    return base64_decode_exact(line, checkpoint->root, SHA256_LEN) == ATH_OK;
}

/* "2026-01-02T03:04:05.678Z": digits where this has digits, the rest as it is. */
static bool
read_time(struct ath_slice line, struct checkpoint *checkpoint)
{
    if (!take_prefix(&line, "time ") || !clock_text_is_valid(line))
        return false;
    memcpy(checkpoint->time, line.data, line.len);
    return true;
}

static bool
read_previous(struct ath_slice line, struct checkpoint *checkpoint)
{
    if (!take_prefix(&line, "previous "))
        return false;
    if (ath_slice_is(line, "none"))
        return true;
    checkpoint->has_previous = true;
    return read_number(line, &checkpoint->previous) && checkpoint->previous < checkpoint->size;
}

static bool
read_counter(struct ath_slice line, struct checkpoint *checkpoint)
{
    if (!take_prefix(&line, "counter "))
        return false;
    if (ath_slice_is(line, "none"))
        return true;
    checkpoint->has_counter = true;
    return take_prefix(&line, "tpm ") && line.len > 9 && line.data[8] == ' ' &&
           read_hex(ath_slice_of(line.data, 8), &checkpoint->counter_index) &&
           read_number(ath_slice_of(line.data + 9, line.len - 9), &checkpoint->counter);
}

static const struct {
    const char *what;
    bool (*read)(struct ath_slice line, struct checkpoint *checkpoint);
} text_lines[] = {
    {"the origin (athd.audit/ and the key's thumbprint)", read_origin},
    {"the size", read_size},
    {"the root", read_root},
    {"\"time\"", read_time},
    {"\"previous\"", read_previous},
    {"\"counter\"", read_counter},
};

static ath_err
check_form(const struct checkpoint_note *note, struct why *why)
{
    struct ath_buf same = {.max = CHECKPOINT_MAX_TEXT};
    ath_err err;

    checkpoint_put_text(&note->checkpoint, &same);
    err = same.err;
    if (err == ATH_OK && !ath_slice_equal(ath_buf_slice(&same), note->text))
        err = why_set(why, ATH_ERR_PARSE, "a number of the checkpoint is not in its one form");
    ath_buf_done(&same);
    return err;
}

static ath_err
decode_text(struct ath_slice *rest, struct why *why, struct checkpoint_note *note)
{
    const uint8_t *start = rest->data;
    struct ath_slice line;

    for (size_t i = 0; i < sizeof(text_lines) / sizeof(text_lines[0]); i++)
        if (!take_line(rest, &line) || line.len > CHECKPOINT_MAX_TEXT ||
            !text_lines[i].read(line, &note->checkpoint))
            return why_set(why, ATH_ERR_PARSE, "line %zu of the checkpoint is not %s", i + 1,
                           text_lines[i].what);
    note->text = ath_slice_of(start, (size_t)(rest->data - start));
    return check_form(note, why);
}

ath_err
checkpoint_decode_text(struct ath_slice text, struct why *why, struct checkpoint *ret_checkpoint)
{
    struct checkpoint_note note = {0};
    struct ath_slice rest = text;
    ath_err err = decode_text(&rest, why, &note);

    if (err == ATH_OK && rest.len != 0)
        err = why_set(why, ATH_ERR_PARSE, "something follows the checkpoint's last line");
    if (err == ATH_OK)
        *ret_checkpoint = note.checkpoint;
    return err;
}

/* ---- signature lines ---- */

/* signed-note: a key's name has neither white space nor '+'; ours are ASCII, and a stranger's with
 * other white space is only ignored, so that the ASCII ones are all that matter here. */
static bool
read_line(struct ath_slice line, struct checkpoint_line *ret_line)
{
    struct ath_buf bytes = {.max = MAX_LINE};
    const uint8_t *space;
    bool is_fine;

    if (line.len > MAX_LINE || !take_prefix(&line, DASH) ||
        (space = memchr(line.data, ' ', line.len)) == NULL)
        return false;
    ret_line->name = ath_slice_of(line.data, (size_t)(space - line.data));
    ret_line->signature = ath_slice_of(space + 1, line.len - ret_line->name.len - 1);
    is_fine =
        ret_line->name.len != 0 && memchr(ret_line->name.data, '+', ret_line->name.len) == NULL &&
        base64_decode(ret_line->signature, &bytes) == ATH_OK && bytes.len > sizeof(ret_line->id);
    if (is_fine)
        memcpy(ret_line->id, bytes.data, sizeof(ret_line->id));
    ath_buf_done(&bytes);
    return is_fine;
}

static ath_err
decode_lines(struct ath_slice rest, struct why *why, struct checkpoint_note *note)
{
    struct ath_slice line;

    if (!take_line(&rest, &line) || line.len != 0)
        return why_set(why, ATH_ERR_PARSE, "line 7 of the checkpoint is not empty");
    while (rest.len != 0) {
        if (note->line_count == CHECKPOINT_MAX_LINES)
            return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "more than %u signatures",
                           CHECKPOINT_MAX_LINES);
        if (!take_line(&rest, &line) || !read_line(line, &note->lines[note->line_count]))
            return why_set(why, ATH_ERR_PARSE, "line %zu of the checkpoint is no signature",
                           note->line_count + 8);
        note->line_count++;
    }
    if (note->line_count == 0)
        return why_set(why, ATH_ERR_PARSE, "the checkpoint is not signed");
    return ATH_OK;
}

static bool
has_control_characters(struct ath_slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.data[i] < 0x20 && bytes.data[i] != '\n')
            return true;
    return false;
}

ath_err
checkpoint_decode(struct ath_slice note, struct why *why, struct checkpoint_note *ret_note)
{
    struct checkpoint_note decoded = {0};
    struct ath_slice rest = note;
    ath_err err;

    if (note.len > CHECKPOINT_MAX_LEN)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "a checkpoint has at most %u bytes",
                       CHECKPOINT_MAX_LEN);
    if (!utf8_is_valid(note) || has_control_characters(note))
        return why_set(why, ATH_ERR_PARSE, "the checkpoint is not plain UTF-8 text");
    if ((err = decode_text(&rest, why, &decoded)) != ATH_OK ||
        (err = decode_lines(rest, why, &decoded)) != ATH_OK)
        return err;
    *ret_note = decoded;
    return ATH_OK;
}
