/*
 * gateway_era_test.c - goal: a lost volume is noticed once, seeded and re-driven.  Method: peers
 * with a new database.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/gateway/keys.h"
#include "tests/unit/gateway/rig.h"

#define STATE(name_) WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_

static uint64_t
era(rig *self)
{
    gateway_published published;

    gateway_core_published(self->core, &published);
    return published.era;
}

static rig *
with_peers(void)
{
    rig *self = rig_create();

    rig_peer_start(self, &self->ingest);
    rig_peer_start(self, &self->indexer);
    rig_peer_start(self, &self->reconciler);
    rig_run_ms(self, 100);
    return self;
}

static const rig_row *
last_of(const rig_peer *peer, Weir__Internal__V1__Row__PayloadCase payload)
{
    for (size_t i = peer->row_count; i-- > 0;)
        if (peer->rows[i]->payload_case == payload)
            return peer->rows[i];
    return NULL;
}

static void
a_new_suite_seeds_nothing_and_opens_the_gate(void **state)
{
    rig *self = with_peers();
    const rig_row *seed = last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED);

    assert_int_equal(era(self), 1);
    assert_non_null(seed);
    assert_true(seed->seed->done);
    assert_int_equal(seed->seed->n_entries, 0);
    assert_non_null(last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE));
    rig_destroy(&self);
}

static void
a_restart_of_the_indexer_gets_its_gate_and_keeps_the_era(void **state)
{
    rig *self = with_peers();

    rig_peer_restart(self, &self->indexer, false);
    self->indexer.row_count = 0;
    rig_run_ms(self, 10000);
    assert_int_equal(era(self), 1);
    assert_non_null(last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE));
    rig_destroy(&self);
}

static void
a_lost_indexer_is_seeded_before_the_gate_and_gets_everything_again(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .document_id = "ready");
    RIG_INGEST(self, .document_id = "failed");
    RIG_INGEST(self, .document_id = "gone");
    rig_settle(self);
    rig_ready(self, "ready", 1, 1, 2);
    rig_give_up(self, "failed", 1, 1);
    rig_delete(self, "gone", NULL, false);
    rig_deleted(self, "gone", 2);
    self->indexer.row_count = 0;
    rig_peer_restart(self, &self->indexer, true);
    rig_run_ms(self, 1000);
    rig_tell_status(self, &self->indexer);
    rig_run_ms(self, 20000);

    assert_int_equal(era(self), 2);
    const rig_row *seed = last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED);
    const rig_row *gate = last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE);
    assert_non_null(seed);
    assert_non_null(gate);
    assert_int_equal(seed->era, 2);
    assert_int_equal(seed->seed->n_entries, 2);
    assert_string_equal(seed->seed->entries[0]->document_id, "failed");
    assert_int_equal(seed->seed->entries[0]->failed_revision, 1);
    assert_string_equal(seed->seed->entries[1]->document_id, "gone");
    assert_int_equal(seed->seed->entries[1]->deleted_below, 2);
    const rig_row *again = last_of(&self->ingest, WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT);
    assert_string_equal(again->document_id, "ready");
    assert_int_equal(again->epoch, 2);
    assert_int_equal(again->era, 2);
    assert_int_equal(rig_revision(self, "failed", 1)->state, STATE(FAILED)); /* never re-driven */
    assert_int_equal(rig_document_record(self, "ready")->searchable_revision, 0);
    rig_ready(self, "ready", 1, 2, 2);
    assert_int_equal(rig_document_record(self, "ready")->searchable_revision, 1);
    rig_check_store(self);
    rig_destroy(&self);
}

