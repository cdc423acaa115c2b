#include "policy/policy_match.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#define DAY_MIN 1440u

/* ---- names and scopes ---- */

/* A `*` that somebody asks for may mean everything to whoever reads it: it is no one character. */
static bool
is_for_one(char pattern, char text, bool by_path)
{
    return pattern == '?' ? text != '\0' && text != '*' && (!by_path || text != '/')
                          : pattern == text;
}

/* The last `*` is the only one that is ever stretched: what came before it has found its place. */
bool
policy_glob(const char *pattern, const char *text, bool by_path)
{
    const char *star = NULL, *stretched = NULL;

    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            stretched = text;
        } else if (*pattern != '\0' && is_for_one(*pattern, *text, by_path)) {
            pattern++;
            text++;
        } else if (star != NULL && (!by_path || *stretched != '/')) {
            pattern = star + 1;
            text = ++stretched;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool
has_wildcard(const char *pattern)
{
    return strpbrk(pattern, "*?") != NULL;
}

/* Without wildcards it is a question of fitting; else a prefix and a star are compared. */
bool
policy_glob_covers(const char *outer, const char *inner, bool by_path)
{
    size_t len = strcspn(outer, "*?");

    if (strcmp(outer, inner) == 0 || !has_wildcard(inner))
        return policy_glob(outer, inner, by_path) || strcmp(outer, inner) == 0;
    if (strcmp(outer + len, "*") != 0 || strncmp(outer, inner, len) != 0 ||
        strcspn(inner, "*?") < len)
        return false;
    return !by_path || strchr(inner + len, '/') == NULL;
}

bool
policy_globs_are_apart(const char *a, const char *b)
{
    size_t a_len = strcspn(a, "*?"), b_len = strcspn(b, "*?");

    if (a[a_len] == '\0' && b[b_len] == '\0')
        return strcmp(a, b) != 0;
    return strncmp(a, b, a_len < b_len ? a_len : b_len) != 0 ||
           (a[a_len] == '\0' && a_len < b_len) || (b[b_len] == '\0' && b_len < a_len);
}

/* ---- audiences ---- */

static const struct {
    const char *scheme;
    uint16_t port;
} ports[] = {{"https", 443}, {"http", 80}, {"wss", 443}, {"ws", 80}};

static bool
is_word(struct ath_slice a, struct ath_slice b)
{
    return a.len == b.len &&
           (a.len == 0 || strncasecmp((const char *)a.data, (const char *)b.data, a.len) == 0);
}

static bool
is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static uint16_t
usual_port(struct ath_slice scheme)
{
    for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
        if (is_word(scheme, ath_slice_of_string(ports[i].scheme)))
            return ports[i].port;
    return 0;
}

/* ":443" or nothing. */
static bool
read_port(struct ath_slice text, struct policy_audience *audience)
{
    unsigned port = 0;

    audience->port = usual_port(audience->scheme);
    if (text.len == 0)
        return true;
    if (text.data[0] != ':' || text.len < 2 || text.len > 6 || text.data[1] == '0')
        return false;
    for (size_t i = 1; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text.data[i] - '0');
    }
    audience->port = (uint16_t)port;
    return port <= UINT16_MAX;
}

/* A registered name, an IPv4 address, or an IPv6 one in brackets; no user before it. */
static bool
read_authority(struct ath_slice text, struct policy_audience *audience)
{
    bool is_v6 = text.len > 0 && text.data[0] == '[';
    size_t len = 0;

    for (; len < text.len; len++) {
        uint8_t c = text.data[len];

        if (is_v6 ? c == ']' : c == ':')
            break;
        if (!is_alnum(c) && c != '.' &&
            !(is_v6 ? c == ':' || (c == '[' && len == 0) : c == '-' || c == '_'))
            return false;
    }
    if (is_v6 && len++ == text.len)
        return false;
    audience->host = ath_slice_of(text.data, len);
    return len > 0 && read_port(ath_slice_of(text.data + len, text.len - len), audience);
}

/* "." or "..", also with parameters (RFC 3986, 3.3), which some servers cut off. */
static bool
is_dots(struct ath_slice path)
{
    size_t dots = 0;

    while (dots < path.len && dots < 2 && path.data[dots] == '.')
        dots++;
    return dots > 0 && (dots == path.len || path.data[dots] == '/' || path.data[dots] == ';');
}

static bool
is_crooked(struct ath_slice path)
{
    for (size_t i = 0; i < path.len; i++) {
        const uint8_t *c = path.data + i;
        size_t left = path.len - i;

        if (*c == '\\' || *c <= ' ' || *c >= 0x7f)
            return true;
        if (*c == '%' && left > 2 && (c[1] == '2' || c[1] == '5') &&
            strchr("eEfF5cC", c[2]) != NULL)
            return true; /* an encoded dot, slash, backslash or percent sign */
        if (*c == '/' && left > 1 && c[1] == '/')
            return true;
        if (*c == '/' && is_dots(ath_slice_of(c + 1, left - 1)))
            return true;
    }
    return false;
}

