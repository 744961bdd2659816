/*
 * wal.h - is a hole in RocksDB's log the end of what was written, or damage?  (inside common/store
 * only)
 *
 * Point-in-time recovery takes the first record that does not fit for the end of the log, as it
 * must after a power cut, and drops what follows.  So one flipped bit would take acknowledged
 * commits with it, in silence.  But there is one committer, and it begins a synced commit only when
 * the one before is on disk: what a power cut can lose are the unsynced batches since the last sync
 * and one synced batch, all at the very end.  Whole records far behind a hole say that the hole is
 * damage.
 */
#ifndef WEIR_STORE_WAL_H
#define WEIR_STORE_WAL_H

#include "common/base/bytes.h"
#include "common/base/error.h"

/* Records behind a hole that can still be an unsynced end: trims of every link, several times over,
 * and the commit behind them. */
enum { WEIR_WAL_BEHIND_MAX = 32 };

/* How many whole records of this log begin behind its first hole: 0 for a log that is whole, and
 * for one whose first record is not. */
size_t weir_wal_behind_hole(weir_bytes log, uint32_t number);

/* All logs in the folder of a database that is closed.  WEIR_CORRUPT names the file and the place;
 * WEIR_STORE_IO. */
weir_code weir_wal_check(const char *db_path, weir_error *reterr) WEIR_MUST_CHECK;

#endif
