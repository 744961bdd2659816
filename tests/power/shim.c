/*
 * shim.c - a power cut for one process: LD_PRELOAD=powercut.so POWERCUT_ROOT=FOLDER program
 *
 * It stands before the calls that change files, lets them through to the page cache, and notes what
 * a disk would not have yet (disk.h).  A sync only takes note, after POWERCUT_SYNC_US: the page
 * cache outlives SIGKILL, so nothing needs to reach the real disk.  At the cut it takes back what
 * was not synced, writes a line about it to POWERCUT_REPORT, and kills the process.  No call
 * that the shim follows is under way then, and none comes after.
 *
 *   POWERCUT_ROOT     folder that is followed (absolute, no links in it)
 *   POWERCUT_SHADOW   a folder of the same file system and not below it, made here, for what was
 *                     unlinked
 *   POWERCUT_REPORT   file that the line is appended to, as JSON
 *   POWERCUT_SEED     decides what survives
 *   POWERCUT_AT       cut before the N-th call that changes or syncs something; 0: not by count
 *   POWERCUT_SYNC_US  what a sync takes; a cut may come meanwhile
 *   POWERCUT_LIES     "wal": a sync of *.log says that it is done and is not; "all": every sync
 *
 * SIGPWR cuts at once.
 *
 * What RocksDB 9.10 of Debian 13 does, as strace shows it for these programs (options of
 * common/store): it opens with O_CREAT|O_TRUNC|O_WRONLY, appends by write(2), syncs the WAL,
 * tables, blobs and MANIFEST by fdatasync and folders by fsync, and swaps CURRENT and OPTIONS in by
 * rename.  fallocate is only used with KEEP_SIZE (no change of content or size), sync_file_range is
 * a hint of write-back, and promises nothing.  A WAL that is used again is renamed and overwritten
 * from its start by write(2), so old bytes must be kept.  No O_DIRECT, no shared writable mapping,
 * no O_SYNC, no pwritev, no writes through stdio, no rename between folders: these abort the
 * process here, so that whoever turns one on hears of it.
 *
 * Not seen: descriptors that libc opens by itself (file actions of posix_spawn, opendir, fopen for
 * reading); the services' logs are of that kind.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/power/disk.h"

#define SHOWN __attribute__((visibility("default")))

enum { DESCRIPTORS = 65536, LIE_NONE = 0, LIE_WAL, LIE_ALL };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_on;
static const char *report_path;
static uint64_t seed;
static uint64_t call_count;
static uint64_t cut_at;
static long sync_us;
static int lies;
static int cut_fd = -1;
static disk_file *_Atomic files[DESCRIPTORS];
static disk_folder *_Atomic folders[DESCRIPTORS];

/* ---- the cut ---- */

static void
report(const disk_loss *loss)
{
    const int fd =
        (int)syscall(SYS_openat, AT_FDCWD, report_path, O_WRONLY | O_APPEND | O_CREAT, 0600);

    (void)dprintf(fd,
        "{\"program\": \"%s\", \"seed\": %llu, \"calls\": %llu, \"bytes\": %llu, \"changes\": %llu,"
        " \"torn\": %llu, \"spoilt\": %llu, \"entries\": %llu, \"entries_kept\": %llu}\n",
        program_invocation_short_name, (unsigned long long)seed, (unsigned long long)call_count,
        (unsigned long long)loss->bytes, (unsigned long long)loss->changes,
        (unsigned long long)loss->torn, (unsigned long long)loss->spoilt,
        (unsigned long long)loss->entries, (unsigned long long)loss->entries_kept);
}

/* The lock is held, and is never given back. */
static _Noreturn void
cut(void)
{
    disk_loss loss;

    disk_cut(&loss);
    report(&loss);
    for (;;)
        (void)kill(getpid(), SIGKILL);
}

static void
on_power(int number)
{
    const uint64_t one = 1;

    (void)number;
    if (syscall(SYS_write, cut_fd, &one, sizeof one) < 0)
        abort();
}

/* The handler may run in a thread that holds the lock, so the cut is made here. */
static void *
wait_for_power(void *unused)
{
    uint64_t count;

    (void)unused;
    while (syscall(SYS_read, cut_fd, &count, sizeof count) < 0)
        ;
    pthread_mutex_lock(&lock);
    cut();
}

