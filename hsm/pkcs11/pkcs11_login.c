#include "hsm/pkcs11/pkcs11_login.h"

static const char doing_login[] = "log in to the token";

/* Before a try is spent. A token that gives no limits, or senseless ones, judges itself. */
static ath_err
check_length(struct pkcs11_token *token, struct ath_slice pin, struct hsm_fault *fault)
{
    const CK_TOKEN_INFO now = pkcs11_token_now(token);
    bool has_limits = now.ulMaxPinLen != CK_UNAVAILABLE_INFORMATION && now.ulMaxPinLen > 0 &&
                      now.ulMinPinLen <= now.ulMaxPinLen;

    if (token->info.login == HSM_LOGIN_PAD && pin.len == 0)
        return ATH_OK;
    if (pin.len == 0)
        return why_set(&fault->why, ATH_ERR_PIN_INCORRECT,
                       "the PIN is empty; it was not tried, so no try was spent");
    if (has_limits && (pin.len < now.ulMinPinLen || pin.len > now.ulMaxPinLen))
        return why_set(&fault->why, ATH_ERR_PIN_INCORRECT,
                       "the token's PINs have %lu to %lu characters; this one was not tried, so no "
                       "try was spent",
                       now.ulMinPinLen, now.ulMaxPinLen);
    return ATH_OK;
}

/* The flags tell what the try has cost. They are read after a success, too: it gives tries back. */
static void
read_flags(struct pkcs11_token *token, CK_RV rv)
{
    struct hsm_fault unimportant = {0};

    (void)!pkcs11_token_check(token, &unimportant);
    (void)pthread_mutex_lock(&token->lock);
    token->pin_locked = rv == CKR_PIN_LOCKED;
    (void)pthread_mutex_unlock(&token->lock);
}

/* The module reads the PIN where it lies, in locked memory; its parameter lacks a const. */
static CK_RV
log_in(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_USER_TYPE type,
       struct ath_slice pin)
{
    CK_UTF8CHAR *bytes = pin.len > 0 ? (CK_UTF8CHAR *)(uintptr_t)pin.data : NULL;
    CK_RV rv = token->module->f->C_Login(session, type, bytes, pin.len);

    read_flags(token, rv);
    return rv;
}

static bool
is_no(CK_RV rv)
{
    return rv == CKR_FUNCTION_CANCELED || rv == CKR_FUNCTION_REJECTED || rv == CKR_CANCEL;
}

/* Of an answer that is no clear yes or no (PKCS #11 2.40, 5.6, C_Login): only these say that the
 * token has not looked at the PIN, or found it right. After any other, a general error for one, a
 * try may be spent. */
static bool
leaves_doubt(CK_RV rv)
{
    static const CK_RV clear[] = {
        CKR_OK,
        CKR_ARGUMENTS_BAD,
        CKR_CRYPTOKI_NOT_INITIALIZED,
        CKR_FUNCTION_NOT_SUPPORTED,
        CKR_OPERATION_NOT_INITIALIZED,
        CKR_PIN_EXPIRED,
        CKR_SESSION_CLOSED,
        CKR_SESSION_HANDLE_INVALID,
        CKR_SESSION_READ_ONLY_EXISTS,
        CKR_SLOT_ID_INVALID,
        CKR_TOKEN_NOT_PRESENT,
        CKR_USER_ALREADY_LOGGED_IN,
        CKR_USER_PIN_NOT_INITIALIZED,
        CKR_USER_TYPE_INVALID,
    };
    ath_err err = pkcs11_error_of(rv)->err;

    for (size_t i = 0; i < sizeof(clear) / sizeof(clear[0]); i++)
        if (rv == clear[i])
            return false;
    return !is_no(rv) && err != ATH_ERR_PIN_INCORRECT && err != ATH_ERR_PIN_LOCKED &&
           err != ATH_ERR_HSM_BUSY;
}

/* What a key may not have is no matter of a login, nor does one want another. Cancelled at a pad: a
 * person has said no. */
static ath_err
report(CK_RV rv, struct ath_slice pin, struct hsm_fault *fault)
{
    ath_err err = pkcs11_error_report(rv, doing_login, fault);

    fault->pin_in_doubt = leaves_doubt(rv);
    if (is_no(rv) && pin.len == 0)
        return ATH_ERR_USER_DENIED;
    return err == ATH_ERR_UNSUPPORTED_ALGORITHM || err == ATH_ERR_PIN_REQUIRED ? ATH_ERR_HSM_ERROR
                                                                               : err;
}

/* Any session will do: they share the login, and the first one may have been dropped. */
void
pkcs11_logout(struct pkcs11_token *token)
{
    const size_t count = sizeof(token->sessions) / sizeof(token->sessions[0]);
    CK_RV rv = CKR_SESSION_HANDLE_INVALID;

    for (size_t i = 0; i < count && rv != CKR_OK && rv != CKR_USER_NOT_LOGGED_IN; i++) {
        if (token->sessions[i] != CK_INVALID_HANDLE)
            rv = token->module->f->C_Logout(token->sessions[i]);
    }
    pkcs11_token_new_generation(token);
}

/* Who is logged in already is logged out first: a token judges no PIN then (PKCS #11 2.40, 5.6,
 * C_Login), and one that nobody has judged must not pass for right. */
static ath_err
login_step(struct pkcs11_token *token, CK_SESSION_HANDLE session, void *arg,
           struct hsm_fault *fault)
{
    const struct ath_slice *pin = arg;
    CK_RV rv;

    if (pkcs11_session_is_logged_in(token, session)) {
        if (pin->len == 0)
            return ATH_OK; /* the pad has asked */
        pkcs11_logout(token);
    }
    rv = log_in(token, session, CKU_USER, *pin);
    if (rv == CKR_USER_ALREADY_LOGGED_IN)
        return ATH_OK;
    if (rv == CKR_OK)
        pkcs11_token_new_generation(token);
    return report(rv, *pin, fault);
}

ath_err
pkcs11_login(struct pkcs11_token *token, struct ath_slice pin, struct hsm_fault *fault)
{
    ath_err err;

    if (token->info.login == HSM_LOGIN_NONE)
        return ATH_OK;
    if ((err = check_length(token, pin, fault)) != ATH_OK)
        return err;
    return pkcs11_session_run_once(token, PKCS11_MAIN_SESSION, login_step, &pin, fault);
}

ath_err
pkcs11_login_for_signature(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                           struct ath_slice pin, struct hsm_fault *fault)
{
    ath_err err;

    if ((err = check_length(token, pin, fault)) != ATH_OK)
        return err;
    return report(log_in(token, session, CKU_CONTEXT_SPECIFIC, pin), pin, fault);
}
