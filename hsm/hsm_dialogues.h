/* PIN questions that are open, each in a thread of its own, so that nobody else has to wait while a
 * person types. All functions are for one thread, the main one. */
#ifndef HSM_HSM_DIALOGUES_H
#define HSM_HSM_DIALOGUES_H

#include <pthread.h>

#include "hsm/hsm_pin_dialogue.h"

#define HSM_DIALOGUES_MAX 8u /* at once */

struct hsm_dialogue {
    /* the request that waits for the PIN */
    uint32_t id;
    enum hsm_op op;
    uint32_t key;
    struct public_key *public; /* of the key that was meant; NULL: none was */
    bool keep;
    struct ath_buf message; /* SIGN */
    uint8_t algorithm;      /* KEY_CREATE */
    char *label;            /* likewise */
    /* how it ended */
    ath_err err;
    struct why why;
    struct ath_secret pin;
    /* the thread's */
    struct hsm_dialogues *dialogues;
    pthread_t thread;
    int fd;
    struct pin_question question;
    char *description, *ttyname, *ttytype, *lc_ctype;
    bool is_over;
    struct hsm_dialogue *next;
};

struct hsm_dialogues {
    pthread_mutex_t lock;      /* is_over of each */
    struct hsm_dialogue *list; /* the main thread's */
    unsigned count;
    int wake_fd;   /* borrowed: eventfd(2), written when one is over */
    int cancel_fd; /* eventfd(2), readable when all are to end */
};

/* ATH_ERR_NOMEM. */
ath_err hsm_dialogues_init(struct hsm_dialogues *dialogues, int wake_fd) ATH_MUST_USE;
void hsm_dialogues_done(struct hsm_dialogues *dialogues); /* ends those that are open */

/* Asks for the PIN of a LOGIN or SIGN (of `key`, or NULL), or for a new one (KEY_CREATE), over fd,
 * which is ours from now on, also after a failure. ATH_ERR_HSM_BUSY: too many are open;
 * ATH_ERR_NOMEM; ATH_ERR_LIMIT_EXCEEDED. */
ath_err hsm_dialogues_start(struct hsm_dialogues *dialogues, const struct hsm_request *request,
                            const struct hsm_info *info, const struct public_key *key, int fd,
                            struct why *why) ATH_MUST_USE;

/* One that is over, the caller's to free; NULL: none. */
struct hsm_dialogue *hsm_dialogues_take_over(struct hsm_dialogues *dialogues);
void hsm_dialogue_free(struct hsm_dialogue *dialogue); /* wipes the PIN */

#endif
