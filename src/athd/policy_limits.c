#include "athd/policy_limits.h"

#include <inttypes.h>
#include <string.h>

#include "athd/grant.h"
#include "base/clock.h"

#define US_PER_S UINT64_C(1000000)
#define NAME_FORM "%zu:%s|" /* no name can end where another begins */

static void
put_name(struct ath_buf *text, const char *name)
{
    const char *known = name == NULL ? "" : name;

    ath_buf_printf(text, NAME_FORM, strlen(known), known);
}

/* ---- rates ---- */

struct rate_name {
    uint8_t of[SHA256_LEN], who[SHA256_LEN];
};

static ath_err
name_rate(const struct policy_rule *rule, const struct caller *caller, bool by_grant,
          const char *key, struct rate_name *ret_name)
{
    struct ath_buf text = {0};
    ath_err err;

    ath_buf_put(&text, rule->digest, SHA256_LEN);
    ath_buf_printf(&text, "%lu|", (unsigned long)caller->uid);
    /* whoever makes grants within a grant gets no more for it */
    put_name(&text, !by_grant ? NULL
                    : caller->through != NULL ? grant_outermost(caller->through)->name
                                              : caller->grant);
    err = text.err != ATH_OK ? text.err : sha256(ath_buf_slice(&text), ret_name->who);
    put_name(&text, key);
    if (err == ATH_OK)
        err = text.err != ATH_OK ? text.err : sha256(ath_buf_slice(&text), ret_name->of);
    ath_buf_done(&text);
    return err;
}

/* The slot of this name, else a free one, else NULL. A caller with many keys gets no more slots
 * than its share: others' must not run out. */
static struct policy_rate *
find_rate(struct policy_limits *limits, const struct rate_name *name, uint64_t now_us)
{
    struct policy_rate *free_one = NULL, *shared = NULL;
    unsigned own = 0;

    for (size_t i = 0; i < POLICY_RATES; i++) {
        struct policy_rate *rate = &limits->rates[i];

        if (rate->full_until_us <= now_us) {
            free_one = free_one == NULL ? rate : free_one;
            continue;
        }
        if (memcmp(rate->of, name->of, SHA256_LEN) == 0)
            return rate;
        if (memcmp(rate->who, name->who, SHA256_LEN) == 0 && ++own == POLICY_RATES_OF_ONE)
            shared = rate;
    }
    if (shared != NULL)
        return shared;
    if (free_one != NULL) {
        memcpy(free_one->of, name->of, SHA256_LEN);
        memcpy(free_one->who, name->who, SHA256_LEN);
        free_one->full_until_us = now_us;
    }
    return free_one;
}

/* The generic cell rate algorithm (ITU-T I.371, annex A), with a burst of one period. */
int64_t
policy_limits_count(struct policy_limits *limits, const struct policy_rule *rule,
                    const struct caller *caller, bool by_grant, const char *key)
{
    uint64_t now_us = clock_monotonic_ms() * 1000, period_us = rule->rate_s * US_PER_S;
    uint64_t step_us = rule->rate == 0 ? 0 : period_us / rule->rate, full_us;
    struct rate_name name;
    struct policy_rate *rate;

    if (rule->rate == 0)
        return 0;
    if (name_rate(rule, caller, by_grant, key, &name) != ATH_OK ||
        (rate = find_rate(limits, &name, now_us)) == NULL)
        return 1;
    full_us = (rate->full_until_us > now_us ? rate->full_until_us : now_us) + step_us;
    if (full_us > now_us + period_us)
        return (int64_t)((full_us - now_us - period_us + US_PER_S - 1) / US_PER_S);
    rate->full_until_us = full_us;
    return 0;
}

/* ---- consent ---- */

static void
put_subject(struct ath_buf *text, const struct policy_subject *subject)
{
    ath_buf_printf(text, "%lu|%lu|%" PRIu64 "|%d|%d|", (unsigned long)subject->uid,
                   (unsigned long)subject->gid, subject->exe_inode, (int)subject->name_space,
                   (int)subject->is_users_unit);
    put_name(text, subject->grant);
    ath_buf_printf(text, "%" PRIu64 "|", subject->grant_serial); /* a later one is another one */
    put_name(text, subject->unit);
    put_name(text, subject->slice);
    put_name(text, subject->exe);
    put_name(text, subject->verity);
}

static void
put_names(struct ath_buf *text, const char *const *names, size_t count)
{
    ath_buf_printf(text, "%zu|", count);
    for (size_t i = 0; i < count; i++)
        put_name(text, names[i]);
}

ath_err
policy_limits_memo(const struct policy_yes *yes, struct policy_memo *ret_memo)
{
    const struct policy_question *question = yes->question;
    bool is_by_audience = yes->rule->consent == POLICY_CONSENT_FIRST_AUDIENCE;
    struct ath_buf text = {0};
    ath_err err;

    ath_buf_put(&text, yes->rule->digest, SHA256_LEN);
    put_subject(&text, yes->subject);
    put_name(&text, question->key);
    put_name(&text, yes->key_did);
    put_name(&text, question->also_key);
    put_name(&text, question->method);
    if (is_by_audience) {
        put_names(&text, question->audiences, question->audience_count);
        put_names(&text, question->peers, question->peer_count);
    }
    err = text.err != ATH_OK ? text.err : sha256(ath_buf_slice(&text), ret_memo->of);
    ret_memo->for_s = is_by_audience ? INT64_MAX : yes->rule->consent_s;
    ret_memo->is_of_program = yes->subject->exe != NULL || yes->subject->exe_inode != 0;
    ret_memo->is_of_audience = is_by_audience;
    ath_buf_done(&text);
    return err;
}

bool
policy_limits_has(const struct policy_limits *limits, const struct policy_memo *memo)
{
    uint64_t now_s = clock_boot_ms() / 1000;

    for (size_t i = 0; i < POLICY_MEMOS; i++)
        if (limits->kept[i].until_s > now_s &&
            memcmp(limits->kept[i].of, memo->of, SHA256_LEN) == 0)
            return true;
    return false;
}

/* Where all are in use, the one that ends first is forgotten: its user is asked again. */
void
policy_limits_keep(struct policy_limits *limits, const struct policy_memo *memo)
{
    uint64_t now_s = clock_boot_ms() / 1000;
    struct policy_kept *oldest = &limits->kept[0];

    if (memo->for_s <= 0)
        return;
    for (size_t i = 0; i < POLICY_MEMOS; i++)
        if (limits->kept[i].until_s < oldest->until_s)
            oldest = &limits->kept[i];
    memcpy(oldest->of, memo->of, SHA256_LEN);
    oldest->until_s = memo->for_s == INT64_MAX ? UINT64_MAX : now_s + (uint64_t)memo->for_s;
}

void
policy_limits_forget(struct policy_limits *limits)
{
    for (size_t i = 0; i < POLICY_MEMOS; i++)
        limits->kept[i].until_s = 0;
}
