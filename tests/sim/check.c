/*
 * check.c - the promises, checked against the databases of the five nodes.
 *
 * At every instant: a delete that was acknowledged is final; one answer holds one revision of a
 * document.  Once all is quiet: every accepted revision is over; a revision is searchable if and
 * only if it is READY; FAILED and one dead letter go together; counters agree with a scan; every
 * link is empty; the index agrees with its records.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/wire.h"
#include "services/gateway/keys.h"
#include "services/gateway/views.h"
#include "services/reconciler/keys.h"
#include "tests/sim/sim.h"

typedef struct scan {
    sim_world *world;
    weir_arena *arena;
    counters_record counted; /* of one collection */
} scan;

/* ---- reading the gateway's records ---- */

static void *
read_record(sim_world *world, weir_arena *arena, weir_bytes key,
    const ProtobufCMessageDescriptor *descriptor)
{
    weir_buffer value = { 0 };
    bool found = false;
    ProtobufCMessage *message = NULL;
    weir_error error;

    if (weir_store_get(world->nodes[WEIR_SERVICE_GATEWAY].store, NULL, key, &value, &found,
            &error) != WEIR_OK)
        sim_fail(world, "gateway store: %s", error.message);
    if (found &&
        weir_wire_decode(descriptor, weir_buffer_view(&value), NULL, arena, &message, &error) !=
            WEIR_OK)
        sim_fail(world, "gateway record: %s", error.message);
    weir_buffer_fini(&value);
    return message;
}

static const collection_record *
read_collection(sim_world *world, weir_arena *arena, uint32_t collection)
{
    weir_buffer key = { 0 };
    void *record = read_record(world, arena,
        gateway_key_collection(&key, "default", sim_collection_name(collection)),
        &weir__internal__v1__collection_record__descriptor);

    weir_buffer_fini(&key);
    return record;
}

static const document_record *
read_document(sim_world *world, weir_arena *arena, uint64_t collection_no, const char *document_id)
{
    weir_buffer key = { 0 };
    void *record = read_record(world, arena, gateway_key_document(&key, collection_no, document_id),
        &weir__internal__v1__document_record__descriptor);

    weir_buffer_fini(&key);
    return record;
}

static const revision_record *
read_revision(sim_world *world, weir_arena *arena, uint64_t collection_no, const char *document_id,
    int64_t revision)
{
    weir_buffer key = { 0 };
    void *record =
        read_record(world, arena, gateway_key_revision(&key, collection_no, document_id, revision),
            &weir__internal__v1__revision_record__descriptor);

    weir_buffer_fini(&key);
    return record;
}

/* ---- searching ---- */

/* Revision that an exact search of the document finds, 0: none; -1: no complete answer.
 * *ret_chunks: hits. */
static int64_t
search(sim_world *world, weir_arena *arena, uint64_t collection_no, const char *document_id,
    uint32_t *ret_chunks)
{
    sim_node *indexer = &world->nodes[WEIR_SERVICE_INDEXER];
    Weir__Internal__V1__SearchVectorsRequest request =
        WEIR__INTERNAL__V1__SEARCH_VECTORS_REQUEST__INIT;
    Weir__Internal__V1__SearchVectorsResponse response =
        WEIR__INTERNAL__V1__SEARCH_VECTORS_RESPONSE__INIT;
    float vector[SIM_DIMENSION];
    char *ids[] = { (char *)(uintptr_t)document_id };
    weir_error error;
    int64_t revision = 0;

    *ret_chunks = 0;
    for (int i = 0; i < SIM_DIMENSION; i++)
        vector[i] = 1.0f / sqrtf(SIM_DIMENSION);
    request.tenant = (char *)(uintptr_t)"default";
    request.collection_no = collection_no;
    request.vector.data = (uint8_t *)vector;
    request.vector.len = sizeof vector;
    request.top_k = 1000;
    request.document_ids = ids;
    request.n_document_ids = 1;
    request.exact = true;
    request.omit_text = true;
    if (indexer->stage == NULL ||
        indexer_search(indexer->core, &request, &response, arena, &error) != WEIR_OK)
        return -1;
    for (size_t i = 0; i < response.n_hits; i++) {
        if (revision != 0 && response.hits[i]->revision != revision)
            sim_fail(world, "one answer holds revisions %lld and %lld of %s", (long long)revision,
                (long long)response.hits[i]->revision, document_id);
        revision = response.hits[i]->revision;
        for (size_t j = 0; j < i; j++)
            if (response.hits[j]->ordinal == response.hits[i]->ordinal)
                sim_fail(world, "chunk %u of %s is in one answer twice", response.hits[i]->ordinal,
                    document_id);
    }
    *ret_chunks = (uint32_t)response.n_hits;
    return revision;
}