static bool
read_url(const char *text, struct policy_audience *audience)
{
    const char *colon = strstr(text, "://"), *rest;
    size_t len;

    if (colon == NULL || colon == text)
        return false;
    for (const char *c = text; c < colon; c++)
        if (!is_alnum((uint8_t)*c) && strchr("+-.", *c) == NULL)
            return false;
    audience->scheme = ath_slice_of(text, (size_t)(colon - text));
    rest = colon + 3;
    len = strcspn(rest, "/?#");
    if (!read_authority(ath_slice_of(rest, len), audience))
        return false;
    rest += len;
    audience->path = ath_slice_of(rest, strcspn(rest, "?#"));
    audience->is_crooked = is_crooked(audience->path);
    audience->kind = POLICY_AUDIENCE_URL;
    return true;
}

void
policy_audience_read(const char *text, struct policy_audience *ret_audience)
{
    *ret_audience = (struct policy_audience){.kind = POLICY_AUDIENCE_EXACT};
    if (!read_url(text, ret_audience))
        *ret_audience = (struct policy_audience){.kind = POLICY_AUDIENCE_EXACT,
                                                 .text = ath_slice_of_string(text)};
}

/* A star for the first labels: read as without it. */
static const char *
read_below(const char *text, const char *star, struct policy_audience *pattern)
{
    struct ath_slice scheme = ath_slice_of(text, (size_t)(star - text) - 3);
    size_t len = strcspn(star + 1, "/?#");

    pattern->scheme = scheme;
    if (star[1] != '.' || !read_authority(ath_slice_of(star + 2, len - (len > 0)), pattern))
        return "is no URL";
    pattern->host = ath_slice_of(star + 1, pattern->host.len + 1); /* with the dot */
    pattern->path = ath_slice_of_string(star + 1 + len);
    pattern->is_below = true;
    pattern->kind = POLICY_AUDIENCE_URL;
    return NULL;
}

const char *
policy_audience_read_pattern(const char *text, struct policy_audience *ret_pattern)
{
    const char *star = strchr(text, '*'), *wrong = NULL;

    *ret_pattern = (struct policy_audience){.kind = POLICY_AUDIENCE_ANY};
    if (strcmp(text, "*") == 0)
        return NULL;
    if (star != NULL && star[1] == '\0' && strncmp(text, "did:", 4) == 0) {
        if (star[-1] != ':') /* did:web:a.example* would be did:web:a.example.evil as well */
            return "may end in * only behind a colon (did:web:*)";
        ret_pattern->kind = POLICY_AUDIENCE_BEGIN;
        ret_pattern->text = ath_slice_of(text, (size_t)(star - text));
        return NULL;
    }
    if (star != NULL) {
        if (strchr(star + 1, '*') != NULL || star < text + 4 || strncmp(star - 3, "://", 3) != 0)
            return "may have a * alone, for the first labels of a host (https://*.example.com), or "
                   "at "
                   "the end of a DID";
        wrong = read_below(text, star, ret_pattern);
    } else {
        policy_audience_read(text, ret_pattern);
    }
    if (wrong == NULL && ret_pattern->kind == POLICY_AUDIENCE_EXACT && strstr(text, "://") != NULL)
        return "is no URL";
    if (wrong == NULL && ret_pattern->kind == POLICY_AUDIENCE_URL &&
        (strpbrk(text, "?#") != NULL || is_crooked(ret_pattern->path)))
        return "must be a URL without query, fragment, \"..\" and encoded dots and slashes";
    return wrong;
}

static bool
is_path_below(struct ath_slice prefix, struct ath_slice path)
{
    if (prefix.len > 0 && prefix.data[prefix.len - 1] == '/')
        prefix.len--; /* "/api/" and "/api" are one */
    return prefix.len == 0 ||
           (path.len >= prefix.len && memcmp(path.data, prefix.data, prefix.len) == 0 &&
            (path.len == prefix.len || path.data[prefix.len] == '/'));
}

static bool
is_host_below(struct ath_slice end, struct ath_slice host)
{
    return host.len > end.len &&
           is_word(end, ath_slice_of(host.data + (host.len - end.len), end.len));
}

static bool
is_url_within(const struct policy_audience *pattern, const struct policy_audience *url)
{
    return pattern->port == url->port && /* the host next: in it most differ */
           (pattern->is_below ? is_host_below(pattern->host, url->host)
                              : is_word(pattern->host, url->host)) &&
           is_word(pattern->scheme, url->scheme) && (pattern->path.len <= 1 || !url->is_crooked) &&
           is_path_below(pattern->path, url->path);
}

