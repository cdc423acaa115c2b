#include "fixture_pinentry.h"

struct pinentry *talk;
struct ath_buf talk_out;

int
talk_end(void **state)
{
    (void)state;
    pinentry_free(talk);
    talk = NULL;
    ath_buf_done(&talk_out);
    return 0;
}

void
talk_begin(const struct pinentry_question *question)
{
    talk_end(NULL);
    talk_out = (struct ath_buf){.max = 65536};
    assert_int_equal(pinentry_new(question, &talk), ATH_OK);
}

ath_err
talk_receive(const char *text)
{
    ath_buf_clear(&talk_out);
    return pinentry_receive(talk, ath_slice_of_string(text), &talk_out);
}

void
talk_says(const char *text, const char *expected)
{
    assert_int_equal(talk_receive(text), ATH_OK);
    assert_string_equal(ath_buf_text(&talk_out), expected);
}

void
talk_run_to(const char *command)
{
    int i;

    assert_int_equal(talk_receive("OK Pleased to meet you\n"), ATH_OK);
    for (i = 0; i < 100 && strcmp(ath_buf_text(&talk_out), command) != 0; i++)
        assert_int_equal(talk_receive("OK\n"), ATH_OK);
    assert_string_equal(ath_buf_text(&talk_out), command);
}