void
sim_check_now(sim_world *world)
{
    weir_arena *arena = weir_arena_create(0);

    for (uint32_t collection = 0; collection < SIM_COLLECTIONS; collection++) {
        const collection_record *record = read_collection(world, arena, collection);
        for (uint32_t document = 0; record != NULL && document < SIM_DOCUMENTS; document++) {
            uint32_t chunks = 0;
            const int64_t found =
                search(world, arena, record->collection_no, sim_document_name(document), &chunks);
            const int64_t deleted = world->deleted_acked[collection][document];

            if (found > 0 && found < deleted)
                sim_fail(world, "revision %lld of %s came back after delete %lld was acknowledged",
                    (long long)found, sim_document_name(document), (long long)deleted);
        }
    }
    weir_arena_destroy(&arena);
}

/* ---- settled ---- */

static bool
links_are_empty(sim_world *world, char *why, size_t why_size)
{
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++) {
        weir_stage_status status;

        if (world->nodes[service].stage == NULL) {
            snprintf(why, why_size, "%s is down", weir_service_name((weir_service_id)service));
            return false;
        }
        weir_stage_status_read(world->nodes[service].stage, &status);
        for (uint32_t i = 0; i < status.link_count; i++) {
            const weir_stage_link_view *view = &status.links[i];
            if (!view->sender ||
                (view->tx.state == WEIR_LINK_OPEN && view->tx.acked + 1 == view->tx.next))
                continue;
            snprintf(why, why_size, "link %s: state %d, acked %llu, next %llu %s",
                weir_link_spec_of(view->kind)->name, (int)view->tx.state,
                (unsigned long long)view->tx.acked, (unsigned long long)view->tx.next,
                view->tx.alarm);
            return false;
        }
    }
    return true;
}

/* True if the iterator's range is empty. */
static bool
is_empty(sim_world *world, weir_service_id service, char tag)
{
    const uint8_t lower[] = { (uint8_t)tag };
    const uint8_t upper[] = { (uint8_t)(tag + 1) };
    weir_iter *iter = weir_store_iter(world->nodes[service].store, NULL, weir_bytes_of(lower, 1),
        weir_bytes_of(upper, 1));
    const bool empty = !weir_iter_next(iter);

    weir_iter_destroy(&iter);
    return empty;
}

bool
sim_is_settled(sim_world *world, char *why, size_t why_size)
{
    gateway_published published;

    if (!links_are_empty(world, why, why_size))
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
    if (!is_empty(world, WEIR_SERVICE_RECONCILER, 'E') ||
        !is_empty(world, WEIR_SERVICE_INGEST, 'd') ||
        !is_empty(world, WEIR_SERVICE_EMBEDDER, 'd')) {
        snprintf(why, why_size, "left: ending %d, deferred at ingest %d, at embedder %d",
            !is_empty(world, WEIR_SERVICE_RECONCILER, 'E'),
            !is_empty(world, WEIR_SERVICE_INGEST, 'd'),
            !is_empty(world, WEIR_SERVICE_EMBEDDER, 'd'));
        return false;
    }
    return true;
}

/* ---- the end ---- */

static bool
has_dead_letter(sim_world *world, uint64_t collection_no, const char *document_id, int64_t revision)
{
    weir_buffer key = { 0 };
    weir_buffer value = { 0 };
    weir_error error;
    bool found = false;

    if (weir_store_get(world->nodes[WEIR_SERVICE_RECONCILER].store, NULL,
            reconciler_key_dead_letter(&key, "default", collection_no, document_id, revision),
            &value, &found, &error) != WEIR_OK)
        sim_fail(world, "reconciler store: %s", error.message);
    weir_buffer_fini(&key);
    weir_buffer_fini(&value);
    return found;
}

static void
count_state(scan *state, const revision_record *revision)
{
    state->counted.ready += revision->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_READY;
    state->counted.failed += revision->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED;
    state->counted.superseded +=
        revision->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_SUPERSEDED;
    state->counted.deleted += revision->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_DELETED;
    state->counted.accepted++;
}

