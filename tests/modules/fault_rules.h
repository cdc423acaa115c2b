/*
 * What the fault module is to do wrong: lines of the file `fault` beside the file that
 * SOFTHSM2_CONF names (the one variable that surely reaches a helper), read anew at each call, so
 * that a test changes its mind while athd runs. A line is
 *
 *     FUNCTION ACTION [WORD ...] [after=N] [times=N]
 *
 * FUNCTION is a function's name, "*" for all, or "token" for what concerns several. after: the
 * first N calls go well; times: only that many go wrong; both counted, over all processes, since
 * the test cleared `fault.counts`.
 */
#ifndef MODULES_FAULT_RULES_H
#define MODULES_FAULT_RULES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULT_FILE_MAX 8192u
#define FAULT_WORDS 6
#define FAULT_COUNTERS 96
#define FAULT_ALL (FAULT_COUNTERS - 1) /* the counter of "*" and "token" */

/* The file `fault.counts`, mapped by every process that has the module. */
struct fault_counts {
    _Atomic uint64_t calls[FAULT_COUNTERS];
    _Atomic uint64_t fired[FAULT_COUNTERS];
    _Atomic uint64_t wrong_pins; /* since the last right one */
};

/* A call of a function of the module. */
struct fault_call {
    const char *function;
    int number;
    uint64_t before, all_before; /* calls of it, and of any, before this one */
    char text[FAULT_FILE_MAX];
};

struct fault_rule {
    char line[1024];
    const char *words[FAULT_WORDS]; /* after FUNCTION and ACTION; NULL: no more */
};

/* A path beside SOFTHSM2_CONF; "" when that is not set. */
void fault_path(const char *name, char *ret_path, size_t size);

/* What is in such a file, NUL-terminated; "" when there is none. */
void fault_read(const char *name, char *ret_text, size_t size);

struct fault_counts *fault_counts(void);

/* Counts it and reads the rules. */
void fault_call_begin(struct fault_call *call, const char *function, int number);

/* The next rule for `subject` with `action` that applies to this call, from *cursor on (NULL: from
 * the first). It counts as fired. */
bool fault_next(struct fault_call *call, const char *subject, const char *action,
                const char **cursor, struct fault_rule *ret_rule);

/* The first one for the call's function, or for "*". */
bool fault_has(struct fault_call *call, const char *action, struct fault_rule *ret_rule);

/* The first one for "token". */
bool fault_token_has(struct fault_call *call, const char *action, struct fault_rule *ret_rule);

/* A word as a number (decimal, 0x, negative: wraps); 0 where there is none. */
unsigned long fault_number(const struct fault_rule *rule, int word);

/* A word's hexadecimal digits as bytes; how many. "-" and nothing: none. */
size_t fault_bytes(const struct fault_rule *rule, int word, uint8_t *ret_bytes, size_t size);

#endif