/* All that the other databases hold may be older than what was restored. */
static void
a_restored_gateway_seeds_and_drives_again_once(void **state)
{
    static const uint8_t id[GATEWAY_RESTORED_ID_SIZE] = { 7 };
    rig *self = with_peers();

    (void)state;
    RIG_INGEST(self, .document_id = "ready");
    RIG_INGEST(self, .document_id = "failed");
    RIG_INGEST(self, .document_id = "gone");
    rig_settle(self);
    rig_ready(self, "ready", 1, 1, 2);
    rig_give_up(self, "failed", 1, 1);
    rig_delete(self, "gone", NULL, false);
    rig_deleted(self, "gone", 2);
    const uint64_t before = era(self);
    self->indexer.row_count = 0;
    self->config.restored_id = id;
    rig_crash(self);
    const uint64_t after = era(self);
    rig_run_ms(self, 20000);

    assert_true(after > before);
    assert_int_equal(era(self), after);
    const rig_row *seed = last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED);
    assert_non_null(seed);
    assert_int_equal(seed->era, after);
    assert_int_equal(seed->seed->n_entries, 2);
    assert_non_null(last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE));
    const rig_row *again = last_of(&self->ingest, WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT);
    assert_string_equal(again->document_id, "ready");
    assert_int_equal(again->epoch, 2);
    assert_int_equal(again->era, after);
    rig_ready(self, "ready", 1, 2, 2);

    rig_crash(self); /* the same restore is there at every start */
    rig_run_ms(self, 1000);
    assert_int_equal(era(self), after);
    rig_check_store(self);
    rig_destroy(&self);
}

static void
spoil(rig *self, weir_bytes key)
{
    weir_batch *batch = weir_batch_create(self->store);

    weir_batch_put(batch, key, weir_bytes_str("\xff\xff\xff"));
    assert_int_equal(weir_store_commit(self->store, batch, true, NULL), WEIR_OK);
    weir_batch_destroy(&batch);
}

/* Custody that does not decode stays for whoever restores it; what it is about is left alone. */
static void
a_damaged_record_of_custody_does_not_end_a_redrive(void **state)
{
    rig *self = with_peers();
    weir_buffer key = { 0 };

    RIG_INGEST(self, .document_id = "a");
    RIG_INGEST(self, .document_id = "b");
    RIG_INGEST(self, .document_id = "c");
    RIG_INGEST(self, .document_id = "failed");
    rig_settle(self);
    rig_ready(self, "a", 1, 1, 2);
    rig_ready(self, "b", 1, 1, 2);
    rig_ready(self, "c", 1, 1, 2);
    rig_give_up(self, "failed", 1, 1);
    spoil(self, gateway_key_revision(&key, 1, "a", 1));
    spoil(self, gateway_key_document(&key, 1, "b"));
    rig_peer_restart(self, &self->indexer, true);
    rig_run_ms(self, 1000);
    rig_tell_status(self, &self->indexer);
    rig_run_ms(self, 20000);
    assert_int_equal(era(self), 2);
    assert_int_equal(rig_revision(self, "c", 1)->epoch, 2);
    assert_non_null(last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED));
    weir_buffer_fini(&key);
    rig_destroy(&self);
}

/* As one that was set aside: counters that are one too low end nothing. */
static void
a_revision_whose_entry_of_what_is_not_over_is_gone_ends_all_the_same(void **state)
{
    rig *self = with_peers();
    weir_batch *batch = NULL;
    weir_buffer key = { 0 };

    RIG_INGEST(self, .document_id = "a");
    RIG_INGEST(self, .document_id = "b");
    rig_settle(self);
    batch = weir_batch_create(self->store);
    weir_batch_delete(batch, gateway_key_unready(&key, rig_revision(self, "a", 1)->unready_no));
    assert_int_equal(weir_store_commit(self->store, batch, true, NULL), WEIR_OK);
    weir_batch_destroy(&batch);
    weir_buffer_fini(&key);
    rig_crash(self);
    rig_run_ms(self, 1000);
    rig_ready(self, "a", 1, 1, 2);
    rig_ready(self, "b", 1, 1, 2);
    rig_check_store(self);
    rig_destroy(&self);
}

/* Revisions that searches of the collection wait for. */
static uint64_t
rebuilding(rig *self)
{
    const collection_entry *entry = gateway_find_collection(self->core, "t", "c");

    assert_non_null(entry);
    return entry->counters.rebuilding;
}

