/* RFC 7468, strictly: one PUBLIC KEY block, no text around it, no headers, no blank lines. */
#include <string.h>

#include "base/base64url.h"
#include "crypto/public_key_internal.h"

#define BEGIN_LINE "-----BEGIN PUBLIC KEY-----"
#define END_LINE "-----END PUBLIC KEY-----"
#define LINE_LEN 64
#define MAX_BODY ((size_t)PUBLIC_KEY_MAX_DER / 3 * 4)

/* Takes expected off the front of text. */
static bool
skip(struct ath_slice *text, const char *expected)
{
    size_t len = strlen(expected);

    if (text->len < len || memcmp(text->data, expected, len) != 0)
        return false;
    text->data += len;
    text->len -= len;
    return true;
}

static bool
skip_line_end(struct ath_slice *text)
{
    return skip(text, "\r\n") || skip(text, "\n");
}

/* The base64 lines (RFC 4648 section 4) joined and written in the other alphabet, so that the one
 * strict decoder serves both; false for a character, a blank line or a length that does not belong.
 */
static bool
read_body(struct ath_slice *text, char *ret_body, size_t *ret_len)
{
    size_t used = 0, line_len = 0;

    while (text->len > 0 && !(line_len == 0 && used > 0 && text->data[0] == '-')) {
        char c = (char)text->data[0];

        if (skip_line_end(text)) {
            if (line_len == 0)
                return false;
            line_len = 0;
            continue;
        }
        if (c == '-' || c == '_' || used == MAX_BODY)
            return false;
        ret_body[used++] = (char)(c == '+' ? '-' : c == '/' ? '_' : c);
        line_len++;
        text->data++;
        text->len--;
    }
    *ret_len = used;
    return line_len == 0 && used % 4 == 0;
}

static bool
read_block(struct ath_slice text, struct ath_buf *der)
{
    char body[MAX_BODY];
    size_t len = 0;

    if (!skip(&text, BEGIN_LINE) || !skip_line_end(&text) || !read_body(&text, body, &len) ||
        !skip(&text, END_LINE))
        return false;
    if (text.len != 0 && !skip_line_end(&text))
        return false;
    for (int pads = 0; pads < 2 && len > 0 && body[len - 1] == '='; pads++)
        len--;
    return text.len == 0 && base64url_decode(ath_slice_of(body, len), der) == ATH_OK;
}

ath_err
public_key_from_pem(struct ath_slice pem, struct why *why, struct public_key **ret_key)
{
    struct ath_buf der = {.max = PUBLIC_KEY_MAX_DER};
    ath_err err;

    if (read_block(pem, &der))
        err = public_key_from_der(ath_buf_slice(&der), why, ret_key);
    else if (der.err == ATH_ERR_NOMEM)
        err = der.err;
    else
        err = why_set(why, ATH_ERR_INVALID_PUBLIC_KEY,
                      "not exactly one PUBLIC KEY block in PEM form (RFC 7468)");
    ath_buf_done(&der);
    return err;
}

void
public_key_put_pem(const struct public_key *key, struct ath_buf *out)
{
    char body[BASE64URL_LEN(PUBLIC_KEY_MAX_DER) + 3];
    size_t len = BASE64URL_LEN(key->der_len);

    base64url_encode(public_key_der(key), body);
    while (len % 4 != 0)
        body[len++] = '=';
    for (size_t i = 0; i < len; i++)
        body[i] = (char)(body[i] == '-' ? '+' : body[i] == '_' ? '/' : body[i]);
    ath_buf_put_string(out, BEGIN_LINE "\n");
    for (size_t i = 0; i < len; i += LINE_LEN) {
        ath_buf_put(out, body + i, len - i < LINE_LEN ? len - i : LINE_LEN);
        ath_buf_put_byte(out, '\n');
    }
    ath_buf_put_string(out, END_LINE "\n");
}
