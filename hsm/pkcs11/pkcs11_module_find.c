#include "hsm/pkcs11/pkcs11_module_find.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

#define CONFIG_MAX 8192u

/* The administrator's files come before the packages', as with p11-kit. */
static const char *const directories[] = {ATH_P11_SYSTEM_CONFIGS, ATH_P11_MODULE_CONFIGS};

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct ath_slice
trim(struct ath_slice text)
{
    while (text.len > 0 && is_blank(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* Up to the end of the line, which is taken off text with it. */
static struct ath_slice
take_line(struct ath_slice *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->len);
    struct ath_slice line = *text;

    if (end != NULL)
        line.len = (size_t)(end - text->data);
    text->data += line.len;
    text->len -= line.len;
    if (end != NULL) {
        text->data++;
        text->len--;
    }
    return line;
}

struct ath_slice
pkcs11_module_line(struct ath_slice text)
{
    while (text.len > 0) {
        struct ath_slice line = trim(take_line(&text)), name;
        const uint8_t *colon = line.len > 0 ? memchr(line.data, ':', line.len) : NULL;

        if (colon == NULL || line.data[0] == '#')
            continue;
        name = trim(ath_slice_of(line.data, (size_t)(colon - line.data)));
        if (ath_slice_is(name, "module"))
            return trim(ath_slice_of(colon + 1, line.len - (size_t)(colon - line.data) - 1));
    }
    return (struct ath_slice){NULL, 0};
}

/* Links are followed: it is the administrator who lays them there. ATH_ERR_NOT_FOUND, ATH_ERR_IO,
 * ATH_ERR_LIMIT_EXCEEDED. */
static ath_err
read_config(const char *path, uint8_t content[CONFIG_MAX], size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t len = 0;
    ssize_t n = 1;

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? ATH_ERR_NOT_FOUND : ATH_ERR_IO;
    while (len < CONFIG_MAX && n > 0) {
        n = read(fd, content + len, CONFIG_MAX - len);
        if (n > 0)
            len += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    fd_close(&fd);
    *ret_len = len;
    if (n < 0)
        return ATH_ERR_IO;
    return len == CONFIG_MAX ? ATH_ERR_LIMIT_EXCEEDED : ATH_OK;
}

static bool
put_path(const char *directory, struct ath_slice file, char ret_path[PKCS11_PATH_MAX])
{
    bool absolute = file.len > 0 && file.data[0] == '/';
    int len = snprintf(ret_path, PKCS11_PATH_MAX, "%s%s%.*s", absolute ? "" : directory,
                       absolute ? "" : "/", (int)file.len, (const char *)file.data);

    return len > 0 && (size_t)len < PKCS11_PATH_MAX && strlen(ret_path) == (size_t)len;
}

static ath_err
find_named(const char *name, struct why *why, char ret_path[PKCS11_PATH_MAX])
{
    uint8_t content[CONFIG_MAX];
    char config[PKCS11_PATH_MAX];
    struct ath_slice module;
    size_t len = 0;
    ath_err err = ATH_ERR_NOT_FOUND;

    for (size_t i = 0; err == ATH_ERR_NOT_FOUND && i < 2; i++) {
        (void)snprintf(config, sizeof(config), "%s/%s.module", directories[i], name);
        err = read_config(config, content, &len);
    }
    if (err == ATH_ERR_NOT_FOUND)
        return why_set(why, ATH_ERR_HSM_UNAVAILABLE,
                       "p11-kit knows no module of the name %s (there is no %s.module in %s or "
                       "%s); a file is named by module-path",
                       name, name, directories[0], directories[1]);
    module = err == ATH_OK ? pkcs11_module_line(ath_slice_of(content, len))
                           : (struct ath_slice){NULL, 0};
    if (module.len == 0 || !put_path(ATH_P11_MODULE_PATH, module, ret_path))
        return why_set(why, ATH_ERR_HSM_UNAVAILABLE,
                       "%s cannot be read or does not say which file the module is", config);
    return ATH_OK;
}

ath_err
pkcs11_module_find(const struct pkcs11_uri *uri, struct why *why, char ret_path[PKCS11_PATH_MAX])
{
    if (uri->module_name[0] != '\0')
        return find_named(uri->module_name, why, ret_path);
    (void)snprintf(ret_path, PKCS11_PATH_MAX, "%s",
                   uri->module_path[0] != '\0' ? uri->module_path : ATH_P11_PROXY);
    return ATH_OK;
}
