/* The files behind the replay store. A file holds the uses whose time ends within one span, and is
 * named after the span's end: until-SECONDS.log, a use a line, "b64u(id) exp". Blocking: for
 * start-up and libuv's threads. */
#ifndef ATHD_REPLAY_FILE_H
#define ATHD_REPLAY_FILE_H

#include "base/buf.h"
#include "base/why.h"

#define REPLAY_ID_LEN 16 /* of SHA-256(kid NUL jti) */

struct replay_use {
    uint8_t id[REPLAY_ID_LEN];
    int64_t expires_at;
};

/* The end of the span a use belongs to: spans are longer the further away they are, so that there
 * are at most about 105 files, whatever exp a stranger writes. */
int64_t replay_file_span_end(int64_t expires_at, int64_t now);

/* Appends uses of one span and syncs. After ATH_ERR_IO the file is as it was. ATH_ERR_NOMEM. */
ath_err replay_file_append(const char *dir, int64_t span_end, const struct replay_use *uses,
                           size_t count) ATH_MUST_USE;

struct replay_reader {
    ath_err (*each)(void *ctx, const struct replay_use *use);
    /* a damaged file: ATH_ERR_PARSE in some lines, ATH_ERR_IO, ATH_ERR_LIMIT_EXCEEDED wholly */
    void (*damaged)(void *ctx, const char *name, ath_err err, const struct why *why);
    void *ctx;
};

/* Gives each use of each file to the reader; removes files whose span has ended; cuts torn last
 * lines. ATH_ERR_IO (the directory cannot be read), ATH_ERR_NOMEM, and what each returns. */
ath_err replay_file_load(const char *dir, int64_t now, const struct replay_reader *reader,
                         struct why *why) ATH_MUST_USE;
void replay_file_remove_ended(const char *dir, int64_t now);

#endif
