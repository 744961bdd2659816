/*
 * check.c - the promises, checked against the databases of the five nodes.
 *
 * At every instant: a delete that was acknowledged is final; what was acknowledged is there; a
 * complete search finds what is recorded READY, all of it, once, of one revision and of no other
 * tenant; no FAILED revision is found; counters agree with what they count; no receiver is behind
 * what its sender believes.  Once all is quiet: every accepted revision is over; FAILED and one
 * dead letter go together; the databases agree with each other, both ways; every link is empty.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/wire/wire.h"
#include "services/gateway/keys.h"
#include "services/indexer/keys.h"
#include "services/reconciler/keys.h"
#include "tests/sim/sim.h"

#define STATE(name_) ((uint32_t)WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_)

typedef Weir__Internal__V1__IndexDocumentRecord index_record;
typedef Weir__Internal__V1__EndingRecord ending_record;

typedef struct scan {
    sim_world *world;
    weir_arena *arena;
    counters_record counted; /* of one collection */
    uint64_t failed;         /* of all */
} scan;

/* What a search of one document says. */
typedef struct found {
    bool is_complete;
    int64_t revision; /* 0: none */
    uint32_t chunks;
} found;

/* ---- reading records ---- */

static void *
read_from(sim_world *world, weir_service_id service, weir_arena *arena, weir_bytes key,
    const ProtobufCMessageDescriptor *descriptor)
{
    weir_buffer value = { 0 };
    bool is_there = false;
    ProtobufCMessage *message = NULL;
    weir_error error;

    if (weir_store_get(world->nodes[service].store, NULL, key, &value, &is_there, &error) !=
        WEIR_OK)
        sim_fail(world, "store", "%s: %s", weir_service_name(service), error.message);
    if (is_there &&
        weir_wire_decode(descriptor, weir_buffer_view(&value), NULL, arena, &message, &error) !=
            WEIR_OK)
        sim_fail(world, "store", "%s: a record does not decode: %s", weir_service_name(service),
            error.message);
    weir_buffer_fini(&value);
    return message;
}

void *
sim_read_record(sim_world *world, weir_arena *arena, weir_bytes key,
    const ProtobufCMessageDescriptor *descriptor)
{
    return read_from(world, WEIR_SERVICE_GATEWAY, arena, key, descriptor);
}

const collection_record *
sim_read_collection(sim_world *world, weir_arena *arena, uint32_t collection)
{
    weir_buffer key = { 0 };
    void *record = sim_read_record(world, arena,
        gateway_key_collection(&key, sim_tenant(collection), sim_collection_name(collection)),
        &weir__internal__v1__collection_record__descriptor);

    weir_buffer_fini(&key);
    return record;
}

const document_record *
sim_read_document(sim_world *world, weir_arena *arena, uint64_t collection_no,
    const char *document_id)
{
    weir_buffer key = { 0 };
    void *record =
        sim_read_record(world, arena, gateway_key_document(&key, collection_no, document_id),
            &weir__internal__v1__document_record__descriptor);

    weir_buffer_fini(&key);
    return record;
}

const revision_record *
sim_read_revision(sim_world *world, weir_arena *arena, uint64_t collection_no,
    const char *document_id, int64_t revision)
{
    const document_record *document = sim_read_document(world, arena, collection_no, document_id);
    weir_buffer key = { 0 };

    if (document != NULL && document->newest_revision == revision && document->newest != NULL)
        return document->newest;
    void *record = sim_read_record(world, arena,
        gateway_key_revision(&key, collection_no, document_id, revision),
        &weir__internal__v1__revision_record__descriptor);
    weir_buffer_fini(&key);
    return record;
}

static const counters_record *
read_counters(sim_world *world, weir_arena *arena, uint64_t collection_no)
{
    weir_buffer key = { 0 };
    void *record = sim_read_record(world, arena, gateway_key_counters(&key, collection_no),
        &weir__internal__v1__counters_record__descriptor);

    weir_buffer_fini(&key);
    return record;
}

