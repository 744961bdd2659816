/*
 * folder.c - files and folders around the database.
 *
 * A crash at any line leaves either no database (and perhaps db.new, which the next open removes)
 * or a whole one: db.new becomes db by one rename, after everything in it is synced, and the rename
 * is made durable by syncing PATH.
 */
#include "common/store/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/assert.h"

static char *
join(const char *folder, const char *name)
{
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *const path = weir_alloc(size);

    (void)snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static weir_code
io_error(weir_error *reterr, const char *what, const char *path)
{
    return weir_error_set(reterr, WEIR_STORE_IO, "cannot %s %s: %s", what, path, strerror(errno));
}

static weir_code
sync_folder(const char *path, weir_error *reterr)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool is_synced = fd >= 0 && fsync(fd) == 0;
    const weir_code code = is_synced ? WEIR_OK : io_error(reterr, "sync the folder", path);

    if (fd >= 0)
        (void)close(fd);
    return code;
}

/* The folder that holds `path`, which may end in slashes. */
static char *
parent_of(const char *path)
{
    char *const parent = weir_strdup(path);
    size_t size = strlen(parent);

    while (size > 1 && parent[size - 1] == '/')
        size--;
    while (size > 0 && parent[size - 1] != '/')
        size--;
    while (size > 1 && parent[size - 1] == '/')
        size--;
    parent[size] = '\0';
    if (size > 0)
        return parent;
    weir_free(parent);
    return weir_strdup(".");
}

static weir_code
make_folder(const char *path, weir_error *reterr)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return io_error(reterr, "make the folder", path);

    /* Also when it was there: whoever made it may have been killed before this line. */
    char *const parent = parent_of(path);
    const weir_code code = sync_folder(parent, reterr);

    weir_free(parent);
    return code;
}

/* ---- the lock ---- */

static weir_code
locked_error(weir_error *reterr, const char *path, int fd)
{
    char pid[16] = { 0 };
    const ssize_t got = pread(fd, pid, sizeof pid - 1, 0);

    if (got <= 0)
        return weir_error_set(reterr, WEIR_STORE_LOCKED, "%s is in use by another process", path);
    pid[strcspn(pid, "\n")] = '\0';
    return weir_error_set(reterr, WEIR_STORE_LOCKED,
        "%s is in use by process %s: stop it first, or use another data folder", path, pid);
}

static void
write_pid(int fd)
{
    char pid[16];
    const int size = snprintf(pid, sizeof pid, "%d\n", (int)getpid());

    /* For people only: the lock holds without it, so a full disk is no reason to fail. */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)size, 0) != size)
        return;
}

static weir_code
take_lock(weir_folder *folder, weir_error *reterr)
{
    char *const path = join(folder->path, "weir.lock");
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    weir_code code = WEIR_OK;

    if (fd < 0)
        code = io_error(reterr, "open", path);
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        code = errno == EWOULDBLOCK ? locked_error(reterr, folder->path, fd)
                                    : io_error(reterr, "lock", path);
    else
        folder->lock_fd = fd;

    if (code == WEIR_OK)
        write_pid(fd);
    else if (fd >= 0)
        (void)close(fd);
    weir_free(path);
    return code;
}

weir_code
weir_folder_open(const char *path, weir_folder *folder, weir_error *reterr)
{
    *folder = (weir_folder){
        .path = weir_strdup(path),
        .db_path = join(path, "db"),
        .new_path = join(path, "db.new"),
        .lock_fd = -1,
    };
    weir_code code = make_folder(path, reterr);

    if (code == WEIR_OK)
        code = take_lock(folder, reterr);
    /* The same holds for the rename of a database that is there. */
    return code == WEIR_OK ? sync_folder(path, reterr) : code;
}

void
weir_folder_close(weir_folder *folder)
{
    weir_free(folder->path);
    weir_free(folder->db_path);
    weir_free(folder->new_path);
    /* Closing unlocks.  The file stays: were it removed, two processes could each lock one of
     * that name. */
    if (folder->lock_fd >= 0)
        (void)close(folder->lock_fd);
    *folder = (weir_folder){ .lock_fd = -1 };
}

/* ---- creation ---- */

bool
weir_folder_has_db(const weir_folder *folder)
{
    struct stat status;

    return stat(folder->db_path, &status) == 0;
}

/* Call `visit` with the path of each file in a folder that has no folders.  False: it could not
 * be read. */
