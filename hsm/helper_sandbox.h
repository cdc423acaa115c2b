/* What the helper may still ask of the kernel once its hardware is open (seccomp(2)). */
#ifndef HSM_HELPER_SANDBOX_H
#define HSM_HELPER_SANDBOX_H

/*
 * From here on no program is started, nobody traced, no kernel interface used that a key holder has
 * no business with: those end the process. For "swtpm:" and "tpm:device=" everything else that is
 * not needed gives EPERM, sockets and opening files included; TCTIs and PKCS#11 modules are other
 * people's code, may dial and open, and get only the first rule. A kernel that has no seccomp is
 * logged. Absent from sanitizer builds, whose runtime needs ptrace.
 */
void helper_sandbox_enter(const char *uri);

#endif