static void
take(void)
{
    pthread_mutex_lock(&lock);
    if (++call_count == cut_at)
        cut();
}

static void
give(void)
{
    const int kept = errno;

    pthread_mutex_unlock(&lock);
    errno = kept;
}

/* ---- the start ---- */

static const char *
setting(const char *name, const char *otherwise)
{
    const char *const value = getenv(name);

    return value != NULL ? value : otherwise;
}

static void
start_cutter(void)
{
    const struct sigaction action = { .sa_handler = on_power, .sa_flags = SA_RESTART };
    sigset_t all, before;
    pthread_t thread;

    cut_fd = eventfd(0, EFD_CLOEXEC);
    if (cut_fd < 0 || sigaction(SIGPWR, &action, NULL) != 0)
        disk_refuse("this machine", "no descriptor or signal");
    /* The thread alone takes the signal where the program blocks it, and no other one.  One that
     * came before now is taken here. */
    sigfillset(&all);
    sigdelset(&all, SIGPWR);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, wait_for_power, NULL) != 0)
        disk_refuse("this machine", "no thread");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

__attribute__((constructor)) static void
start(void)
{
    const char *const root = getenv("POWERCUT_ROOT");
    const char *const lie = setting("POWERCUT_LIES", "");
    const char *const shadow = setting("POWERCUT_SHADOW", "");

    if (root == NULL)
        return;
    seed = strtoull(setting("POWERCUT_SEED", "0"), NULL, 10);
    cut_at = strtoull(setting("POWERCUT_AT", "0"), NULL, 10);
    sync_us = strtol(setting("POWERCUT_SYNC_US", "0"), NULL, 10);
    lies = strcmp(lie, "all") == 0 ? LIE_ALL : strcmp(lie, "wal") == 0 ? LIE_WAL : LIE_NONE;
    report_path = setting("POWERCUT_REPORT", "/dev/null");
    if (syscall(SYS_mkdirat, AT_FDCWD, shadow, 0700) != 0)
        disk_refuse("no POWERCUT_SHADOW", shadow);
    disk_start(root, shadow, seed);
    start_cutter();
    is_on = true;
}

/* ---- paths ---- */

static void
base_of(char out[PATH_MAX], int at, const char *path)
{
    char link[64];
    ssize_t size = 0;

    out[0] = '\0';
    if (path[0] == '/')
        return;
    (void)snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    size = readlink(link, out, PATH_MAX - 1);
    out[size < 0 ? 0 : size] = '\0';
}

/* Absolute, without empty parts and dots; false: too long, which nothing below the root is. */
static bool
normal(char out[PATH_MAX], int at, const char *path)
{
    base_of(out, at, path);
    size_t size = strlen(out);

    while (*path != '\0') {
        const size_t part = strcspn(path, "/");

        if (size + part + 2 > PATH_MAX)
            return false;
        if (part > 0 && !(part == 1 && path[0] == '.')) {
            out[size++] = '/';
            memcpy(out + size, path, part);
            size += part;
            out[size] = '\0';
        }
        path += part + (path[part] == '/');
    }
    return true;
}

/* The folder of an entry that is followed, or NULL. */
static disk_folder *
followed(char out[PATH_MAX], int at, const char *path, const char **ret_name)
{
    return is_on && normal(out, at, path) ? disk_folder_of_entry(out, ret_name) : NULL;
}

/* ---- opening and closing ---- */

static bool
is_descriptor(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS;
}

static disk_file *
file_at(int fd)
{
    return is_descriptor(fd) ? atomic_load_explicit(&files[fd], memory_order_acquire) : NULL;
}

static void
note_open(int fd, const char *path, bool is_new)
{
    struct stat status;

    if (!is_descriptor(fd) || fstat(fd, &status) != 0)
        disk_refuse("a descriptor above the table", path);
    const bool is_folder = S_ISDIR(status.st_mode);

    atomic_store(&folders[fd], is_folder ? disk_folder_at(path) : NULL);
    atomic_store(&files[fd], is_folder ? NULL : disk_file_of(fd, path, is_new));
}

static void
note_close(int fd)
{
    if (!is_on || !is_descriptor(fd))
        return;
    atomic_store(&files[fd], NULL);
    atomic_store(&folders[fd], NULL);
}

