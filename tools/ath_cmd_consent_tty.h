/*
 * The terminal of `ath consent`: keys without Enter and without echo while it is ours, as it was
 * whenever it is not: at the end, on every signal that ends or stops us, and on a crash. There is
 * one.
 */
#ifndef TOOLS_ATH_CMD_CONSENT_TTY_H
#define TOOLS_ATH_CMD_CONSENT_TTY_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

bool consent_tty_is_there(void);

/* Standard input and output must be terminals, and we in its foreground (else the kernel stops us,
 * as any program that changes it). Signals are handled from now on, SIGTSTP, SIGCONT and SIGWINCH
 * only inside consent_tty_wait. ATH_ERR_USAGE: no terminal; ATH_ERR_IO. */
ath_err consent_tty_begin(void) ATH_MUST_USE;
/* As it was before; without a begin, nothing. */
void consent_tty_end(void);

/* Stops us, as ctrl-Z does; returns when we go on, in the foreground. */
void consent_tty_stop(void);

/* Another program has it, as it was before us, until it is taken back; what was typed meanwhile and
 * not read is thrown away then. */
void consent_tty_lend(void);
void consent_tty_take_back(void);

/* For who starts other programs on it: notes how it is; puts it back as it was noted, for one that
 * was killed may have left it otherwise. Without a terminal, or in its background, nothing. */
void consent_tty_note(void);
void consent_tty_put_back(void);

/* Whether whole lines are read, with the terminal's own editing, or single keys. What was typed for
 * the other way is thrown away. */
void consent_tty_read_lines(bool lines);
/* Throws away what was typed until now. */
void consent_tty_flush(void);
/* Waits until it has all that was written. */
void consent_tty_drain(void);
/* Whether there is nothing to read; where that cannot be known, false. */
bool consent_tty_is_empty(void);
/* Its size; 0: not known. */
void consent_tty_size(size_t *ret_columns, size_t *ret_rows);

struct consent_tty_news {
    bool has_keys, has_other; /* there is something to read: here, from other_fd */
    bool is_to_stop;          /* ctrl-Z: consent_tty_stop is to be called */
    bool was_away;            /* we were stopped: draw anew */
};

/* Waits for keys, for other_fd, for at most timeout_ms (-1: without end). ATH_ERR_IO. */
ath_err consent_tty_wait(int other_fd, int timeout_ms,
                         struct consent_tty_news *ret_news) ATH_MUST_USE;
/* One read of what was typed. 0: a line that was not given (ctrl-D). ATH_ERR_NOT_FOUND: the
 * terminal has gone. */
ath_err consent_tty_read(char *bytes, size_t size, size_t *ret_len) ATH_MUST_USE;

#endif
