/* What the texts of proc(5) say of a caller. */
#include <string.h>

#include "athd/caller.h"
#include "base/utf8.h"

#define START_FIELD 22u
#define PARENT_FIELD 4u
#define FIELD_BEHIND_NAME 3u

/* The number in a field behind the program's name; 0: not such a line. */
static uint64_t
number_of_stat(struct ath_slice stat, unsigned wanted)
{
    unsigned field = FIELD_BEHIND_NAME;
    uint64_t number = 0;
    size_t at = stat.len;

    while (at > 0 && stat.data[at - 1] != ')')
        at--;
    if (at == 0 || at == stat.len || stat.data[at++] != ' ')
        return 0;
    for (; at < stat.len && field < wanted; at++)
        field += stat.data[at] == ' ';
    for (; at < stat.len && stat.data[at] >= '0' && stat.data[at] <= '9'; at++) {
        if (number > (UINT64_MAX - 9) / 10)
            return 0;
        number = number * 10 + (uint64_t)(stat.data[at] - '0');
    }
    return number;
}

uint64_t
caller_start_of_stat(struct ath_slice stat)
{
    return number_of_stat(stat, START_FIELD);
}

pid_t
caller_parent_of_stat(struct ath_slice stat)
{
    uint64_t number = number_of_stat(stat, PARENT_FIELD);

    return number <= INT32_MAX ? (pid_t)number : 0;
}

enum caller_namespace
caller_namespace_of_status(struct ath_slice status)
{
    static const char name[] = "\nNSpid:";
    const uint8_t *found =
        status.len == 0 ? NULL : memmem(status.data, status.len, name, sizeof(name) - 1);
    const uint8_t *end = status.data + status.len;
    unsigned numbers = 0;
    bool is_number = false;

    for (found = found == NULL ? end : found + sizeof(name) - 1; found < end && *found != '\n';
         found++) {
        bool is_digit = *found >= '0' && *found <= '9';

        numbers += is_digit && !is_number;
        is_number = is_digit;
    }
    return numbers == 0 ? CALLER_UNSEEN : numbers == 1 ? CALLER_SAME : CALLER_OTHER;
}

/* ---- units ---- */

static bool
ends_with(struct ath_slice text, const char *end)
{
    size_t len = strlen(end);

    return text.len > len && memcmp(text.data + text.len - len, end, len) == 0;
}

static bool
is_unit(struct ath_slice part)
{
    return ends_with(part, ".service") || ends_with(part, ".scope");
}

static bool
is_user_manager(struct ath_slice part)
{
    return part.len > 5 && memcmp(part.data, "user@", 5) == 0 && ends_with(part, ".service");
}

/* The next component of the path, which *path loses; empty at its end. */
static struct ath_slice
next_part(struct ath_slice *path)
{
    struct ath_slice part;
    size_t len = 0;

    while (path->len > 0 && path->data[0] == '/')
        *path = ath_slice_of(path->data + 1, path->len - 1);
    while (len < path->len && path->data[len] != '/')
        len++;
    part = ath_slice_of(path->data, len);
    *path = ath_slice_of(path->data + len, path->len - len);
    return part;
}

static void
take(struct ath_slice part, char ret_name[CALLER_UNIT_SIZE])
{
    size_t len = part.len < CALLER_UNIT_SIZE ? part.len : CALLER_UNIT_SIZE - 1;

    if (len > 0)
        memcpy(ret_name, part.data, len);
    ret_name[len] = '\0';
    utf8_make_harmless(ret_name);
}

/* Slices, then the unit in them: what follows the unit is left in *path. */
static struct ath_slice
read_unit(struct ath_slice *path, char ret_slice[CALLER_UNIT_SIZE])
{
    struct ath_slice part = next_part(path);

    for (; ends_with(part, ".slice"); part = next_part(path))
        take(part, ret_slice);
    return is_unit(part) ? part : (struct ath_slice){0};
}

/* The path in the hierarchy of version 2 (cgroups(7)): where there are others too, theirs are lines
 * of their own, in front of it. No cgroup's name has a line feed. Empty: there is none. */
static struct ath_slice
unified_path(struct ath_slice cgroup)
{
    while (cgroup.len > 0) {
        const uint8_t *end = memchr(cgroup.data, '\n', cgroup.len);
        size_t len = end == NULL ? cgroup.len : (size_t)(end - cgroup.data);

        if (len >= 3 && memcmp(cgroup.data, "0::", 3) == 0)
            return ath_slice_of(cgroup.data + 3, len - 3);
        len += end == NULL ? 0 : 1;
        cgroup = ath_slice_of(cgroup.data + len, cgroup.len - len);
    }
    return cgroup;
}

void
caller_unit_of_cgroup(struct ath_slice cgroup, struct caller_unit *ret_unit)
{
    struct caller_unit users = {.is_users = true};
    struct ath_slice path = unified_path(cgroup), unit;

    *ret_unit = (struct caller_unit){.unit = ""};
    unit = read_unit(&path, ret_unit->slice);
    take(unit, ret_unit->unit);
    if (!is_user_manager(unit))
        return;
    unit = read_unit(&path, users.slice);
    if (unit.len > 0) {
        take(unit, users.unit);
        *ret_unit = users;
    }
}