static const index_record *
read_register(sim_world *world, weir_arena *arena, uint64_t collection_no, const char *document_id)
{
    const indexer_key key = indexer_key_document(collection_no, document_id);

    return read_from(world, WEIR_SERVICE_INDEXER, arena, indexer_key_view(&key),
        &weir__internal__v1__index_document_record__descriptor);
}

/* Keys of a service that begin with a tag. */
static uint64_t
count_keys(sim_world *world, weir_service_id service, char tag)
{
    const uint8_t lower[] = { (uint8_t)tag };
    const uint8_t upper[] = { (uint8_t)(tag + 1) };
    weir_iter *iter = weir_store_iter(world->nodes[service].store, NULL, weir_bytes_of(lower, 1),
        weir_bytes_of(upper, 1));
    uint64_t count = 0;

    while (weir_iter_next(iter))
        count++;
    weir_iter_destroy(&iter);
    return count;
}

/* ---- searching ---- */

/* One revision, each of its chunks once. */
static void
check_hits(sim_world *world, const Weir__Internal__V1__SearchVectorsResponse *response,
    const char *document_id, found *ret_found)
{
    bool seen[1000] = { false };

    for (size_t i = 0; i < response->n_hits; i++) {
        const Weir__Internal__V1__IndexHit *hit = response->hits[i];

        if (ret_found->revision != 0 && hit->revision != ret_found->revision)
            sim_fail(world, "I6", "one answer holds revisions %lld and %lld of %s",
                (long long)ret_found->revision, (long long)hit->revision, document_id);
        ret_found->revision = hit->revision;
        if (hit->ordinal >= response->n_hits || seen[hit->ordinal])
            sim_fail(world, "I4",
                "chunk %u of %s is in one answer of %zu chunks twice, or others miss", hit->ordinal,
                document_id, response->n_hits);
        else
            seen[hit->ordinal] = true;
    }
    ret_found->chunks = (uint32_t)response->n_hits;
}

static found
search_as(sim_world *world, weir_arena *arena, const char *tenant, uint64_t collection_no,
    const char *document_id)
{
    sim_node *indexer = &world->nodes[WEIR_SERVICE_INDEXER];
    Weir__Internal__V1__SearchVectorsRequest request =
        WEIR__INTERNAL__V1__SEARCH_VECTORS_REQUEST__INIT;
    Weir__Internal__V1__SearchVectorsResponse response =
        WEIR__INTERNAL__V1__SEARCH_VECTORS_RESPONSE__INIT;
    float vector[SIM_DIMENSION];
    char *ids[] = { (char *)(uintptr_t)document_id };
    found result = { 0 };
    weir_error error;

    for (int i = 0; i < SIM_DIMENSION; i++)
        vector[i] = 1.0f / sqrtf(SIM_DIMENSION);
    request.tenant = (char *)(uintptr_t)tenant;
    request.collection_no = collection_no;
    request.vector.data = (uint8_t *)vector;
    request.vector.len = sizeof vector;
    request.top_k = 1000;
    request.document_ids = ids;
    request.n_document_ids = 1;
    request.exact = true;
    request.omit_text = true;
    if (indexer->stage == NULL)
        return result;
    const weir_code code = indexer_search(indexer->core, &request, &response, arena, &error);
    if (code != WEIR_OK && code != WEIR_INDEX_REBUILDING)
        sim_fail(world, "I3", "a search of %s: %s", document_id, error.message);
    if (code != WEIR_OK)
        return result;
    result.is_complete = response.complete;
    check_hits(world, &response, document_id, &result);
    return result;
}

/* ---- at every instant ---- */

/* As a client sees it through the gateway, which knows what is being rebuilt. */
static bool
is_rebuilding(sim_world *world, weir_arena *arena, uint64_t collection_no)
{
    gateway_published published;
    const counters_record *counters = read_counters(world, arena, collection_no);

    if (world->nodes[WEIR_SERVICE_GATEWAY].stage == NULL || counters == NULL)
        return true;
    gateway_core_published(world->nodes[WEIR_SERVICE_GATEWAY].core, &published);
    return published.is_rebuilding || counters->rebuilding > 0;
}

