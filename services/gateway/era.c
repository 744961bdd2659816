/*
 * era.c - lost volumes: one decider, in one order.
 *
 * The gateway learns of a loss from the answers to its own HELLOs and from the once-a-second look
 * at every service.  It commits era + 1 with the database that is now in force, resets its own
 * links to it, seeds the indexer whichever volume was lost (era, tombstones, FAILED revisions),
 * opens the gate, and re-drives under new epochs: what was not over, and after a lost indexer also
 * what was READY.  Every step is idempotent by (service, store_id): a crash between two rounds goes
 * on where it stood.
 *
 * A lost reconciler raises the era as well.  That costs a re-drive of what is under way, and saves
 * a second kind of RESET.
 */
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/base/plant.h"
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"

enum { REDRIVE_PER_ROUND = 256, SEEDS_PER_ROW = 500, SEED_ROW_BYTES = 1 << 20 };

/* ---- seeding ---- */

typedef struct seeding {
    gateway_core *core;
    weir_stage *stage;
    weir_link_kind link;
    Weir__Internal__V1__SeedEntry *entries[SEEDS_PER_ROW];
    size_t count, bytes; /* of the row so far */
    weir_arena *scratch;
    weir_buffer value;
} seeding;

static weir_code
send_seeds(seeding *seeds, bool done, weir_error *reterr)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__SeedRow seed = WEIR__INTERNAL__V1__SEED_ROW__INIT;

    if (seeds->count == 0 && !done)
        return WEIR_OK;
    WEIR_FP_RETURN("gateway.seed.before", reterr);
    seed.entries = seeds->entries;
    seed.n_entries = seeds->count;
    seed.done = done;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED;
    row.seed = &seed;
    seeds->count = 0;
    seeds->bytes = 0;
    return weir_stage_send(seeds->stage, seeds->link, &row, NULL, reterr);
}

/* Custody that does not decode waits for a restore, and nothing else waits for it. */
static weir_code
pass_over(weir_code code, const char *document_id, const char *why)
{
    if (code != WEIR_CORRUPT)
        return code;
    weir_log(WEIR_LOG_ERROR, "custody.damaged", WEIR_STR("document_id", document_id),
        WEIR_STR("message", why));
    return WEIR_OK;
}

/* Into memory of its own: the round's is kept until its end, and there may be a million documents.
 */
static weir_code
get_scratch(seeding *seeds, weir_bytes key, const ProtobufCMessageDescriptor *descriptor,
    void *ret_record, weir_error *reterr)
{
    ProtobufCMessage *record = NULL;
    bool found = false;
    weir_code code =
        weir_batch_get(weir_stage_batch(seeds->stage), key, &seeds->value, &found, reterr);

    if (code == WEIR_OK && found &&
        weir_wire_decode(descriptor, weir_buffer_view(&seeds->value), NULL, seeds->scratch, &record,
            reterr) != WEIR_OK)
        code =
            weir_error_set(reterr, WEIR_CORRUPT, "a stored %s does not decode", descriptor->name);
    memcpy(ret_record, &record, sizeof record);
    return code;
}

static weir_code
has_failed(seeding *seeds, const collection_entry *collection, const char *document_id,
    int64_t revision, bool *ret_failed, weir_error *reterr)
{
    const uint64_t collection_no = collection->record->collection_no;
    const document_record *document = NULL;
    const revision_record *record = NULL;
    weir_buffer *key = &seeds->core->key;
    weir_code code = WEIR_OK;

    weir_arena_reset(seeds->scratch);
    code = get_scratch(seeds, gateway_key_document(key, collection_no, document_id),
        &weir__internal__v1__document_record__descriptor, &document, reterr);
    if (code == WEIR_OK && document != NULL && document->newest_revision == revision)
        record = document->newest;
    if (code == WEIR_OK && record == NULL)
        code = get_scratch(seeds, gateway_key_revision(key, collection_no, document_id, revision),
            &weir__internal__v1__revision_record__descriptor, &record, reterr);
    *ret_failed = code == WEIR_OK && record != NULL && record->state == DOCUMENT_STATE(FAILED);
    return pass_over(code, document_id, "a stored revision does not decode");
}

