/*
 * What athd and ath-hsm-helper say to each other over their socketpair, and how it is encoded. The
 * only part of hsm/ that athd links. Both ends come from the same build, the greeting proves it.
 *
 * A frame is a u32 length (of what follows) and that many bytes; integers are big-endian, a field
 * is a u32 length and bytes. Request: u32 id, u8 op, then the op's members. Response: u32 id, u8
 * op, u16 ath_err, u32 native, field sentence, u32 hardware microseconds, u8 waits, u8 tries
 * left, u8 PIN in doubt, field stamp, then the op's members if the error is ATH_OK. Requests may be
 * pipelined; they are answered in the order they were sent (a TPM does one thing at a time) unless
 * a back end has several sessions: then signatures are answered as they are made, everything else
 * when what came before it has been answered. What a person is asked for (HSM_PIN_PROMPTER) is
 * answered when the person has answered, and holds nothing up.
 *
 * Three answers come unasked, all of op INFO with the id of the first INFO:
 * - ATH_ERR_HSM_BUSY and `waits` before any other: the hardware is opened, which takes far longer
 *   than usual; the sentence says why.
 * - INFO was answered with ATH_ERR_HSM_UNAVAILABLE and `waits`: the token is not there, the helper
 *   lives on and looks for it; it answers INFO again when it is there, or not for another reason
 * (or, without `waits`, ends).
 * - ATH_ERR_HSM_UNAVAILABLE after a good INFO: the token was taken out, and no answer told of it;
 *   the helper ends.
 *
 * PINs never come this way. Where a request says HSM_PIN_PROMPTER, a connection to a prompter that
 * athd has started lies ready on the helper's second descriptor (hsm_fd.h), and the helper asks for
 * the PIN itself.
 */
#ifndef HSM_WIRE_HSM_WIRE_H
#define HSM_WIRE_HSM_WIRE_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/why.h"

#define HSM_WIRE_VERSION 4u
#define HSM_WIRE_MAX_FRAME (160u * 1024u)
#define HSM_WIRE_MAX_MESSAGE (128u * 1024u) /* what is to be signed */
#define HSM_WIRE_MAX_BLOB 8192u             /* TSS2 PRIVATE KEY PEM, or a PKCS#11 URI */
#define HSM_WIRE_MAX_DER 128u               /* SubjectPublicKeyInfo */
#define HSM_WIRE_MAX_SIGNATURE 96u
#define HSM_WIRE_MAX_RANDOM 64u
#define HSM_WIRE_MAX_TEXT 4096u    /* of a PIN question */
#define HSM_WIRE_MAX_STAMP 64u     /* of a pin-source */
#define HSM_WIRE_MAX_EVIDENCE 512u /* of a counter */

enum hsm_op {
    HSM_OP_INFO = 1,   /* the first request: opens the hardware, says what it is */
    HSM_OP_KEY_CREATE, /* makes a key inside; gives its blob and public key */
    HSM_OP_KEY_OPEN,   /* checks a blob and gives it the caller's number `key` for later signing */
    HSM_OP_KEY_CLOSE,  /* forgets the number and what is loaded for it */
    HSM_OP_KEY_DELETE, /* PKCS#11: destroys it in the token; TPM: as close */
    HSM_OP_SIGN,       /* signs `data` (the whole message; hashed in the helper) with `key` */
    HSM_OP_RANDOM,     /* `count` random bytes from the hardware */
    /* Gets a PIN as `pin` says and tries it, once: that of the token (`key` 0), or of a TPM's key,
     * from a prompter only, for which it is kept until LOGOUT or KEY_CLOSE. */
    HSM_OP_LOGIN,
    /* Logs out of the token and forgets a PIN that was kept; of a TPM: forgets that of `key`, or of
     * all keys (0). */
    HSM_OP_LOGOUT,
    HSM_OP_COUNTER, /* TPM: a monotonic counter, stepped or read, certified by the audit key */
};

/* What a key is made for. An audit key signs nothing that a TPM could have said itself (TPM:
 * restricted, so that a certified counter cannot be forged with it). */
enum hsm_key_usage { HSM_KEY_IDENTITY = 0, HSM_KEY_AUDIT = 1 };

/* Whether the hardware wants somebody to log in before it uses keys. */
enum hsm_login {
    HSM_LOGIN_NONE = 0, /* no */
    HSM_LOGIN_PIN = 1,
    HSM_LOGIN_PAD = 2, /* with a PIN typed at the reader (CKF_PROTECTED_AUTHENTICATION_PATH) */
};

/* Where the helper gets a PIN. */
enum hsm_pin_from {
    HSM_PIN_NONE = 0,     /* none is needed, or the reader's pad asks */
    HSM_PIN_PROMPTER = 1, /* from the prompter whose connection was passed */
    HSM_PIN_SOURCE = 2,   /* from the pin-source of the helper's URI */
    HSM_PIN_KEPT = 3,     /* SIGN: the one that the last LOGIN kept */
};

/* LOGIN, SIGN with a key that wants its PIN for each signature, and KEY_CREATE of a TPM's key with
 * a PIN (from a prompter only, entered twice). */
