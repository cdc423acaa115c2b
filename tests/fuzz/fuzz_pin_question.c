/* What a person is shown with a question for a PIN. Input: a byte (tries left), a token's label, a
 * zero byte, its manufacturer, a zero byte, what the caller is said to want. Whatever that is,
 * nothing in it can hide, turn or add lines but the caller's own line ends, and it stands behind
 * ours. */
#include <assert.h>
#include <string.h>

#include "base/utf8.h"
#include "hsm/hsm_pin_dialogue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As much as fits; the rest begins behind the zero byte. */
static struct ath_slice
take_text(struct ath_slice rest, char *ret_text, size_t text_size)
{
    const uint8_t *end = rest.len == 0 ? NULL : memchr(rest.data, '\0', rest.len);
    size_t len = end == NULL ? rest.len : (size_t)(end - rest.data);
    size_t fits = len < text_size ? len : text_size - 1;

    if (fits > 0)
        memcpy(ret_text, rest.data, fits);
    ret_text[fits] = '\0';
    len = end == NULL ? len : len + 1;
    return ath_slice_of(rest.data + len, rest.len - len);
}

static size_t
count_line_ends(struct ath_slice text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == '\n';
    return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ath_buf out = {.max = 1024 * 1024};
    struct hsm_info info = {.kind = "pkcs11"};
    struct ath_slice rest, left;
    size_t ours;

    if (size == 0)
        return 0;
    info.tries_left = data[0];
    rest = take_text(ath_slice_of(data + 1, size - 1), info.label, sizeof(info.label));
    rest = take_text(rest, info.manufacturer, sizeof(info.manufacturer));
    pin_question_put_description(&out, &info, rest, false);
    assert(out.err == ATH_OK && utf8_is_valid(ath_buf_slice(&out)));
    ours = 2u + (info.manufacturer[0] != '\0' ? 1u : 0u) + (info.tries_left > 0 ? 1u : 0u);
    assert(count_line_ends(ath_buf_slice(&out)) == ours + count_line_ends(rest));
    assert(memcmp(out.data, "Token: ", 7) == 0);
    for (left = ath_buf_slice(&out); left.len > 0;) {
        uint32_t code_point;
        size_t len = utf8_next(left, &code_point);

        assert(code_point == '\n' || !utf8_is_harmful(code_point));
        left = ath_slice_of(left.data + len, left.len - len);
    }
    ath_buf_done(&out);
    return 0;
}
