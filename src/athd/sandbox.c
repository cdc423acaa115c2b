#include "athd/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>

/* The leak checker of sanitized builds stops our threads with ptrace(2). */
#if defined(__SANITIZE_ADDRESS__)
#define LOOKS_AT_ITSELF 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LOOKS_AT_ITSELF 1
#endif
#endif
#ifndef LOOKS_AT_ITSELF
#define LOOKS_AT_ITSELF 0
#endif

/* Answered with EPERM, not with death: a library that only tries one of them goes on without. */
static const int refused[] = {
    /* other processes */
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kcmp),
    SCMP_SYS(pidfd_getfd),
    /* the kernel */
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(acct),
    SCMP_SYS(syslog),
    SCMP_SYS(quotactl),
    /* name spaces and mounts */
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fspick),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(open_by_handle_at),
    /* clocks and key rings */
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
};

static const int network_families[] = {AF_INET, AF_INET6, AF_PACKET, AF_VSOCK, AF_BLUETOOTH};

static bool
begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool
sandbox_uri_needs_network(const char *uri)
{
    return !begins_with(uri, "swtpm:") && !begins_with(uri, "tpm:device=") &&
           !begins_with(uri, "tpm:tcti=device") && strcmp(uri, "tpm:") != 0;
}

static bool
needs_network(const struct config *config)
{
    size_t i;

    for (i = 0; i < config->hsm_count; i++)
        if (sandbox_uri_needs_network(config->hsms[i].uri))
            return true;
    return false;
}

static int
add_rules(scmp_filter_ctx filter, bool network)
{
    uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
    size_t i;
    int result = 0;

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]) && result == 0; i++)
        result = seccomp_rule_add(filter, refuse, refused[i], 0);
    if (result == 0 && !LOOKS_AT_ITSELF)
        result = seccomp_rule_add(filter, refuse, SCMP_SYS(ptrace), 0);
    for (i = 0;
         i < sizeof(network_families) / sizeof(network_families[0]) && result == 0 && !network; i++)
        result = seccomp_rule_add(filter, refuse, SCMP_SYS(socket), 1,
                                  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)network_families[i], 0));
    return result;
}

ath_err
sandbox_enter(const struct config *config, struct why *why)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool network = needs_network(config);
    int result;

    if (filter == NULL)
        return ATH_ERR_NOMEM;
    result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (result == -EOPNOTSUPP) /* only prctl(2) to do it with (valgrind): this is the one thread */
        result = 0;
    /* no_new_privs is set by the load (SCMP_FLTATR_CTL_NNP); 2: the rules as a tree, not as a list
     */
    if (result == 0 && (result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2)) == 0 &&
        (result = add_rules(filter, network)) == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    if (result != 0)
        return why_set(why, ATH_ERR_IO, "the sandbox cannot be entered: %s", strerror(-result));
    log_debug("event=sandbox network=%s", network ? "for-helpers" : "none");
    return ATH_OK;
}