/* One entry joins the row; a full row goes.  A failure may hold 4 KiB, so bytes bound it too. */
static weir_code
add_seed(seeding *seeds, const collection_entry *collection, const char *document_id,
    const document_record *document, int64_t failed_revision, const revision_record *failed,
    weir_error *reterr)
{
    weir_arena *arena = weir_stage_arena(seeds->stage);
    Weir__Internal__V1__SeedEntry *entry = weir_arena_alloc(arena, sizeof *entry);

    weir__internal__v1__seed_entry__init(entry);
    entry->tenant = collection->record->tenant;
    entry->collection_no = collection->record->collection_no;
    entry->document_id = weir_arena_strdup(arena, document_id);
    entry->deleted_below = WEIR_PLANT(NO_TOMBSTONE_SEEDS) ? 0 : document->deleted_below;
    if (failed != NULL) {
        entry->failed_revision = failed_revision;
        entry->failed_epoch = failed->epoch;
        entry->failure = failed->failure;
        entry->collection_id = collection->record->collection_id;
        entry->size_bytes = failed->size_bytes;
        entry->content_sha256 = failed->content_sha256;
    }
    seeds->entries[seeds->count++] = entry;
    seeds->bytes += protobuf_c_message_get_packed_size(&entry->base);
    return seeds->count == SEEDS_PER_ROW || seeds->bytes >= SEED_ROW_BYTES
        ? send_seeds(seeds, false, reterr)
        : WEIR_OK;
}

static weir_code
get_failed(seeding *seeds, collection_entry *collection, const char *document_id, int64_t revision,
    revision_record **ret_failed, weir_error *reterr)
{
    revision_id id = { .collection = collection, .document_id = document_id, .revision = revision };

    return gateway_get_both(seeds->core, seeds->stage, &id, ret_failed, reterr);
}

/* Every revision that FAILED and was not retired since, whichever is the newest. */
static weir_code
seed_failed(seeding *seeds, collection_entry *collection, const char *document_id,
    const document_record *document, bool *ret_seeded, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (int64_t number = document->oldest_revision;
        collection->counters.failed > 0 && number <= document->newest_revision && code == WEIR_OK;
        number++) {
        revision_record *failed = NULL;
        bool is_failed = false;

        code = has_failed(seeds, collection, document_id, number, &is_failed, reterr);
        if (code == WEIR_OK && is_failed)
            code = get_failed(seeds, collection, document_id, number, &failed, reterr);
        if (code == WEIR_OK && failed != NULL) {
            *ret_seeded = true;
            code = add_seed(seeds, collection, document_id, document, number, failed, reterr);
        }
    }
    return code;
}

static weir_code
seed_document(seeding *seeds, collection_entry *collection, const char *document_id,
    const document_record *document, weir_error *reterr)
{
    bool is_seeded = false;
    const weir_code code =
        seed_failed(seeds, collection, document_id, document, &is_seeded, reterr);

    if (code != WEIR_OK || is_seeded || document->deleted_below == 0)
        return code;
    return add_seed(seeds, collection, document_id, document, 0, NULL, reterr);
}

/* Call `visit` for up to `limit` documents behind the key `after`; the iterator sees committed
 * state.  document_id and document live for the call. */
typedef weir_code visit_document(void *ud, collection_entry *collection, const char *document_id,
    document_record *document, weir_error *reterr);

static weir_code
visit_one(gateway_core *core, weir_arena *arena, const weir_iter *iter, visit_document *visit,
    void *ud, weir_error *reterr)
{
    const weir_bytes key = weir_iter_key(iter);
    const char *document_id = gateway_key_document_id(key);
    ProtobufCMessage *document = NULL;

    weir_arena_reset(arena);
    if (document_id == NULL ||
        weir_wire_decode(&weir__internal__v1__document_record__descriptor, weir_iter_value(iter),
            NULL, arena, &document, reterr) != WEIR_OK)
        return pass_over(WEIR_CORRUPT, document_id != NULL ? document_id : "",
            "a stored document does not decode");
    collection_entry *collection = gateway_find_collection_no(core, weir_load_u64(key.data + 1));
    if (collection == NULL)
        return weir_error_set(reterr, WEIR_CORRUPT, "document \"%s\" has no collection",
            document_id);
    document_id = weir_arena_strdup(arena, document_id);
    return visit(ud, collection, document_id, (document_record *)document, reterr);
}

