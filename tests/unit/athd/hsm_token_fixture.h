/* A pool with a fake token (fake_hsm_helper.c) and fake prompters, and jobs for it. */
#ifndef TESTS_HSM_TOKEN_FIXTURE_H
#define TESTS_HSM_TOKEN_FIXTURE_H

#include "fixture_daemon.h"

#include "athd/hsm_pool.h"

#define TOKEN_JOBS 80

struct token_result {
    int done, place;
    ath_err err;
    struct why why;
    unsigned tries_left, retry_after_s;
    char blob[64];
    struct request *request; /* ended with the job */
    struct hsm_job *victim;  /* cancelled when the job ends; NULL: none */
};

extern struct fixture token_fixture;
extern struct token_result token_results[TOKEN_JOBS];
extern int token_completions, token_requests_ended;

/* prompter: what fake_prompter does ("yes", "no", "silent", "gone", "deaf"). */
void token_begin(const char *uri, const char *prompter);
void token_end(void);
/* Between them, where the configuration is changed first, or athd is started anew. */
void token_start_pool(void);
void token_stop_pool(void);

/* Of job number `job`, for a key called "alice"; the time is 30 s. */
struct hsm_job_params token_params_of(size_t job);
/* Key 3 signs; its completion is not from inside. */
struct hsm_job *token_sign(size_t job, const char *message, bool wants_pin);
/* The same, and turns the loop until that job has ended, as `expected`. */
void token_sign_ends(size_t job, const char *message, bool wants_pin, ath_err expected);

/* How often `text` stands in a file of the test's: "seen" (requests that came to the helper),
 * "prompter". */
int token_count(const char *file, const char *text);
void token_run_until_count(const char *file, const char *text, int count);
void token_run_until_file_says(const char *file, const char *text);
bool token_status_has(const char *name, const char *value);
void token_run_until_status(const char *name, const char *value);
void token_run_until_state(const char *state);
void token_touch(const char *name);

#endif