static void
what_was_searchable_counts_as_rebuilding_until_it_is_back_or_over(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .document_id = "back");
    RIG_INGEST(self, .document_id = "deleted");
    RIG_INGEST(self, .document_id = "replaced", .text = "one");
    rig_settle(self);
    rig_ready(self, "back", 1, 1, 1);
    rig_ready(self, "deleted", 1, 1, 1);
    rig_ready(self, "replaced", 1, 1, 1);
    RIG_INGEST(self, .document_id = "replaced", .text = "two");
    RIG_INGEST(self, .document_id = "live");
    rig_peer_restart(self, &self->indexer, true);
    rig_run_ms(self, 1000);
    assert_int_equal(rebuilding(self), 0);
    rig_tell_status(self, &self->indexer);
    rig_run_ms(self, 20000);
    assert_int_equal(rebuilding(self), 3);
    rig_crash(self);
    assert_int_equal(rebuilding(self), 3);
    rig_ready(self, "back", 1, 2, 1);
    assert_int_equal(rebuilding(self), 2);
    rig_delete(self, "deleted", NULL, false);
    assert_int_equal(rebuilding(self), 1);
    rig_ready(self, "replaced", 2, 2, 1);
    assert_int_equal(rebuilding(self), 0);
    rig_check_store(self);
    rig_destroy(&self);
}

static void
a_delete_that_waits_while_the_indexer_is_lost_is_sent_again(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .text = "one");
    rig_settle(self);
    rig_peer_stop(self, &self->indexer);
    rig_delete(self, "d", NULL, false);
    rig_settle(self);
    weir_store_mem_wipe(self->indexer.store);
    self->indexer.row_count = 0;
    rig_peer_start(self, &self->indexer);
    rig_run_ms(self, 1000);
    rig_tell_status(self, &self->indexer);
    rig_run_ms(self, 20000);
    const rig_row *tombstone = last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE);
    assert_non_null(tombstone);
    assert_int_equal(tombstone->revision, 2);
    const uint64_t again = rig_delete(self, "d", NULL, false);
    rig_deleted(self, "d", 2);
    assert_int_equal(rig_document(self, again)->revision, 2);
    rig_destroy(&self);
}

static void
a_lost_ingest_gets_what_was_under_way_and_no_more(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .document_id = "ready");
    rig_settle(self);
    rig_ready(self, "ready", 1, 1, 2);
    RIG_INGEST(self, .document_id = "live");
    rig_settle(self);
    self->ingest.row_count = 0;
    rig_peer_restart(self, &self->ingest, true);
    rig_run_ms(self, 10000);        /* HELLOs and their answers have gone to and fro */
    assert_int_equal(era(self), 1); /* a link alone cannot tell a new database from a late answer */
    rig_tell_status(self, &self->ingest);
    rig_run_ms(self, 20000);
    assert_int_equal(era(self), 2);
    assert_int_equal(self->ingest.row_count, 1);
    assert_string_equal(self->ingest.rows[0]->document_id, "live");
    assert_int_equal(self->ingest.rows[0]->epoch, 2);
    assert_int_equal(rig_revision(self, "ready", 1)->state, STATE(READY));
    rig_check_store(self);
    rig_destroy(&self);
}

static void
a_redrive_goes_on_after_a_crash(void **state)
{
    rig *self = with_peers();

    for (int i = 0; i < 600; i++) {
        char *name = weir_arena_printf(self->arena, "d%03d", i);

        RIG_INGEST(self, .document_id = name, .text = name);
    }
    rig_run_ms(self, 2000);
    assert_int_equal(self->ingest.row_count, 600);
    rig_peer_restart(self, &self->ingest, true);
    self->ingest.row_count = 0;
    rig_tell_status(self, &self->ingest);
    rig_crash(self);
    rig_run_ms(self, 20);
    rig_crash(self);
    rig_run_ms(self, 60000);
    assert_int_equal(era(self), 2);
    for (int i = 0; i < 600; i++) {
        char *name = weir_arena_printf(self->arena, "d%03d", i);

        assert_int_equal(rig_revision(self, name, 1)->epoch, 2);
        assert_int_equal(rig_revision(self, name, 1)->state, STATE(PROCESSING));
    }
    rig_check_store(self);
    rig_destroy(&self);
}

