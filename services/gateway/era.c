/*
 * era.c - lost volumes: one decider, in one order.
 *
 * The gateway learns of a loss from the answers to its own HELLOs and from the once-a-second look at every service.  It
 * commits era + 1 with the database that is now in force, resets its own links to it, seeds the indexer (era, tombstones,
 * FAILED revisions), opens the gate, and re-drives under new epochs: what was not over, and after a lost indexer also what
 * was READY.  Every step is idempotent by (service, store_id): a crash between two rounds goes on where it stood.
 *
 * A lost reconciler raises the era as well.  That costs a re-drive of what is under way, and saves a second kind of RESET.
 */
#include "common/base/assert.h"
#include "common/base/log.h"
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"

enum { REDRIVE_PER_ROUND = 256, SEEDS_PER_ROW = 500 };

/* ---- seeding ---- */

typedef struct seeding {
    gateway_core *core;
    weir_stage *stage;
    weir_link_kind link;
    Weir__Internal__V1__SeedEntry *entries[SEEDS_PER_ROW];
    size_t count;
} seeding;

static weir_code
send_seeds(seeding *seeds, bool done, weir_error *reterr)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__SeedRow seed = WEIR__INTERNAL__V1__SEED_ROW__INIT;

    if (seeds->count == 0 && !done)
        return WEIR_OK;
    seed.entries = seeds->entries;
    seed.n_entries = seeds->count;
    seed.done = done;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED;
    row.seed = &seed;
    seeds->count = 0;
    return weir_stage_send(seeds->stage, seeds->link, &row, NULL, reterr);
}

static weir_code
seed_document(seeding *seeds, const collection_entry *collection, const char *document_id,
    const document_record *document, weir_error *reterr)
{
    weir_arena *arena = weir_stage_arena(seeds->stage);
    revision_record *revision = NULL;
    const weir_code code = gateway_get_revision(seeds->core, seeds->stage, collection->record->collection_no,
        document_id, document->newest_revision, &revision, reterr);

    if (code != WEIR_OK)
        return code;
    const bool has_failed = revision != NULL && revision->state == DOCUMENT_STATE(FAILED);
    if (document->deleted_below == 0 && !has_failed)
        return WEIR_OK;
    Weir__Internal__V1__SeedEntry *entry = weir_arena_alloc(arena, sizeof *entry);
    weir__internal__v1__seed_entry__init(entry);
    entry->tenant = collection->record->tenant;
    entry->collection_no = collection->record->collection_no;
    entry->document_id = weir_arena_strdup(arena, document_id);
    entry->deleted_below = document->deleted_below;
    if (has_failed) {
        entry->failed_revision = document->newest_revision;
        entry->failed_epoch = revision->epoch;
        entry->failure = revision->failure;
    }
    seeds->entries[seeds->count++] = entry;
    return seeds->count == SEEDS_PER_ROW ? send_seeds(seeds, false, reterr) : WEIR_OK;
}

/* Call `visit` for each document; the iterator sees committed state. */
typedef weir_code visit_document(void *ud, collection_entry *collection, const char *document_id,
    document_record *document, weir_error *reterr);

static weir_code
visit_documents(gateway_core *core, weir_stage *stage, weir_bytes after, uint64_t limit, weir_buffer *ret_last,
    visit_document *visit, void *ud, weir_error *reterr)
{
    const uint8_t lower[] = { 'D' };
    const uint8_t upper[] = { 'D' + 1 };
    weir_code code = WEIR_OK;
    weir_iter *iter =
        weir_store_iter(weir_stage_store(stage), NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));
    bool is_there = after.size > 0 ? weir_iter_seek(iter, after) : weir_iter_next(iter);

    if (is_there && after.size > 0 && weir_bytes_equal(weir_iter_key(iter), after))
        is_there = weir_iter_next(iter);
    for (; is_there && limit > 0 && code == WEIR_OK; is_there = weir_iter_next(iter), limit--) {
        const weir_bytes key = weir_iter_key(iter);
        const char *document_id = weir_arena_strdup(weir_stage_arena(stage), gateway_key_document_id(key));
        collection_entry *collection = gateway_find_collection_no(core, weir_load_u64(key.data + 1));
        document_record *document = NULL;

        if (ret_last != NULL) {
            weir_buffer_clear(ret_last);
            weir_buffer_append(ret_last, key.data, key.size);
        }
        weir_assert(collection != NULL);
        code = gateway_get_document(core, stage, collection->record->collection_no, document_id, &document, reterr);
        if (code == WEIR_OK && document != NULL)
            code = visit(ud, collection, document_id, document, reterr);
    }
    if (!is_there && ret_last != NULL)
        weir_buffer_clear(ret_last); /* the end */
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static weir_code
seed_visited(void *ud, collection_entry *collection, const char *document_id, document_record *document,
    weir_error *reterr)
{
    return seed_document(ud, collection, document_id, document, reterr);
}

