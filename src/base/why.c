#include "base/why.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"

ath_err
why_set(struct why *why, ath_err err, const char *fmt, ...)
{
    va_list args;

    if (why == NULL)
        return err;
    va_start(args, fmt);
    if (vsnprintf(why->text, sizeof(why->text), fmt, args) < 0)
        why->text[0] = '\0';
    va_end(args);
    /* also mends a character that was cut in the middle: the text goes into JSON */
    utf8_make_harmless(why->text);
    return err;
}

const char *
why_text(const struct why *why, ath_err err)
{
    return why != NULL && why->text[0] != '\0' ? why->text : ath_err_sentence(err);
}
