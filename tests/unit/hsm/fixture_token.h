/* A token of our own behind the real main loop, which runs in a thread; athd's side of its sockets,
 * and a person at a prompter. */
#ifndef TESTS_UNIT_HSM_FIXTURE_TOKEN_H
#define TESTS_UNIT_HSM_FIXTURE_TOKEN_H

#include "support.h"

#include <pthread.h>

#include "hsm/hsm_helper.h"

#define PATIENCE_MS 100000 /* less than ctest has */

/* The token: what it is told to do, and what it saw; all under its lock. Its PIN is "secret-" and
 * "7531" behind it, which stands nowhere in this program in one piece. */
struct token_state {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* told */
    ath_err open_err, sign_err, check_err, login_err;
    unsigned parallel;
    bool holds; /* signatures wait until it no longer does */
    bool bad_signature;
    bool pad;        /* its reader has a pad */
    bool no_reader;  /* why open_err */
    bool is_changed; /* its PIN is another one now */
    bool is_vague;   /* it does not say so, but fails */
    uint8_t tries_left;
    /* seen */
    unsigned opens, closes, checks, logins, logouts, signatures, pin_signatures;
    unsigned signing, most_signing, keys_open;
    unsigned violations; /* calls that may not be made now */
    unsigned wrong_pins;
    bool is_logged_in;
};

extern struct token_state token;
extern const struct hsm_ops token_ops;

/* True as soon as *number is at least wanted; false after PATIENCE_MS. Both read with the lock. */
bool token_wait(const unsigned *number, unsigned wanted);
void token_hold(bool holds);
unsigned token_read(const unsigned *number);

void token_reset(void);

/* Is it the PIN? Without having it in one piece. */
bool token_is_pin(struct ath_slice pin);
/* Writes the PIN, made from its parts, in `line` ("D " and LF around it); len in *ret_len. */
void token_put_pin_line(uint8_t line[32], size_t *ret_len);

/* ---- the helper ---- */

struct scene {
    struct hsm_helper_options options;
    int fd, prompter_fd;               /* athd's ends */
    int helper_fd, helper_prompter_fd; /* the helper's */
    pthread_t thread;
    bool is_running;
    ath_err result;
    struct ath_buf in, frame;
    struct public_key *key; /* of key 1 */
};

int scene_setup(void **state);    /* *state is a struct scene; the token is reset */
int scene_teardown(void **state); /* ends the helper; nothing may be left behind */

void scene_start(struct scene *scene);
ath_err scene_end(struct scene *scene); /* closes our ends; what the main loop returned */

void scene_ask(struct scene *scene, struct hsm_request request);
/* The next answer; its slices hold until the next call. */
struct hsm_response scene_take(struct scene *scene);
/* The next answer must be this one. */
struct hsm_response scene_answer(struct scene *scene, uint32_t id, ath_err err);
/* INFO (id 1) and KEY_OPEN (id 2, key 1) of "plain" or "card" (wants its PIN for each signature).
 */
void scene_open(struct scene *scene, const char *blob);
void scene_sign(struct scene *scene, uint32_t id, struct hsm_pin_request pin);
/* What scene_sign had signed. */
void scene_verify(const struct scene *scene, const struct hsm_response *response);

/* ---- a person at a prompter ---- */

enum person {
    PERSON_RIGHT,
    PERSON_SLOW, /* right, after SIGUSR1 */
    PERSON_WRONG,
    PERSON_CANCELS,
    PERSON_EMPTY,
    PERSON_SILENT,
    PERSON_GARBAGE,
    PERSON_DIES,
    PERSON_255,
    PERSON_256
};

/* Starts one (a process: what it holds is not in our memory), passes its connection for request
 * `id`. What it is told goes to *told, if that is not -1 (a pipe's end, closed here). */
pid_t scene_pass_prompter(struct scene *scene, uint32_t id, enum person person, int told_fd);
/* It must end by itself. */
void scene_wait_prompter(pid_t pid);

unsigned scene_count_fds(void);

/* Looks for the token's PIN in what of a process's memory can be written; counts those in the pages
 * of secrets and those elsewhere. (Told apart by "dd", left out of core dumps, which locked pages
 * are: the sanitizers' runtimes make mlock(2) do nothing.) False: we may not look. */
bool scene_find_pin(pid_t pid, unsigned *ret_locked, unsigned *ret_unlocked);

#endif
