/*
 * folder.h - the folder that a database lives in: its lock, its free space, its ballast (inside
 * common/store only).
 *
 *   PATH/weir.lock    held by flock(2) while the store is open; contains the pid of the holder
 *   PATH/db           the database; there only when its creation was completed
 *   PATH/db.new       a creation that has not been completed: removed at the next open
 *   PATH/ballast      space that an operator can give back to a full disk by deleting the file
 */
#ifndef WEIR_STORE_FOLDER_H
#define WEIR_STORE_FOLDER_H

#include "common/store/store.h"

typedef struct weir_folder {
    char *path;
    char *db_path;
    char *new_path;
    int lock_fd; /* -1: not held */
} weir_folder;

/* Make the folder if its parent exists, and lock it.  WEIR_STORE_LOCKED, WEIR_STORE_IO.  After a
 * failure, too, weir_folder_close releases all. */
weir_code weir_folder_open(const char *path, weir_folder *folder,
    weir_error *reterr) WEIR_MUST_CHECK;
void weir_folder_close(weir_folder *folder);

bool weir_folder_has_db(const weir_folder *folder);
/* Remove what an earlier creation left in new_path. */
weir_code weir_folder_clear_new(const weir_folder *folder, weir_error *reterr) WEIR_MUST_CHECK;
/* Make new_path durable and let it take its place at db_path. */
weir_code weir_folder_publish_new(const weir_folder *folder, weir_error *reterr) WEIR_MUST_CHECK;

/* Make a folder of files durable and give it the name `path`, which nothing has. */
weir_code weir_folder_publish(const char *unfinished, const char *path,
    weir_error *reterr) WEIR_MUST_CHECK;

/* WEIR_DISK_LOW below reserve_bytes. */
weir_code weir_folder_check_reserve(const weir_folder *folder, uint64_t reserve_bytes,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Make the ballast file of that size, or remove it (0).  Left out, without failing, while it
 * would eat into the reserve. */
weir_code weir_folder_set_ballast(const weir_folder *folder, uint64_t ballast_bytes,
    uint64_t reserve_bytes, weir_error *reterr) WEIR_MUST_CHECK;

uint64_t weir_folder_free_bytes(const weir_folder *folder);
/* What the files of the database occupy. */
uint64_t weir_folder_disk_bytes(const weir_folder *folder);

#endif
