#include "hsm/pkcs11/pkcs11_error.h"

#include "base/log.h"

#define NAMED(code, name, action, err, sentence)                                                   \
    {                                                                                              \
        code, name, PKCS11_ACTION_##action, ATH_ERR_##err, sentence                                \
    }
#define ROW(code, action, err, sentence)                                                           \
    {                                                                                              \
        code, #code, PKCS11_ACTION_##action, ATH_ERR_##err, sentence                               \
    }

static const char wrong_use[] = "the module says that it was called wrongly";
static const char refused_template[] = "the token does not make such a key";
static const char broken_key[] = "the key does not fit what was asked of it";
static const char never_asked[] = "the module answered what was not asked";

/* PKCS #11 2.40 and 3.1, 5.1 (return values). */
static const struct pkcs11_error errors[] = {
    ROW(CKR_CANCEL, REPORT, HSM_ERROR, "the PIN entry was cancelled"),
    ROW(CKR_HOST_MEMORY, REPORT, HSM_ERROR, "the module is out of memory"),
    ROW(CKR_SLOT_ID_INVALID, CHECK, HSM_ERROR, "the slot is not there any more"),
    ROW(CKR_GENERAL_ERROR, CHECK, HSM_ERROR, "the token failed without saying why"),
    ROW(CKR_FUNCTION_FAILED, CHECK, HSM_ERROR, "the token failed without saying why"),
    ROW(CKR_ARGUMENTS_BAD, REPORT, HSM_ERROR, wrong_use),
    ROW(CKR_NO_EVENT, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_NEED_TO_CREATE_THREADS, REPORT, HSM_ERROR, "the module needs threads of its own"),
    ROW(CKR_CANT_LOCK, REPORT, HSM_ERROR, "the module cannot be used by several threads"),
    ROW(CKR_ATTRIBUTE_READ_ONLY, REPORT, HSM_ERROR, refused_template),
    ROW(CKR_ATTRIBUTE_SENSITIVE, REPORT, HSM_ERROR, "the token keeps this to itself"),
    ROW(CKR_ATTRIBUTE_TYPE_INVALID, REPORT, HSM_ERROR, refused_template),
    ROW(CKR_ATTRIBUTE_VALUE_INVALID, REPORT, HSM_ERROR, refused_template),
    ROW(CKR_COPY_PROHIBITED, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_ACTION_PROHIBITED, REPORT, HSM_ERROR, "the token does not allow this for this object"),
    ROW(CKR_DATA_INVALID, REPORT, HSM_ERROR, "the token does not accept the data"),
    ROW(CKR_DATA_LEN_RANGE, REPORT, HSM_ERROR, "the token does not accept data of this length"),
    ROW(CKR_DEVICE_ERROR, CHECK, HSM_ERROR, "the token or its reader has a fault"),
    ROW(CKR_DEVICE_MEMORY, REPORT, HSM_ERROR, "the token's memory is full"),
    ROW(CKR_DEVICE_REMOVED, NEW_SESSION, HSM_ERROR, "the token was taken out meanwhile"),
    ROW(CKR_ENCRYPTED_DATA_INVALID, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_ENCRYPTED_DATA_LEN_RANGE, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_AEAD_DECRYPT_FAILED, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_FUNCTION_CANCELED, REPORT, HSM_ERROR, "it was cancelled at the token or its reader"),
    ROW(CKR_FUNCTION_NOT_PARALLEL, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_FUNCTION_NOT_SUPPORTED, REPORT, UNSUPPORTED_ALGORITHM, "the token cannot do this"),
    ROW(CKR_KEY_HANDLE_INVALID, FIND_AGAIN, HSM_ERROR, "the token does not know the key any more"),
    ROW(CKR_KEY_SIZE_RANGE, REPORT, UNSUPPORTED_ALGORITHM,
        "the token does not have keys of this size"),
    ROW(CKR_KEY_TYPE_INCONSISTENT, REPORT, UNSUPPORTED_ALGORITHM, broken_key),
    ROW(CKR_KEY_NOT_NEEDED, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_KEY_CHANGED, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_KEY_NEEDED, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_KEY_INDIGESTIBLE, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_KEY_FUNCTION_NOT_PERMITTED, REPORT, HSM_ERROR, "the key is not made for signing"),
    ROW(CKR_KEY_NOT_WRAPPABLE, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_KEY_UNEXTRACTABLE, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_MECHANISM_INVALID, REPORT, UNSUPPORTED_ALGORITHM,
        "the token does not have this algorithm"),
    ROW(CKR_MECHANISM_PARAM_INVALID, REPORT, UNSUPPORTED_ALGORITHM,
        "the token does not have this form of the algorithm"),
    ROW(CKR_OBJECT_HANDLE_INVALID, FIND_AGAIN, HSM_ERROR,
        "the token does not know the object any more"),
    ROW(CKR_OPERATION_ACTIVE, NEW_SESSION, HSM_ERROR, "the session is busy with something else"),
    ROW(CKR_OPERATION_NOT_INITIALIZED, NEW_SESSION, HSM_ERROR,
        "the token forgot what it was doing"),
    ROW(CKR_PIN_INCORRECT, REPORT, PIN_INCORRECT, "the PIN is wrong, and the try counts"),
    ROW(CKR_PIN_INVALID, REPORT, PIN_INCORRECT,
        "the PIN has characters that the token does not take"),
    ROW(CKR_PIN_LEN_RANGE, REPORT, PIN_INCORRECT, "the PIN is too short or too long"),
    ROW(CKR_PIN_EXPIRED, REPORT, HSM_ERROR,
        "the PIN has expired: set a new one with the token's own tool"),
    ROW(CKR_PIN_LOCKED, REPORT, PIN_LOCKED,
        "the token is locked after too many wrong PINs: unlock it with the token's own tool"),
    ROW(CKR_SESSION_CLOSED, NEW_SESSION, HSM_ERROR, "the token closed the session"),
    ROW(CKR_SESSION_COUNT, REPORT, HSM_BUSY, "other programs hold all of the token's sessions"),
    ROW(CKR_SESSION_HANDLE_INVALID, NEW_SESSION, HSM_ERROR, "the token forgot the session"),
    ROW(CKR_SESSION_PARALLEL_NOT_SUPPORTED, REPORT, HSM_ERROR, wrong_use),
    ROW(CKR_SESSION_READ_ONLY, REPORT, HSM_ERROR, "the token can only be read"),
    ROW(CKR_SESSION_EXISTS, REPORT, HSM_BUSY, "the token has a session open"),
    ROW(CKR_SESSION_READ_ONLY_EXISTS, REPORT, HSM_ERROR, "the token has a read-only session open"),
    ROW(CKR_SESSION_READ_WRITE_SO_EXISTS, REPORT, HSM_BUSY,
        "the security officer is logged in to the token"),
    ROW(CKR_SIGNATURE_INVALID, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_SIGNATURE_LEN_RANGE, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_TEMPLATE_INCOMPLETE, REPORT, HSM_ERROR, refused_template),
    ROW(CKR_TEMPLATE_INCONSISTENT, REPORT, HSM_ERROR, refused_template),
    ROW(CKR_TOKEN_NOT_PRESENT, NEW_SESSION, HSM_ERROR, "the token was taken out meanwhile"),
    ROW(CKR_TOKEN_NOT_RECOGNIZED, CHECK, HSM_ERROR, "the module does not know this kind of token"),
    ROW(CKR_TOKEN_WRITE_PROTECTED, REPORT, HSM_ERROR, "the token is write-protected"),
    ROW(CKR_UNWRAPPING_KEY_HANDLE_INVALID, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_UNWRAPPING_KEY_SIZE_RANGE, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_USER_ALREADY_LOGGED_IN, REPORT, HSM_ERROR, "somebody is logged in to the token"),
    ROW(CKR_USER_NOT_LOGGED_IN, CHECK, PIN_REQUIRED, "the token wants its PIN"),
    ROW(CKR_USER_PIN_NOT_INITIALIZED, REPORT, HSM_ERROR,
        "the token has no user PIN yet: set one with the token's own tool"),
    ROW(CKR_USER_TYPE_INVALID, REPORT, HSM_ERROR, "the token does not have this kind of login"),
    ROW(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, REPORT, HSM_BUSY,
        "the security officer is logged in to the token"),
    ROW(CKR_USER_TOO_MANY_TYPES, REPORT, HSM_BUSY, "others are logged in to the token"),
    ROW(CKR_WRAPPED_KEY_INVALID, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_WRAPPED_KEY_LEN_RANGE, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_WRAPPING_KEY_HANDLE_INVALID, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_WRAPPING_KEY_SIZE_RANGE, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_WRAPPING_KEY_TYPE_INCONSISTENT, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_RANDOM_SEED_NOT_SUPPORTED, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_RANDOM_NO_RNG, REPORT, HSM_ERROR, "the token has no random numbers"),
    ROW(CKR_DOMAIN_PARAMS_INVALID, REPORT, UNSUPPORTED_ALGORITHM,
        "the token does not have this curve"),
    ROW(CKR_CURVE_NOT_SUPPORTED, REPORT, UNSUPPORTED_ALGORITHM,
        "the token does not have this curve"),
    ROW(CKR_BUFFER_TOO_SMALL, REPORT, HSM_ERROR, "the token's answer is longer than it can be"),
    ROW(CKR_SAVED_STATE_INVALID, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_INFORMATION_SENSITIVE, REPORT, HSM_ERROR, "the token keeps this to itself"),
    ROW(CKR_STATE_UNSAVEABLE, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_CRYPTOKI_NOT_INITIALIZED, CHECK, HSM_ERROR, "the module was shut down"),
    ROW(CKR_CRYPTOKI_ALREADY_INITIALIZED, REPORT, HSM_ERROR, "the module is in use"),
    ROW(CKR_MUTEX_BAD, REPORT, HSM_ERROR, "the module's locks are broken"),
    ROW(CKR_MUTEX_NOT_LOCKED, REPORT, HSM_ERROR, "the module's locks are broken"),
    ROW(CKR_NEW_PIN_MODE, REPORT, HSM_ERROR, never_asked),
    ROW(CKR_NEXT_OTP, REPORT, HSM_ERROR, never_asked),
    /* p11-kit's header has other numbers for the next five than the standard. */
    NAMED(0x1b5UL, "CKR_EXCEEDED_MAX_ITERATIONS", REPORT, HSM_ERROR, "the token gave up"),
    NAMED(0x1b6UL, "CKR_FIPS_SELF_TEST_FAILED", REPORT, HSM_ERROR,
          "the token's own test of itself failed"),
    NAMED(0x1b7UL, "CKR_LIBRARY_LOAD_FAILED", REPORT, HSM_UNAVAILABLE,
          "the module could not load a library that it needs"),
    NAMED(0x1b8UL, "CKR_PIN_TOO_WEAK", REPORT, HSM_ERROR, never_asked),
    NAMED(0x1b9UL, "CKR_PUBLIC_KEY_INVALID", REPORT, HSM_ERROR,
          "the token holds a broken public key"),
    ROW(CKR_FUNCTION_REJECTED, REPORT, HSM_ERROR, "it was refused at the token"),
    ROW(CKR_TOKEN_RESOURCE_EXCEEDED, REPORT, HSM_BUSY, "the token has no room for this now"),
    ROW(CKR_OPERATION_CANCEL_FAILED, NEW_SESSION, HSM_ERROR,
        "the session is busy with something else"),
    ROW(CKR_KEY_EXHAUSTED, REPORT, HSM_ERROR, "the key has made all the signatures it may make"),
};

