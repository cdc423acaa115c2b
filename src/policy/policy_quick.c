#include "policy/policy_quick.h"

#include <string.h>

#define ANY UINT64_MAX

/* FNV-1a, without regard to case where hosts are compared so. */
static uint64_t
bit_of(struct ath_slice text, bool by_case)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        if (!by_case && c >= 'A' && c <= 'Z')
            c = (uint8_t)(c + ('a' - 'A'));
        hash = (hash ^ c) * 16777619u;
    }
    return UINT64_C(1) << (hash ^ hash >> 16) % 64;
}

static uint64_t
bit_of_string(const char *text)
{
    return bit_of(ath_slice_of_string(text), true);
}

static uint64_t
bit_of_uid(uint64_t uid)
{
    return UINT64_C(1) << uid % 64;
}

static uint64_t
bits_of_texts(const struct policy_texts *texts)
{
    uint64_t bits = texts->count == 0 ? ANY : 0;

    for (size_t i = 0; i < texts->count; i++)
        bits |= strpbrk(texts->items[i], "*?") != NULL ? ANY : bit_of_string(texts->items[i]);
    return bits;
}

static uint64_t
bit_of_audience(const struct policy_audience *audience)
{
    return audience->kind == POLICY_AUDIENCE_URL ? bit_of(audience->host, false)
                                                 : bit_of(audience->text, true);
}

/* A DID may be named by `peers` as well. */
static uint64_t
bits_of_audiences(const struct policy_rule *rule)
{
    uint64_t bits = rule->audiences.count == 0 || rule->peers.count > 0 ? ANY : 0;

    for (size_t i = 0; i < rule->audiences.count; i++) {
        const struct policy_audience *pattern = &rule->audience_patterns[i];
        bool is_one = pattern->kind == POLICY_AUDIENCE_EXACT ||
                      (pattern->kind == POLICY_AUDIENCE_URL && !pattern->is_below);

        bits |= is_one ? bit_of_audience(pattern) : ANY;
    }
    return bits;
}

void
policy_quick_of_rule(const struct policy_rule *rule, struct policy_quick *ret_quick)
{
    *ret_quick = (struct policy_quick){.uids = rule->uids.count == 0 ? ANY : 0,
                                       .exes = bits_of_texts(&rule->exes),
                                       .keys = bits_of_texts(&rule->keys),
                                       .audiences = bits_of_audiences(rule)};
    for (size_t i = 0; i < rule->uids.count; i++)
        ret_quick->uids |= bit_of_uid(rule->uids.items[i]);
}

void
policy_quick_of_question(const struct policy_subject *subject,
                         const struct policy_question *question,
                         const struct policy_audience *audiences, size_t audience_count,
                         struct policy_quick *ret_quick)
{
    /* what is not known is left to the rule itself */
    *ret_quick =
        (struct policy_quick){.uids = bit_of_uid(subject->uid),
                              .exes = subject->exe == NULL ? ANY : bit_of_string(subject->exe),
                              .keys = question->key == NULL ? ANY : bit_of_string(question->key)};
    for (size_t i = 0; i < audience_count; i++)
        ret_quick->audiences |= bit_of_audience(&audiences[i]);
}
