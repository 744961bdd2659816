/*
 * peers.c - the list of databases that were replaced.  A volume that was declared lost may turn up
 * again (a disk that is mounted late, a container that was only paused); whatever it says is
 * refused.
 */
#include "common/link/internal.h"

bool
link_peers_has(const link_peers *peers, const uint8_t id[WEIR_STORE_ID_SIZE])
{
    for (size_t i = 0; i < peers->count; i++)
        if (link_id_equal(peers->ids[i], id))
            return true;
    return false;
}

void
link_peers_add(link_peers *peers, const uint8_t id[WEIR_STORE_ID_SIZE])
{
    if (link_peers_has(peers, id))
        return;
    peers->ids = weir_realloc(peers->ids, (peers->count + 1) * sizeof *peers->ids);
    memcpy(peers->ids[peers->count++], id, WEIR_STORE_ID_SIZE);
}

void
link_peers_remove(link_peers *peers, const uint8_t id[WEIR_STORE_ID_SIZE])
{
    for (size_t i = 0; i < peers->count; i++) {
        if (!link_id_equal(peers->ids[i], id))
            continue;
        memmove(peers->ids[i], peers->ids[--peers->count], sizeof *peers->ids);
        return;
    }
}

bool
link_peers_read(link_peers *peers, const ProtobufCBinaryData *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (entries[i].len != WEIR_STORE_ID_SIZE)
            return false;
        link_peers_add(peers, entries[i].data);
    }
    return true;
}

ProtobufCBinaryData *
link_peers_message(const link_peers *peers, weir_arena *arena)
{
    ProtobufCBinaryData *entries = weir_arena_alloc(arena, (peers->count + 1) * sizeof *entries);

    for (size_t i = 0; i < peers->count; i++)
        entries[i] = link_borrow(peers->ids[i], WEIR_STORE_ID_SIZE);
    return entries;
}

void
link_peers_fini(link_peers *peers)
{
    weir_free(peers->ids);
    *peers = (link_peers){ 0 };
}
