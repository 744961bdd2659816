/*
 * thread.c - a thread that cannot be started ends the process, as an allocation that fails does.
 *
 * The core tells nobody when it could not start one: a connection attempt or a timer is lost with
 * the work that the thread was for, and calls that need it wait for ever, deadline or not.  A
 * process that ends is started again and goes on from its store.  The core is a shared library, so
 * the definition here stands before the C library's for all threads of the process.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"

typedef int (*thread_create)(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*routine)(void *), void *argument);

static pthread_once_t found = PTHREAD_ONCE_INIT;
static thread_create create;

static void
find(void)
{
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    weir_assert(create != NULL);
}

__attribute__((visibility("default"))) int
pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
    void *(*routine)(void *), void *restrict argument)
{
    pthread_once(&found, find);
    const int failure = create(thread, attributes, routine, argument);

    if (failure == 0)
        return 0;
    weir_log(WEIR_LOG_ERROR, "thread.not_started", WEIR_STR("message", strerror(failure)),
        WEIR_STR("hint", "raise the limit on memory or processes of this service"));
    abort();
}

void
wr_thread_prepare(void)
{
    pthread_once(&found, find);
}