/* ---- what the status of a service says ---- */

typedef struct said {
    const char *regressed, *or_peer, *link_peer; /* of an alarm */
    uint64_t reset_era, era;
} said;

static void
tell(rig *self, const char *service, const uint8_t *store_id, said what)
{
    Weir__Internal__V1__PeerStatusCommand status = WEIR__INTERNAL__V1__PEER_STATUS_COMMAND__INIT;

    status.service = (char *)(uintptr_t)service;
    status.store_id.data = (uint8_t *)(uintptr_t)store_id;
    status.store_id.len = WEIR_STORE_ID_SIZE;
    if (what.regressed != NULL)
        status.regressed_peer = (char *)(uintptr_t)what.regressed;
    if (what.or_peer != NULL)
        status.or_peer = (char *)(uintptr_t)what.or_peer;
    if (what.link_peer != NULL)
        status.link_peer = (char *)(uintptr_t)what.link_peer;
    status.reset_era = what.reset_era;
    status.era = what.era;
    rig_submit(self, GATEWAY_PEER_STATUS, "", &status.base);
}

/* The walk of the re-drive sees what is committed, so it must not begin before that round is. */
static void
a_document_accepted_in_the_round_of_a_loss_is_driven_again(void **state)
{
    static uint8_t old_id[WEIR_STORE_ID_SIZE] = { 8 };
    static uint8_t new_id[WEIR_STORE_ID_SIZE] = { 9 };
    Weir__Internal__V1__PeerStatusCommand status = WEIR__INTERNAL__V1__PEER_STATUS_COMMAND__INIT;
    rig *self = with_peers();

    (void)state;
    tell(self, "embedder", old_id, (said){ 0 });
    status.service = (char *)(uintptr_t)"embedder";
    status.store_id.data = new_id;
    status.store_id.len = sizeof new_id;
    rig_round_begin(self);
    rig_round_ingest(self, (rig_ingest_options){ .document_id = "new" });
    rig_round_submit(self, GATEWAY_PEER_STATUS, "", &status.base);
    rig_round_end(self);
    rig_run_ms(self, 1000);
    assert_int_equal(era(self), 2);
    assert_int_equal(rig_revision(self, "new", 1)->epoch, 2);
    assert_int_equal(rig_revision(self, "new", 1)->state, STATE(PROCESSING));
    rig_check_store(self);
    rig_destroy(&self);
}

static void
the_status_of_the_embedder_tells_of_its_loss_once(void **state)
{
    static const uint8_t first[WEIR_STORE_ID_SIZE] = { 1 };
    static const uint8_t second[WEIR_STORE_ID_SIZE] = { 2 };
    rig *self = with_peers();

    tell(self, "embedder", first, (said){ 0 });
    tell(self, "embedder", first, (said){ 0 });
    assert_int_equal(era(self), 1);
    tell(self, "embedder", second, (said){ 0 });
    tell(self, "embedder", second, (said){ 0 });
    assert_int_equal(era(self), 2);
    rig_destroy(&self);
}

static const uint8_t ingest_id[WEIR_STORE_ID_SIZE] = { 1 };
static const uint8_t embedder_id[WEIR_STORE_ID_SIZE] = { 2 };
static const uint8_t indexer_id[WEIR_STORE_ID_SIZE] = { 3 };

static rig *
with_statuses(void)
{
    rig *self = rig_create();

    tell(self, "ingest", ingest_id, (said){ .era = 1 });
    tell(self, "embedder", embedder_id, (said){ .era = 1 });
    tell(self, "indexer", indexer_id, (said){ .era = 1 });
    return self;
}

/* Until the link was RESET for the loss, its alarm is that of the loss; whatever era its end knows.
 */
