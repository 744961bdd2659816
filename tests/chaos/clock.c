/*
 * clock.c - preloaded into a service: its wall clock is off by what stands in a file, and jumps
 * when the test writes another number there.
 *
 * The file (WEIR_TEST_CLOCK) holds one int64 of seconds.  Monotonic and boot clocks stay right, as
 * they do when somebody sets the clock of a machine.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static const volatile int64_t *offset_s;
static int (*real_clock_gettime)(clockid_t clock, struct timespec *ret_time);

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("WEIR_TEST_CLOCK");

    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *offset_s, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        offset_s = mapped;
}

EXPORT int
clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    if (real_clock_gettime == NULL)
        begin(); /* called by a constructor before ours */
    const int result = real_clock_gettime(clock, ret_time);

    if (offset_s != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret_time->tv_sec += *offset_s;
    return result;
}

EXPORT int
gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    const int result = clock_gettime(CLOCK_REALTIME, &now);
    ret_time->tv_sec = now.tv_sec;
    ret_time->tv_usec = now.tv_nsec / 1000;
    return result;
}

EXPORT time_t
time(time_t *ret_time)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_time != NULL)
        *ret_time = now.tv_sec;
    return now.tv_sec;
}
