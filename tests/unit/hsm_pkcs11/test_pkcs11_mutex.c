#include <pthread.h>

#include "hsm/pkcs11/pkcs11_mutex.h"
#include "support.h"

static void
test_mutex_is_locked_again_by_the_thread_that_has_it(void **state)
{
    CK_C_INITIALIZE_ARGS *f = pkcs11_mutex_arguments(false);
    void *mutex = NULL;

    (void)state;
    assert_int_equal(f->CreateMutex(&mutex), CKR_OK);
    assert_int_equal(f->LockMutex(mutex), CKR_OK);
    assert_int_equal(f->LockMutex(mutex), CKR_OK);
    assert_int_equal(f->UnlockMutex(mutex), CKR_OK);
    assert_int_equal(f->UnlockMutex(mutex), CKR_OK);
#ifndef __SANITIZE_THREAD__ /* which reports what is wrong here on purpose */
    assert_int_equal(f->UnlockMutex(mutex), CKR_MUTEX_NOT_LOCKED);
#endif
    assert_int_equal(f->DestroyMutex(mutex), CKR_OK);
}

struct counting {
    void *mutex;
    unsigned long count;
};

static void *
count(void *arg)
{
    CK_C_INITIALIZE_ARGS *f = pkcs11_mutex_arguments(false);
    struct counting *counting = arg;

    for (int i = 0; i < 20000; i++) {
        (void)f->LockMutex(counting->mutex);
        counting->count++;
        (void)f->UnlockMutex(counting->mutex);
    }
    return NULL;
}

static void
test_mutex_keeps_other_threads_out(void **state)
{
    CK_C_INITIALIZE_ARGS *f = pkcs11_mutex_arguments(false);
    struct counting counting = {.count = 0};
    pthread_t other;

    (void)state;
    assert_int_equal(f->CreateMutex(&counting.mutex), CKR_OK);
    assert_int_equal(pthread_create(&other, NULL, count, &counting), 0);
    count(&counting);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(counting.count, 40000);
    assert_int_equal(f->DestroyMutex(counting.mutex), CKR_OK);
}

static void
test_no_mutex_is_a_bad_one(void **state)
{
    CK_C_INITIALIZE_ARGS *f = pkcs11_mutex_arguments(false);

    (void)state;
    assert_int_equal(f->LockMutex(NULL), CKR_MUTEX_BAD);
    assert_int_equal(f->UnlockMutex(NULL), CKR_MUTEX_BAD);
    assert_int_equal(f->DestroyMutex(NULL), CKR_MUTEX_BAD);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutex_is_locked_again_by_the_thread_that_has_it),
        cmocka_unit_test(test_mutex_keeps_other_threads_out),
        cmocka_unit_test(test_no_mutex_is_a_bad_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