static void
a_rolled_back_volume_raises_the_era_once(void **state)
{
    const said alarm = { .regressed = "embedder", .link_peer = "embedder", .era = 1 };
    const said again = { .regressed = "embedder", .link_peer = "embedder", .era = 2 };
    said later = again;
    rig *self = with_statuses();

    tell(self, "ingest", ingest_id, alarm);
    assert_int_equal(era(self), 2);
    tell(self, "ingest", ingest_id, alarm);
    tell(self, "ingest", ingest_id, again);
    assert_int_equal(era(self), 2);
    later.reset_era = 2;
    tell(self, "ingest", ingest_id, later);
    assert_int_equal(era(self), 3);
    rig_destroy(&self);
}

static size_t
count_of(const rig_peer *peer, Weir__Internal__V1__Row__PayloadCase payload)
{
    size_t count = 0;

    for (size_t i = 0; i < peer->row_count; i++)
        count += peer->rows[i]->payload_case == payload;
    return count;
}

static void
assert_seeded_once(rig *self, uint64_t seeded_era)
{
    const rig_row *seed = last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED);

    assert_int_equal(count_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED), 1);
    assert_true(seed->seed->done);
    assert_int_equal(seed->era, seeded_era);
    assert_int_equal(seed->seed->n_entries, 2);
    assert_string_equal(seed->seed->entries[0]->document_id, "failed");
    assert_int_equal(seed->seed->entries[0]->failed_epoch, 1);
    assert_string_equal(seed->seed->entries[1]->document_id, "gone");
    assert_int_equal(seed->seed->entries[1]->deleted_below, 2);
}

static void
end_two_documents(rig *self)
{
    RIG_INGEST(self, .document_id = "failed");
    RIG_INGEST(self, .document_id = "gone");
    rig_settle(self);
    rig_give_up(self, "failed", 1, 1);
    rig_delete(self, "gone", NULL, false);
    rig_deleted(self, "gone", 2);
    self->indexer.row_count = 0;
}

static void
lose_the_reconciler(rig *self)
{
    weir_stage_status status;

    weir_stage_status_read(self->reconciler.stage, &status);
    tell(self, "ingest", ingest_id, (said){ .era = era(self) });
    tell(self, "ingest", ingest_id,
        (said){ .regressed = "reconciler", .link_peer = "reconciler", .era = era(self) });
}

/* Simulator seeds 3217875 and 3789661: indexer and reconciler were rolled back to one moment, which
 * no link between them shows, and the indexer's promises were gone. */
static void
an_indexer_that_runs_is_seeded_at_every_raise_of_the_era(void **state)
{
    rig *self = with_peers();

    (void)state;
    end_two_documents(self);
    lose_the_reconciler(self);
    rig_run_ms(self, 10000);
    assert_int_equal(era(self), 2);
    assert_seeded_once(self, 2);
    rig_crash(self);
    rig_run_ms(self, 10000);
    assert_seeded_once(self, 2);
    rig_check_store(self);
    rig_destroy(&self);
}

static void
an_indexer_that_is_away_at_a_raise_is_seeded_when_it_comes(void **state)
{
    rig *self = with_peers();

    (void)state;
    end_two_documents(self);
    rig_peer_stop(self, &self->indexer);
    lose_the_reconciler(self);
    rig_crash(self);
    rig_run_ms(self, 10000);
    assert_int_equal(era(self), 2);
    assert_int_equal(count_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED), 0);
    rig_peer_start(self, &self->indexer);
    rig_run_ms(self, 20000);
    assert_seeded_once(self, 2);
    rig_destroy(&self);
}