/* The greatest revision that was recorded READY and that no delete has ended. */
static int64_t
must_be_found(const sim_document *known, const document_record *document)
{
    int64_t greatest = 0;

    for (int64_t number = 1; number < SIM_REVISIONS_MAX; number++)
        if (known->revisions[number].state == STATE(READY) && number > document->deleted_below)
            greatest = number;
    return greatest;
}

static void
check_searchable(sim_world *world, weir_arena *arena, const collection_record *collection,
    const sim_document *known, const char *name)
{
    const document_record *document =
        sim_read_document(world, arena, collection->collection_no, name);
    const found hit = search_as(world, arena, collection->tenant, collection->collection_no, name);

    if (hit.revision > 0 && hit.revision <= known->deleted_acked)
        sim_fail(world, "I11", "revision %lld of %s came back after delete %lld was acknowledged",
            (long long)hit.revision, name, (long long)known->deleted_acked);
    if (hit.revision > 0 && known->revisions[hit.revision].state == STATE(FAILED))
        sim_fail(world, "I8", "revision %lld of %s is FAILED and was found",
            (long long)hit.revision, name);
    if (document == NULL || !hit.is_complete)
        return;
    const index_record *record = read_register(world, arena, collection->collection_no, name);
    if (hit.revision > 0 && (record == NULL || hit.chunks != record->ready_chunk_count))
        sim_fail(world, "I5", "revision %lld of %s has %u chunks, a search finds %u",
            (long long)hit.revision, name, record == NULL ? 0 : record->ready_chunk_count,
            hit.chunks);
    const int64_t wanted = must_be_found(known, document);
    if (hit.revision < wanted && !is_rebuilding(world, arena, collection->collection_no))
        sim_fail(world, "I3", "revision %lld of %s is READY; a complete search finds %lld",
            (long long)wanted, name, (long long)hit.revision);
}

static void
check_other_tenants(sim_world *world, weir_arena *arena, const collection_record *collection,
    const char *name)
{
    const char *other = strcmp(collection->tenant, "other") == 0 ? "default" : "other";
    const found hit = search_as(world, arena, other, collection->collection_no, name);

    if (hit.revision != 0)
        sim_fail(world, "I12", "%s of tenant %s was found by tenant %s", name, collection->tenant,
            other);
}

static void
check_acknowledged(sim_world *world, weir_arena *arena, uint64_t collection_no,
    const sim_document *known, const char *name)
{
    const document_record *document = sim_read_document(world, arena, collection_no, name);
    const int64_t newest = document == NULL ? 0 : document->newest_revision;

    if (newest < known->ingested_acked || newest < known->deleted_acked)
        sim_fail(world, "I1", "%s was acknowledged up to revision %lld, the newest is %lld", name,
            (long long)(known->ingested_acked > known->deleted_acked ? known->ingested_acked
                                                                     : known->deleted_acked),
            (long long)newest);
}

static void
check_conservation(sim_world *world, weir_arena *arena, const collection_record *collection)
{
    const counters_record *counters = read_counters(world, arena, collection->collection_no);

    if (counters == NULL)
        sim_fail(world, "I18", "%s has no counters", collection->collection_id);
    else if (counters->accepted !=
        counters->pending + counters->processing + counters->ready + counters->failed +
            counters->superseded + counters->deleted)
        sim_fail(world, "I18", "%s: %llu accepted, but the states count another number",
            collection->collection_id, (unsigned long long)counters->accepted);
}

/* The indexer's promise, which is there before anybody may call the try FAILED. */
static bool
is_fenced(const index_record *record, int64_t revision, int64_t epoch)
{
    if (record == NULL)
        return false;
    for (size_t i = 0; i < record->n_revoked; i++)
        if (record->revoked[i]->revision == revision && record->revoked[i]->epoch >= epoch)
            return true;
    return record->ready_revision > revision || record->deleted_below >= revision;
}

/* An indexer that may decide could still make it READY.  One that was rolled back lacks promises
 * until it is seeded, which begins when the gateway hears of it. */
