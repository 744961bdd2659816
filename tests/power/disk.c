/*
 * disk.c - changes that are not synced yet, and their way back.
 *
 * Owned by the one lock of the shim.  It is never torn down: the process ends by SIGKILL.
 */
#include "tests/power/disk.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BUCKETS = 1024, FOLDERS_MAX = 256, PATH_BYTES = 1024, SECTOR = 512 };

typedef struct change {
    off_t at;
    size_t size; /* bytes written from there; 0: only cut off */
    off_t size_before;
    uint8_t *before; /* what stood from `at` on */
    size_t before_size;
} change;

struct disk_file {
    disk_file *next;
    dev_t dev;
    ino_t ino;
    int fd; /* of its own, while there are changes; else -1 */
    bool is_log;
    bool is_sealed; /* a sync began: a change that follows is one of its own */
    change *changes;
    size_t count;
    size_t capacity;
    uint64_t first; /* number of the first of them */
    change pending; /* of the write under way */
};

struct disk_folder {
    char path[PATH_BYTES];
    bool is_gone;
};

typedef enum entry_kind { MADE, MADE_FOLDER, REMOVED, REMOVED_FOLDER, MOVED } entry_kind;

typedef struct entry {
    entry_kind kind;
    bool is_over; /* synced */
    disk_folder *folder;
    char *name;
    char *to;
    uint64_t kept; /* number of the second name of what was removed or replaced; 0: none */
    disk_folder *removed;
} entry;

static char root[PATH_BYTES];
static char shadow[PATH_BYTES];
static uint64_t random_state;
static disk_file *buckets[BUCKETS];
static disk_folder folders[FOLDERS_MAX];
static size_t folder_count;
static entry *entries;
static size_t entry_count;
static size_t entry_capacity;
static size_t entries_over; /* all before it are synced */
static uint64_t kept_count;

/* ---- small things ---- */

void
disk_start(const char *root_path, const char *shadow_path, uint64_t seed)
{
    (void)snprintf(root, sizeof root, "%s", root_path);
    (void)snprintf(shadow, sizeof shadow, "%s", shadow_path);
    random_state = seed;
}

uint64_t
disk_random(uint64_t bound)
{
    uint64_t mixed = random_state += 0x9e3779b97f4a7c15u;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return (mixed ^ mixed >> 31) % bound;
}

void
disk_refuse(const char *what, const char *path)
{
    (void)dprintf(STDERR_FILENO, "powercut: %s is not modelled: %s\n", what, path);
    abort();
}

static void
must(bool is_good, const char *what)
{
    if (is_good)
        return;
    (void)dprintf(STDERR_FILENO, "powercut: %s failed: %m\n", what);
    abort();
}

static void *
grown(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    void *const larger = realloc(items, *capacity * size);

    must(larger != NULL, "realloc");
    return larger;
}

static void
read_all(int fd, uint8_t *out, size_t size, off_t at)
{
    while (size > 0) {
        const long got = syscall(SYS_pread64, fd, out, size, at);

        must(got > 0, "reading what is about to be overwritten");
        out += got;
        size -= (size_t)got;
        at += got;
    }
}

static void
write_all(int fd, const uint8_t *data, size_t size, off_t at)
{
    while (size > 0) {
        const long put = syscall(SYS_pwrite64, fd, data, size, at);

        must(put > 0, "writing back");
        data += put;
        size -= (size_t)put;
        at += put;
    }
}

static off_t
size_of(int fd)
{
    struct stat status;

    must(fstat(fd, &status) == 0, "fstat");
    return status.st_size;
}

/* ---- files ---- */

static void
forget_changes(disk_file *file, size_t count)
{
    for (size_t index = 0; index < count; index++)
        free(file->changes[index].before);
    memmove(file->changes, file->changes + count, (file->count - count) * sizeof(change));
    file->count -= count;
    file->first += count;
    if (file->count == 0 && file->fd >= 0) {
        (void)syscall(SYS_close, file->fd);
        file->fd = -1;
    }
}

static disk_file *
find_file(dev_t dev, ino_t ino)
{
    disk_file *file = buckets[ino % BUCKETS];

    while (file != NULL && (file->ino != ino || file->dev != dev))
        file = file->next;
    return file;
}