struct hsm_pin_request {
    enum hsm_pin_from from;
    bool keep;          /* LOGIN: a PIN that was right stays in locked memory until LOGOUT */
    uint32_t timeout_s; /* PROMPTER: for a person to answer */
    struct ath_slice
        text; /* PROMPTER: who asks for what, lines; the helper adds the token's name */
    struct ath_slice ttyname, ttytype, lc_ctype; /* PROMPTER: OPTIONs; empty: not told */
    struct ath_slice refused; /* SOURCE: the stamp that was refused; that one is not tried again */
};

struct hsm_request {
    uint32_t id;
    enum hsm_op op;
    uint32_t key; /* KEY_OPEN, KEY_CLOSE, KEY_DELETE, SIGN, COUNTER, LOGIN, LOGOUT: athd's number,
                     from 1 */
    uint8_t algorithm;      /* KEY_CREATE: enum key_algorithm (crypto/public_key.h) */
    uint32_t count;         /* RANDOM: bytes; COUNTER: steps, 0 or 1 */
    uint8_t usage;          /* KEY_CREATE: enum hsm_key_usage */
    uint32_t version;       /* INFO: HSM_WIRE_VERSION */
    struct ath_slice name;  /* KEY_CREATE: label, at most 64 bytes */
    struct ath_slice data;  /* KEY_OPEN: blob; SIGN: message; COUNTER: its blob, empty: make one */
    struct ath_slice nonce; /* COUNTER: 32 bytes that the certificate covers */
    struct hsm_pin_request pin; /* LOGIN, SIGN, KEY_CREATE */
};

/* What the hardware says of a key. */
struct hsm_key_facts {
    bool generated_inside; /* sensitiveDataOrigin / CKA_LOCAL */
    bool extractable;      /* not (fixedTPM and fixedParent) / CKA_EXTRACTABLE */
    bool fixed_tpm;
    bool decrypt;    /* imported TPM keys: may decrypt too (a warning) */
    bool da;         /* imported TPM keys: dictionary-attack protected (a warning) */
    bool empty_auth; /* TPM: it has no PIN */
    bool restricted; /* TPM: the audit key */
    /* PKCS#11, as the token says: */
    bool always_sensitive, never_extractable;
    bool always_authenticate; /* wants its PIN for each signature (PIV 9c) */
};

struct hsm_response {
    uint32_t id;
    enum hsm_op op;
    ath_err err;
    uint32_t native;           /* TSS2_RC or CK_RV where the hardware gave one */
    struct ath_slice sentence; /* why, for people; empty on success */
    uint32_t hardware_us;      /* time the hardware took */
    /* INFO */
    struct ath_slice kind; /* "tpm" or "pkcs11" */
    bool software;         /* keys protected by file permissions only */
    struct ath_slice manufacturer, model, firmware, serial;
    bool has_ek_certificate;
    uint32_t algorithms; /* bit 1 << enum key_algorithm */
    uint8_t parallel;    /* signatures the hardware makes at once; 1 for a TPM */
    bool has_counter;    /* COUNTER works */
    enum hsm_login login;
    /* INFO with ATH_ERR_HSM_UNAVAILABLE */
    bool waits;
    bool pin_locked; /* INFO: the token takes no PIN any more */
    /* INFO, LOGIN, SIGN, also with ATH_ERR_PIN_INCORRECT: wrong PINs until the token locks; 0: it
     * does not say */
    uint8_t tries_left;
    /* LOGIN, SIGN, with another error: a PIN was tried, and it may have cost a try */
    bool pin_in_doubt;
    /* LOGIN, SIGN with ATH_ERR_PIN_INCORRECT or pin_in_doubt of a pin-source: names what was tried
     * (not its content: device, inode, times, size) */
    struct ath_slice stamp;
    /* KEY_CREATE; KEY_OPEN: what to store, where that is other than what was given (PKCS#11 URI) */
    struct ath_slice blob; /* COUNTER too: what to give next time */
    uint64_t counter;      /* COUNTER: its value now */
    struct ath_slice public_der;
    struct hsm_key_facts facts;
    /* SIGN: JOSE form; RANDOM; COUNTER: TPM2B_ATTEST of NV_Certify, then its signature r || s */
    struct ath_slice data;
};

/* Appends a whole frame, its length included. */
void hsm_request_encode(const struct hsm_request *request, struct ath_buf *out);
void hsm_response_encode(const struct hsm_response *response, struct ath_buf *out);

/* Decodes a frame's content (without the length); slices point into it. ATH_ERR_PARSE for anything
 * not exactly as above: unknown op, over-long member, trailing bytes. */
ath_err hsm_request_decode(struct ath_slice frame, struct hsm_request *ret_request) ATH_MUST_USE;
ath_err hsm_response_decode(struct ath_slice frame, struct hsm_response *ret_response) ATH_MUST_USE;

/* Looks for a whole frame at the start of `stream`. ATH_OK: *ret_content is what is in it and
 * *ret_total how many bytes of the stream it takes, both 0 when more bytes are needed.
 * ATH_ERR_LIMIT_EXCEEDED for a length above HSM_WIRE_MAX_FRAME. */
ath_err hsm_frame_peek(struct ath_slice stream, struct ath_slice *ret_content,
                       size_t *ret_total) ATH_MUST_USE;

#endif
