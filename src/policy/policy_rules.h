/*
 * Rules of who may do what (docs/man/athd-policy.5), read whole or not at all, and the decision.
 * Rules only allow: the first one of which every condition holds does; nothing that holds denies.
 */
#ifndef POLICY_POLICY_RULES_H
#define POLICY_POLICY_RULES_H

#include <sys/types.h>

#include "crypto/digest.h"
#include "policy/policy_match.h"
#include "protocol/purpose.h"
#include "protocol/scope.h"
#include "rpc/methods.h"

#define POLICY_RULES_MAX 4096u
#define POLICY_LIST_MAX 256u /* entries of one condition */
#define POLICY_TEXT_MAX 2048u
#define POLICY_FILE_MAX (1024u * 1024u)
#define POLICY_FILES_MAX 64u
#define POLICY_METHOD_WORDS ((RPC_METHOD_COUNT + 63) / 64)
#define POLICY_MISSING_SIZE 256u

#define POLICY_RULE_NONE "default" /* what denies where no rule is for the caller */

enum policy_namespace { POLICY_UNSEEN, POLICY_SAME, POLICY_OTHER };

/* Whom a question is about. NULL: unknown, or none: a rule that wants it does not hold. */
struct policy_subject {
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t group_count;
    const char *exe; /* only if athd finds that very file there */
    uint64_t exe_inode;
    const char *verity, *unit, *slice, *grant;
    uint64_t grant_serial; /* of that very grant: a later one may have its name; 0: unknown */
    bool is_users_unit; /* the user's own manager made the unit */
    enum policy_namespace name_space;
};

/* What is about to be done; members that do not apply are NULL or 0. */
struct policy_question {
    const char *method;   /* "attestation.create" */
    const char *key;      /* name of the key that is used */
    const char *also_key; /* of another one that it changes something for */
    bool is_about_all;    /* of all keys: rules for some of them do not hold */
    const enum sign_purpose *purpose;
    const char *const *audiences; /* URLs or DIDs it is for, all of them; none: for anybody */
    size_t audience_count;
    const char *const *peers; /* DIDs on the other side, all of them */
    size_t peer_count;
    const struct scope_list *scopes;
    int64_t ttl;
    int64_t now;         /* for `hours`; 0: they hold */
    bool is_preliminary; /* it is put again when more is known: what is not known yet may hold */
    bool is_begun;       /* the signature is under way: a grant has counted it already */
};

enum policy_condition {
    POLICY_COND_UID,
    POLICY_COND_GID,
    POLICY_COND_NAMESPACE,
    POLICY_COND_GRANT,
    POLICY_COND_UNIT,
    POLICY_COND_SLICE,
    POLICY_COND_EXE,
    POLICY_COND_EXE_INODE,
    POLICY_COND_VERITY,
    POLICY_COND_METHOD, /* what is before it is about the caller */
    POLICY_COND_KEY,
    POLICY_COND_AUDIENCE,
    POLICY_COND_PEER,
    POLICY_COND_SCOPE,
    POLICY_COND_TTL,
    POLICY_COND_HOURS,
    POLICY_COND_COUNT, /* all hold */
};

enum policy_consent { /* the stricter, the larger */
                      POLICY_CONSENT_NEVER,
                      POLICY_CONSENT_FIRST_AUDIENCE,
                      POLICY_CONSENT_ONCE,
                      POLICY_CONSENT_ALWAYS,
};

struct policy_texts { /* borrowed from the rule's tree */
    const char **items;
    size_t count; /* 0: no such condition */
};

struct policy_numbers {
    uint64_t *items;
    size_t count;
};

struct policy_rule {
    const char *name;           /* borrowed, as all texts */
    uint8_t digest[SHA256_LEN]; /* of all that it says */
    bool is_anyone;             /* "uid": "*" */
    struct policy_numbers uids, gids, exe_inodes;
    struct policy_texts grants, units, slices, exes, verities;
    unsigned namespaces; /* 1 << enum policy_namespace; 0: any */
    uint64_t methods[POLICY_METHOD_WORDS];
    struct policy_texts keys, audiences, peers, scopes;
    struct policy_audience *audience_patterns, *peer_patterns; /* of those, in their order */
    int64_t max_ttl;                                           /* seconds; 0: any */
    struct policy_hours hours;
    uint32_t rate, rate_s; /* so many in so many seconds; 0: any */
    enum policy_consent consent;
    int64_t consent_s;                     /* ONCE */
    uint8_t conditions[POLICY_COND_COUNT]; /* enum policy_condition of those it has, in order */
    uint8_t condition_count;
};