disk_file *
disk_file_of(int fd, const char *path, bool is_new)
{
    struct stat status;
    const size_t length = strlen(path);

    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return NULL;
    disk_file *file = find_file(status.st_dev, status.st_ino);

    if (file == NULL) {
        file = calloc(1, sizeof *file);
        must(file != NULL, "calloc");
        *file = (disk_file){ .next = buckets[status.st_ino % BUCKETS],
            .dev = status.st_dev,
            .ino = status.st_ino,
            .fd = -1 };
        buckets[status.st_ino % BUCKETS] = file;
    } else if (is_new) {
        forget_changes(file, file->count); /* the number was another file's, which is gone */
    }
    file->is_log = length > 4 && strcmp(path + length - 4, ".log") == 0;
    return file;
}

bool
disk_file_is_log(const disk_file *file)
{
    return file->is_log;
}

/* A descriptor that reads and writes, and outlives the program's. */
static void
hold(disk_file *file, int fd)
{
    char path[64];

    if (file->fd >= 0)
        return;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    file->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    must(file->fd >= 0, "opening a file a second time");
}

static change
change_of(disk_file *file, int fd, off_t at, off_t end)
{
    hold(file, fd);
    change made = { .at = at, .size_before = size_of(fd) };
    const off_t overlap = (end < made.size_before ? end : made.size_before) - at;

    if (overlap > 0) {
        made.before_size = (size_t)overlap;
        made.before = malloc(made.before_size);
        must(made.before != NULL, "malloc");
        read_all(file->fd, made.before, made.before_size, at);
    }
    return made;
}

static void
add_change(disk_file *file, change made)
{
    file->changes = grown(file->changes, file->count, &file->capacity, sizeof(change));
    file->changes[file->count++] = made;
    file->is_sealed = false;
}

void
disk_file_before(disk_file *file, int fd, off_t at, size_t size)
{
    file->pending = change_of(file, fd, at, at + (off_t)size);
}

/* Appends that follow each other are one change: it may be torn at any byte. */
static bool
joins_last(const disk_file *file, off_t at)
{
    const change *const last = &file->changes[file->count - 1];

    return !file->is_sealed && last->before_size == 0 && last->at == last->size_before &&
        last->at + (off_t)last->size == at;
}

void
disk_file_wrote(disk_file *file, off_t at, size_t size)
{
    change made = file->pending;

    made.size = size;
    if (made.before_size > size)
        made.before_size = size;
    if (file->count > 0 && made.before_size == 0 && joins_last(file, at))
        file->changes[file->count - 1].size += size;
    else
        add_change(file, made);
}

void
disk_file_resize(disk_file *file, int fd, off_t size)
{
    const off_t now = size_of(fd);

    if (size == now)
        return;
    change made = change_of(file, fd, size < now ? size : now, now);

    made.size = size > now ? (size_t)(size - now) : 0;
    add_change(file, made);
}

uint64_t
disk_file_mark(disk_file *file)
{
    file->is_sealed = true;
    return file->first + file->count;
}

void
disk_file_synced(disk_file *file, uint64_t mark)
{
    if (mark > file->first)
        forget_changes(file, mark - file->first);
}

/* ---- the way back of a file ---- */

/* All of the change but its first `kept` bytes. */
static void
undo_change(const disk_file *file, const change *made, size_t kept)
{
    const off_t reached = kept == 0 ? 0 : made->at + (off_t)kept;
    const off_t size = reached > made->size_before ? reached : made->size_before;

    must(syscall(SYS_ftruncate, file->fd, size) == 0, "ftruncate");
    if (made->before_size > kept)
        write_all(file->fd, made->before + kept, made->before_size - kept, made->at + (off_t)kept);
}

/*
 * The sector in which the change was torn, from there on: it had not been synced either.  Only of a
 * WAL, which is overwritten in place.  Elsewhere a file grows, and ext4 (ordered) and XFS grow its
 * size after its data; RocksDB counts on that for its MANIFEST, and refuses one with such an end.
 */
static void
spoil(const disk_file *file, const change *made, size_t kept)
{
    uint8_t sector[SECTOR];
    const size_t in_sector = (size_t)(made->at + (off_t)kept) % SECTOR;
    const size_t left = made->size - kept;
    const size_t size = SECTOR - in_sector < left ? SECTOR - in_sector : left;
    const bool is_garbage = disk_random(2) == 0;

    for (size_t index = 0; index < size; index++)
        sector[index] = is_garbage ? (uint8_t)disk_random(256) : 0;
    write_all(file->fd, sector, size, made->at + (off_t)kept);
}