static weir_code
visit_documents(gateway_core *core, weir_stage *stage, weir_bytes after, uint64_t limit,
    weir_buffer *ret_last, visit_document *visit, void *ud, weir_error *reterr)
{
    const uint8_t lower[] = { 'D' };
    const uint8_t upper[] = { 'D' + 1 };
    weir_code code = WEIR_OK;
    weir_arena *arena = weir_arena_create(0);
    weir_iter *iter = weir_store_iter(weir_stage_store(stage), NULL, weir_bytes_of(lower, 1),
        weir_bytes_of(upper, 1));
    bool is_there = after.size > 0 ? weir_iter_seek(iter, after) : weir_iter_next(iter);

    if (is_there && after.size > 0 && weir_bytes_equal(weir_iter_key(iter), after))
        is_there = weir_iter_next(iter);
    for (; is_there && limit > 0 && code == WEIR_OK; is_there = weir_iter_next(iter), limit--) {
        const weir_bytes key = weir_iter_key(iter);

        if (ret_last != NULL) {
            weir_buffer_clear(ret_last);
            weir_buffer_append(ret_last, key.data, key.size);
        }
        code = visit_one(core, arena, iter, visit, ud, reterr);
    }
    if (!is_there && ret_last != NULL)
        weir_buffer_clear(ret_last); /* the end */
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    weir_arena_destroy(&arena);
    return code;
}

static weir_code
seed_visited(void *ud, collection_entry *collection, const char *document_id,
    document_record *document, weir_error *reterr)
{
    return seed_document(ud, collection, document_id, document, reterr);
}

static weir_code
seed(gateway_core *core, weir_stage *stage, weir_link_kind link, weir_service_id service,
    weir_error *reterr)
{
    seeding *seeds = weir_arena_alloc_zero(weir_stage_arena(stage), sizeof *seeds);

    seeds->core = core;
    seeds->stage = stage;
    seeds->link = link;
    seeds->scratch = weir_arena_create(0);
    weir_code code = visit_documents(core, stage, weir_bytes_of(NULL, 0), UINT64_MAX, NULL,
        seed_visited, seeds, reterr);
    if (code == WEIR_OK)
        code = send_seeds(seeds, true, reterr);
    weir_arena_destroy(&seeds->scratch);
    weir_buffer_fini(&seeds->value);
    core->known[service].seeded_era = weir_stage_era(stage);
    core->suite_changed = true;
    return code;
}

/* Whatever was lost, the indexer is told again what it has promised: a rollback that takes its
 * promises and the reconciler's memory of them to the same moment is seen between no two of their
 * links, only by the gateway, and there as a loss of the reconciler alone.  Begins in the round
 * after the raise, as the re-drive does; a link that is not open yet is seeded when it opens. */
weir_code
gateway_seed_again(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    const weir_service_id service = WEIR_SERVICE_INDEXER;
    weir_link_tx_status to;

    if (core->redrive_is_fresh || core->known[service].seeded_era >= weir_stage_era(stage))
        return WEIR_OK;
    weir_stage_link_status(stage, WEIR_LINK_GATEWAY_INDEXER, &to);
    if (to.state != WEIR_LINK_OPEN ||
        memcmp(core->known_id[service], to.peer_store_id, WEIR_STORE_ID_SIZE) != 0)
        return WEIR_OK;
    return seed(core, stage, WEIR_LINK_GATEWAY_INDEXER, service, reterr);
}

