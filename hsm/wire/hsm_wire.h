/*
 * What athd and ath-hsm-helper say to each other over their socketpair, and how it is encoded. The
 * only part of hsm/ that athd links. Both ends come from the same build, the greeting proves it.
 *
 * A frame is a u32 length (of what follows) and that many bytes; integers are big-endian, a field
 * is a u32 length and bytes. Request: u32 id, u8 op, then the op's members. Response: u32 id, u8
 * op, u16 ath_err, u32 native, field sentence, u32 hardware microseconds, then the op's members if
 * the error is ATH_OK. Requests may be pipelined; they are answered in the order they were sent (a
 * TPM does one thing at a time) unless a back end has several sessions.
 */
#ifndef HSM_WIRE_HSM_WIRE_H
#define HSM_WIRE_HSM_WIRE_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/why.h"

#define HSM_WIRE_VERSION 1u
#define HSM_WIRE_MAX_FRAME (160u * 1024u)
#define HSM_WIRE_MAX_MESSAGE (128u * 1024u) /* what is to be signed */
#define HSM_WIRE_MAX_BLOB 8192u             /* TSS2 PRIVATE KEY PEM, or a PKCS#11 URI */
#define HSM_WIRE_MAX_DER 128u               /* SubjectPublicKeyInfo */
#define HSM_WIRE_MAX_SIGNATURE 96u
#define HSM_WIRE_MAX_RANDOM 64u

enum hsm_op {
    HSM_OP_INFO = 1,   /* the first request: opens the hardware, says what it is */
    HSM_OP_KEY_CREATE, /* makes a key inside; gives its blob and public key */
    HSM_OP_KEY_OPEN,   /* checks a blob and gives it the caller's number `key` for later signing */
    HSM_OP_KEY_CLOSE,  /* forgets the number and what is loaded for it */
    HSM_OP_KEY_DELETE, /* PKCS#11: destroys it in the token; TPM: as close */
    HSM_OP_SIGN,       /* signs `data` (the whole message; hashed in the helper) with `key` */
    HSM_OP_RANDOM,     /* `count` random bytes from the hardware */
};

struct hsm_request {
    uint32_t id;
    enum hsm_op op;
    uint32_t key;          /* KEY_OPEN, KEY_CLOSE, KEY_DELETE, SIGN: athd's number for the key */
    uint8_t algorithm;     /* KEY_CREATE: enum key_algorithm (crypto/public_key.h) */
    uint32_t count;        /* RANDOM */
    uint32_t version;      /* INFO: HSM_WIRE_VERSION */
    struct ath_slice name; /* KEY_CREATE: label, at most 64 bytes */
    struct ath_slice data; /* KEY_OPEN: blob; SIGN: message */
};

/* What the hardware says of a key. */
struct hsm_key_facts {
    bool generated_inside; /* sensitiveDataOrigin / CKA_LOCAL */
    bool extractable;      /* not (fixedTPM and fixedParent) / CKA_EXTRACTABLE */
    bool fixed_tpm;
    bool decrypt; /* imported TPM keys: may decrypt too (a warning) */
    bool da;      /* imported TPM keys: dictionary-attack protected (a warning) */
    bool empty_auth;
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
    /* KEY_CREATE, KEY_OPEN */
    struct ath_slice blob; /* KEY_CREATE only */
    struct ath_slice public_der;
    struct hsm_key_facts facts;
    /* SIGN: JOSE form; RANDOM */
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
