#include "athd/batch.h"

#include <stdlib.h>

#include "athd/connection.h"

struct batch *
batch_new(void)
{
    struct batch *batch = calloc(1, sizeof(*batch));

    if (batch == NULL)
        return NULL;
    batch->references = 1;
    batch->answers.max = CONNECTION_ANSWER_MAX;
    return batch;
}

void
batch_ref(struct batch *batch)
{
    batch->references++;
}

void
batch_put(struct batch *batch, struct connection *connection, struct ath_slice answer)
{
    size_t before = batch->answers.len;

    ath_buf_put_byte(&batch->answers, batch->answers.len == 0 ? '[' : ',');
    ath_buf_put_slice(&batch->answers, answer);
    if (connection != NULL)
        connection_note_batched(connection, batch->answers.len - before);
}

void
batch_release(struct batch *batch, struct connection *connection)
{
    if (--batch->references > 0)
        return;
    if (connection != NULL)
        connection->batched -= batch->answers.len;
    if (connection != NULL && batch->answers.err != ATH_OK) {
        connection_answer_error(connection, NULL, NULL, batch->answers.err, NULL);
    } else if (connection != NULL && batch->answers.len > 0) {
        ath_buf_put_byte(&batch->answers, ']');
        connection_send(connection, &batch->answers);
    }
    ath_buf_done(&batch->answers);
    free(batch);
}