/* What O_TRUNC cuts off must be kept, so it is cut off by a call of its own. */
static void
truncate_opened(int fd)
{
    disk_file *const file = file_at(fd);

    if (file == NULL)
        return;
    disk_file_resize(file, fd, 0);
    if (syscall(SYS_ftruncate, fd, 0) != 0)
        disk_refuse("a file that cannot be truncated", "O_TRUNC");
}

static int
open_followed(disk_folder *folder, const char *path, const char *name, int flags, mode_t mode)
{
    struct stat status;
    const bool is_new = (flags & O_CREAT) != 0 && lstat(path, &status) != 0;

    if ((flags & (O_DSYNC | O_DIRECT)) != 0 || (flags & O_TMPFILE) == O_TMPFILE)
        disk_refuse("O_SYNC, O_DIRECT or O_TMPFILE", path);
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags & ~O_TRUNC, mode);

    if (fd < 0)
        return fd;
    if (is_new)
        disk_made(folder, name, false);
    note_open(fd, path, is_new);
    if ((flags & O_TRUNC) != 0 && !is_new)
        truncate_opened(fd);
    return fd;
}

static int
open_any(int at, const char *path, int flags, mode_t mode)
{
    char whole[PATH_MAX];
    const char *name = NULL;
    const bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;

    if (!is_on)
        return (int)syscall(SYS_openat, at, path, flags, mode);
    if (changes)
        take();
    else
        pthread_mutex_lock(&lock);
    disk_folder *folder = followed(whole, at, path, &name);

    /* The root itself is an entry of a folder that is not followed. */
    if (folder == NULL && is_on && name != NULL)
        folder = disk_folder_at(whole);
    const int fd = folder == NULL ? (int)syscall(SYS_openat, at, path, flags, mode)
                                  : open_followed(folder, whole, name, flags, mode);

    give();
    return fd;
}

#define MODE_OF(flags_, mode_)                                                       \
    do {                                                                             \
        va_list list_;                                                               \
        va_start(list_, flags_);                                                     \
        mode_ = ((flags_) & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list_, mode_t) : 0; \
        va_end(list_);                                                               \
    } while (0)

SHOWN int
open(const char *path, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_any(AT_FDCWD, path, flags, mode);
}

SHOWN int
openat(int at, const char *path, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_any(at, path, flags, mode);
}

SHOWN int
creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_CREAT | O_TRUNC | O_WRONLY, mode);
}

SHOWN int __open_2(const char *path, int flags);
SHOWN int __open64_2(const char *path, int flags);
SHOWN int __openat_2(int at, const char *path, int flags);

int
__open_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}

int
__openat_2(int at, const char *path, int flags)
{
    return open_any(at, path, flags, 0);
}

SHOWN int
close(int fd)
{
    note_close(fd);
    return (int)syscall(SYS_close, fd);
}

static void *
next_of(const char *name)
{
    void *const found = dlsym(RTLD_NEXT, name);

    if (found == NULL)
        disk_refuse("this libc", name);
    return found;
}

/* What was opened here may be closed by libc, after fdopen. */
SHOWN int
fclose(FILE *file)
{
    note_close(fileno(file));
    return ((int (*)(FILE *))(uintptr_t)next_of("fclose"))(file);
}

/* stdio's own writes are not seen, so a file that is followed must not be opened for them. */
SHOWN FILE *
fopen(const char *path, const char *mode)
{
    char whole[PATH_MAX];
    const char *name = NULL;

    if (strpbrk(mode, "wa+") != NULL && followed(whole, AT_FDCWD, path, &name) != NULL)
        disk_refuse("fopen for writing", path);
    return ((FILE * (*)(const char *, const char *))(uintptr_t)next_of("fopen"))(path, mode);
}

SHOWN FILE *
fdopen(int fd, const char *mode)
{
    if (strpbrk(mode, "wa+") != NULL && file_at(fd) != NULL)
        disk_refuse("fdopen for writing", mode);
    return ((FILE * (*)(int, const char *))(uintptr_t)next_of("fdopen"))(fd, mode);
}

/* ---- writing ---- */

static off_t
place_of(int fd)
{
    const int flags = fcntl(fd, F_GETFL);

    return lseek(fd, 0, flags >= 0 && (flags & O_APPEND) != 0 ? SEEK_END : SEEK_CUR);
}