static void
check_promises(sim_world *world, const index_record *record, const sim_document *known,
    const char *name)
{
    const sim_node *indexer = &world->nodes[WEIR_SERVICE_INDEXER];

    if (indexer->stage == NULL || !indexer_gate_is_open(indexer->core) ||
        (indexer->was_put_back && !world->is_settled))
        return;
    for (int64_t number = 1; number < SIM_REVISIONS_MAX; number++)
        if (known->revisions[number].state == STATE(FAILED) &&
            !is_fenced(record, number, known->revisions[number].epoch))
            sim_fail(world, "I21",
                "revision %lld of %s is FAILED in epoch %lld, which the indexer has not revoked",
                (long long)number, name, (long long)known->revisions[number].epoch);
}

static void
check_staged(sim_world *world, const index_record *record, const char *name)
{
    for (size_t i = 0; i < record->n_staged; i++)
        if (is_fenced(record, record->staged[i]->revision, record->staged[i]->epoch))
            sim_fail(world, "I21", "chunks of revision %lld of %s are kept in a fenced epoch, %lld",
                (long long)record->staged[i]->revision, name, (long long)record->staged[i]->epoch);
}

/* The register of the indexer says nothing that excludes itself. */
static void
check_register(sim_world *world, weir_arena *arena, uint64_t collection_no,
    const sim_document *known, const char *name)
{
    const index_record *record = read_register(world, arena, collection_no, name);

    check_promises(world, record, known, name);

    if (record == NULL)
        return;
    check_staged(world, record, name);
    if (record->ready_revision != 0 && record->ready_revision <= record->deleted_below)
        sim_fail(world, "I21", "revision %lld of %s is READY and deleted",
            (long long)record->ready_revision, name);
    for (size_t i = 0; i < record->n_revoked; i++)
        if (record->revoked[i]->revision == record->ready_revision &&
            record->revoked[i]->epoch >= record->ready_epoch)
            sim_fail(world, "I21", "revision %lld of %s is READY in an epoch that was revoked",
                (long long)record->ready_revision, name);
}

/* cursor(B) >= acked(A), unless one of the two volumes is not the one that the other knows. */
static void
check_links(sim_world *world)
{
    weir_stage_status status[WEIR_SERVICE_COUNT];

    if (world->losses > 0)
        return;
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++) {
        status[service].link_count = 0;
        if (world->nodes[service].stage != NULL)
            weir_stage_status_read(world->nodes[service].stage, &status[service]);
    }
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++)
        for (uint32_t i = 0; i < status[service].link_count; i++) {
            const weir_stage_link_view *tx = &status[service].links[i];
            const weir_stage_status *to = &status[weir_link_spec_of(tx->kind)->to];

            for (uint32_t j = 0; tx->sender && j < to->link_count; j++)
                if (to->links[j].kind == tx->kind && to->links[j].rx.cursor < tx->tx.acked)
                    sim_fail(world, "I20", "link %s: acked %llu, but the cursor is %llu",
                        weir_link_spec_of(tx->kind)->name, (unsigned long long)tx->tx.acked,
                        (unsigned long long)to->links[j].rx.cursor);
        }
}

void
sim_check_now(sim_world *world)
{
    weir_arena *arena = weir_arena_create(0);

    for (uint32_t collection = 0; collection < world->options.collections; collection++) {
        const collection_record *record = sim_read_collection(world, arena, collection);
        for (uint32_t document = 0; record != NULL && document < world->options.documents;
            document++) {
            const sim_document *known = &world->documents[collection][document];
            const char *name = sim_document_name(document);

            check_searchable(world, arena, record, known, name);
            check_other_tenants(world, arena, record, name);
            check_acknowledged(world, arena, record->collection_no, known, name);
            check_register(world, arena, record->collection_no, known, name);
        }
        if (record != NULL)
            check_conservation(world, arena, record);
    }
    check_links(world);
    weir_arena_destroy(&arena);
}

/* ---- settled ---- */

static bool
all_are_up(sim_world *world, weir_stage_status *status, char *why, size_t why_size)
{
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++) {
        if (world->nodes[service].stage == NULL) {
            snprintf(why, why_size, "%s is down", weir_service_name((weir_service_id)service));
            return false;
        }
        weir_stage_status_read(world->nodes[service].stage, &status[service]);
    }
    return true;
}