static void
tear(const disk_file *file, const change *made, disk_loss *loss)
{
    const size_t kept = made->size == 0 ? 0 : (size_t)disk_random(made->size);

    undo_change(file, made, kept);
    loss->changes++;
    loss->bytes += made->size - kept;
    loss->torn += kept > 0;
    if (made->size == 0 || !file->is_log || disk_random(4) != 0)
        return;
    spoil(file, made, kept);
    loss->spoilt++;
}

/* How much of it survived is one of three: nothing, all, or something between. */
static size_t
pick_kept(size_t count)
{
    const uint64_t kind = disk_random(4);

    return kind == 0 ? 0 : kind == 1 ? count : (size_t)disk_random(count + 1);
}

static void
cut_file(disk_file *file, disk_loss *loss)
{
    if (file->count == 0)
        return;
    const size_t kept = pick_kept(file->count);

    for (size_t index = file->count; index > kept + 1; index--) {
        undo_change(file, &file->changes[index - 1], 0);
        loss->bytes += file->changes[index - 1].size;
        loss->changes++;
    }
    if (kept < file->count)
        tear(file, &file->changes[kept], loss);
}

/* ---- folders ---- */

static bool
is_below(const char *path, const char *above)
{
    const size_t length = strlen(above);

    return strncmp(path, above, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

disk_folder *
disk_folder_at(const char *path)
{
    if (!is_below(path, root))
        return NULL;
    for (size_t index = 0; index < folder_count; index++)
        if (!folders[index].is_gone && strcmp(folders[index].path, path) == 0)
            return &folders[index];
    if (folder_count == FOLDERS_MAX)
        disk_refuse("so many folders", path);
    disk_folder *const folder = &folders[folder_count++];

    (void)snprintf(folder->path, sizeof folder->path, "%s", path);
    return folder;
}

disk_folder *
disk_folder_of_entry(const char *path, const char **ret_name)
{
    char above[PATH_BYTES];
    const char *const slash = strrchr(path, '/');

    if (slash == NULL || slash == path || (size_t)(slash - path) >= sizeof above)
        return NULL;
    memcpy(above, path, (size_t)(slash - path));
    above[slash - path] = '\0';
    *ret_name = slash + 1;
    return disk_folder_at(above);
}

static void
path_of(char out[PATH_BYTES], const char *folder, const char *name)
{
    must(snprintf(out, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES, "a path");
}

static void
kept_path(char out[PATH_BYTES], uint64_t kept)
{
    char name[32];

    (void)snprintf(name, sizeof name, "%llu", (unsigned long long)kept);
    path_of(out, shadow, name);
}

uint64_t
disk_keep(const char *path)
{
    struct stat status;
    char second[PATH_BYTES];

    if (lstat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return 0; /* sockets are made anew by each start */
    kept_path(second, ++kept_count);
    must(syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, second, 0) == 0, "linkat");
    return kept_count;
}

/* Its removal is synced: no cut brings it back. */
static void
let_go(uint64_t kept)
{
    char path[PATH_BYTES];
    struct stat status;

    kept_path(path, kept);
    must(lstat(path, &status) == 0, "lstat");
    disk_file *const file = status.st_nlink > 1 ? NULL : find_file(status.st_dev, status.st_ino);

    if (file != NULL)
        forget_changes(file, file->count);
    must(syscall(SYS_unlinkat, AT_FDCWD, path, 0) == 0, "unlinkat");
}

static void
add_entry(entry made)
{
    entries = grown(entries, entry_count, &entry_capacity, sizeof(entry));
    entries[entry_count++] = made;
}

static char *
copy(const char *text)
{
    char *const made = strdup(text);

    must(made != NULL, "strdup");
    return made;
}

void
disk_made(disk_folder *folder, const char *name, bool is_folder)
{
    add_entry((entry){ .kind = is_folder ? MADE_FOLDER : MADE,
        .folder = folder,
        .name = copy(name) });
}

void
disk_removed(disk_folder *folder, const char *name, uint64_t kept, bool is_folder)
{
    char path[PATH_BYTES];

    path_of(path, folder->path, name);
    disk_folder *const removed = is_folder ? disk_folder_at(path) : NULL;

    add_entry((entry){ .kind = is_folder ? REMOVED_FOLDER : REMOVED,
        .folder = folder,
        .name = copy(name),
        .kept = kept,
        .removed = removed });
    if (removed != NULL)
        removed->is_gone = true;
}

/* The folders below `from` have moved with it. */
static void
move_folders(const char *from, const char *to)
{
    char moved[PATH_BYTES];

    for (size_t index = 0; index < folder_count; index++) {
        char *const path = folders[index].path;

        if (folders[index].is_gone || !is_below(path, from))
            continue;
        must(snprintf(moved, sizeof moved, "%s%s", to, path + strlen(from)) < PATH_BYTES, "a path");
        memcpy(path, moved, sizeof moved);
    }
}

void
disk_moved(disk_folder *folder, const char *from, const char *to, uint64_t kept)
{
    char old[PATH_BYTES], new[PATH_BYTES];

    add_entry((entry){ .kind = MOVED,
        .folder = folder,
        .name = copy(from),
        .to = copy(to),
        .kept = kept });
    path_of(old, folder->path, from);
    path_of(new, folder->path, to);
    move_folders(old, new);
}

uint64_t
disk_folder_mark(void)
{
    return entry_count;
}

void
disk_folder_synced(disk_folder *folder, uint64_t mark)
{
    for (size_t index = entries_over; index < mark; index++) {
        entry *const it = &entries[index];

        if (it->is_over || it->folder != folder)
            continue;
        it->is_over = true;
        if (it->kept != 0)
            let_go(it->kept);
        free(it->name);
        free(it->to);
    }
    while (entries_over < entry_count && entries[entries_over].is_over)
        entries_over++;
}

/* ---- the way back of a folder ---- */

static int
remove_one(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status, (void)walk;
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, flag == FTW_DP ? AT_REMOVEDIR : 0);
}

static void
remove_tree(const char *path)
{
    must(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "removing an unsynced folder");
}

static void
bring_back(uint64_t kept, const char *path)
{
    char second[PATH_BYTES];

    if (kept == 0)
        return;
    kept_path(second, kept);
    must(syscall(SYS_renameat, AT_FDCWD, second, AT_FDCWD, path) == 0, "renameat");
}

static void
undo_move(const entry *it, const char *path)
{
    char moved[PATH_BYTES];

    path_of(moved, it->folder->path, it->to);
    must(syscall(SYS_renameat, AT_FDCWD, moved, AT_FDCWD, path) == 0, "renameat");
    move_folders(moved, path);
    bring_back(it->kept, moved);
}

static void
undo_entry(const entry *it)
{
    char path[PATH_BYTES];

    path_of(path, it->folder->path, it->name);
    switch (it->kind) {
    case MADE:
        must(syscall(SYS_unlinkat, AT_FDCWD, path, 0) == 0, "unlinkat");
        break;
    case MADE_FOLDER:
        remove_tree(path);
        break;
    case REMOVED:
        bring_back(it->kept, path);
        break;
    case REMOVED_FOLDER:
        must(syscall(SYS_mkdirat, AT_FDCWD, path, 0700) == 0, "mkdirat");
        it->removed->is_gone = false;
        break;
    case MOVED:
        undo_move(it, path);
        break;
    }
}

/* Each folder keeps a prefix of its own. */
static void
pick_entries(const disk_folder *folder, disk_loss *loss)
{
    size_t count = 0;

    for (size_t index = entries_over; index < entry_count; index++)
        count += !entries[index].is_over && entries[index].folder == folder;
    const size_t kept = pick_kept(count);

    loss->entries_kept += kept;
    loss->entries += count - kept;
    count = 0;
    for (size_t index = entries_over; index < entry_count; index++)
        if (!entries[index].is_over && entries[index].folder == folder)
            entries[index].is_over = count++ < kept;
}

void
disk_cut(disk_loss *ret_loss)
{
    *ret_loss = (disk_loss){ 0 };
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        for (disk_file *file = buckets[bucket]; file != NULL; file = file->next)
            cut_file(file, ret_loss);
    for (size_t index = 0; index < folder_count; index++)
        pick_entries(&folders[index], ret_loss);
    /* A folder whose removal survived takes with it what was undone in it. */
    for (size_t index = entry_count; index > entries_over; index--)
        if (!entries[index - 1].is_over && !entries[index - 1].folder->is_gone)
            undo_entry(&entries[index - 1]);
    remove_tree(shadow);
}
