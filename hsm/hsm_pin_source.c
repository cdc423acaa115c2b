#include "hsm/hsm_pin_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "hsm/wire/pkcs11_uri.h"

#define PIN_MAX 255u

struct source {
    char path[1024 + 64 + 2];
    bool is_credential;
};

static ath_err
find(const char *text, struct why *why, struct source *ret_source)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    struct pkcs11_uri uri;
    ath_err err;
    int len;

    if ((err = pkcs11_uri_parse(ath_slice_of_string(text), why, &uri)) != ATH_OK)
        return err;
    ret_source->is_credential = uri.pin_credential[0] != '\0';
    if (!ret_source->is_credential && uri.pin_file[0] == '\0')
        return why_set(why, ATH_ERR_INVALID_PARAMS, "the hsm's URI names no pin-source");
    if (!ret_source->is_credential) {
        (void)snprintf(ret_source->path, sizeof(ret_source->path), "%s", uri.pin_file);
        return ATH_OK;
    }
    if (dir == NULL || dir[0] != '/' || strchr(uri.pin_credential, '/') != NULL)
        return why_set(why, ATH_ERR_PIN_REQUIRED,
                       "there are no credentials here: athd's unit needs LoadCredential=%s:...",
                       uri.pin_credential);
    len = snprintf(ret_source->path, sizeof(ret_source->path), "%s/%s", dir, uri.pin_credential);
    if (len < 0 || (size_t)len >= sizeof(ret_source->path))
        return why_set(why, ATH_ERR_PIN_REQUIRED, "the path of the credential %s is too long",
                       uri.pin_credential);
    return ATH_OK;
}

/* May it hold a PIN? A credential may belong to a group: systemd shows it to the service's user by
 * an ACL, whose mask stands where the group's rights do (acl(5)), in a directory nobody else may
 * enter. */
static ath_err
check(const struct source *source, const struct stat *status, struct why *why)
{
    mode_t foreign = source->is_credential ? (S_IWGRP | S_IRWXO) : (S_IRWXG | S_IRWXO);

    if (!S_ISREG(status->st_mode))
        return why_set(why, ATH_ERR_PIN_REQUIRED, "the pin-source %s is no regular file",
                       source->path);
    if (status->st_uid != geteuid() && status->st_uid != 0)
        return why_set(
            why, ATH_ERR_PIN_REQUIRED,
            "the pin-source %s belongs to somebody else; it must be athd's user's or root's",
            source->path);
    if ((status->st_mode & foreign) != 0)
        return why_set(why, ATH_ERR_PIN_REQUIRED,
                       "others may read or write %s, which holds a PIN: chmod 600 it",
                       source->path);
    return ATH_OK;
}

static unsigned long long
ns(const struct timespec *time)
{
    return (unsigned long long)time->tv_sec * 1000000000u + (unsigned long long)time->tv_nsec;
}

/* A size over 64 bytes cannot be: the first four numbers have at most 61 digits (stat(2): a dev_t
 * has 44 bits that are used). What a stranger's file system would need more is cut. */
static void
put_stamp(const struct stat *status, char ret_stamp[HSM_WIRE_MAX_STAMP + 1])
{
    (void)snprintf(ret_stamp, HSM_WIRE_MAX_STAMP + 1, "%llx:%llx:%llx:%llx:%llx",
                   (unsigned long long)status->st_dev, (unsigned long long)status->st_ino,
                   ns(&status->st_mtim), ns(&status->st_ctim), (unsigned long long)status->st_size);
}

/* From the open file to locked memory, byte for byte; nothing is read twice. */
static ath_err
read_pin(int fd, const struct source *source, struct why *why, struct ath_secret *ret_pin)
{
    /* a line end and one byte more, which shows a longer file */
    struct ath_secret room = {NULL, 0};
    size_t len = 0;
    ssize_t n;
    ath_err err;

    if ((err = ath_secret_init(&room, PIN_MAX + 2)) != ATH_OK)
        return err;
    do {
        n = read(fd, room.data + len, room.len - len);
        len += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && len < room.len) || (n < 0 && errno == EINTR));
    if (len > 0 && room.data[len - 1] == '\n')
        len--;
    if (n < 0)
        err = why_set(why, ATH_ERR_PIN_REQUIRED, "the pin-source %s: %s", source->path,
                      strerror(errno));
    else if (len == 0 || len > PIN_MAX || memchr(room.data, '\0', len) != NULL)
        err = why_set(why, ATH_ERR_PIN_REQUIRED,
                      "the pin-source %s must hold a PIN of 1 to 255 bytes and nothing else",
                      source->path);
    else
        err = ath_secret_from(ath_slice_of(room.data, len), ret_pin);
    ath_secret_done(&room);
    return err;
}

ath_err
pin_source_read(const char *uri, struct ath_slice refused, struct why *why,
                struct ath_secret *ret_pin, char ret_stamp[HSM_WIRE_MAX_STAMP + 1])
{
    struct source source;
    struct stat status;
    ath_err err;
    int fd = -1;

    ret_stamp[0] = '\0';
    if ((err = find(uri, why, &source)) != ATH_OK)
        return err;
    fd = open(source.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &status) != 0) {
        err = why_set(why, ATH_ERR_PIN_REQUIRED, "the pin-source %s: %s", source.path,
                      errno == ELOOP ? "it is a symbolic link" : strerror(errno));
        goto out;
    }
    if ((err = check(&source, &status, why)) != ATH_OK)
        goto out;
    put_stamp(&status, ret_stamp);
    if (ath_slice_is(refused, ret_stamp)) {
        err = why_set(why, ATH_ERR_PIN_REQUIRED,
                      "the PIN in %s was refused before; correct the file", source.path);
        goto out;
    }
    err = read_pin(fd, &source, why, ret_pin);
out:
    fd_close(&fd);
    return err;
}
