#include "hsm/hsm_dialogues.h"

#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/fd.h"

#define DESCRIPTION_MAX (HSM_WIRE_MAX_TEXT + 1024u)

ath_err
hsm_dialogues_init(struct hsm_dialogues *dialogues, int wake_fd)
{
    *dialogues = (struct hsm_dialogues){.lock = PTHREAD_MUTEX_INITIALIZER, .wake_fd = wake_fd};
    dialogues->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return dialogues->cancel_fd < 0 ? ATH_ERR_NOMEM : ATH_OK;
}

static void
end_thread(struct hsm_dialogue *dialogue)
{
    (void)pthread_join(dialogue->thread, NULL);
    dialogue->dialogues->count--;
}

void
hsm_dialogues_done(struct hsm_dialogues *dialogues)
{
    if (dialogues->cancel_fd >= 0)
        (void)eventfd_write(dialogues->cancel_fd, 1);
    while (dialogues->list != NULL) {
        struct hsm_dialogue *dialogue = dialogues->list;

        dialogues->list = dialogue->next;
        end_thread(dialogue);
        hsm_dialogue_free(dialogue);
    }
    fd_close(&dialogues->cancel_fd);
    pthread_mutex_destroy(&dialogues->lock);
}

void
hsm_dialogue_free(struct hsm_dialogue *dialogue)
{
    if (dialogue == NULL)
        return;
    fd_close(&dialogue->fd);
    ath_secret_done(&dialogue->pin);
    public_key_free(dialogue->public);
    ath_buf_done(&dialogue->message);
    free(dialogue->label);
    free(dialogue->description);
    free(dialogue->ttyname);
    free(dialogue->ttytype);
    free(dialogue->lc_ctype);
    free(dialogue);
}

static void *
ask(void *arg)
{
    struct hsm_dialogue *dialogue = arg;
    struct hsm_dialogues *dialogues = dialogue->dialogues;

    dialogue->err = pin_dialogue_run(dialogue->fd, dialogues->cancel_fd, &dialogue->question,
                                     &dialogue->why, &dialogue->pin);
    fd_close(&dialogue->fd); /* the prompter is free to go */
    pthread_mutex_lock(&dialogues->lock);
    dialogue->is_over = true;
    pthread_mutex_unlock(&dialogues->lock);
    (void)eventfd_write(dialogues->wake_fd, 1);
    return NULL;
}

/* What outlives the request. */
static ath_err
copy(struct hsm_dialogue *dialogue, const struct hsm_request *request, const struct hsm_info *info)
{
    const struct hsm_pin_request *pin = &request->pin;
    struct ath_buf description = {.max = DESCRIPTION_MAX};
    bool is_new = request->op == HSM_OP_KEY_CREATE;
    ath_err err;

    pin_question_put_description(&description, info, pin->text, is_new);
    dialogue->label = ath_slice_dup(request->name);
    dialogue->message.max = HSM_WIRE_MAX_MESSAGE;
    if (request->op == HSM_OP_SIGN)
        ath_buf_put_slice(&dialogue->message, request->data);
    dialogue->description = ath_slice_dup(ath_buf_slice(&description));
    dialogue->ttyname = ath_slice_dup(pin->ttyname);
    dialogue->ttytype = ath_slice_dup(pin->ttytype);
    dialogue->lc_ctype = ath_slice_dup(pin->lc_ctype);
    dialogue->question = (struct pin_question){.description = dialogue->description,
                                               .is_new = is_new,
                                               .timeout_s = pin->timeout_s,
                                               .ttyname = dialogue->ttyname,
                                               .ttytype = dialogue->ttytype,
                                               .lc_ctype = dialogue->lc_ctype};
    err = description.err != ATH_OK ? description.err : dialogue->message.err;
    ath_buf_done(&description);
    if (err == ATH_OK &&
        (dialogue->label == NULL || dialogue->description == NULL || dialogue->ttyname == NULL ||
         dialogue->ttytype == NULL || dialogue->lc_ctype == NULL))
        err = ATH_ERR_NOMEM;
    return err;
}

ath_err
hsm_dialogues_start(struct hsm_dialogues *dialogues, const struct hsm_request *request,
                    const struct hsm_info *info, const struct public_key *key, int fd,
                    struct why *why)
{
    struct hsm_dialogue *dialogue = NULL;
    ath_err err = ATH_ERR_NOMEM;

    if (dialogues->count == HSM_DIALOGUES_MAX) {
        err = why_set(why, ATH_ERR_HSM_BUSY, "%u questions for a PIN are open; answer them first",
                      HSM_DIALOGUES_MAX);
        goto out;
    }
    if ((dialogue = calloc(1, sizeof(*dialogue))) == NULL)
        goto out;
    dialogue->fd = -1;
    dialogue->dialogues = dialogues;
    dialogue->id = request->id;
    dialogue->op = request->op;
    dialogue->key = request->key;
    dialogue->public = public_key_ref(key);
    dialogue->keep = request->pin.keep;
    dialogue->algorithm = request->algorithm;
    if ((err = copy(dialogue, request, info)) != ATH_OK)
        goto out;
    dialogue->fd = fd;
    fd = -1;
    if (pthread_create(&dialogue->thread, NULL, ask, dialogue) != 0) {
        err = ATH_ERR_NOMEM;
        goto out;
    }
    dialogue->next = dialogues->list;
    dialogues->list = dialogue;
    dialogues->count++;
    dialogue = NULL;
out:
    hsm_dialogue_free(dialogue);
    fd_close(&fd);
    return err;
}

struct hsm_dialogue *
hsm_dialogues_take_over(struct hsm_dialogues *dialogues)
{
    struct hsm_dialogue **at = &dialogues->list, *dialogue;

    pthread_mutex_lock(&dialogues->lock);
    while (*at != NULL && !(*at)->is_over)
        at = &(*at)->next;
    pthread_mutex_unlock(&dialogues->lock);
    if ((dialogue = *at) == NULL)
        return NULL;
    *at = dialogue->next;
    end_thread(dialogue);
    return dialogue;
}