bool
policy_audience_fits(const struct policy_audience *pattern, const struct policy_audience *audience)
{
    switch (pattern->kind) {
    case POLICY_AUDIENCE_ANY:
        return true;
    case POLICY_AUDIENCE_URL:
        return audience->kind == POLICY_AUDIENCE_URL && is_url_within(pattern, audience);
    case POLICY_AUDIENCE_BEGIN:
        return audience->kind == POLICY_AUDIENCE_EXACT && audience->text.len > pattern->text.len &&
               memcmp(audience->text.data, pattern->text.data, pattern->text.len) == 0;
    default:
        return audience->kind == POLICY_AUDIENCE_EXACT &&
               ath_slice_equal(pattern->text, audience->text);
    }
}

bool
policy_audience_covers(const struct policy_audience *outer, const struct policy_audience *inner)
{
    if (outer->kind == POLICY_AUDIENCE_ANY)
        return true;
    if (inner->kind == POLICY_AUDIENCE_ANY || (inner->is_below && !outer->is_below))
        return false;
    if (inner->kind == POLICY_AUDIENCE_BEGIN)
        return outer->kind == POLICY_AUDIENCE_BEGIN && inner->text.len >= outer->text.len &&
               memcmp(inner->text.data, outer->text.data, outer->text.len) == 0;
    if (inner->is_below && is_word(inner->host, outer->host))
        return is_word(inner->scheme, outer->scheme) && inner->port == outer->port &&
               is_path_below(outer->path, inner->path);
    return policy_audience_fits(outer, inner);
}

/* ---- hours ---- */

static bool
read_minutes(const char *text, uint16_t *ret_minutes)
{
    unsigned hour, minute;

    for (size_t i = 0; i < 5; i++)
        if (i == 2 ? text[i] != ':' : text[i] < '0' || text[i] > '9')
            return false;
    hour = (unsigned)(text[0] - '0') * 10 + (unsigned)(text[1] - '0');
    minute = (unsigned)(text[3] - '0') * 10 + (unsigned)(text[4] - '0');
    *ret_minutes = (uint16_t)(hour * 60 + minute);
    return minute < 60 && *ret_minutes <= DAY_MIN;
}

bool
policy_hours_read(const char *text, struct policy_hours *ret_hours)
{
    struct policy_hours hours = {.is_given = true, .days = POLICY_DAYS_ALL};

    if (strlen(text) != 11 || text[5] != '-' || !read_minutes(text, &hours.from) ||
        !read_minutes(text + 6, &hours.to) || hours.from == DAY_MIN || hours.from == hours.to)
        return false;
    *ret_hours = hours;
    return true;
}

static int
day_of(const char *text, size_t len)
{
    static const char names[] = "sunmontuewedthufrisat";

    for (int day = 0; len == 3 && day < 7; day++)
        if (memcmp(names + (size_t)day * 3, text, 3) == 0)
            return day;
    return -1;
}

bool
policy_days_read(const char *text, uint8_t *days)
{
    size_t len = strcspn(text, "-");
    int first = day_of(text, len), last = first;

    if (text[len] == '-')
        last = day_of(text + len + 1, strlen(text + len + 1));
    if (first < 0 || last < 0)
        return false;
    for (int day = first;; day = (day + 1) % 7) {
        *days |= (uint8_t)(1u << day);
        if (day == last)
            return true;
    }
}

static bool
has_minute(const struct policy_hours *hours, unsigned day, unsigned minute)
{
    unsigned today = 1u << day, yesterday = 1u << (day + 6) % 7;

    if (!hours->is_given)
        return true;
    if (hours->from < hours->to)
        return minute >= hours->from && minute < hours->to && (hours->days & today) != 0;
    return (minute >= hours->from && (hours->days & today) != 0) ||
           (minute < hours->to && (hours->days & yesterday) != 0);
}

bool
policy_hours_hold(const struct policy_hours *hours, int64_t now)
{
    time_t at = (time_t)now;
    struct tm local;

    if (!hours->is_given)
        return true;
    return localtime_r(&at, &local) != NULL &&
           has_minute(hours, (unsigned)local.tm_wday,
                      (unsigned)local.tm_hour * 60 + (unsigned)local.tm_min);
}

/* Minute by minute of a week: rare, and beyond doubt. */
bool
policy_hours_cover(const struct policy_hours *outer, const struct policy_hours *inner)
{
    for (unsigned day = 0; day < 7; day++)
        for (unsigned minute = 0; minute < DAY_MIN; minute++)
            if (has_minute(inner, day, minute) && !has_minute(outer, day, minute))
                return false;
    return true;
}
