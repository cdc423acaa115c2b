/* Scopes: RFC 6749 scope-tokens of at most 128 characters, compared byte for byte; lists of 1 to
 * 64, none twice (profile section 1). */
#ifndef PROTOCOL_SCOPE_H
#define PROTOCOL_SCOPE_H

#include "base/json.h"

/* Zero-initialise; scope_list_done frees it. */
struct scope_list {
    char **items; /* owned */
    size_t count;
};

/* One scope-token; NULL is not. */
bool scope_is_valid(const char *scope);

/* From a JSON array of strings; min is 1, or 0 where an empty list is allowed. ATH_ERR_PARSE with
 * why, ATH_ERR_NOMEM. */
ath_err scope_list_decode(const struct json *array, size_t min, struct why *why,
                          struct scope_list *ret_list) ATH_MUST_USE;

/* From scopes joined by single spaces (RFC 6749 3.3), 1 to 64, none twice. ATH_ERR_PARSE with why,
 * ATH_ERR_NOMEM. */
ath_err scope_list_split(const char *text, struct why *why,
                         struct scope_list *ret_list) ATH_MUST_USE;

/* Appends a copy; neither grammar nor doubles are checked. ATH_ERR_LIMIT_EXCEEDED above 64,
 * ATH_ERR_NOMEM. */
ath_err scope_list_add(struct scope_list *list, const char *scope) ATH_MUST_USE;

/* ATH_ERR_NOMEM. */
ath_err scope_list_copy(const struct scope_list *from, struct scope_list *ret_list) ATH_MUST_USE;
void scope_list_done(struct scope_list *list);

bool scope_list_has(const struct scope_list *list, const char *scope);
bool scope_list_is_subset(const struct scope_list *part, const struct scope_list *whole);

/* The same scopes in the same order. */
bool scope_list_equal(const struct scope_list *a, const struct scope_list *b);

/* A JSON array, the caller's. ATH_ERR_NOMEM. */
ath_err scope_list_encode(const struct scope_list *list, struct json **ret_array) ATH_MUST_USE;

/* Appended, joined by single spaces (RFC 6749 3.3). */
void scope_list_put_joined(const struct scope_list *list, struct ath_buf *out);

/* A denied scope and the first of server_policy, user_grant, user_confirmation to refuse it. */
struct scope_denial {
    char *scope;        /* owned */
    const char *reason; /* static */
};

/* Zero-initialise; scope_decision_done frees it. */
struct scope_decision {
    struct scope_list granted; /* in the order of the request */
    struct scope_denial *denied;
    size_t denied_count;
};

/* Granted is what all of them hold (ATH 0.1 step 8); confirmed is NULL where step 6 did not run.
 * ATH_ERR_NOMEM. */
ath_err scope_decide(const struct scope_list *requested, const struct scope_list *server,
                     const struct scope_list *grant, const struct scope_list *confirmed,
                     struct scope_decision *ret_decision) ATH_MUST_USE;
void scope_decision_done(struct scope_decision *decision);

/* [{"scope","reason"}, ...], the caller's. ATH_ERR_NOMEM. */
ath_err scope_denied_encode(const struct scope_decision *decision,
                            struct json **ret_array) ATH_MUST_USE;

#endif
