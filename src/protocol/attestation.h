/* Attestation JWTs of the ATH HTTP API (ath-0.1 2.4 and 3.4): typ JWT, by a client's key. */
#ifndef PROTOCOL_ATTESTATION_H
#define PROTOCOL_ATTESTATION_H

#include "protocol/jws.h"

#define ATTESTATION_TYP "JWT"
#define ATTESTATION_TTL_DEFAULT_S 300
#define ATTESTATION_TTL_MAX_S 3600

struct attestation_params {
    const char *agent_id;         /* https URI, or http on loopback; never a DID */
    bool issuer_is_origin;        /* iss is the agent_id's origin instead of the agent_id */
    const char *const *audiences; /* one is written as a string, several as an array */
    size_t audience_count;
    bool audience_is_array;          /* one audience written as an array of one */
    const struct json *capabilities; /* array of strings or NULL */
    const struct json *log;          /* the head of an audit log, claim ath_log; or NULL */
    int64_t issued_at, ttl;
    const char *jti;
};

/* An origin as origin_is_valid wants it (https, or http on loopback; lower case, no default port),
 * then nothing or a path and query of visible ASCII; no fragment; at most AGENT_ID_MAX_LEN. Never a
 * DID. NULL is not. */
bool agent_id_is_valid(const char *agent_id);
/* scheme://host[:port] of a valid agent_id, appended to out. */
void agent_id_origin(const char *agent_id, struct ath_buf *out);

/* ATH_ERR_INVALID_PARAMS: agent_id, audiences (1 to AUDIENCES_MAX, none empty), ttl (1 to
 * ATTESTATION_TTL_MAX_S), jti or capabilities are not as above; ATH_ERR_NOMEM. */
ath_err attestation_signing_input(const struct attestation_params *params,
                                  const struct public_key *key, struct ath_buf *out) ATH_MUST_USE;

struct attestation {
    struct json *claims;   /* owned */
    char *jti;             /* owned */
    char kid[JKT_LEN + 1]; /* always the verifying key's jkt: replay is judged by (kid, jti) */
    int64_t expires_at;
    int64_t fresh_until; /* the last second in which it is accepted, never after exp: replay need
                          * be remembered no longer, however far away its sender put exp */
};

/* typ may be absent, kid absent or any string in attestations of official clients; kid is not
 * checked, alg is. audience: what the verifier is, one string that aud must equal or hold.
 * agent_id: what sub must equal, NULL: not asked. Checks alg, signature, iss (sub or its origin),
 * sub, aud, iat (within 300 s), exp, nbf, jti. ATH_ERR_INVALID_ATTESTATION,
 * ATH_ERR_INVALID_SIGNATURE, ATH_ERR_TIMESTAMP_SKEW (iat), ATH_ERR_NOMEM. Replay is the caller's,
 * who owns *ret_attestation. */
ath_err attestation_verify(struct ath_slice jwt, const struct public_key *key, const char *audience,
                           const char *agent_id, int64_t now, struct why *why,
                           struct attestation *ret_attestation) ATH_MUST_USE;
void attestation_done(struct attestation *attestation);

#endif
