/*
 * disk.h - what a disk would hold if the power went now: unsynced writes of files and unsynced
 * entries of folders, and how to take them back (inside the shim of tests/power only).
 *
 * A file is followed by its inode.  Each write, truncation and growth since its last sync is a
 * change that can be undone: what it overwrote or cut off is kept.  At the cut a prefix of the
 * changes survives, the last one perhaps in part (torn at any byte; in a WAL its last sector may be
 * zeros or garbage).  A folder is followed by its path.  Each entry made, moved or removed since
 * the folder's last sync can be undone, later ones first; what was unlinked or replaced lives on
 * under a second name outside the root.  A sync of a file says nothing about its name, and a sync
 * of one folder nothing about another: stricter than most file systems.
 *
 * What a process finds when it starts counts as synced.
 *
 * Threads: the caller holds one lock around each call.  Calls of the kernel are made directly, so
 * nothing here is seen by the shim.
 */
#ifndef WEIR_POWER_DISK_H
#define WEIR_POWER_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct disk_file disk_file;
typedef struct disk_folder disk_folder;

typedef struct disk_loss { /* what a cut took back */
    uint64_t bytes;        /* written and not synced */
    uint64_t changes;      /* of files, whole or in part */
    uint64_t torn;         /* files that ended inside a change */
    uint64_t spoilt;       /* of these, with a last sector of zeros or garbage */
    uint64_t entries;      /* of folders */
    uint64_t entries_kept; /* unsynced ones that survived */
} disk_loss;

/* root: what is followed; shadow: a folder of the same file system for second names. */
void disk_start(const char *root, const char *shadow, uint64_t seed);
uint64_t disk_random(uint64_t bound);
/* Say what cannot be modelled, and abort: a test must not pass by not looking. */
_Noreturn void disk_refuse(const char *what, const char *path);

/* ---- files ---- */

/* The file behind an open descriptor; NULL: not a regular file.  is_new: it was made just now. */
disk_file *disk_file_of(int fd, const char *path, bool is_new);
/* Around each write to [at, at + size): before it, and after it with what was written of it. */
void disk_file_before(disk_file *file, int fd, off_t at, size_t size);
void disk_file_wrote(disk_file *file, off_t at, size_t size);
/* Before the file gets this size. */
void disk_file_resize(disk_file *file, int fd, off_t size);
/* A sync covers what was written before it began. */
uint64_t disk_file_mark(disk_file *file);
void disk_file_synced(disk_file *file, uint64_t mark);
bool disk_file_is_log(const disk_file *file); /* of RocksDB's writes ahead */

/* ---- folders ---- */

/* NULL: outside the root.  *ret_name is the last part of the path, which is normal. */
disk_folder *disk_folder_of_entry(const char *path, const char **ret_name);
disk_folder *disk_folder_at(const char *path);
/* Before an entry goes, so that its file lives on; the number to pass on, 0 if there is none. */
uint64_t disk_keep(const char *path);
void disk_made(disk_folder *folder, const char *name, bool is_folder);
void disk_removed(disk_folder *folder, const char *name, uint64_t kept, bool is_folder);
void disk_moved(disk_folder *folder, const char *from, const char *to, uint64_t kept);
uint64_t disk_folder_mark(void);
void disk_folder_synced(disk_folder *folder, uint64_t mark);

/* Bring everything below the root to what a disk might hold.  Nothing may follow but the end. */
void disk_cut(disk_loss *ret_loss);

#endif
