/*
 * readers.c - see readers.h.
 */
#include "services/indexer/readers.h"

#include <stddef.h>

#include "common/base/assert.h"

void
indexer_readers_init(indexer_readers *readers)
{
    *readers = (indexer_readers){ 0 };
    pthread_mutex_init(&readers->lock, NULL);
}

void
indexer_readers_fini(indexer_readers *readers)
{
    weir_assert(readers->oldest == NULL);
    pthread_mutex_destroy(&readers->lock);
}

void
indexer_readers_enter(indexer_readers *readers, indexer_reader *reader)
{
    pthread_mutex_lock(&readers->lock);
    *reader = (indexer_reader){ .previous = readers->newest, .commit = readers->commits };
    if (readers->newest != NULL)
        readers->newest->next = reader;
    else
        readers->oldest = reader;
    readers->newest = reader;
    pthread_mutex_unlock(&readers->lock);
}

void
indexer_readers_leave(indexer_readers *readers, indexer_reader *reader)
{
    pthread_mutex_lock(&readers->lock);
    if (reader->previous != NULL)
        reader->previous->next = reader->next;
    else
        readers->oldest = reader->next;
    if (reader->next != NULL)
        reader->next->previous = reader->previous;
    else
        readers->newest = reader->previous;
    pthread_mutex_unlock(&readers->lock);
}

uint64_t
indexer_readers_count_commit(indexer_readers *readers)
{
    pthread_mutex_lock(&readers->lock);
    const uint64_t commit = ++readers->commits;
    pthread_mutex_unlock(&readers->lock);
    return commit;
}

bool
indexer_readers_have_passed(indexer_readers *readers, uint64_t commit)
{
    pthread_mutex_lock(&readers->lock);
    const bool passed = readers->oldest == NULL || readers->oldest->commit >= commit;
    pthread_mutex_unlock(&readers->lock);
    return passed;
}
