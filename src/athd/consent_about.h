/* What a question is about, beside its words: by it equal questions are known, what was allowed is
 * compared with what is asked, and programs are told of it. */
#ifndef ATHD_CONSENT_ABOUT_H
#define ATHD_CONSENT_ABOUT_H

#include <sys/types.h>

#include "athd/caller.h"
#include "athd/policy.h"
#include "crypto/digest.h"

/* Who asks, as far as it outlives a process: two processes of the same program in the same unit, or
 * at the same grant's socket, are one asker. Of a process that the kernel does not prove, or that
 * runs another program by now, only uid and grant are known. */
struct consent_asker {
    uid_t tenant; /* whose keys are asked for */
    uid_t uid;
    char grant[NAME_MAX_LEN + 1], unit[CALLER_UNIT_SIZE], exe[CALLER_EXE_SIZE]; /* "": none */
    uint64_t grant_serial;     /* of that very grant: a later one may have its name; 0: none */
    uint64_t outermost_serial; /* of the one the owner made, which it is within; 0: none */
    struct caller_file exe_file;
};

/* Two system calls. */
void consent_asker_of(const struct caller *caller, uid_t tenant, struct consent_asker *ret_asker);
bool consent_asker_equal(const struct consent_asker *a, const struct consent_asker *b);
/* Is a no to one a no to the other? Whoever comes through a grant is one, whatever grants it makes
 * within it, and whatever programs it starts. */
bool consent_asker_is_as_one(const struct consent_asker *a, const struct consent_asker *b);
/* Is it more than "some process of this uid"? Else nothing may be allowed to it for a while. */
bool consent_asker_is_known(const struct consent_asker *asker);
/* {uid, grant?, unit?, exe?} */
void consent_asker_put(const struct consent_asker *asker, struct json_maker *object,
                       const char *name);

struct consent_about {
    const char *method;        /* static */
    char *key, *key_did;       /* owned; NULL: no key */
    char **audiences, **peers; /* owned */
    size_t audience_count, peer_count;
    struct scope_list scopes; /* owned */
    bool has_scopes;
    int64_t ttl; /* 0: none */
    char *rest;  /* owned: what else must be equal; NULL: nothing */
};

/* Copies; question, key_did and rest may be NULL. ATH_ERR_NOMEM. */
ath_err consent_about_copy(const struct policy_question *question, const char *key,
                           const char *key_did, const char *rest,
                           struct consent_about *ret_about) ATH_MUST_USE;
/* With these scopes instead; NULL: with its own. ATH_ERR_NOMEM. */
ath_err consent_about_clone(const struct consent_about *about, const struct scope_list *scopes,
                            struct consent_about *ret_about) ATH_MUST_USE;
void consent_about_done(struct consent_about *about);

/* Is what is asked no more than what was allowed: the same method, key, audiences and peers (in any
 * order), at most these scopes, at most this time? */
bool consent_about_covers(const struct consent_about *allowed, const struct consent_about *asked);
/* The same asker's same question, in the same words? Both are one digest. ATH_ERR_CRYPTO,
 * ATH_ERR_NOMEM. */
ath_err consent_about_digest(const struct consent_about *about, const struct consent_asker *asker,
                             struct ath_slice words, uint8_t ret_digest[SHA256_LEN]) ATH_MUST_USE;
/* Members method, key?, audiences?, peers?, scopes?, ttl? */
void consent_about_put(const struct consent_about *about, struct json_maker *object);

#endif