struct policy_quick;

struct policy_file { /* that was read */
    char *path;
    uint8_t sha256[SHA256_LEN];
    struct json *tree;
};

struct policy_rules {
    struct policy_file files[POLICY_FILES_MAX];
    size_t file_count;
    bool observe;
    struct policy_rule *rules;
    size_t count;
    struct policy_quick *quick; /* of each rule; NULL: every rule is looked at (policy_quick.h) */
    uint16_t *of_method[RPC_METHOD_COUNT]; /* which rules name it, in their order */
    size_t of_method_count[RPC_METHOD_COUNT];
    uid_t owner;
};

/* ---- reading: ATH_ERR_INVALID_PARAMS with "PATH:LINE: ..." in why, ATH_ERR_NOMEM ---- */

/* No rules yet. owner: whose own systemd units count (as does a rule's uid). NULL: no memory. */
struct policy_rules *policy_rules_new(uid_t owner);
void policy_rules_free(struct policy_rules *rules);
/* Adds a file's rules behind those that are there. policy_text.c. */
ath_err policy_rules_add(struct policy_rules *rules, struct ath_slice text, const char *path,
                         struct why *why) ATH_MUST_USE;
/* When all are added, before the first decision. */
ath_err policy_rules_index(struct policy_rules *rules) ATH_MUST_USE;
/* The end of what makes rules: what `err` says of it; where that is ATH_OK they are indexed and
 * handed over, else freed (NULL is fine). */
ath_err policy_rules_finish(struct policy_rules *taken_rules, ath_err err,
                            struct policy_rules **ret_rules) ATH_MUST_USE;
/* The policy of an athd that has no policy file: its owner may do everything. Of one that serves a
 * machine (--system): every uid may work with its own things, but neither adopt keys that others
 * may have put into the hardware nor have files read again. */
ath_err policy_rules_built_in(uid_t owner, bool is_system, struct why *why,
                              struct policy_rules **ret_rules) ATH_MUST_USE;
/* {"observe", "rules"}: all of it as one valid policy file. The caller's. ATH_ERR_NOMEM. */
ath_err policy_rules_encode(const struct policy_rules *rules, struct json **ret_json) ATH_MUST_USE;

/* ---- deciding: pure, no allocation ---- */

struct policy_decision {
    const struct policy_rule *allowing; /* NULL: denied */
    /* denied: the rule of which most conditions held, and its first that did not; NULL: there is no
     * rule that names the method or is for this caller at all */
    const struct policy_rule *nearest;
    enum policy_condition failed;
};

struct policy_decision policy_rules_decide(const struct policy_rules *rules,
                                           const struct policy_subject *subject,
                                           const struct policy_question *question);
/* The name to give: of the rule that allowed or came nearest, else POLICY_RULE_NONE. */
const char *policy_decision_rule(const struct policy_decision *decision);
/* Which condition failed, and how, in a sentence; "" where it is allowed. */
void policy_decision_missing(const struct policy_decision *decision,
                             const struct policy_subject *subject,
                             const struct policy_question *question,
                             char ret_text[POLICY_MISSING_SIZE]);

/* "never", "always", "once:60", "first-audience": writes at most 32 bytes. */
const char *policy_consent_text(const struct policy_rule *rule, char ret_text[32]);
bool policy_rule_has_method(const struct policy_rule *rule, enum rpc_method_id method);
/* Is the method one whose details are put to policy once more, before something is signed? */
bool policy_method_signs(enum rpc_method_id method);

/* ---- groups of methods: "group:keys", "key.*", "*", or one name ---- */

/* Adds to the set; false: there is no such method or group. */
bool policy_methods_add(const char *text, uint64_t methods[POLICY_METHOD_WORDS]);

#endif