/* Simulator seed 1000219: the row was on its way when its indexer was rolled back. */
static void
a_ready_from_before_the_loss_of_the_indexer_ends_no_redrive(void **state)
{
    Weir__Internal__V1__ReadyRow ready = WEIR__INTERNAL__V1__READY_ROW__INIT;
    rig_row row = WEIR__INTERNAL__V1__ROW__INIT;
    weir_stage_status status;
    rig *self = with_peers();

    RIG_INGEST(self, .document_id = "d");
    rig_settle(self);
    weir_stage_status_read(self->indexer.stage, &status);
    tell(self, "ingest", ingest_id, (said){ .era = 1 });
    tell(self, "indexer", status.identity.store_id,
        (said){ .regressed = "indexer", .link_peer = "reconciler", .era = 1 });
    rig_run_ms(self, 100);
    gateway_published published;
    gateway_core_published(self->core, &published);
    assert_true(published.lost_era[WEIR_SERVICE_INDEXER] > 1);
    ready.chunk_count = 2;
    row.tenant = (char *)(uintptr_t)"t";
    row.collection_no = 1;
    row.document_id = (char *)(uintptr_t)"d";
    row.revision = 1;
    row.epoch = 1;
    row.era = 1;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_READY;
    row.ready = &ready;
    rig_send(self, &self->indexer, WEIR_LINK_INDEXER_GATEWAY, &row);
    assert_int_not_equal(rig_revision(self, "d", 1)->state, STATE(READY));
    row.era = published.era;
    rig_send(self, &self->indexer, WEIR_LINK_INDEXER_GATEWAY, &row);
    assert_int_equal(rig_revision(self, "d", 1)->state, STATE(READY));
    rig_destroy(&self);
}

static void
a_service_that_was_rolled_back_itself_is_the_lost_one(void **state)
{
    const said alarm = { .regressed = "ingest", .link_peer = "embedder", .era = 1 };
    gateway_published published;
    rig *self = with_statuses();

    tell(self, "ingest", ingest_id, alarm);
    gateway_core_published(self->core, &published);
    assert_int_equal(published.lost_era[WEIR_SERVICE_INGEST], 2);
    assert_int_equal(published.lost_era[WEIR_SERVICE_EMBEDDER], 0);
    rig_destroy(&self);
}

/* A second loss that is told of after the first was decided is not taken for its past. */
static void
two_losses_at_once_are_both_decided(void **state)
{
    const said first = { .regressed = "embedder", .link_peer = "embedder", .era = 1 };
    const said second = { .regressed = "indexer", .link_peer = "indexer", .era = 1 };
    gateway_published published;
    rig *self = with_statuses();

    tell(self, "ingest", ingest_id, first);
    tell(self, "reconciler", ingest_id, second);
    gateway_core_published(self->core, &published);
    assert_int_equal(published.era, 2); /* the reconciler was not known before */
    tell(self, "reconciler", ingest_id, second);
    gateway_core_published(self->core, &published);
    assert_int_equal(published.lost_era[WEIR_SERVICE_EMBEDDER], 2);
    assert_int_equal(published.lost_era[WEIR_SERVICE_INDEXER], 3);
    rig_destroy(&self);
}

static void
an_alarm_that_cannot_tell_which_end_was_lost_counts_for_both(void **state)
{
    const said alarm = { .regressed = "embedder",
        .or_peer = "ingest",
        .link_peer = "embedder",
        .era = 1 };
    gateway_published published;
    rig *self = with_statuses();

    tell(self, "ingest", ingest_id, alarm);
    gateway_core_published(self->core, &published);
    assert_int_equal(published.lost_era[WEIR_SERVICE_EMBEDDER], 2);
    assert_int_equal(published.lost_era[WEIR_SERVICE_INGEST], 3);
    rig_destroy(&self);
}

/* A copy from before an era: no link needs to show it. */
static void
a_database_that_holds_an_earlier_era_than_it_did_was_rolled_back(void **state)
{
    rig *self = with_statuses();

    tell(self, "ingest", ingest_id,
        (said){ .regressed = "embedder", .link_peer = "embedder", .era = 1 });
    assert_int_equal(era(self), 2);
    tell(self, "indexer", indexer_id, (said){ .era = 2 });
    assert_int_equal(era(self), 2);
    tell(self, "indexer", indexer_id, (said){ .era = 1 });
    assert_int_equal(era(self), 3);
    tell(self, "indexer", indexer_id, (said){ .era = 1 });
    assert_int_equal(era(self), 3);
    rig_destroy(&self);
}

