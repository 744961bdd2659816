/*
 * links.h - which links exist: one table.  Pure.
 */
#ifndef WEIR_DOMAIN_LINKS_H
#define WEIR_DOMAIN_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum weir_service_id {
    WEIR_SERVICE_NONE = 0,
    WEIR_SERVICE_GATEWAY,
    WEIR_SERVICE_INGEST,
    WEIR_SERVICE_EMBEDDER,
    WEIR_SERVICE_INDEXER,
    WEIR_SERVICE_RECONCILER,
    WEIR_SERVICE_COUNT
} weir_service_id;

/* Stored in records and frames: never renumber. */
typedef enum weir_link_kind {
    WEIR_LINK_NONE = 0,
    WEIR_LINK_GATEWAY_INGEST = 1,      /* documents */
    WEIR_LINK_INGEST_EMBEDDER = 2,     /* chunks */
    WEIR_LINK_EMBEDDER_INDEXER = 3,    /* chunks with vectors */
    WEIR_LINK_GATEWAY_INDEXER = 4,     /* control: deletes, seeds, gate */
    WEIR_LINK_GATEWAY_RECONCILER = 5,  /* events, seeds */
    WEIR_LINK_INGEST_RECONCILER = 6,   /* events */
    WEIR_LINK_EMBEDDER_RECONCILER = 7, /* events */
    WEIR_LINK_INDEXER_RECONCILER = 8,  /* events, revoke answers */
    WEIR_LINK_RECONCILER_INDEXER = 9,  /* control: revokes */
    WEIR_LINK_RECONCILER_GATEWAY = 10, /* control: raise, give up */
    WEIR_LINK_INDEXER_GATEWAY = 11,    /* control: ready, deleted (a delete waits for it) */
    WEIR_LINK_COUNT
} weir_link_kind;

typedef struct weir_link_spec {
    weir_link_kind kind;
    const char *name; /* "gateway-ingest" */
    weir_service_id from;
    weir_service_id to;
    bool control;     /* keeps credit down to the hard reserve of the disk */
    bool carries_era; /* rows of a lower era than the receiver's are no-ops that settle */
} weir_link_spec;

/* kind in 1..WEIR_LINK_COUNT-1. */
const weir_link_spec *weir_link_spec_of(weir_link_kind kind);
const char *weir_service_name(weir_service_id service);
weir_service_id weir_service_from_name(const char *name);

/* A link's number on the wire and in keys: kind << 16 | from shard << 8 | to shard. */
static inline uint32_t
weir_link_number(weir_link_kind kind, uint8_t from_shard, uint8_t to_shard)
{
    return (uint32_t)kind << 16 | (uint32_t)from_shard << 8 | to_shard;
}

static inline weir_link_kind
weir_link_kind_of(uint32_t number)
{
    return (weir_link_kind)(number >> 16);
}

#endif
