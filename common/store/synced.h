/*
 * synced.h - the last change of a database that is known to be on disk, in a file beside its log
 * (inside common/store only).
 *
 *   DB/SYNCED    number u64 and CRC32C u32 of it, big-endian
 *
 * Point-in-time recovery takes damage in the log for its end.  The number says where that end is at
 * least: it is written when a synced commit has returned and never names a later one, so a database
 * that opens with less has lost acknowledged commits.  The file itself is synced at a close alone:
 * after a kill it is exact, after a power cut some seconds old, and then it shows less and nothing
 * wrong.  It lies in the folder of the database, which is copied, put back and deleted with it; a
 * checkpoint has none.  One that is missing or damaged says nothing.
 */
#ifndef WEIR_STORE_SYNCED_H
#define WEIR_STORE_SYNCED_H

#include "common/base/bytes.h"

/* In the place of a number: the database is to be taken as it is (weir_store_take_as_it_is). */
#define WEIR_SYNCED_AS_IT_IS UINT64_MAX

typedef struct weir_synced {
    int fd; /* -1: it cannot be written, and shows less */
} weir_synced;

/* Of the database in the folder db_path; 0: nothing is known. */
uint64_t weir_synced_read(const char *db_path);

/* Threads: one at a time for each.  Nothing fails: see fd. */
void weir_synced_open(weir_synced *self, const char *db_path);
/* All changes up to this number are on disk. */
void weir_synced_note(const weir_synced *self, uint64_t number);
void weir_synced_close(weir_synced *self);

#endif