static size_t
bytes_of(const struct iovec *parts, int count)
{
    size_t size = 0;

    for (int index = 0; index < count; index++)
        size += parts[index].iov_len;
    return size;
}

/* at < 0: at the descriptor's own place. */
static ssize_t
write_any(int fd, const struct iovec *parts, int count, off_t at)
{
    disk_file *const file = file_at(fd);

    if (file == NULL)
        return at < 0 ? syscall(SYS_writev, fd, parts, count)
                      : syscall(SYS_pwritev, fd, parts, count, at, 0);
    take();
    const off_t place = at < 0 ? place_of(fd) : at;

    disk_file_before(file, fd, place, bytes_of(parts, count));
    const ssize_t done = at < 0 ? syscall(SYS_writev, fd, parts, count)
                                : syscall(SYS_pwritev, fd, parts, count, at, 0);

    disk_file_wrote(file, place, done > 0 ? (size_t)done : 0);
    give();
    return done;
}

SHOWN ssize_t
write(int fd, const void *data, size_t size)
{
    const struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };

    return file_at(fd) == NULL ? syscall(SYS_write, fd, data, size) : write_any(fd, &part, 1, -1);
}

SHOWN ssize_t
pwrite(int fd, const void *data, size_t size, off_t at)
{
    const struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };

    return write_any(fd, &part, 1, at);
}

SHOWN ssize_t
writev(int fd, const struct iovec *parts, int count)
{
    return write_any(fd, parts, count, -1);
}

SHOWN ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    return write_any(fd, parts, count, at);
}

SHOWN int
ftruncate(int fd, off_t size)
{
    disk_file *const file = file_at(fd);

    if (file == NULL)
        return (int)syscall(SYS_ftruncate, fd, size);
    take();
    disk_file_resize(file, fd, size);
    const int result = (int)syscall(SYS_ftruncate, fd, size);

    if (result != 0)
        disk_refuse("a truncation that fails", "ftruncate");
    give();
    return result;
}

SHOWN int
fallocate(int fd, int mode, off_t at, off_t size)
{
    disk_file *const file = file_at(fd);
    struct stat status;

    if (file == NULL || mode == FALLOC_FL_KEEP_SIZE)
        return (int)syscall(SYS_fallocate, fd, mode, at, size);
    if (mode != 0)
        disk_refuse("a hole, or another mode of fallocate", "fallocate");
    take();
    if (fstat(fd, &status) == 0 && at + size > status.st_size)
        disk_file_resize(file, fd, at + size);
    const int result = (int)syscall(SYS_fallocate, fd, mode, at, size);

    give();
    return result;
}

SHOWN int
posix_fallocate(int fd, off_t at, off_t size)
{
    return fallocate(fd, 0, at, size) == 0 ? 0 : errno;
}

SHOWN void *
mmap(void *wanted, size_t size, int protection, int flags, int fd, off_t at)
{
    if ((protection & PROT_WRITE) != 0 && (flags & MAP_PRIVATE) == 0 && file_at(fd) != NULL)
        disk_refuse("a shared mapping for writing", "mmap");
    return (void *)syscall(SYS_mmap, wanted, size, protection, flags, fd, at);
}

/* ---- syncing ---- */

static void
wait_for_disk(void)
{
    const struct timespec time = { .tv_nsec = sync_us * 1000 };

    if (sync_us > 0)
        (void)nanosleep(&time, NULL);
}

static void
sync_file(disk_file *file)
{
    take();
    const uint64_t mark = disk_file_mark(file);

    pthread_mutex_unlock(&lock);
    wait_for_disk();
    pthread_mutex_lock(&lock);
    if (lies == LIE_NONE || (lies == LIE_WAL && !disk_file_is_log(file)))
        disk_file_synced(file, mark);
    give();
}

static void
sync_folder(disk_folder *folder)
{
    take();
    const uint64_t mark = disk_folder_mark();

    pthread_mutex_unlock(&lock);
    wait_for_disk();
    pthread_mutex_lock(&lock);
    if (lies != LIE_ALL)
        disk_folder_synced(folder, mark);
    give();
}

static int
sync_any(long call, int fd)
{
    disk_folder *const folder =
        is_descriptor(fd) ? atomic_load_explicit(&folders[fd], memory_order_acquire) : NULL;

    if (file_at(fd) != NULL)
        sync_file(file_at(fd));
    else if (folder != NULL)
        sync_folder(folder);
    else
        return (int)syscall(call, fd);
    return 0;
}