static weir_code
seed(gateway_core *core, weir_stage *stage, weir_link_kind link, weir_service_id service, weir_error *reterr)
{
    seeding *seeds = weir_arena_alloc_zero(weir_stage_arena(stage), sizeof *seeds);

    seeds->core = core;
    seeds->stage = stage;
    seeds->link = link;
    weir_code code = visit_documents(core, stage, weir_bytes_of(NULL, 0), UINT64_MAX, NULL, seed_visited, seeds, reterr);
    if (code == WEIR_OK)
        code = send_seeds(seeds, true, reterr);
    core->known[service].seeded_era = weir_stage_era(stage);
    core->suite_changed = true;
    return code;
}

static weir_code
open_gate(weir_stage *stage, const weir_link_tx_status *status, weir_error *reterr)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__GateRow gate = WEIR__INTERNAL__V1__GATE_ROW__INIT;

    gate.boot_counter = status->peer_boot_counter;
    gate.boot_random.data = (uint8_t *)(uintptr_t)status->peer_boot_random;
    gate.boot_random.len = WEIR_BOOT_RANDOM_SIZE;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE;
    row.gate = &gate;
    return weir_stage_send(stage, WEIR_LINK_GATEWAY_INDEXER, &row, NULL, reterr);
}

/* ---- noticing ---- */

static bool
is_known(const gateway_core *core, weir_service_id service)
{
    return core->known[service].store_id.len == WEIR_STORE_ID_SIZE;
}

static void
adopt(gateway_core *core, weir_service_id service, const uint8_t *store_id)
{
    memcpy(core->known_id[service], store_id, WEIR_STORE_ID_SIZE);
    core->known[service].service = (char *)(uintptr_t)weir_service_name(service);
    core->known[service].store_id.data = core->known_id[service];
    core->known[service].store_id.len = WEIR_STORE_ID_SIZE;
    core->known[service].seeded_era = 0;
    core->suite_changed = true;
}

static weir_link_kind
link_to(weir_service_id service)
{
    switch (service) {
    case WEIR_SERVICE_INGEST:
        return WEIR_LINK_GATEWAY_INGEST;
    case WEIR_SERVICE_INDEXER:
        return WEIR_LINK_GATEWAY_INDEXER;
    case WEIR_SERVICE_RECONCILER:
        return WEIR_LINK_GATEWAY_RECONCILER;
    case WEIR_SERVICE_NONE:
    case WEIR_SERVICE_GATEWAY:
    case WEIR_SERVICE_EMBEDDER:
    case WEIR_SERVICE_COUNT:
        return WEIR_LINK_NONE;
    }
    return WEIR_LINK_NONE;
}

/* Era + 1, the database in force, the reset of our own link to it; the re-drive begins from the first document. */
static weir_code
on_loss(gateway_core *core, weir_stage *stage, weir_service_id service, const uint8_t *store_id, const char *why,
    weir_error *reterr)
{
    const weir_link_kind link = link_to(service);
    weir_code code = weir_stage_raise_era(stage, weir_stage_era(stage) + 1, reterr);

    weir_log(WEIR_LOG_ERROR, "volume.lost", WEIR_STR("peer", weir_service_name(service)), WEIR_STR("reason", why),
        WEIR_INT("era", (int64_t)weir_stage_era(stage)));
    adopt(core, service, store_id);
    if (code == WEIR_OK && link != WEIR_LINK_NONE)
        code = weir_stage_reset_link(stage, link, store_id, reterr);
    core->suite.era = weir_stage_era(stage);
    core->is_redriving = true;
    core->redrive_ready_too = core->redrive_ready_too || service == WEIR_SERVICE_INDEXER;
    weir_buffer_clear(&core->redrive_after);
    core->suite_changed = true;
    weir_stage_wake_at(stage, weir_stage_now_ms(stage));
    return code;
}

/* The answer to our HELLO was accepted: the peer may have a new start, and a new suite has nothing adopted yet. */
static weir_code
on_opened(gateway_core *core, weir_stage *stage, weir_link_kind link, const weir_link_tx_status *status,
    weir_error *reterr)
{
    const weir_service_id service = weir_link_spec_of(link)->to;
    weir_code code = WEIR_OK;

    if (!is_known(core, service))
        adopt(core, service, status->peer_store_id);
    else if (memcmp(core->known_id[service], status->peer_store_id, WEIR_STORE_ID_SIZE) != 0)
        return on_loss(core, stage, service, status->peer_store_id, "another database answered", reterr);
    const bool needs_seed = service == WEIR_SERVICE_INDEXER || service == WEIR_SERVICE_RECONCILER;
    if (needs_seed && core->known[service].seeded_era < weir_stage_era(stage))
        code = seed(core, stage, link, service, reterr);
    if (code == WEIR_OK && service == WEIR_SERVICE_INDEXER)
        code = open_gate(stage, status, reterr);
    return code;
}

