#include "protocol/counter_evidence.h"

#include <string.h>

#include "base/bytes.h"

/* TPM 2.0 part 2: 6.2, 6.9, 6.3, 13.4 */
#define TPM_GENERATED 0xff544347u
#define TPM_ST_ATTEST_NV 0x8014u
#define TPM_ALG_SHA256 0x000bu
#define TPMA_NV_TYPE 0x000000f0u
#define TPMA_NV_COUNTER 0x00000010u
#define TPMA_NV_WRITTEN 0x20000000u
#define COUNTER_LEN 8u
#define MAX_FIELD 256u /* of a TPM2B within: names, digests, qualifying data */
#define SIGNATURE_LEN 64u

static ath_err
malformed(struct why *why, const char *what)
{
    return why_set(why, ATH_ERR_PARSE, "the counter's %s is malformed", what);
}

static ath_err
refuse(struct why *why, const char *what)
{
    return why_set(why, ATH_ERR_INVALID_EVIDENCE, "the counter's evidence %s", what);
}

/* A TPM2B: u16 length, bytes. */
static struct ath_slice
read_2b(struct byte_reader *reader, size_t max)
{
    size_t len = byte_reader_u16(reader);

    if (len > max)
        reader->bad = true;
    return byte_reader_bytes(reader, reader->bad ? 0 : len);
}

/* TPMS_NV_PUBLIC (part 2, 13.5); its name is the digest over it behind the algorithm (part 1,
 * 16). */
static ath_err
decode_public(struct ath_slice bytes, struct why *why, struct counter_evidence *evidence)
{
    struct byte_reader reader = byte_reader_of(bytes);
    uint16_t algorithm, size;

    evidence->index = byte_reader_u32(&reader);
    algorithm = byte_reader_u16(&reader);
    evidence->attributes = byte_reader_u32(&reader);
    read_2b(&reader, MAX_FIELD);
    size = byte_reader_u16(&reader);
    if (!byte_reader_is_done(&reader))
        return malformed(why, "TPM2B_NV_PUBLIC");
    if (algorithm != TPM_ALG_SHA256)
        return refuse(why, "names its index by another hash than SHA-256");
    if ((evidence->attributes & TPMA_NV_TYPE) != TPMA_NV_COUNTER || size != COUNTER_LEN)
        return refuse(why, "is of an index that is no counter");
    if ((evidence->attributes & TPMA_NV_WRITTEN) == 0)
        return refuse(why, "is of a counter that was never stepped");
    evidence->name[0] = TPM_ALG_SHA256 >> 8;
    evidence->name[1] = TPM_ALG_SHA256 & 0xff;
    return sha256(bytes, evidence->name + 2);
}

/* TPMS_ATTEST (part 2, 10.12.8) with TPMS_NV_CERTIFY_INFO (10.12.6). */
static ath_err
decode_attest(struct why *why, struct counter_evidence *evidence)
{
    struct byte_reader reader = byte_reader_of(evidence->attest);
    uint32_t magic = byte_reader_u32(&reader);
    uint16_t type = byte_reader_u16(&reader), offset;
    struct ath_slice name, contents;
    struct byte_reader counter;
    uint8_t safe;

    if (reader.bad || magic != TPM_GENERATED)
        return refuse(why, "does not begin with TPM_GENERATED: no TPM made it");
    if (type != TPM_ST_ATTEST_NV)
        return refuse(why, "is no NV_Certify");
    read_2b(&reader, MAX_FIELD); /* qualifiedSigner: known by the signature */
    evidence->nonce = read_2b(&reader, MAX_FIELD);
    byte_reader_u64(&reader); /* clock */
    evidence->resets = byte_reader_u32(&reader);
    evidence->restarts = byte_reader_u32(&reader);
    safe = byte_reader_u8(&reader);
    byte_reader_u64(&reader); /* firmwareVersion */
    name = read_2b(&reader, MAX_FIELD);
    offset = byte_reader_u16(&reader);
    contents = read_2b(&reader, MAX_FIELD);
    if (!byte_reader_is_done(&reader) || safe > 1)
        return malformed(why, "TPM2B_ATTEST");
    if (!ath_slice_equal(name, ath_slice_of(evidence->name, sizeof(evidence->name))))
        return refuse(why, "is of another index than the public area in it");
    if (offset != 0 || contents.len != COUNTER_LEN)
        return refuse(why, "does not hold the counter's 8 bytes");
    counter = byte_reader_of(contents);
    evidence->value = byte_reader_u64(&counter);
    return ATH_OK;
}

ath_err
counter_evidence_decode(struct ath_slice bytes, struct why *why,
                        struct counter_evidence *ret_evidence)
{
    struct byte_reader reader = byte_reader_of(bytes);
    struct counter_evidence evidence = {0};
    struct ath_slice public_area;
    ath_err err;

    if (bytes.len > COUNTER_EVIDENCE_MAX_LEN)
        return malformed(why, "evidence");
    public_area = read_2b(&reader, MAX_FIELD);
    evidence.attest = read_2b(&reader, COUNTER_EVIDENCE_MAX_LEN);
    evidence.signature = byte_reader_bytes(&reader, SIGNATURE_LEN);
    if (!byte_reader_is_done(&reader))
        return malformed(why, "evidence");
    if ((err = decode_public(public_area, why, &evidence)) != ATH_OK ||
        (err = decode_attest(why, &evidence)) != ATH_OK)
        return err;
    *ret_evidence = evidence;
    return ATH_OK;
}

ath_err
counter_evidence_verify(const struct counter_evidence *evidence, const struct public_key *key,
                        struct why *why)
{
    ath_err err;

    if (public_key_algorithm(key) != KEY_ES256)
        return why_set(why, ATH_ERR_INVALID_SIGNATURE, "an audit key is of P-256 (ES256)");
    err = public_key_verify(key, evidence->attest, evidence->signature);
    if (err == ATH_ERR_INVALID_SIGNATURE)
        return why_set(why, err, "the signature of the counter's evidence does not hold");
    return err;
}
