#include "fault_token.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault_any.h"

static void
change_text(struct fault_call *call, const char *action, CK_UTF8CHAR *text, size_t size)
{
    struct fault_rule rule;
    uint8_t bytes[64] = {0};

    if (!fault_has(call, action, &rule))
        return;
    (void)fault_bytes(&rule, 0, bytes, sizeof(bytes));
    memcpy(text, bytes, size);
}

static void
show_tries(struct fault_call *call, CK_TOKEN_INFO *info)
{
    uint64_t wrong = fault_counts()->wrong_pins, tries;
    struct fault_rule rule;

    if (!fault_token_has(call, "tries", &rule))
        return;
    tries = fault_number(&rule, 0);
    info->flags &= ~(CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
    if (wrong > 0)
        info->flags |= CKF_USER_PIN_COUNT_LOW;
    if (wrong + 1 == tries)
        info->flags |= CKF_USER_PIN_FINAL_TRY;
    if (wrong >= tries)
        info->flags |= CKF_USER_PIN_LOCKED;
}

void
fault_token_info(struct fault_call *call, CK_TOKEN_INFO *info)
{
    struct fault_rule rule;

    show_tries(call, info);
    if (fault_token_has(call, "pad", &rule))
        info->flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
    if (fault_has(call, "flags", &rule))
        info->flags = (info->flags | fault_number(&rule, 0)) & ~fault_number(&rule, 1);
    if (fault_has(call, "sessions", &rule))
        info->ulMaxSessionCount = fault_number(&rule, 0);
    change_text(call, "label", info->label, sizeof(info->label));
    change_text(call, "manufacturer", info->manufacturerID, sizeof(info->manufacturerID));
    change_text(call, "model", info->model, sizeof(info->model));
    change_text(call, "serial", info->serialNumber, sizeof(info->serialNumber));
}

/* With the PIN that was typed at the reader. */
static CK_RV
login_by_pad(CK_SESSION_HANDLE session, CK_USER_TYPE user)
{
    char typed[64];
    size_t len;

    fault_read("pad", typed, sizeof(typed));
    len = strcspn(typed, "\n");
    if (len == 0)
        return CKR_FUNCTION_CANCELED;
    return fault_real()->C_Login(session, user, (CK_BYTE_PTR)typed, len);
}

CK_RV
fault_token_login(struct fault_call *call, CK_SESSION_HANDLE session, CK_USER_TYPE user,
                  CK_BYTE_PTR pin, CK_ULONG pin_len)
{
    _Atomic uint64_t *wrong = &fault_counts()->wrong_pins;
    struct fault_rule tries, rule;
    CK_RV rv;

    if (fault_token_has(call, "tries", &tries) && *wrong >= fault_number(&tries, 0))
        return CKR_PIN_LOCKED;
    if (pin == NULL && fault_token_has(call, "pad", &rule))
        rv = login_by_pad(session, user);
    else
        rv = fault_real()->C_Login(session, user, pin, pin_len);
    if (rv == CKR_PIN_INCORRECT)
        atomic_fetch_add(wrong, 1);
    else if (rv == CKR_OK)
        *wrong = 0;
    return rv;
}

void
fault_token_note_login(CK_USER_TYPE user, CK_RV rv)
{
    char path[1024];
    int fd;

    fault_path("logins", path, sizeof(path));
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    (void)dprintf(fd, "%ld %lu 0x%lx\n", (long)getpid(), user, rv);
    (void)close(fd);
}
