/* Keys below the storage key: created, loaded from TSS2 PRIVATE KEY files, judged by their
 * attributes (TPM 2.0 part 2, 8.3). */
#ifndef HSM_TPM_TPM_KEY_H
#define HSM_TPM_TPM_KEY_H

#include "hsm/tpm/tpm_device.h"
#include "hsm/tpm/tss2_pem.h"

struct hsm_key {
    struct tpm_object object;
    struct tpm_name name;
    struct public_key *public;
    struct hsm_key_facts facts;
    struct ath_secret pin; /* its authValue, once it was right (tpm_pin.h); empty: not here */
    enum key_algorithm algorithm;
    TPMT_SIG_SCHEME scheme;      /* for TPM2_Sign: NULL where the key itself has one */
    struct ath_buf public_area;  /* TPM2B_PUBLIC and TPM2B_PRIVATE, marshalled: */
    struct ath_buf private_area; /* small, as there may be thousands of keys */
};

/* A new key: fixed to this TPM and parent, made inside, sign only, without dictionary attack
 * protection, with an empty authValue; an audit key is restricted too, and ES256. Its file is
 * appended to blob. */
ath_err tpm_key_create(struct tpm_device *device, enum key_algorithm algorithm,
                       enum hsm_key_usage usage, struct hsm_fault *fault,
                       struct ath_buf *blob) ATH_MUST_USE;

/* The same with a PIN of at most HSM_PIN_MAX bytes for its authValue; its file says that it has one
 * (emptyAuth FALSE). The PIN goes to the TPM encrypted. */
ath_err tpm_key_create_with_pin(struct tpm_device *device, enum key_algorithm algorithm,
                                struct ath_slice pin, struct hsm_fault *fault,
                                struct ath_buf *blob) ATH_MUST_USE;

/* Reads and judges the file and loads the key. ATH_ERR_INVALID_PARAMS: not such a file, a key that
 * is not fixed to this TPM, was not made inside, does not sign or is restricted (but for the form
 * that our audit keys have: facts.restricted), or one of another TPM;
 * ATH_ERR_UNSUPPORTED_ALGORITHM. */
ath_err tpm_key_open(struct tpm_device *device, struct ath_slice blob, struct hsm_fault *fault,
                     struct hsm_key **ret_key) ATH_MUST_USE;
void tpm_key_close(struct tpm_device *device, struct hsm_key *key); /* NULL is fine */

/* A step's part: makes the key resident (its handle is key->object.handle then). */
ath_err tpm_key_use(struct tpm_device *device, struct hsm_key *key,
                    struct hsm_fault *fault) ATH_MUST_USE;

/* What a public area says of a key, and whether we sign with such a key; see tpm_key_open. */
ath_err tpm_key_judge(const TPMT_PUBLIC *public, struct why *why, enum key_algorithm *ret_algorithm,
                      struct hsm_key_facts *ret_facts) ATH_MUST_USE;

#endif