static const weir_link_rx_status *
receiver_of(const weir_stage_status *status, weir_link_kind kind)
{
    for (uint32_t i = 0; i < status->link_count; i++)
        if (status->links[i].kind == kind && !status->links[i].sender)
            return &status->links[i].rx;
    return NULL;
}

/* Both ends say so, and have met in their present starts: what a sender holds of an earlier start
 * of the receiver, or of an ack that was late, says nothing of a volume that was put back since. */
static bool
is_link_empty(const weir_link_tx_status *tx, const weir_link_rx_status *rx,
    const weir_link_identity *receiver)
{
    return tx->state == WEIR_LINK_OPEN && tx->acked + 1 == tx->next && rx != NULL &&
        rx->cursor == tx->acked &&
        memcmp(tx->peer_store_id, receiver->store_id, WEIR_STORE_ID_SIZE) == 0 &&
        memcmp(tx->peer_boot_random, receiver->boot_random, WEIR_BOOT_RANDOM_SIZE) == 0;
}

static bool
links_are_empty(const weir_stage_status *status, char *why, size_t why_size)
{
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++)
        for (uint32_t i = 0; i < status[service].link_count; i++) {
            const weir_stage_link_view *view = &status[service].links[i];
            const weir_link_spec *spec = weir_link_spec_of(view->kind);
            const weir_stage_status *to = &status[spec->to];
            const weir_link_rx_status *rx = receiver_of(to, view->kind);

            if (!view->sender || is_link_empty(&view->tx, rx, &to->identity))
                continue;
            snprintf(why, why_size,
                "link %s: state %d, acked %llu, next %llu, cursor %llu, credit %u %s", spec->name,
                (int)view->tx.state, (unsigned long long)view->tx.acked,
                (unsigned long long)view->tx.next,
                rx == NULL ? 0ULL : (unsigned long long)rx->cursor, view->tx.credit,
                view->tx.alarm);
            return false;
        }
    return true;
}

/* The gateway has looked at every service since its start, and each holds its era. */
static bool
all_are_of_one_era(const weir_stage_status *status, char *why, size_t why_size)
{
    const uint64_t era = status[WEIR_SERVICE_GATEWAY].era;

    for (int service = WEIR_SERVICE_INGEST; service < WEIR_SERVICE_COUNT; service++)
        if (status[service].era != era || status[service].applied_era != era) {
            snprintf(why, why_size, "%s holds era %llu, and was told of %llu, not %llu",
                weir_service_name((weir_service_id)service),
                (unsigned long long)status[service].era,
                (unsigned long long)status[service].applied_era, (unsigned long long)era);
            return false;
        }
    return true;
}

/* What was forgotten at a seeding is gone. */
static bool
is_swept(sim_world *world, char *why, size_t why_size)
{
    reconciler_published published;

    reconciler_core_published(world->nodes[WEIR_SERVICE_RECONCILER].core, &published);
    if (published.swept_era == published.seeded_era)
        return true;
    snprintf(why, why_size, "the reconciler was seeded for era %llu and has swept for %llu",
        (unsigned long long)published.seeded_era, (unsigned long long)published.swept_era);
    return false;
}

static bool
is_empty(sim_world *world, weir_service_id service, char tag, char *why, size_t why_size)
{
    const uint64_t count = count_keys(world, service, tag);

    if (count > 0)
        snprintf(why, why_size, "%s has %llu keys '%c' left", weir_service_name(service),
            (unsigned long long)count, tag);
    return count == 0;
}