static void
check_revision(scan *state, uint64_t collection_no, const char *document_id, int64_t number,
    int64_t searchable, uint32_t chunks)
{
    sim_world *world = state->world;
    const revision_record *revision =
        read_revision(world, state->arena, collection_no, document_id, number);

    if (revision == NULL) {
        sim_fail(world, "revision %lld of %s has no record", (long long)number, document_id);
        return;
    }
    count_state(state, revision);
    const bool is_ready = revision->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_READY;
    const bool is_failed = revision->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED;
    if (!gateway_state_is_terminal(revision->state))
        sim_fail(world, "revision %lld of %s is not over", (long long)number, document_id);
    if (is_ready != (searchable == number))
        sim_fail(world, "revision %lld of %s: state %u, but search finds %lld", (long long)number,
            document_id, revision->state, (long long)searchable);
    if (is_ready && (chunks != revision->chunk_count || chunks == 0))
        sim_fail(world, "revision %lld of %s has %u chunks, search finds %u", (long long)number,
            document_id, revision->chunk_count, chunks);
    if (is_failed != has_dead_letter(world, collection_no, document_id, number))
        sim_fail(world, "revision %lld of %s: FAILED and its dead letter do not go together",
            (long long)number, document_id);
}

/* FAILED for what the faults did to it, not for what it is. */
static bool
has_run_out_of_tries(scan *state, uint32_t collection, uint32_t document, int64_t number)
{
    const collection_record *record = read_collection(state->world, state->arena, collection);
    const revision_record *revision = read_revision(state->world, state->arena,
        record->collection_no, sim_document_name(document), number);

    return revision->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED &&
        revision->failure != NULL &&
        (revision->failure->code == WEIR_WORKER_KILLED || revision->failure->attempt_count >= 5);
}

static void
check_ops(scan *state, uint32_t collection, uint32_t document, const document_record *record)
{
    sim_world *world = state->world;

    for (uint32_t i = 0; i < world->op_count; i++) {
        const sim_op *op = &world->ops[i];
        if (op->state != SIM_OP_OK || op->collection != collection || op->document != document)
            continue;
        if (op->revision > record->newest_revision)
            sim_fail(world, "%s was acknowledged with revision %lld, the newest is %lld",
                op->request_id, (long long)op->revision, (long long)record->newest_revision);
        /* A good body that nothing replaced and nothing deleted must be READY. */
        const bool is_newest = op->kind == SIM_INGEST && op->revision == record->newest_revision;
        if (is_newest && !op->is_bad &&
            has_run_out_of_tries(state, collection, document, op->revision))
            continue;
        if (is_newest && (record->searchable_revision == op->revision) == op->is_bad)
            sim_fail(world, "%s: a %s body, but the searchable revision is %lld of %lld",
                op->request_id, op->is_bad ? "bad" : "good", (long long)record->searchable_revision,
                (long long)op->revision);
    }
}

static void
check_document(scan *state, uint32_t collection, const collection_record *record, uint32_t document)
{
    const char *name = sim_document_name(document);
    const document_record *found =
        read_document(state->world, state->arena, record->collection_no, name);
    uint32_t chunks = 0;

    if (found == NULL)
        return;
    const int64_t searchable =
        search(state->world, state->arena, record->collection_no, name, &chunks);
    if (searchable < 0)
        sim_fail(state->world, "the indexer does not serve once all is quiet");
    if (searchable != found->searchable_revision)
        sim_fail(state->world, "%s: search finds %lld, the gateway says %lld", name,
            (long long)searchable, (long long)found->searchable_revision);
    for (int64_t number = 1; number <= found->newest_revision; number++)
        check_revision(state, record->collection_no, name, number, searchable, chunks);
    check_ops(state, collection, document, found);
}

static void
check_counters(scan *state, const collection_record *record)
{
    weir_buffer key = { 0 };
    const counters_record *stored =
        read_record(state->world, state->arena, gateway_key_counters(&key, record->collection_no),
            &weir__internal__v1__counters_record__descriptor);
    const counters_record *counted = &state->counted;

    weir_buffer_fini(&key);
    if (stored == NULL || stored->pending != 0 || stored->processing != 0 ||
        stored->ready != counted->ready || stored->failed != counted->failed ||
        stored->superseded != counted->superseded || stored->deleted != counted->deleted ||
        stored->accepted != counted->accepted)
        sim_fail(state->world, "the counters of %s disagree with a scan", record->collection_id);
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
        sim_fail(world, "verify: %s", error.message);
    else if (response.n_findings > 0)
        sim_fail(world, "verify: %s", response.findings[0]);
}

void
sim_check_end(sim_world *world)
{
    scan state = { .world = world, .arena = weir_arena_create(0) };

    for (uint32_t collection = 0; collection < SIM_COLLECTIONS; collection++) {
        const collection_record *record = read_collection(world, state.arena, collection);
        if (record == NULL)
            continue;
        weir__internal__v1__counters_record__init(&state.counted);
        for (uint32_t document = 0; document < SIM_DOCUMENTS; document++)
            check_document(&state, collection, record, document);
        check_counters(&state, record);
    }
    check_index(world, state.arena);
    sim_check_now(world);
    weir_arena_destroy(&state.arena);
}
