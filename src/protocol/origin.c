#include "protocol/origin.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "protocol/protocol_limits.h"

#define HOST_MAX_LEN 253 /* RFC 1035 2.3.4 */
#define LABEL_MAX_LEN 63
#define HTTPS_PORT 443
#define HTTP_PORT 80

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
label_char_is_valid(char c)
{
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-';
}

static bool
name_is_host(const char *host)
{
    size_t label_len = 0;

    for (const char *c = host; *c != '\0'; c++) {
        if (*c == '.') {
            if (label_len == 0 || c[1] == '\0')
                return false;
            label_len = 0;
        } else if (!label_char_is_valid(*c) || ++label_len > LABEL_MAX_LEN) {
            return false;
        }
    }
    return label_len > 0;
}

/* Ends in a number: then browsers read it as an IPv4 address, and so it must be one. */
static bool
looks_like_ipv4(const char *host)
{
    const char *last = strrchr(host, '.');

    last = last == NULL ? host : last + 1;
    return is_digit(*last) && strspn(last, "0123456789") == strlen(last);
}

/* An IPv6 address has exactly one form here: the one inet_ntop writes (RFC 5952). */
static bool
ipv6_is_valid(const char *host, bool *ret_loopback)
{
    struct in6_addr address, loopback = IN6ADDR_LOOPBACK_INIT;
    char text[HOST_MAX_LEN + 1], again[INET6_ADDRSTRLEN];
    size_t len = strlen(host);

    if (len < 3 || len > sizeof(text) || host[0] != '[' || host[len - 1] != ']')
        return false;
    memcpy(text, host + 1, len - 2);
    text[len - 2] = '\0';
    if (inet_pton(AF_INET6, text, &address) != 1 ||
        inet_ntop(AF_INET6, &address, again, sizeof(again)) == NULL || strcmp(text, again) != 0)
        return false;
    *ret_loopback = memcmp(&address, &loopback, sizeof(address)) == 0;
    return true;
}

static bool
host_is_valid(const char *host, bool *ret_loopback)
{
    struct in_addr ipv4;

    if (host[0] == '[')
        return ipv6_is_valid(host, ret_loopback);
    if (looks_like_ipv4(host)) {
        if (inet_pton(AF_INET, host, &ipv4) != 1)
            return false;
        *ret_loopback = (ntohl(ipv4.s_addr) >> 24) == 127;
        return true;
    }
    *ret_loopback = strcmp(host, "localhost") == 0;
    return name_is_host(host);
}

static bool
port_is_valid(const char *port, unsigned default_port)
{
    unsigned value = 0;

    if (port[0] < '1' || port[0] > '9' || strlen(port) > 5)
        return false;
    for (; *port != '\0'; port++) {
        if (!is_digit(*port))
            return false;
        value = value * 10 + (unsigned)(*port - '0');
    }
    return value <= UINT16_MAX && value != default_port;
}

bool
origin_is_valid(const char *origin)
{
    static const char HTTPS[] = "https://", HTTP[] = "http://";
    bool secure = strncmp(origin, HTTPS, sizeof(HTTPS) - 1) == 0, loopback = false;
    char host[HOST_MAX_LEN + 1];
    const char *rest, *port;
    size_t len;

    if (strlen(origin) > ORIGIN_MAX_LEN)
        return false;
    if (!secure && strncmp(origin, HTTP, sizeof(HTTP) - 1) != 0)
        return false;
    rest = origin + (secure ? sizeof(HTTPS) : sizeof(HTTP)) - 1;
    port = strchr(rest[0] == '[' ? rest + strcspn(rest, "]") : rest, ':');
    len = port == NULL ? strlen(rest) : (size_t)(port - rest);
    if (len == 0 || len > HOST_MAX_LEN)
        return false;
    memcpy(host, rest, len);
    host[len] = '\0';
    if (!host_is_valid(host, &loopback) || (!secure && !loopback))
        return false;
    return port == NULL || port_is_valid(port + 1, secure ? HTTPS_PORT : HTTP_PORT);
}