bool
sim_is_settled(sim_world *world, char *why, size_t why_size)
{
    weir_stage_status status[WEIR_SERVICE_COUNT];
    gateway_published published;

    if (!all_are_up(world, status, why, why_size) || !links_are_empty(status, why, why_size) ||
        !all_are_of_one_era(status, why, why_size) || !is_swept(world, why, why_size))
        return false;
    if (!indexer_gate_is_open(world->nodes[WEIR_SERVICE_INDEXER].core)) {
        snprintf(why, why_size, "the indexer's gate is closed");
        return false;
    }
    gateway_core_published(world->nodes[WEIR_SERVICE_GATEWAY].core, &published);
    if (published.pending + published.processing + published.backlog > 0 ||
        published.is_redriving) {
        snprintf(why, why_size, "gateway: %llu pending, %llu processing, backlog %llu",
            (unsigned long long)published.pending, (unsigned long long)published.processing,
            (unsigned long long)published.backlog);
        return false;
    }
    return is_empty(world, WEIR_SERVICE_RECONCILER, 'E', why, why_size) &&
        is_empty(world, WEIR_SERVICE_INGEST, 'd', why, why_size) &&
        is_empty(world, WEIR_SERVICE_EMBEDDER, 'd', why, why_size);
}

/* ---- the end ---- */

static const ending_record *
read_dead_letter(const scan *state, const collection_record *collection, const char *document_id,
    int64_t revision)
{
    weir_buffer key = { 0 };
    const ending_record *record = read_from(state->world, WEIR_SERVICE_RECONCILER, state->arena,
        reconciler_key_dead_letter(&key, collection->tenant, collection->collection_no, document_id,
            revision),
        &weir__internal__v1__ending_record__descriptor);

    weir_buffer_fini(&key);
    return record;
}

/* The bytes of the source are those that were accepted. */
static bool
source_is_whole(const scan *state, uint64_t collection_no, const char *document_id, int64_t number,
    ProtobufCBinaryData sha256)
{
    weir_buffer key = { 0 };
    weir_buffer body = { 0 };
    weir_error error;
    bool is_there = false;

    if (weir_store_get(state->world->nodes[WEIR_SERVICE_GATEWAY].store, NULL,
            gateway_key_source(&key, collection_no, document_id, number), &body, &is_there,
            &error) != WEIR_OK)
        sim_fail(state->world, "store", "gateway: %s", error.message);
    const weir_sha256_sum sum = weir_sha256(weir_buffer_view(&body));
    weir_buffer_fini(&key);
    weir_buffer_fini(&body);
    return is_there && sha256.len == WEIR_SHA256_SIZE &&
        memcmp(sum.bytes, sha256.data, WEIR_SHA256_SIZE) == 0;
}

static void
check_dead_letter(scan *state, const collection_record *collection, const char *document_id,
    int64_t number, const revision_record *revision)
{
    sim_world *world = state->world;
    const bool is_failed = revision->state == STATE(FAILED);
    const ending_record *letter = read_dead_letter(state, collection, document_id, number);

    state->failed += is_failed;
    if (is_failed != (letter != NULL)) {
        sim_fail(world, "I13",
            "revision %lld of %s, state %u: FAILED and its dead letter do not go together",
            (long long)number, document_id, revision->state);
        return;
    }
    if (!is_failed)
        return;
    if (letter->epoch != revision->epoch || letter->failure == NULL || letter->failure->code == 0 ||
        letter->failure->stage == 0)
        sim_fail(world, "I13", "the dead letter of revision %lld of %s does not say why",
            (long long)number, document_id);
    if (!source_is_whole(state, collection->collection_no, document_id, number,
            letter->content_sha256))
        sim_fail(world, "I13",
            "the dead letter of revision %lld of %s has not the bytes that were accepted",
            (long long)number, document_id);
}

static void
count_state(scan *state, const revision_record *revision)
{
    state->counted.ready += revision->state == STATE(READY);
    state->counted.failed += revision->state == STATE(FAILED);
    state->counted.superseded += revision->state == STATE(SUPERSEDED);
    state->counted.deleted += revision->state == STATE(DELETED);
    state->counted.accepted++;
}

