/*
 * readers.h - which reads are under way, so that what their snapshots need stays in the index.
 *
 * A reader enters, then takes its snapshot.  The core counts commits; what a commit retires may
 * leave the index once every reader under way entered after that commit was counted: such a
 * reader's snapshot shows the retirement.
 *
 * Threads: any; a lock inside, held for a few instructions.
 */
#ifndef WEIR_INDEXER_READERS_H
#define WEIR_INDEXER_READERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct indexer_reader indexer_reader;

/* On the reader's stack. */
struct indexer_reader {
    indexer_reader *previous, *next;
    uint64_t commit; /* commits counted when it entered */
};

typedef struct indexer_readers {
    pthread_mutex_t lock;
    indexer_reader *oldest, *newest; /* in the order of entering, so of `commit` */
    uint64_t commits;
} indexer_readers;

void indexer_readers_init(indexer_readers *readers);
/* No reader is inside. */
void indexer_readers_fini(indexer_readers *readers);
void indexer_readers_enter(indexer_readers *readers, indexer_reader *reader);
void indexer_readers_leave(indexer_readers *readers, indexer_reader *reader);
/* A commit is done; its number. */
uint64_t indexer_readers_count_commit(indexer_readers *readers);
/* Every reader inside entered after that commit was counted. */
bool indexer_readers_have_passed(indexer_readers *readers, uint64_t commit);

#endif