static const struct pkcs11_error vendor_error = {CKR_VENDOR_DEFINED, "vendor-defined",
                                                 PKCS11_ACTION_CHECK, ATH_ERR_HSM_ERROR,
                                                 "the token refused for a reason of its own"};
static const struct pkcs11_error other_error = {CKR_OK, "unknown", PKCS11_ACTION_CHECK,
                                                ATH_ERR_HSM_ERROR, "the token refused"};

const struct pkcs11_error *
pkcs11_error_of(CK_RV rv)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].code == rv)
            return &errors[i];
    }
    return (rv & CKR_VENDOR_DEFINED) != 0 ? &vendor_error : &other_error;
}

enum pkcs11_action
pkcs11_error_action(const struct hsm_fault *fault)
{
    return fault->native == 0 ? PKCS11_ACTION_REPORT : pkcs11_error_of(fault->native)->action;
}

ath_err
pkcs11_error_report(CK_RV rv, const char *doing, struct hsm_fault *fault)
{
    const struct pkcs11_error *error;

    if (rv == CKR_OK)
        return ATH_OK;
    error = pkcs11_error_of(rv);
    /* A code beyond 32 bits is no code; 0 would mean that there was none. */
    fault->native = rv <= UINT32_MAX ? (uint32_t)rv : UINT32_MAX;
    log_debug("event=pkcs11_error doing=\"%s\" rv=0x%lx name=%s", doing, rv, error->name);
    return why_set(&fault->why, error->err, "cannot %s: %s (0x%lx %s)", doing, error->sentence, rv,
                   error->name);
}

ath_err
pkcs11_error_nonsense(const char *doing, const char *what, struct hsm_fault *fault)
{
    fault->native = 0;
    return why_set(&fault->why, ATH_ERR_HSM_ERROR, "cannot %s: the PKCS#11 module %s", doing, what);
}