static weir_code
send_gate(weir_stage *stage, const weir_link_tx_status *status, weir_error *reterr)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__GateRow gate = WEIR__INTERNAL__V1__GATE_ROW__INIT;

    WEIR_FP_RETURN("gateway.gate.before", reterr);
    gate.boot_counter = status->peer_boot_counter;
    gate.boot_random.data = (uint8_t *)(uintptr_t)status->peer_boot_random;
    gate.boot_random.len = WEIR_BOOT_RANDOM_SIZE;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE;
    row.gate = &gate;
    return weir_stage_send(stage, WEIR_LINK_GATEWAY_INDEXER, &row, NULL, reterr);
}

/* The same start of the indexer is met on the link from it: this database knows all that was taken
 * from the starts before.  A rolled-back indexer is met there alone when nothing was sent to it
 * since. */
static bool
both_are_clean(weir_stage *stage, const weir_link_tx_status *to)
{
    weir_link_rx_status from;

    weir_stage_received_status(stage, WEIR_LINK_INDEXER_GATEWAY, &from);
    return to->state == WEIR_LINK_OPEN && from.has_peer && from.hello_seen &&
        memcmp(from.peer_store_id, to->peer_store_id, WEIR_STORE_ID_SIZE) == 0 &&
        from.peer_boot_counter == to->peer_boot_counter &&
        memcmp(from.peer_boot_random, to->peer_boot_random, WEIR_BOOT_RANDOM_SIZE) == 0;
}

