#include "tests/support/bad_input.h"

#define HEX_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

const char *const BAD_NONCES[] = {
    "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0",          /* a JWS signing input */
    "ATH-TB1 client-identity AAAA AAAA",             /* a string of section 4 */
    "0123456789012345678901 ",                       /* white space */
    "012345678901234567890",                         /* 21 */
    HEX_64 HEX_64 "0",                               /* 129 */
    "0123456789012345678901+",                       /* base64, not base64url */
    "0123456789012345678901=",
    "0123456789012345678901\n",
    "012345678901234567890\xc3\xa9",
    "",
    NULL,
};

#define P256_BODY                                                                                  \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvNRuRmaJCCJ1uL9XWXjBePcd8/kM\n"                           \
    "F2UgFMpR7E15zlBqy/QhnPVCiTTteQsKiXQCN09lw0li4QJzouCXzapVVA==\n"
#define BEGIN "-----BEGIN PUBLIC KEY-----\n"
#define END "-----END PUBLIC KEY-----\n"

const char *const BAD_KEYS[] = {
    /* P-256 spelled out: whoever writes the parameters chooses the base point (CVE-2020-0601) */
    BEGIN "MIIBSzCCAQMGByqGSM49AgEwgfcCAQEwLAYHKoZIzj0BAQIhAP////8AAAABAAAA\n"
          "AAAAAAAAAAAA////////////////MFsEIP////8AAAABAAAAAAAAAAAAAAAA////\n"
          "///////////8BCBaxjXYqjqT57PrvVV2mIa8ZR0GsMxTsPY7zjw+J9JgSwMVAMSd\n"
          "NgiG5wSTamZ44ROdJreBn36QBEEEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5\n"
          "RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9QIhAP////8AAAAA\n"
          "//////////+85vqtpxeehPO5ysL8YyVRAgEBA0IABLzUbkZmiQgidbi/V1l4wXj3\n"
          "HfP5DBdlIBTKUexNec5Qasv0IZz1Qok07XkLCol0AjdPZcNJYuECc6Lgl82qVVQ=\n" END,
    /* a compressed point */
    BEGIN "MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgACvNRuRmaJCCJ1uL9XWXjBePcd8/kM\n"
          "F2UgFMpR7E15zlA=\n" END,
    /* secp256k1 */
    BEGIN "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEzx7BLlzbm3blpnr3rtXUbIPjQ5vzd6fD\n"
          "1KI38n0BHuKwaIsRuow54R7AM9PHDSXe+LaSmvzY9myivg5wj9r0/w==\n" END,
    /* not on the curve: the last byte of Y is another */
    BEGIN "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvNRuRmaJCCJ1uL9XWXjBePcd8/kM\n"
          "F2UgFMpR7E15zlBqy/QhnPVCiTTteQsKiXQCN09lw0li4QJzouCXzapVVQ==\n" END,
    /* Ed25519: the neutral element, of order 1 */
    BEGIN "MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" END,
    "subject=somebody\n" BEGIN P256_BODY END,
    BEGIN P256_BODY END "\n",
    BEGIN P256_BODY END BEGIN P256_BODY END,
    "-----BEGIN EC PRIVATE KEY-----\n" P256_BODY "-----END EC PRIVATE KEY-----\n",
    BEGIN "Proc-Type: 4,ENCRYPTED\n\n" P256_BODY END,
    "",
    NULL,
};

const char *const BAD_SHARES[] = {
    "",
    "BA",
    /* x = y = 0; then x = y = 1: not on the curve */
    "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
    /* a point of the curve whose first byte says "hybrid" */
    "BmsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    /* the point at infinity */
    "AA",
    /* padded */
    "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU=",
    NULL,
};

#define A86 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

const char *const BAD_SIGNATURES[] = {
    "",
    A86,                 /* r = s = 0 */
    A86 "==",            /* padded */
    "AA",                /* short */
    A86 "AA",            /* long */
    /* r = s = n */
    "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVH_____AAAAAP__________vOb6racXnoTzucrC_GMlUQ",
    "not base64url at all!",
    A86 ".2.0.AAAA",
    NULL,
};

const char *const BAD_RANDOM_IDS[] = {
    "",
    "AAAAAAAAAAAAAAAAAAAAA",   /* 21 */
    "AAAAAAAAAAAAAAAAAAAAAAA", /* 23 */
    "AAAAAAAAAAAAAAAAAAAAAB",  /* unused bits that are not zero */
    "AAAAAAAAAAAAAAAAAAAA==",
    "../../../../etc/passwd",
    NULL,
};

const char *const BAD_TEXTS[] = {
    "",
    "null",
    "[]",
    "\"handshake_request\"",
    "{\"a\":1}{\"a\":1}",
    "{\"a\":1,}",
    "{\"a\":1 \"b\":2}",
    "{a:1}",
    "{'a':1}",
    "{\"a\":1,\"a\":1}",                 /* a name twice */
    "{\"a\":1,\"\\u0061\":1}",           /* the same, behind an escape */
    "{\"x\":{\"b\":1,\"b\":2}}",
    "{\"a\":1e3}",
    "{\"a\":1.0}",
    "{\"a\":-0}",
    "{\"a\":01}",
    "{\"a\":+1}",
    "{\"a\":0x10}",
    "{\"a\":NaN}",
    "{\"a\":Infinity}",
    "{\"a\":9007199254740992}",          /* 2^53 */
    "{\"a\":-9007199254740992}",
    "{\"a\":\"\\ud800\"}",               /* lone surrogates */
    "{\"a\":\"\\udc00\"}",
    "{\"a\":\"\\ud800\\ud800\"}",
    "{\"\\ud800\":1}",
    "{\"a\":\"\\u0000\"}",
    "{\"a\\u0000b\":1}",
    "{\"a\":\"\x01\"}",                  /* a bare control character */
    "{\"a\":\"\xff\"}",                  /* not UTF-8 */
    "{\"a\":\"\xed\xa0\x80\"}",          /* a surrogate in UTF-8 */
    "{\"a\":\"\xc0\xaf\"}",              /* overlong */
    "\xef\xbb\xbf{\"a\":1}",             /* byte order mark */
    "{\"a\":\"\\x41\"}",
    "{\"a\":tru}",
    "{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", /* nesting 17 */
    NULL,
};
