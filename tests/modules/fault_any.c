#include "fault_any.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SOFTHSM "/usr/lib/softhsm/libsofthsm2.so"
#define SLOTS_MAX 64

static CK_FUNCTION_LIST *real_list;
static pthread_once_t real_once = PTHREAD_ONCE_INIT;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
static pthread_rwlock_t sessions = PTHREAD_RWLOCK_INITIALIZER; /* read: used; written: ended */

static void
real_load(void)
{
    CK_C_GetFunctionList get;
    char path[1024];
    void *library;

    fault_read("module", path, sizeof(path));
    path[strcspn(path, "\n")] = '\0';
    library = dlopen(path[0] != '\0' ? path : SOFTHSM, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return;
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (get == NULL || get(&real_list) != CKR_OK)
        real_list = NULL;
}

CK_FUNCTION_LIST *
fault_real(void)
{
    (void)pthread_once(&real_once, real_load);
    return real_list;
}

static void
sleep_ms(unsigned long ms)
{
    const struct timespec time = {.tv_sec = (time_t)(ms / 1000),
                                  .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)nanosleep(&time, NULL);
}

static void
wait_until_lifted(struct fault_call *call)
{
    struct fault_rule rule;

    while (fault_has(call, "wait", &rule)) {
        sleep_ms(5);
        fault_read("fault", call->text, sizeof(call->text));
    }
}

static void
hang(void)
{
    for (;;)
        (void)pause();
}

static void
crash(const char *how)
{
    static int *volatile nowhere = (int *)0xdead000; /* a sanitizer's report names it */

    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "kill") == 0)
        (void)raise(SIGKILL);
    if (strcmp(how, "exit") == 0)
        _exit(0);
    *nowhere = 1;
}

static void
print(const char *where)
{
    static const char noise[] = "the fault module says hello\n";

    if (write(strcmp(where, "stdout") == 0 ? STDOUT_FILENO : STDERR_FILENO, noise,
              sizeof(noise) - 1) < 0)
        return; /* it was only noise */
}

static void
on_signal(int number)
{
    (void)number;
}

static void
take_signals(void)
{
    static const int numbers[] = {SIGSEGV, SIGTERM, SIGPIPE, SIGCHLD, SIGINT};
    struct sigaction action = {.sa_handler = on_signal};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        (void)sigaction(numbers[i], &action, NULL);
}

static void *
stay(void *nothing)
{
    hang();
    return nothing;
}

static void
leave_thread(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, stay, NULL) == 0)
        (void)pthread_detach(thread);
}

void
fault_hold_sessions(void)
{
    (void)pthread_rwlock_rdlock(&sessions);
}

void
fault_release_sessions(void)
{
    (void)pthread_rwlock_unlock(&sessions);
}

static void
forget_sessions(void)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;

    if (fault_real()->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
        return;
    (void)pthread_rwlock_wrlock(&sessions);
    for (CK_ULONG i = 0; i < count; i++)
        (void)fault_real()->C_CloseAllSessions(slots[i]);
    (void)pthread_rwlock_unlock(&sessions);
}

static void
log_out(CK_SESSION_HANDLE session)
{
    (void)fault_real()->C_Logout(session);
}

/* What only disturbs. */
static void
disturb(struct fault_call *call, CK_SESSION_HANDLE session)
{
    struct fault_rule rule;

    if (fault_has(call, "signals", &rule))
        take_signals();
    if (fault_has(call, "thread", &rule))
        (void)pthread_once(&thread_once, leave_thread);
    if (fault_has(call, "print", &rule))
        print(rule.words[0] != NULL ? rule.words[0] : "");
    if (fault_has(call, "close", &rule))
        (void)close((int)fault_number(&rule, 0));
    if (fault_has(call, "slow", &rule))
        sleep_ms(fault_number(&rule, 0));
    if (fault_has(call, "forget", &rule))
        forget_sessions();
    if (session != 0 && fault_has(call, "logout", &rule))
        log_out(session);
}

bool
fault_begin(struct fault_call *call, const char *function, int number, CK_SESSION_HANDLE session,
            CK_RV *ret_rv)
{
    struct fault_rule rule;

    fault_call_begin(call, function, number);
    if (call->text[0] == '\0')
        return false;
    disturb(call, session);
    if (fault_has(call, "hang", &rule))
        hang();
    wait_until_lifted(call);
    if (fault_has(call, "crash", &rule))
        crash(rule.words[0] != NULL ? rule.words[0] : "segv");
    if (session != 0 && fault_token_has(call, "away", &rule)) {
        forget_sessions();
        *ret_rv = rule.words[0] != NULL ? fault_number(&rule, 0) : CKR_DEVICE_REMOVED;
        return true;
    }
    if (!fault_has(call, "return", &rule))
        return false;
    *ret_rv = fault_number(&rule, 0);
    return true;
}

CK_SLOT_ID
fault_slot_shift(struct fault_call *call)
{
    struct fault_rule rule;

    return fault_token_has(call, "slots", &rule) ? fault_number(&rule, 0) : 0;
}
