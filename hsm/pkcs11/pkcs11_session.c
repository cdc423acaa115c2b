#include "hsm/pkcs11/pkcs11_session.h"

static const char doing_open[] = "open a session";

unsigned
pkcs11_session_of_worker(const struct pkcs11_token *token, unsigned worker)
{
    if (token->info.parallel <= 1 || worker >= PKCS11_WORKERS_MAX)
        return PKCS11_MAIN_SESSION;
    return 1 + worker;
}

static ath_err
open_session(struct pkcs11_token *token, CK_SESSION_HANDLE *session, struct hsm_fault *fault)
{
    const CK_SLOT_ID slot = token->place.slot;
    CK_RV rv;

    rv = token->module->f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                         session);
    if (rv == CKR_TOKEN_WRITE_PROTECTED)
        rv = token->module->f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, session);
    if (rv == CKR_OK && *session == CK_INVALID_HANDLE)
        return pkcs11_error_nonsense(doing_open, "opened a session without a handle", fault);
    if (rv != CKR_OK)
        *session = CK_INVALID_HANDLE;
    return pkcs11_error_report(rv, doing_open, fault);
}

static ath_err
use(struct pkcs11_token *token, unsigned index, struct hsm_fault *fault, CK_SESSION_HANDLE *ret)
{
    CK_SESSION_HANDLE *session = &token->sessions[index];
    ath_err err;

    if (*session == CK_INVALID_HANDLE && (err = open_session(token, session, fault)) != ATH_OK)
        return err;
    *ret = *session;
    return ATH_OK;
}

void
pkcs11_session_drop(struct pkcs11_token *token, unsigned index)
{
    CK_SESSION_HANDLE *session = &token->sessions[index];

    if (*session != CK_INVALID_HANDLE)
        (void)token->module->f->C_CloseSession(*session);
    *session = CK_INVALID_HANDLE;
}

/* That it is gone, though it can be seen: to the module it is another now. A new helper loads it
 * anew. Not where a PIN may have been tried: that is for nobody to be repeated. */
static ath_err
believe(ath_err err, bool once, const struct hsm_fault *fault)
{
    bool says_gone = fault->native == CKR_DEVICE_REMOVED || fault->native == CKR_TOKEN_NOT_PRESENT;

    return says_gone && !once ? ATH_ERR_HSM_UNAVAILABLE : err;
}

/* After a failure: what is there to do? ATH_OK: the step may run again. */
static ath_err
recover(struct pkcs11_token *token, unsigned index, bool again, ath_err err,
        struct hsm_fault *fault)
{
    enum pkcs11_action action = pkcs11_error_action(fault);
    struct hsm_fault gone = {0};

    if (action == PKCS11_ACTION_REPORT)
        return err;
    /* Only what ends in an error can wait: a lost session is no sign of a removal by itself. */
    if ((action == PKCS11_ACTION_CHECK && err != ATH_ERR_PIN_REQUIRED
             ? pkcs11_token_check_slowly(token, &gone)
             : pkcs11_token_check(token, &gone)) != ATH_OK) {
        gone.native = fault->native;
        *fault = gone;
        return ATH_ERR_HSM_UNAVAILABLE;
    }
    if (action == PKCS11_ACTION_NEW_SESSION)
        pkcs11_session_drop(token, index);
    if (action == PKCS11_ACTION_CHECK || !again)
        return err;
    *fault = (struct hsm_fault){0};
    return ATH_OK;
}

static ath_err
run(struct pkcs11_token *token, unsigned index, pkcs11_step step, void *arg, bool once,
    struct hsm_fault *fault)
{
    CK_SESSION_HANDLE session;
    bool again = !once;
    ath_err err;

    for (;; again = false) {
        if ((err = use(token, index, fault, &session)) == ATH_OK)
            err = step(token, session, arg, fault);
        if (err == ATH_OK || (err = recover(token, index, again, err, fault)) != ATH_OK)
            return believe(err, once, fault);
    }
}

ath_err
pkcs11_session_run(struct pkcs11_token *token, unsigned index, pkcs11_step step, void *arg,
                   struct hsm_fault *fault)
{
    return run(token, index, step, arg, false, fault);
}

static ath_err
try_session(struct pkcs11_token *token, CK_SESSION_HANDLE session, void *arg,
            struct hsm_fault *fault)
{
    CK_SESSION_INFO info;

    (void)arg;
    return pkcs11_error_report(token->module->f->C_GetSessionInfo(session, &info),
                               "use the session", fault);
}

ath_err
pkcs11_session_run_once(struct pkcs11_token *token, unsigned index, pkcs11_step step, void *arg,
                        struct hsm_fault *fault)
{
    ath_err err = run(token, index, try_session, NULL, false, fault);

    return err != ATH_OK ? err : run(token, index, step, arg, true, fault);
}

static bool
is_user(CK_STATE state)
{
    return state == CKS_RW_USER_FUNCTIONS || state == CKS_RO_USER_FUNCTIONS;
}

bool
pkcs11_session_is_logged_in(struct pkcs11_token *token, CK_SESSION_HANDLE session)
{
    CK_SESSION_INFO info = {.flags = 0};

    return token->module->f->C_GetSessionInfo(session, &info) == CKR_OK && is_user(info.state);
}

ath_err
pkcs11_session_need_login(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                          struct hsm_fault *fault)
{
    CK_SESSION_INFO info = {.flags = 0};
    CK_RV rv;

    if (token->info.login == HSM_LOGIN_NONE)
        return ATH_OK;
    if ((rv = token->module->f->C_GetSessionInfo(session, &info)) != CKR_OK)
        return pkcs11_error_report(rv, "use the session", fault);
    if (is_user(info.state))
        return ATH_OK;
    fault->native = 0;
    return why_set(&fault->why, ATH_ERR_PIN_REQUIRED, "the token \"%s\" wants its PIN",
                   token->info.label);
}