weir_code
gateway_on_link_news(gateway_core *core, weir_stage *stage, weir_link_kind link, unsigned news, weir_error *reterr)
{
    weir_link_tx_status status;
    weir_code code = WEIR_OK;

    weir_stage_link_status(stage, link, &status);
    if ((news & WEIR_LINK_NEWS_ALARM) != 0 && status.alarm_era == weir_stage_era(stage))
        code = on_loss(core, stage, weir_link_spec_of(link)->to, status.alarm_store_id, status.alarm, reterr);
    if (code == WEIR_OK && (news & WEIR_LINK_NEWS_OPENED) != 0)
        code = on_opened(core, stage, link, &status, reterr);
    return code;
}

weir_code
gateway_on_peer_status(gateway_core *core, weir_stage *stage, const weir_request *request, weir_error *reterr)
{
    const Weir__Internal__V1__PeerStatusCommand *status =
        (const Weir__Internal__V1__PeerStatusCommand *)request->message;
    const weir_service_id service = weir_service_from_name(status->service);
    const weir_service_id regressed = weir_service_from_name(status->regressed_peer);

    if (service <= WEIR_SERVICE_GATEWAY || status->store_id.len != WEIR_STORE_ID_SIZE)
        return WEIR_OK;
    if (!is_known(core, service)) {
        adopt(core, service, status->store_id.data);
        return WEIR_OK;
    }
    if (memcmp(core->known_id[service], status->store_id.data, WEIR_STORE_ID_SIZE) != 0)
        return on_loss(core, stage, service, status->store_id.data, "its status names another database", reterr);
    /* A rolled-back volume keeps its name: only a link notices, and says so for the era in which it did. */
    if (regressed > WEIR_SERVICE_GATEWAY && status->alarm_era == weir_stage_era(stage) && is_known(core, regressed))
        return on_loss(core, stage, regressed, core->known_id[regressed], "a link to it found it rolled back", reterr);
    return WEIR_OK;
}

/* ---- re-drive ---- */

typedef struct redrive {
    gateway_core *core;
    weir_stage *stage;
} redrive;

static bool
needs_redrive(const gateway_core *core, const weir_stage *stage, const revision_record *revision)
{
    const bool is_live =
        revision->state == DOCUMENT_STATE(PENDING) || revision->state == DOCUMENT_STATE(PROCESSING);
    const bool is_lost_ready = core->redrive_ready_too && revision->state == DOCUMENT_STATE(READY);

    return (is_live || is_lost_ready) && revision->era < weir_stage_era(stage);
}

/* Ascending revisions of one document: the READY one before what is newer. */
static weir_code
redrive_document(void *ud, collection_entry *collection, const char *document_id, document_record *document,
    weir_error *reterr)
{
    const redrive *run = ud;
    weir_code code = WEIR_OK;

    for (int64_t number = document->oldest_revision; number <= document->newest_revision && code == WEIR_OK;
         number++) {
        const revision_id id = { .collection = collection, .document_id = document_id, .revision = number };
        revision_record *revision = NULL;

        code = gateway_get_revision(run->core, run->stage, collection->record->collection_no, document_id, number,
            &revision, reterr);
        if (code == WEIR_OK && revision != NULL && needs_redrive(run->core, run->stage, revision))
            code = gateway_raise(run->core, run->stage, &id, revision, GATEWAY_LANE_REDRIVE, reterr);
    }
    return code;
}

weir_code
gateway_redrive_some(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    redrive run = { .core = core, .stage = stage };

    if (!core->is_redriving)
        return WEIR_OK;
    weir_buffer after = { 0 };
    weir_buffer_append(&after, core->redrive_after.data, core->redrive_after.size);
    const weir_code code = visit_documents(core, stage, weir_buffer_view(&after), REDRIVE_PER_ROUND,
        &core->redrive_after, redrive_document, &run, reterr);
    weir_buffer_fini(&after);
    core->suite_changed = true;
    if (core->redrive_after.size == 0) {
        core->is_redriving = false;
        core->redrive_ready_too = false;
    } else {
        weir_stage_wake_at(stage, weir_stage_now_ms(stage) + 1);
    }
    return code;
}