static void
check_revision(scan *state, const collection_record *collection, const char *document_id,
    int64_t number, const found *hit)
{
    sim_world *world = state->world;
    const revision_record *revision =
        sim_read_revision(world, state->arena, collection->collection_no, document_id, number);

    if (revision == NULL) {
        sim_fail(world, "I1", "revision %lld of %s has no record", (long long)number, document_id);
        return;
    }
    count_state(state, revision);
    const bool is_ready = revision->state == STATE(READY);
    if (!gateway_state_is_terminal(revision->state))
        sim_fail(world, "I2", "revision %lld of %s is not over", (long long)number, document_id);
    if (is_ready != (hit->revision == number))
        sim_fail(world, "I3", "revision %lld of %s: state %u, but search finds %lld",
            (long long)number, document_id, revision->state, (long long)hit->revision);
    if (is_ready && (hit->chunks != revision->chunk_count || hit->chunks == 0))
        sim_fail(world, "I5", "revision %lld of %s has %u chunks, search finds %u",
            (long long)number, document_id, revision->chunk_count, hit->chunks);
    check_dead_letter(state, collection, document_id, number, revision);
}

/* FAILED for what the faults did to it, not for what it is. */
static bool
has_run_out_of_tries(scan *state, const sim_op *op)
{
    const collection_record *record =
        sim_read_collection(state->world, state->arena, op->collection);
    const revision_record *revision = sim_read_revision(state->world, state->arena,
        record->collection_no, sim_document_name(op->document), op->revision);

    return revision != NULL && revision->state == STATE(FAILED) && revision->failure != NULL &&
        (revision->failure->code == WEIR_WORKER_KILLED || revision->failure->attempt_count >= 5);
}

/* An answered request is known for ever; a refused one left nothing. */
static void
check_request(scan *state, const sim_op *op)
{
    const gateway_method method = op->kind == SIM_INGEST ? GATEWAY_METHOD_INGEST
        : op->kind == SIM_DELETE                         ? GATEWAY_METHOD_DELETE
                                                         : GATEWAY_METHOD_RETRY;
    weir_buffer key = { 0 };
    const void *record = sim_read_record(state->world, state->arena,
        gateway_key_request(&key, sim_tenant(op->collection), method, op->request_id),
        &weir__internal__v1__request_record__descriptor);

    weir_buffer_fini(&key);
    if (op->state == SIM_OP_OK && op->revision != 0 && record == NULL)
        sim_fail(state->world, "I15", "%s was answered and is not known", op->request_id);
    if (op->state == SIM_OP_REFUSED && record != NULL)
        sim_fail(state->world, "I16", "%s was refused and has left a trace", op->request_id);
}

/* A good body that nothing replaced and nothing deleted must be READY; a bad one never. */
static void
check_fate(scan *state, const sim_op *op, const document_record *record)
{
    const bool is_ready = record->searchable_revision == op->revision;

    if (op->kind != SIM_INGEST || op->revision != record->newest_revision)
        return;
    if (op->is_bad && is_ready)
        sim_fail(state->world, "I5", "%s: a body that cannot be READY is", op->request_id);
    if (!op->is_bad && !is_ready && !has_run_out_of_tries(state, op))
        sim_fail(state->world, "I29", "%s: a good body, but revision %lld is searchable, not %lld",
            op->request_id, (long long)record->searchable_revision, (long long)op->revision);
}

static void
check_ops(scan *state, uint32_t collection, uint32_t document, const document_record *record)
{
    sim_world *world = state->world;

    for (uint32_t i = 0; i < world->op_count; i++) {
        const sim_op *op = &world->ops[i];
        if (op->collection != collection || op->document != document || op->kind == SIM_LEARN ||
            op->kind == SIM_WAIT)
            continue;
        check_request(state, op);
        if (op->state == SIM_OP_OK)
            check_fate(state, op, record);
    }
}

/* The two-way audit: what the indexer knows of the document is what the gateway knows. */
static void
check_agreement(scan *state, uint64_t collection_no, const char *name,
    const document_record *document)
{
    const index_record *record = read_register(state->world, state->arena, collection_no, name);
    const int64_t ready = record == NULL ? 0 : record->ready_revision;
    const int64_t deleted = record == NULL ? 0 : record->deleted_below;

    if (ready != document->searchable_revision)
        sim_fail(state->world, "I28", "%s: READY is %lld at the indexer, %lld at the gateway", name,
            (long long)ready, (long long)document->searchable_revision);
    if (deleted != document->deleted_below || document->delete_confirmed != document->deleted_below)
        sim_fail(state->world, "I28",
            "%s: deleted up to %lld at the indexer, %lld at the gateway, confirmed %lld", name,
            (long long)deleted, (long long)document->deleted_below,
            (long long)document->delete_confirmed);
}

