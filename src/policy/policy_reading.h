/* A policy file while it is read: for policy_text*.c alone. */
#ifndef POLICY_POLICY_READING_H
#define POLICY_POLICY_READING_H

#include "policy/policy_rules.h"

struct policy_reading {
    struct policy_rules *rules;
    struct policy_rule *rule;  /* that is being read */
    const struct json *object; /* of the rule */
    struct ath_slice text;
    const struct json *tree;
    const char *path;
    struct why *why;
};

/* Says which line of the file is wrong, and how. ATH_ERR_INVALID_PARAMS. */
ath_err policy_refuse(const struct policy_reading *reading, const struct json *node,
                      const char *fmt, ...) ATH_PRINTF(3, 4);

/* Lists of 1 to POLICY_LIST_MAX entries; one value stands for a list of one. */

/* Texts that are not empty, borrowed from the tree. The list is the caller's. */
ath_err policy_list_texts(const struct policy_reading *reading, const struct json *value,
                          struct policy_texts *texts) ATH_MUST_USE;
/* One more; ATH_ERR_NOMEM. */
ath_err policy_list_add(struct policy_numbers *numbers, uint64_t number) ATH_MUST_USE;
/* Integers from 0 to max. */
ath_err policy_list_numbers(const struct policy_reading *reading, const struct json *value,
                            int64_t max, struct policy_numbers *numbers) ATH_MUST_USE;

/* The member "who". */
ath_err policy_read_who(const struct policy_reading *reading,
                        const struct json *value) ATH_MUST_USE;

#endif
