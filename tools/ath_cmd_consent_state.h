/* What the files of the dialogue of `ath consent` share (ath_cmd_consent_dialogue.h): one struct,
 * and three ways to look at it: what athd says and wants (dialogue), what is shown (show), what is
 * typed (keys). */
#ifndef TOOLS_ATH_CMD_CONSENT_STATE_H
#define TOOLS_ATH_CMD_CONSENT_STATE_H

#include "ath_cmd_consent_dialogue.h"
#include "ath_cmd_consent_words.h"

enum consent_mode {
    MODE_IDLE,     /* no question stands there */
    MODE_PAGES,    /* more of it is to be shown */
    MODE_ASKING,   /* its answer is waited for */
    MODE_FREEZING, /* the second f */
    MODE_SCOPES,   /* a line: the scopes to take away */
    MODE_WHILE,    /* a line: how often, how long */
    MODE_FORGET,   /* a line: which windows and back-offs */
};

enum consent_call {
    CALL_NONE,
    CALL_YES, /* of a PIN: it is entered */
    CALL_NO,
    CALL_FREEZE, /* no, and freeze the key */
    CALL_FORGET,
};

struct consent_dialogue {
    struct ath_buf out;
    struct json *list;  /* the newest; NULL before the first */
    struct json *shown; /* the question that stands there, as it was shown; NULL: none */
    enum consent_mode mode;
    struct ath_buf pages; /* its text in rows */
    size_t pages_shown;   /* bytes of them */
    size_t rows;          /* of a page */
    bool is_settling;     /* it is to be shown, or a key came too early: no key is an answer */
    uint64_t settled_ms;  /* else: nor before that */
    bool has_said_early;
    struct json *scopes;           /* of the answer as it is made: an array; NULL: all */
    struct consent_while remember; /* the same */
    struct json *forgettable;      /* what stood in the numbered list, in its order: an array */
    bool *forget_chosen;           /* of those, which */
    size_t forget_next;            /* the next to be called for */
    enum consent_call call;
    bool is_called;   /* the call was taken, its end is not known */
    const char *fate; /* what became of the question that stands there; NULL: not known */
    size_t waiting;   /* at the last remark */
    bool has_warned;  /* that the time of what stands there runs out */
    bool has_noted;
    uint64_t noted_ms;
    bool rings, flushes, is_over;
};

/* ---- ath_cmd_consent_dialogue.c ---- */

/* The newest list's first question; NULL: none. */
const struct json *dialogue_first(const struct consent_dialogue *dialogue);
size_t dialogue_waiting(const struct consent_dialogue *dialogue);
/* Shows the question behind the one that stands there. */
void dialogue_go_on(struct consent_dialogue *dialogue, const struct consent_moment *moment);
/* Forgets the answer as it was made. */
void dialogue_drop_draft(struct consent_dialogue *dialogue);
/* After something else: back to the question, or to one that came meanwhile. */
void dialogue_resume(struct consent_dialogue *dialogue, const struct consent_moment *moment);

/* ---- ath_cmd_consent_show.c ---- */

bool dialogue_can_narrow(const struct consent_dialogue *dialogue);
bool dialogue_can_remember(const struct consent_dialogue *dialogue);
bool dialogue_is_pin(const struct consent_dialogue *dialogue);          /* a PIN is asked for */
const char *dialogue_key(const struct consent_dialogue *dialogue);      /* NULL: it is about none */
void dialogue_say(struct consent_dialogue *dialogue, const char *text); /* words of ours */
void dialogue_put(struct consent_dialogue *dialogue, const char *text); /* words of others */
void dialogue_put_id(struct consent_dialogue *dialogue);
void dialogue_put_prompt(struct consent_dialogue *dialogue);
void dialogue_put_list(struct consent_dialogue *dialogue, const struct consent_moment *moment);
void dialogue_put_help(struct consent_dialogue *dialogue);
/* Windows and back-offs, numbered; false: there are none, and that is said. */
bool dialogue_put_rules(struct consent_dialogue *dialogue, const struct consent_moment *moment);
size_t dialogue_columns(const struct consent_moment *moment);
/* The question from its beginning; its next page; what is left to do: where it stands there whole,
 * the answer as it is made and the keys for it. */
void dialogue_show(struct consent_dialogue *dialogue, const struct consent_moment *moment);
void dialogue_show_page(struct consent_dialogue *dialogue, const struct consent_moment *moment);
void dialogue_show_rest(struct consent_dialogue *dialogue, const struct consent_moment *moment);
/* From when all is shown (consent_dialogue_shown) a while passes before a key is an answer. */
void dialogue_settle(struct consent_dialogue *dialogue);

#endif