static void
check_document(scan *state, uint32_t collection, const collection_record *record, uint32_t document)
{
    const char *name = sim_document_name(document);
    const document_record *known =
        sim_read_document(state->world, state->arena, record->collection_no, name);

    if (known == NULL)
        return;
    const found hit =
        search_as(state->world, state->arena, record->tenant, record->collection_no, name);
    if (!hit.is_complete)
        sim_fail(state->world, "I3", "the indexer does not serve once all is quiet");
    if (hit.revision != known->searchable_revision)
        sim_fail(state->world, "I3", "%s: search finds %lld, the gateway says %lld", name,
            (long long)hit.revision, (long long)known->searchable_revision);
    for (int64_t number = 1; number <= known->newest_revision; number++)
        check_revision(state, record, name, number, &hit);
    check_agreement(state, record->collection_no, name, known);
    check_ops(state, collection, document, known);
}

static void
check_counters(scan *state, const collection_record *record)
{
    const counters_record *stored =
        read_counters(state->world, state->arena, record->collection_no);
    const counters_record *counted = &state->counted;

    if (stored == NULL || stored->pending != 0 || stored->processing != 0 ||
        stored->ready != counted->ready || stored->failed != counted->failed ||
        stored->superseded != counted->superseded || stored->deleted != counted->deleted ||
        stored->accepted != counted->accepted)
        sim_fail(state->world, "I18", "the counters of %s disagree with a scan",
            record->collection_id);
}

static void
check_index(sim_world *world, weir_arena *arena)
{
    Weir__Internal__V1__VerifyIndexRequest request = WEIR__INTERNAL__V1__VERIFY_INDEX_REQUEST__INIT;
    Weir__Internal__V1__VerifyIndexResponse response =
        WEIR__INTERNAL__V1__VERIFY_INDEX_RESPONSE__INIT;
    weir_error error;

    if (indexer_verify(world->nodes[WEIR_SERVICE_INDEXER].core, &request, &response, arena,
            &error) != WEIR_OK)
        sim_fail(world, "I28", "verify: %s", error.message);
    else if (response.n_findings > 0)
        sim_fail(world, "I28", "verify: %s", response.findings[0]);
}

/* Nothing is left of what is over. */
static void
check_leftovers(const scan *state)
{
    sim_world *world = state->world;
    const uint64_t letters = count_keys(world, WEIR_SERVICE_RECONCILER, 'L');
    const uint64_t unready = count_keys(world, WEIR_SERVICE_GATEWAY, 'V');
    reconciler_published published;

    reconciler_core_published(world->nodes[WEIR_SERVICE_RECONCILER].core, &published);
    if (letters != state->failed || published.dead_letters != letters)
        sim_fail(world, "I13", "%llu dead letters for %llu FAILED revisions",
            (unsigned long long)letters, (unsigned long long)state->failed);
    if (published.unfinished != 0)
        sim_fail(world, "I19", "the reconciler believes that %llu revisions are not over",
            (unsigned long long)published.unfinished);
    if (unready != 0 || count_keys(world, WEIR_SERVICE_GATEWAY, 'P') != 0)
        sim_fail(world, "I19", "%llu entries of unready revisions are left",
            (unsigned long long)unready);
}

void
sim_check_end(sim_world *world)
{
    scan state = { .world = world, .arena = weir_arena_create(0) };

    world->is_settled = true;
    sim_history_follow(world);
    for (uint32_t collection = 0; collection < world->options.collections; collection++) {
        const collection_record *record = sim_read_collection(world, state.arena, collection);
        if (record == NULL)
            continue;
        weir__internal__v1__counters_record__init(&state.counted);
        for (uint32_t document = 0; document < world->options.documents; document++)
            check_document(&state, collection, record, document);
        check_counters(&state, record);
    }
    check_index(world, state.arena);
    check_leftovers(&state);
    sim_check_now(world);
    weir_arena_destroy(&state.arena);
}
