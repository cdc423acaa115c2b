#include "base/secret.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"

/*
 * Slots of 32 bytes to 2 KiB (powers of two) are cut from 16 KiB slabs of locked pages; a freed
 * slot goes to its size's free list and its slab stays, so the locked memory is what was needed at
 * once at most. Larger secrets get pages of their own, which are given back.
 */
#define SLOT_MIN 32u
#define SLOT_MAX 2048u
#define SLOT_SIZES 7
#define SLAB_SIZE 16384u

struct slot {
    struct slot *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot *free_slots[SLOT_SIZES];
static bool unlocked_is_allowed, unlocked_was_logged;

/* The caller holds the lock. */
static bool
may_stay_unlocked(void)
{
    if (unlocked_is_allowed && !unlocked_was_logged) {
        log_warning("event=secrets_unlocked hint=\"memory for secrets cannot be locked and may be "
                    "swapped out; raise RLIMIT_MEMLOCK\"");
        unlocked_was_logged = true;
    }
    return unlocked_is_allowed;
}

/* Zeroed pages, locked and left out of core dumps; NULL if that cannot be had. */
static void *
pages_new(size_t len)
{
    void *pages = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED)
        return NULL;
    if (madvise(pages, len, MADV_DONTDUMP) != 0 ||
        (mlock(pages, len) != 0 && !may_stay_unlocked())) {
        munmap(pages, len);
        return NULL;
    }
    return pages;
}

static size_t
slot_size(unsigned index)
{
    return (size_t)SLOT_MIN << index;
}

static unsigned
slot_index(size_t len)
{
    unsigned index = 0;

    while (slot_size(index) < len)
        index++;
    return index;
}

static bool
slab_add(unsigned index)
{
    uint8_t *slab = pages_new(SLAB_SIZE);
    size_t at;

    if (slab == NULL)
        return false;
    for (at = 0; at < SLAB_SIZE; at += slot_size(index)) {
        struct slot *slot = (struct slot *)(void *)(slab + at);

        slot->next = free_slots[index];
        free_slots[index] = slot;
    }
    return true;
}

static void *
slot_new(unsigned index)
{
    struct slot *slot;

    if (free_slots[index] == NULL && !slab_add(index))
        return NULL;
    slot = free_slots[index];
    free_slots[index] = slot->next;
    slot->next = NULL;
    return slot;
}

ath_err
ath_secret_init(struct ath_secret *secret, size_t len)
{
    *secret = (struct ath_secret){NULL, 0};
    if (len == 0 || len > ATH_SECRET_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    pthread_mutex_lock(&lock);
    secret->data = len > SLOT_MAX ? pages_new(len) : slot_new(slot_index(len));
    pthread_mutex_unlock(&lock);
    if (secret->data == NULL)
        return ATH_ERR_NOMEM;
    secret->len = len;
    return ATH_OK;
}

ath_err
ath_secret_from(struct ath_slice from, struct ath_secret *ret_secret)
{
    struct ath_secret secret;
    ath_err err = ath_secret_init(&secret, from.len);

    if (err != ATH_OK)
        return err;
    memcpy(secret.data, from.data, from.len);
    *ret_secret = secret;
    return ATH_OK;
}

void
ath_secret_done(struct ath_secret *secret)
{
    if (secret->data != NULL && secret->len > SLOT_MAX) {
        explicit_bzero(secret->data, secret->len);
        munmap(secret->data, secret->len);
    } else if (secret->data != NULL) {
        unsigned index = slot_index(secret->len);
        struct slot *slot = (struct slot *)(void *)secret->data;

        explicit_bzero(secret->data, slot_size(index));
        pthread_mutex_lock(&lock);
        slot->next = free_slots[index];
        free_slots[index] = slot;
        pthread_mutex_unlock(&lock);
    }
    *secret = (struct ath_secret){NULL, 0};
}

bool
bytes_equal_secret(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *bytes_a = a, *bytes_b = b;
    uint8_t difference = 0;
    size_t i;

    for (i = 0; i < len; i++)
        difference |= (uint8_t)(bytes_a[i] ^ bytes_b[i]);
    return difference == 0;
}

bool
ath_secret_equal(const struct ath_secret *a, struct ath_slice b)
{
    return a->len == b.len && bytes_equal_secret(a->data, b.data, b.len);
}

void
secret_protect_process(void)
{
    struct rlimit none = {0, 0};

    /* Neither can fail for a process's own values; without dumpable, ptrace and /proc/PID/mem are
     * closed to other processes of this uid as well (prctl(2), ptrace(2)). */
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void
secret_allow_unlocked(void)
{
    pthread_mutex_lock(&lock);
    unlocked_is_allowed = true;
    pthread_mutex_unlock(&lock);
}
