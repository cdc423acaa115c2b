#include "fault_rules.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct fault_counts private_counts; /* where the file cannot be had */
static struct fault_counts *counts = &private_counts;
static pthread_once_t counts_once = PTHREAD_ONCE_INIT;

void
fault_path(const char *name, char *ret_path, size_t size)
{
    const char *conf = getenv("SOFTHSM2_CONF");
    const char *slash = conf != NULL ? strrchr(conf, '/') : NULL;

    ret_path[0] = '\0';
    if (slash != NULL)
        (void)snprintf(ret_path, size, "%.*s/%s", (int)(slash - conf), conf, name);
}

void
fault_read(const char *name, char *ret_text, size_t size)
{
    char path[1024];
    ssize_t len = 0;
    int fd;

    fault_path(name, path, sizeof(path));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = read(fd, ret_text, size - 1);
        (void)close(fd);
    }
    ret_text[len > 0 ? len : 0] = '\0';
}

static void
map_counts(void)
{
    char path[1024];
    void *map;
    int fd;

    fault_path("fault.counts", path, sizeof(path));
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (ftruncate(fd, sizeof(*counts)) == 0) {
        map = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED)
            counts = map;
    }
    (void)close(fd);
}

struct fault_counts *
fault_counts(void)
{
    (void)pthread_once(&counts_once, map_counts);
    return counts;
}

void
fault_call_begin(struct fault_call *call, const char *function, int number)
{
    struct fault_counts *shared = fault_counts();

    call->function = function;
    call->number = number;
    /* first: who sees the count may take the rules away */
    fault_read("fault", call->text, sizeof(call->text));
    call->before = atomic_fetch_add(&shared->calls[number], 1);
    call->all_before = atomic_fetch_add(&shared->calls[FAULT_ALL], 1);
}

/* Splits the line; takes after= and times= out. */
static void
rule_split(struct fault_rule *rule, const char **ret_subject, const char **ret_action,
           uint64_t *ret_after, uint64_t *ret_times)
{
    char *save = NULL, *word = strtok_r(rule->line, " \t", &save);
    int count = 0;

    *ret_subject = *ret_action = "";
    *ret_after = 0;
    *ret_times = UINT64_MAX;
    memset(rule->words, 0, sizeof(rule->words));
    for (int i = 0; word != NULL; word = strtok_r(NULL, " \t", &save)) {
        if (strncmp(word, "after=", 6) == 0)
            *ret_after = strtoull(word + 6, NULL, 0);
        else if (strncmp(word, "times=", 6) == 0)
            *ret_times = strtoull(word + 6, NULL, 0);
        else if (i++ == 0)
            *ret_subject = word;
        else if (i == 2)
            *ret_action = word;
        else if (count < FAULT_WORDS)
            rule->words[count++] = word;
    }
}

static bool
is_due(struct fault_call *call, const char *subject, uint64_t after, uint64_t times)
{
    bool for_all = strcmp(subject, call->function) != 0;
    _Atomic uint64_t *fired = &fault_counts()->fired[for_all ? FAULT_ALL : call->number];

    if ((for_all ? call->all_before : call->before) < after)
        return false;
    if (atomic_fetch_add(fired, 1) < times)
        return true;
    atomic_fetch_sub(fired, 1);
    return false;
}

bool
fault_next(struct fault_call *call, const char *subject, const char *action, const char **cursor,
           struct fault_rule *ret_rule)
{
    const char *at = *cursor != NULL ? *cursor : call->text;

    while (*at != '\0') {
        const char *line_subject, *line_action;
        size_t len = strcspn(at, "\n");
        uint64_t after, times;

        (void)snprintf(ret_rule->line, sizeof(ret_rule->line), "%.*s", (int)len, at);
        at += at[len] == '\n' ? len + 1 : len;
        rule_split(ret_rule, &line_subject, &line_action, &after, &times);
        if (strcmp(line_subject, subject) == 0 && strcmp(line_action, action) == 0 &&
            is_due(call, subject, after, times)) {
            *cursor = at;
            return true;
        }
    }
    *cursor = at;
    return false;
}

bool
fault_has(struct fault_call *call, const char *action, struct fault_rule *ret_rule)
{
    const char *own = NULL, *all = NULL;

    return fault_next(call, call->function, action, &own, ret_rule) ||
           fault_next(call, "*", action, &all, ret_rule);
}

bool
fault_token_has(struct fault_call *call, const char *action, struct fault_rule *ret_rule)
{
    const char *cursor = NULL;

    return fault_next(call, "token", action, &cursor, ret_rule);
}

unsigned long
fault_number(const struct fault_rule *rule, int word)
{
    return rule->words[word] != NULL ? strtoul(rule->words[word], NULL, 0) : 0;
}

size_t
fault_bytes(const struct fault_rule *rule, int word, uint8_t *ret_bytes, size_t size)
{
    const char *text = rule->words[word] != NULL ? rule->words[word] : "";
    size_t len = 0;
    unsigned byte;

    while (len < size && sscanf(text + 2 * len, "%2x", &byte) == 1)
        ret_bytes[len++] = (uint8_t)byte;
    return len;
}