static bool
each_file(const char *folder, bool (*visit)(const char *path, void *context), void *context)
{
    DIR *const files = opendir(folder);
    bool is_done = files != NULL;

    while (is_done) {
        const struct dirent *const file = readdir(files);

        if (file == NULL)
            break;
        if (strcmp(file->d_name, ".") == 0 || strcmp(file->d_name, "..") == 0)
            continue;
        char *const path = join(folder, file->d_name);
        is_done = visit(path, context);
        weir_free(path);
    }
    if (files != NULL)
        (void)closedir(files);
    return is_done;
}

static bool
remove_file(const char *path, void *context)
{
    (void)context;
    return unlink(path) == 0;
}

weir_code
weir_folder_clear_new(const weir_folder *folder, weir_error *reterr)
{
    struct stat status;

    if (stat(folder->new_path, &status) != 0 && errno == ENOENT)
        return WEIR_OK;
    if (!each_file(folder->new_path, remove_file, NULL) || rmdir(folder->new_path) != 0)
        return io_error(reterr, "remove the unfinished", folder->new_path);
    return WEIR_OK;
}

static bool
sync_file(const char *path, void *context)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool is_synced = fd >= 0 && fsync(fd) == 0;

    (void)context;
    if (fd >= 0)
        (void)close(fd);
    return is_synced;
}

weir_code
weir_folder_publish(const char *unfinished, const char *path, weir_error *reterr)
{
    if (!each_file(unfinished, sync_file, NULL))
        return io_error(reterr, "sync the files of", unfinished);
    weir_code code = sync_folder(unfinished, reterr);

    if (code != WEIR_OK)
        return code;
    if (rename(unfinished, path) != 0)
        return io_error(reterr, "rename", unfinished);
    char *const parent = parent_of(path);
    code = sync_folder(parent, reterr);
    weir_free(parent);
    return code;
}

weir_code
weir_folder_publish_new(const weir_folder *folder, weir_error *reterr)
{
    weir_assert(folder->lock_fd >= 0);
    return weir_folder_publish(folder->new_path, folder->db_path, reterr);
}

/* ---- space ---- */

uint64_t
weir_folder_free_bytes(const weir_folder *folder)
{
    struct statvfs status;

    if (statvfs(folder->path, &status) != 0)
        return 0; /* unknown: the careful answer */
    return (uint64_t)status.f_bavail * status.f_frsize;
}

weir_code
weir_folder_check_reserve(const weir_folder *folder, uint64_t reserve_bytes, weir_error *reterr)
{
    const uint64_t free_bytes = weir_folder_free_bytes(folder);

    if (reserve_bytes == 0 || free_bytes >= reserve_bytes)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_DISK_LOW,
        "the disk of %s has %" PRIu64 " MiB free and must have %" PRIu64
        ": free some space, or as a last resort delete the file ballast in that folder",
        folder->path, free_bytes >> 20, reserve_bytes >> 20);
}

static weir_code
write_ballast(const char *path, uint64_t ballast_bytes, weir_error *reterr)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return io_error(reterr, "open", path);
    errno = posix_fallocate(fd, 0, (off_t)ballast_bytes);
    const weir_code code = errno == 0 ? WEIR_OK : io_error(reterr, "fill", path);

    (void)close(fd);
    if (code != WEIR_OK)
        (void)unlink(path);
    return code;
}

static weir_code
settle_ballast(const weir_folder *folder, const char *path, uint64_t ballast_bytes,
    uint64_t reserve_bytes, weir_error *reterr)
{
    struct stat status;
    const uint64_t held = stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;

    if (ballast_bytes == 0)
        return unlink(path) == 0 || errno == ENOENT ? WEIR_OK : io_error(reterr, "remove", path);
    if (held == ballast_bytes)
        return WEIR_OK;
    if (weir_folder_free_bytes(folder) + held < reserve_bytes + ballast_bytes)
        return WEIR_OK;
    return write_ballast(path, ballast_bytes, reterr);
}

weir_code
weir_folder_set_ballast(const weir_folder *folder, uint64_t ballast_bytes, uint64_t reserve_bytes,
    weir_error *reterr)
{
    char *const path = join(folder->path, "ballast");
    const weir_code code = settle_ballast(folder, path, ballast_bytes, reserve_bytes, reterr);

    weir_free(path);
    return code;
}

static bool
add_blocks(const char *path, void *context)
{
    uint64_t *const total = context;
    struct stat status;

    /* A file may go between the listing and here. */
    if (stat(path, &status) == 0)
        *total += (uint64_t)status.st_blocks * 512;
    return true;
}

uint64_t
weir_folder_disk_bytes(const weir_folder *folder)
{
    uint64_t total = 0;

    (void)each_file(folder->db_path, add_blocks, &total);
    return total;
}