SHOWN int
fsync(int fd)
{
    return sync_any(SYS_fsync, fd);
}

SHOWN int
fdatasync(int fd)
{
    return sync_any(SYS_fdatasync, fd);
}

SHOWN int
sync_file_range(int fd, off_t at, off_t size, unsigned flags)
{
    return file_at(fd) != NULL ? 0 : (int)syscall(SYS_sync_file_range, fd, at, size, flags);
}

SHOWN int
syncfs(int fd)
{
    if (is_on)
        disk_refuse("syncfs", "syncfs");
    return (int)syscall(SYS_syncfs, fd);
}

/* ---- entries of folders ---- */

static int
remove_any(int at, const char *path, int flags)
{
    char whole[PATH_MAX];
    const char *name = NULL;

    if (!is_on)
        return (int)syscall(SYS_unlinkat, at, path, flags);
    take();
    disk_folder *const folder = followed(whole, at, path, &name);
    const bool is_folder = (flags & AT_REMOVEDIR) != 0;
    const uint64_t kept = folder != NULL && !is_folder ? disk_keep(whole) : 0;
    const int result = (int)syscall(SYS_unlinkat, at, path, flags);

    if (folder != NULL && result == 0)
        disk_removed(folder, name, kept, is_folder);
    give();
    return result;
}

SHOWN int
unlink(const char *path)
{
    return remove_any(AT_FDCWD, path, 0);
}

SHOWN int
unlinkat(int at, const char *path, int flags)
{
    return remove_any(at, path, flags);
}

SHOWN int
rmdir(const char *path)
{
    return remove_any(AT_FDCWD, path, AT_REMOVEDIR);
}

SHOWN int
remove(const char *path)
{
    struct stat status;

    return remove_any(AT_FDCWD, path,
        lstat(path, &status) == 0 && S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0);
}

SHOWN int
rename(const char *from, const char *to)
{
    char old[PATH_MAX], new[PATH_MAX];
    const char *old_name = NULL, *new_name = NULL;

    if (!is_on)
        return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    take();
    disk_folder *const folder = followed(old, AT_FDCWD, from, &old_name);

    if (folder != followed(new, AT_FDCWD, to, &new_name))
        disk_refuse("a rename between folders", to);
    const uint64_t kept = folder != NULL ? disk_keep(new) : 0;
    const int result = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);

    if (folder != NULL && result == 0)
        disk_moved(folder, old_name, new_name, kept);
    give();
    return result;
}

SHOWN int
link(const char *from, const char *to)
{
    char whole[PATH_MAX];
    const char *name = NULL;

    if (!is_on)
        return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    take();
    disk_folder *const folder = followed(whole, AT_FDCWD, to, &name);
    const int result = (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);

    if (folder != NULL && result == 0)
        disk_made(folder, name, false);
    give();
    return result;
}

SHOWN int
mkdir(const char *path, mode_t mode)
{
    char whole[PATH_MAX];
    const char *name = NULL;

    if (!is_on)
        return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    take();
    disk_folder *const folder = followed(whole, AT_FDCWD, path, &name);
    const int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);

    if (folder != NULL && result == 0)
        disk_made(folder, name, true);
    give();
    return result;
}

/* The same calls by their other names. */
#define ALSO(name_) SHOWN __attribute__((alias(name_)))
ALSO("open") int open64(const char *path, int flags, ...);
ALSO("openat") int openat64(int at, const char *path, int flags, ...);
ALSO("creat") int creat64(const char *path, mode_t mode);
ALSO("__open_2") int __open64_2(const char *path, int flags);
ALSO("fopen") FILE *fopen64(const char *path, const char *mode);
ALSO("pwrite") ssize_t pwrite64(int fd, const void *data, size_t size, off_t at);
ALSO("pwritev") ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at);
ALSO("ftruncate") int ftruncate64(int fd, off_t size);
ALSO("fallocate") int fallocate64(int fd, int mode, off_t at, off_t size);
ALSO("posix_fallocate") int posix_fallocate64(int fd, off_t at, off_t size);
ALSO("mmap") void *mmap64(void *wanted, size_t size, int protection, int flags, int fd, off_t at);