weir_code
gateway_open_gate(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    weir_link_tx_status to;

    if (!core->gate_is_due)
        return WEIR_OK;
    weir_stage_link_status(stage, WEIR_LINK_GATEWAY_INDEXER, &to);
    if (!both_are_clean(stage, &to))
        return WEIR_OK;
    core->gate_is_due = false;
    return send_gate(stage, &to, reterr);
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
    core->known[service].seen_era = 0;
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

/* A database that was replaced once is refused for ever: its numbers would be used again.  Nothing
 * is decided by its return but one line in the log; the operator wipes that volume or brings the
 * other back. */
static weir_code
refuse_database(gateway_core *core, weir_service_id service, const uint8_t *store_id,
    const weir_error *why)
{
    memcpy(core->refused_id[service], store_id, WEIR_STORE_ID_SIZE);
    weir_log(WEIR_LOG_ERROR, "volume.refused", WEIR_STR("peer", weir_service_name(service)),
        WEIR_STR("message", why->message));
    return WEIR_OK;
}

static weir_code
reset_own_link(weir_stage *stage, weir_service_id service, const uint8_t *store_id,
    weir_error *reterr)
{
    const weir_link_kind link = link_to(service);

    return link == WEIR_LINK_NONE ? WEIR_OK : weir_stage_reset_link(stage, link, store_id, reterr);
}

/* Era + 1, the database in force, the reset of our own link to it; the re-drive begins from the
 * first document. */
static weir_code
on_loss(gateway_core *core, weir_stage *stage, weir_service_id service, const uint8_t *store_id,
    const char *why, weir_error *reterr)
{
    weir_error refusal = { .code = WEIR_OK };
    weir_code code = WEIR_OK;

    if (memcmp(core->refused_id[service], store_id, WEIR_STORE_ID_SIZE) == 0)
        return WEIR_OK;
    WEIR_FP_RETURN("gateway.loss.before", reterr);
    code = weir_stage_raise_era(stage, weir_stage_era(stage) + 1, reterr);
    if (code == WEIR_OK)
        code = reset_own_link(stage, service, store_id, &refusal);
    if (code == WEIR_INVALID_ARGUMENT)
        return refuse_database(core, service, store_id, &refusal);
    if (code != WEIR_OK)
        return code;
    weir_log(WEIR_LOG_ERROR, "volume.lost", WEIR_STR("peer", weir_service_name(service)),
        WEIR_STR("reason", why), WEIR_INT("era", (int64_t)weir_stage_era(stage)));
    adopt(core, service, store_id);
    core->known[service].lost_era = weir_stage_era(stage);
    core->is_suspect[service] = false;
    core->suite.era = weir_stage_era(stage);
    core->is_redriving = true;
    core->redrive_is_fresh = true;
    core->redrive_ready_too = core->redrive_ready_too || service == WEIR_SERVICE_INDEXER;
    weir_buffer_clear(&core->redrive_after);
    core->suite_changed = true;
    return WEIR_OK;
}

/* After a restore the other databases may be older than this one, each by another while, or be new:
 * all are treated as lost, the ones that are still there as rolled back.  Which databases are there
 * now, their own status will tell. */
weir_code
gateway_take_restore(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    const uint8_t *id = core->config.restored_id;
    weir_code code = WEIR_OK;

    if (id == NULL || memcmp(core->restored_id, id, GATEWAY_RESTORED_ID_SIZE) == 0)
        return WEIR_OK;
    WEIR_FP_RETURN("gateway.restore.before", reterr);
    memcpy(core->restored_id, id, GATEWAY_RESTORED_ID_SIZE);
    core->suite.restored_change_no = core->suite.next_change_no;
    core->suite_changed = true;
    for (int service = WEIR_SERVICE_GATEWAY + 1; service < WEIR_SERVICE_COUNT && code == WEIR_OK;
        service++)
        if (is_known(core, (weir_service_id)service))
            code = on_loss(core, stage, (weir_service_id)service, core->known_id[service],
                "this database was restored from a backup", reterr);
    return code == WEIR_OK ? WEIR_FP_CODE("gateway.restore.after", reterr) : code;
}

/* The answer to our HELLO was accepted: the peer may have a new start, and a new suite has nothing
 * adopted yet. */
static weir_code
on_opened(gateway_core *core, weir_stage *stage, weir_link_kind link,
    const weir_link_tx_status *status, weir_error *reterr)
{
    const weir_service_id service = weir_link_spec_of(link)->to;
    weir_code code = WEIR_OK;

    if (!is_known(core, service))
        adopt(core, service, status->peer_store_id);
    else if (memcmp(core->known_id[service], status->peer_store_id, WEIR_STORE_ID_SIZE) != 0)
        return WEIR_OK;
    const bool needs_seed = service == WEIR_SERVICE_INDEXER || service == WEIR_SERVICE_RECONCILER;
    if (needs_seed && core->known[service].seeded_era < weir_stage_era(stage))
        code = seed(core, stage, link, service, reterr);
    core->gate_is_due = core->gate_is_due || service == WEIR_SERVICE_INDEXER;
    return code;
}

/* A link has met a loss.  If it names the database in force, that was rolled back.  If it names
 * another, that may be the new one or a late answer of a dead one: the service's own next status
 * says which. */
static weir_code
on_alarm(gateway_core *core, weir_stage *stage, weir_service_id service,
    const uint8_t *met_store_id, const char *why, weir_error *reterr)
{
    if (memcmp(core->known_id[service], met_store_id, WEIR_STORE_ID_SIZE) == 0)
        return on_loss(core, stage, service, met_store_id, why, reterr);
    core->is_suspect[service] = true;
    return WEIR_OK;
}

/* A receiver knows more of this database than it holds: acknowledged work is gone from it, and no
 * one else has that.  After a restore the peers may know more too, until they have taken the RESET
 * that makes them forget it; a link that opened since (it was seeded) knows of this life alone. */
static bool
was_put_back(const gateway_core *core, weir_service_id peer, const weir_link_tx_status *status)
{
    static const uint8_t none[GATEWAY_RESTORED_ID_SIZE];
    const bool is_restored = memcmp(core->restored_id, none, sizeof none) != 0;

    return status->alarm_lost == WEIR_LINK_LOST_OWN &&
        (!is_restored || core->known[peer].seeded_era > 0);
}

weir_code
gateway_on_link_news(gateway_core *core, weir_stage *stage, weir_link_kind link, unsigned news,
    weir_error *reterr)
{
    weir_link_tx_status status;
    weir_code code = WEIR_OK;

    weir_stage_link_status(stage, link, &status);
    const weir_service_id to = weir_link_spec_of(link)->to;
    if ((news & WEIR_LINK_NEWS_ALARM) != 0 && was_put_back(core, to, &status))
        return weir_error_set(reterr, WEIR_CORRUPT,
            "the gateway's database is older than it was: restore a backup with `weir restore`, or "
            "make do with what is in it: `weir restore --in-place` (towards the %s: %s)",
            weir_service_name(to), status.alarm);
    if ((news & WEIR_LINK_NEWS_ALARM) != 0 && status.alarm_era == weir_stage_era(stage) &&
        is_known(core, to))
        code = on_alarm(core, stage, to, status.alarm_store_id, status.alarm, reterr);
    if (code == WEIR_OK && (news & WEIR_LINK_NEWS_OPENED) != 0)
        code = on_opened(core, stage, link, &status, reterr);
    return code;
}

/* The link was RESET for every loss of either end that is known: what it has met is another one. */
static bool
is_news(const gateway_core *core, const Weir__Internal__V1__PeerStatusCommand *status)
{
    const weir_service_id from = weir_service_from_name(status->service);
    const weir_service_id to = weir_service_from_name(status->link_peer);

    return status->reset_era >= core->known[from].lost_era &&
        status->reset_era >= core->known[to].lost_era;
}

/* A rolled-back volume keeps its name: only a link notices.  Which database is in force is told by
 * its service's own status alone: a late answer of a dead one would name the wrong one. */
static weir_code
on_reported_alarm(gateway_core *core, weir_stage *stage,
    const Weir__Internal__V1__PeerStatusCommand *status, weir_error *reterr)
{
    const weir_service_id lost[] = { weir_service_from_name(status->regressed_peer),
        weir_service_from_name(status->or_peer) };
    const bool counts = is_news(core, status);
    weir_code code = WEIR_OK;

    for (int i = 0; i < 2 && code == WEIR_OK && counts; i++)
        if (lost[i] > WEIR_SERVICE_GATEWAY && is_known(core, lost[i]))
            code = on_loss(core, stage, lost[i], core->known_id[lost[i]],
                "a link found it rolled back", reterr);
    return code;
}

/* The era that its database held once: one that holds less was put back. */
static bool
went_back(gateway_core *core, weir_service_id service, uint64_t era)
{
    Weir__Internal__V1__KnownStore *known = &core->known[service];

    if (era > known->seen_era) {
        known->seen_era = era;
        core->suite_changed = true;
    }
    return era < known->seen_era;
}

weir_code
gateway_on_peer_status(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__PeerStatusCommand *status =
        (const Weir__Internal__V1__PeerStatusCommand *)request->message;
    const weir_service_id service = weir_service_from_name(status->service);

    if (service <= WEIR_SERVICE_GATEWAY || status->store_id.len != WEIR_STORE_ID_SIZE)
        return WEIR_OK;
    if (!is_known(core, service)) {
        adopt(core, service, status->store_id.data);
        return WEIR_OK;
    }
    if (memcmp(core->known_id[service], status->store_id.data, WEIR_STORE_ID_SIZE) != 0)
        return on_loss(core, stage, service, status->store_id.data,
            "its status names another database", reterr);
    if (core->is_suspect[service])
        return on_loss(core, stage, service, status->store_id.data,
            "a link to it stopped at a database that is gone", reterr);
    if (went_back(core, service, status->era))
        return on_loss(core, stage, service, status->store_id.data,
            "its database holds an earlier era than it did", reterr);
    return on_reported_alarm(core, stage, status, reterr);
}

/* ---- re-drive ---- */

typedef struct redrive {
    gateway_core *core;
    weir_stage *stage;
} redrive;

static bool
needs_redrive(const gateway_core *core, const weir_stage *stage, const revision_record *revision)
{
    const bool is_live = revision->state == DOCUMENT_STATE(PENDING) ||
        revision->state == DOCUMENT_STATE(PROCESSING) ||
        (WEIR_PLANT(REDRIVE_FAILED) && revision->state == DOCUMENT_STATE(FAILED));
    const bool is_lost_ready = core->redrive_ready_too && revision->state == DOCUMENT_STATE(READY);

    return (is_live || is_lost_ready) && revision->era < weir_stage_era(stage) &&
        !WEIR_PLANT(NO_REDRIVE);
}

/* A delete that still waits for its answer: its row may have gone with the old outbox, or the
 * answer with a reset of the indexer's. */
static weir_code
redrive_delete(const redrive *run, collection_entry *collection, const char *document_id,
    const document_record *document, weir_error *reterr)
{
    const revision_id id = { .collection = collection,
        .document_id = document_id,
        .revision = document->deleted_below };

    if (document->delete_confirmed >= document->deleted_below)
        return WEIR_OK;
    return gateway_send_tombstone(run->stage, &id, weir_stage_now_ms(run->stage), reterr);
}

/* It was lost with the indexer, and comes back with its READY. */
static void
forget_searchable(const redrive *run, uint64_t collection_no, const char *document_id,
    document_record *document, int64_t revision)
{
    if (document->searchable_revision != revision)
        return;
    document->searchable_revision = 0;
    gateway_put_document(run->core, run->stage, collection_no, document_id, document);
}

/* Searches of its collection say so until it is back. */
static void
mark_rebuilding(gateway_core *core, collection_entry *collection, revision_record *revision)
{
    if (revision->state != DOCUMENT_STATE(READY) || revision->rebuilds)
        return;
    revision->rebuilds = true;
    collection->counters.rebuilding++;
    gateway_count(core, collection);
}

/* The indexer's word on it to the reconciler may have gone with a reset of their link, and nobody
 * else says it: the revision would count as unfinished for ever. */
static void
tell_ready_again(const redrive *run, const revision_id *id, const revision_record *revision)
{
    if (revision->state == DOCUMENT_STATE(READY))
        gateway_tell(run->stage, id, revision, LIFECYCLE(READY));
}

/* Ascending revisions of one document: the READY one before what is newer. */
static weir_code
redrive_document(void *ud, collection_entry *collection, const char *document_id,
    document_record *document, weir_error *reterr)
{
    const redrive *run = ud;
    const uint64_t collection_no = collection->record->collection_no;
    weir_code code =
        gateway_get_document(run->core, run->stage, collection_no, document_id, &document, reterr);

    if (code != WEIR_OK)
        return code;
    weir_assert(document != NULL);
    code = redrive_delete(run, collection, document_id, document, reterr);
    for (int64_t number = document->oldest_revision;
        number <= document->newest_revision && code == WEIR_OK; number++) {
        const revision_id id = { .collection = collection,
            .document_id = document_id,
            .revision = number,
            .document = document };
        revision_record *revision = NULL;

        code = pass_over(gateway_get_revision_of(run->core, run->stage, &id, &revision, reterr),
            document_id, "a stored revision does not decode");
        if (code != WEIR_OK || revision == NULL)
            continue;
        if (!needs_redrive(run->core, run->stage, revision)) {
            tell_ready_again(run, &id, revision);
            continue;
        }
        WEIR_FP_RETURN("gateway.redrive.document", reterr);
        forget_searchable(run, collection_no, document_id, document, number);
        mark_rebuilding(run->core, collection, revision);
        code = gateway_raise(run->core, run->stage, &id, revision, GATEWAY_LANE_REDRIVE, reterr);
    }
    return code;
}

/* The first step is taken in the next round: a document that was accepted in this one, before the
 * era was raised, must be met by it. */
void
gateway_plan_redrive(gateway_core *core, weir_stage *stage)
{
    if (core->redrive_is_fresh)
        weir_stage_wake_at(stage, weir_stage_now_ms(stage));
    core->redrive_is_fresh = false;
}

weir_code
gateway_redrive_some(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    redrive run = { .core = core, .stage = stage };

    if (!core->is_redriving || core->redrive_is_fresh)
        return WEIR_OK;
    WEIR_FP_RETURN("gateway.redrive.before", reterr);
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
