/* A swtpm for tests, in a directory of its own, with a TCTI in between that can lie. */
#ifndef TESTS_FIXTURE_TPM_H
#define TESTS_FIXTURE_TPM_H

#include "hsm/tpm/tpm_backend.h"
#include "hsm/tpm/tpm_key.h"
#include "hsm/tpm/tpm_sign.h"
#include "support.h"

/* What the TCTI does to the answer of the next command with code `command` (0: of any). */
enum fault_kind {
    FAULT_NONE,
    FAULT_FLIP,         /* one bit, `at` bytes from the end */
    FAULT_SHORT,        /* `at` bytes less than the header says */
    FAULT_LONG,         /* one byte more */
    FAULT_BARE_SUCCESS, /* ten bytes: tag without sessions, code 0 */
    FAULT_CODE,         /* the TPM never sees the command; this code is the answer */
    FAULT_GONE,         /* no answer any more */
};

struct fault_tcti {
    TSS2_TCTI_CONTEXT_COMMON_V2 common;
    TSS2_TCTI_CONTEXT *inner; /* borrowed: the fixture's */
    enum fault_kind kind;
    TPM2_CC command;
    unsigned times; /* how often */
    unsigned at;
    uint32_t code;
    bool answering;          /* with `code`, now */
    unsigned sent;           /* commands, all */
    unsigned sent_of[0x200]; /* by command code */
    uint8_t last[4096];      /* the last command */
    size_t last_len;
    struct ath_slice needle; /* looked for in all that is sent; empty: nothing */
    unsigned needle_seen;
};

struct fixture {
    char dir[64];
    struct swtpm *swtpm;
    TSS2_TCTI_CONTEXT *inner; /* the way to swtpm, outlives the back end */
    struct fault_tcti *fault; /* borrowed: freed with the back end's transport */
    struct hsm *hsm;
    struct tpm_device *device; /* borrowed: hsm's */
};

/* A new directory with an empty state (so that no swtpm_setup runs), a swtpm, and a back end on it.
 */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Only the swtpm; the back end is opened by fixture_open. */
int fixture_setup_closed(void **state);
ath_err fixture_open(struct fixture *fixture, struct hsm_fault *fault);
void fixture_close(struct fixture *fixture);

/* Ends swtpm as it is, and starts it again from its directory (with a back end after
 * fixture_open). */
void fixture_stop_tpm(struct fixture *fixture);
void fixture_start_tpm(struct fixture *fixture);

/* The code of the last command any TCTI of this program has sent. */
TPM2_CC fixture_last_command(void);

/* How many handles of the range the TPM has, asked behind the back end's back (which must be closed
 * or idle). */
unsigned fixture_count_handles(struct fixture *fixture, TPM2_HANDLE first);

/* The context to talk to the TPM directly; freed by tpm_context_free. */
struct tpm_context *fixture_context(struct fixture *fixture);

struct hsm_key *fixture_key(struct fixture *fixture, enum key_algorithm algorithm);
struct hsm_key *fixture_audit_key(struct fixture *fixture);
ath_err fixture_sign(struct fixture *fixture, struct hsm_key *key, struct hsm_fault *fault);
/* Signs and verifies; fails the test if either fails. */
void fixture_must_sign(struct fixture *fixture, struct hsm_key *key);

void make_temp_dir(char ret_dir[64]);
void remove_tree(const char *dir);

#endif
