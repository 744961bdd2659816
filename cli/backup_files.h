/*
 * backup_files.h - a backup as a folder of files, and the putting of files where they last.
 *
 *   DIR/<service>/...      the copy of one database: exactly the files that the manifest names
 *   DIR/manifest.json      BackupManifest, written last: without it DIR is no backup
 *
 * Every function says what is wrong on standard error.  Memory comes from the arena.  Threads: one.
 */
#ifndef WEIR_CLI_BACKUP_FILES_H
#define WEIR_CLI_BACKUP_FILES_H

#include "cli/cli.h"
#include "weir/internal/v1/backup.pb-c.h"

typedef Weir__Internal__V1__BackupManifest backup_manifest;
typedef Weir__Internal__V1__BackupDatabase backup_database;
typedef Weir__Internal__V1__BackupFile backup_file;

/* List the files of `folder` with their sizes and sums into `database`. */
cli_exit backup_list_files(weir_arena *arena, const char *folder, backup_database *database);
/* Write DIR/manifest.json: there, whole and durable, or not there. */
cli_exit backup_write_manifest(weir_arena *arena, const char *dir, const backup_manifest *manifest);
/* Read it; CLI_NOT_FOUND when DIR is no finished backup. */
cli_exit backup_read_manifest(weir_arena *arena, const char *dir, backup_manifest **ret_manifest);
/* Is every file of every database there, with its size and content, and does this version read
 * their schemas? */
cli_exit backup_verify(weir_arena *arena, const char *dir, const backup_manifest *manifest);
/* The bytes of all files. */
uint64_t backup_bytes(const backup_manifest *manifest);
/* NULL: the backup has none. */
const backup_database *backup_find(const backup_manifest *manifest, weir_service_id service);

/* Copy the files of `database` from DIR/<service> into the new folder `to`; durable, and compared
 * with the sums again as they were written. */
cli_exit backup_copy(weir_arena *arena, const char *dir, const backup_database *database,
    const char *to);

bool file_exists(const char *path);
/* Make the entries of a folder durable. */
cli_exit file_sync_folder(const char *path);
/* A small file: there, whole and durable. */
cli_exit file_write(weir_arena *arena, const char *path, weir_bytes content);
/* Delete a folder with the files in it; no folder is no error. */
cli_exit file_remove_folder(weir_arena *arena, const char *path);

#endif