/* Nothing was sent to the indexer since the copy, so only the link from it can tell. */
static void
the_gate_stays_closed_while_the_link_from_the_indexer_is_not_clean(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .document_id = "ready");
    rig_settle(self);
    weir_store *copy = weir_store_mem_clone(self->indexer.store);
    rig_ready(self, "ready", 1, 1, 2);
    rig_peer_stop(self, &self->indexer);
    weir_store_close(&self->indexer.store);
    self->indexer.store = copy;
    self->indexer.row_count = 0;
    rig_peer_start(self, &self->indexer);
    rig_run_ms(self, 10000);
    assert_null(last_of(&self->indexer, WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE));
    rig_destroy(&self);
}

static void
a_database_that_was_replaced_is_refused_and_the_gateway_lives(void **state)
{
    rig *self = with_peers();
    weir_store *old = weir_store_mem_clone(self->ingest.store);

    rig_peer_restart(self, &self->ingest, true);
    rig_run_ms(self, 1000);
    rig_tell_status(self, &self->ingest);
    rig_run_ms(self, 20000);
    assert_int_equal(era(self), 2);
    uint8_t old_id[WEIR_STORE_ID_SIZE];
    rig_peer_stop(self, &self->ingest);
    weir_store_close(&self->ingest.store);
    self->ingest.store = old;
    rig_peer_start(self, &self->ingest);
    weir_stage_status status;
    rig_run_ms(self, 100);
    weir_stage_status_read(self->ingest.stage, &status);
    memcpy(old_id, status.identity.store_id, sizeof old_id);
    for (int i = 0; i < 5; i++) {
        tell(self, "ingest", old_id, (said){ .era = 2 });
        rig_run_ms(self, 1000);
    }
    assert_in_range(era(self), 2, 3);
    assert_int_equal(rig_ingested(self, RIG_INGEST(self, .text = "one"))->document->revision, 1);
    rig_destroy(&self);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_suite_seeds_nothing_and_opens_the_gate),
        cmocka_unit_test(a_restart_of_the_indexer_gets_its_gate_and_keeps_the_era),
        cmocka_unit_test(a_lost_indexer_is_seeded_before_the_gate_and_gets_everything_again),
        cmocka_unit_test(a_restored_gateway_seeds_and_drives_again_once),
        cmocka_unit_test(a_damaged_record_of_custody_does_not_end_a_redrive),
        cmocka_unit_test(a_revision_whose_entry_of_what_is_not_over_is_gone_ends_all_the_same),
        cmocka_unit_test(what_was_searchable_counts_as_rebuilding_until_it_is_back_or_over),
        cmocka_unit_test(a_delete_that_waits_while_the_indexer_is_lost_is_sent_again),
        cmocka_unit_test(a_lost_ingest_gets_what_was_under_way_and_no_more),
        cmocka_unit_test(a_redrive_goes_on_after_a_crash),
        cmocka_unit_test(a_document_accepted_in_the_round_of_a_loss_is_driven_again),
        cmocka_unit_test(the_status_of_the_embedder_tells_of_its_loss_once),
        cmocka_unit_test(a_rolled_back_volume_raises_the_era_once),
        cmocka_unit_test(an_indexer_that_runs_is_seeded_at_every_raise_of_the_era),
        cmocka_unit_test(an_indexer_that_is_away_at_a_raise_is_seeded_when_it_comes),
        cmocka_unit_test(a_ready_from_before_the_loss_of_the_indexer_ends_no_redrive),
        cmocka_unit_test(a_service_that_was_rolled_back_itself_is_the_lost_one),
        cmocka_unit_test(two_losses_at_once_are_both_decided),
        cmocka_unit_test(an_alarm_that_cannot_tell_which_end_was_lost_counts_for_both),
        cmocka_unit_test(a_database_that_holds_an_earlier_era_than_it_did_was_rolled_back),
        cmocka_unit_test(the_gate_stays_closed_while_the_link_from_the_indexer_is_not_clean),
        cmocka_unit_test(a_database_that_was_replaced_is_refused_and_the_gateway_lives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
