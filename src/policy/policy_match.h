/* The patterns of rules: names and scopes, audiences, hours of the week. Pure. */
#ifndef POLICY_POLICY_MATCH_H
#define POLICY_POLICY_MATCH_H

#include "base/buf.h"

#define POLICY_DAYS_ALL 0x7fu /* bit 0: Sunday, as struct tm counts */

/* `*` stands for any characters, `?` for one; everything else for itself. With by_path neither
 * stands for a slash. Linear in both lengths for each `*`. */
bool policy_glob(const char *pattern, const char *text, bool by_path);
/* Is all that `inner` stands for also what `outer` stands for? False: not, or it cannot be told. */
bool policy_glob_covers(const char *outer, const char *inner, bool by_path);
/* Can no text fit both? Told from what stands before the first `*` or `?`. */
bool policy_globs_are_apart(const char *a, const char *b);

enum policy_audience_kind {
    POLICY_AUDIENCE_ANY,   /* "*" */
    POLICY_AUDIENCE_EXACT, /* a DID or a word */
    POLICY_AUDIENCE_BEGIN, /* "did:web:*": whole segments */
    POLICY_AUDIENCE_URL,
};

/* An audience, or a pattern of audiences; slices of the text it was read from. */
struct policy_audience {
    enum policy_audience_kind kind;
    struct ath_slice text;   /* EXACT; BEGIN: without the `*` */
    struct ath_slice scheme; /* URL, RFC 3986: from here */
    struct ath_slice host;   /* of a pattern with a star: ".example.com" */
    struct ath_slice path;   /* "" or begins with '/'; without query and fragment */
    uint16_t port;           /* 0: a scheme we know no port of, and none is given */
    bool is_below;           /* pattern: hosts below `host` */
    bool
        is_crooked; /* a path that is another one when "..", "%2e", "\" and the like are resolved */
};

/* What somebody asks for; never fails: what is no URL is EXACT. */
void policy_audience_read(const char *text, struct policy_audience *ret_audience);
/* What a rule says. NULL: good; else what is wrong with it, a static sentence. */
const char *policy_audience_read_pattern(const char *text, struct policy_audience *ret_pattern);
/*
 * A URL fits a pattern of the same scheme, host (letter case aside) and port; a pattern with a path
 * wants that path or one below it, segment by segment. Nothing fits in part: https://a.example is
 * neither https://a.example.evil nor https://a.example@evil.
 */
bool policy_audience_fits(const struct policy_audience *pattern,
                          const struct policy_audience *audience);
/* Is all that fits `inner` also what fits `outer`? Both are patterns. */
bool policy_audience_covers(const struct policy_audience *outer,
                            const struct policy_audience *inner);

struct policy_hours {
    bool is_given;
    uint16_t from, to; /* minutes of the day, `to` not included; to <= from: past midnight */
    uint8_t days;      /* on which they begin; bit 0: Sunday */
};

/* "08:00-18:00", "22:00-06:00", "00:00-24:00". False: it is not of that form. */
bool policy_hours_read(const char *text, struct policy_hours *ret_hours);
/* "mon" ... "sun", "mon-fri" (and past the week's end): adds to *days. */
bool policy_days_read(const char *text, uint8_t *days);
/* In local time; `now` in seconds since 1970. */
bool policy_hours_hold(const struct policy_hours *hours, int64_t now);
bool policy_hours_cover(const struct policy_hours *outer, const struct policy_hours *inner);

#endif
