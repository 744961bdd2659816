/*
 * history.c - the gateway's change log, followed change by change: which state of a revision may
 * come after which.
 *
 * Every change of a state is in the log in the batch that made it, so nothing that was ever
 * recorded escapes, however short it lasted.
 */
#include <stdio.h>

#include "common/wire/wire.h"
#include "services/gateway/keys.h"
#include "tests/sim/sim.h"

#define STATE(name_) ((uint32_t)WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_)

typedef Weir__Internal__V1__ChangeRecord change_record;

static bool
is_live(uint32_t state)
{
    return state == STATE(PENDING) || state == STATE(PROCESSING);
}

static bool
is_over_for_ever(uint32_t state)
{
    return state == STATE(SUPERSEDED) || state == STATE(DELETED);
}

static sim_document *
document_of(sim_world *world, const change_record *change, weir_arena *arena)
{
    for (uint32_t collection = 0; collection < SIM_COLLECTIONS; collection++) {
        const collection_record *record = sim_read_collection(world, arena, collection);

        if (record == NULL || record->collection_no != change->collection_no)
            continue;
        for (uint32_t document = 0; document < SIM_DOCUMENTS; document++)
            if (strcmp(sim_document_name(document), change->document_id) == 0)
                return &world->documents[collection][document];
    }
    return NULL;
}

/* What came before, and what may not come after it. */
static void
check_change(sim_world *world, const change_record *change, const sim_document *document,
    const sim_revision *before)
{
    const char *name = change->document_id;
    const long long number = (long long)change->revision;

    if (is_over_for_ever(before->state) && change->state != STATE(DELETED))
        sim_fail(world, "I11", "revision %lld of %s came back: state %u after %u", number, name,
            change->state, before->state);
    if (change->epoch < before->epoch)
        sim_fail(world, "I7", "revision %lld of %s went back from epoch %lld to %lld", number, name,
            (long long)before->epoch, (long long)change->epoch);
    if (before->state == STATE(READY) && change->state == STATE(FAILED))
        sim_fail(world, "I8", "revision %lld of %s was READY and is FAILED", number, name);
    if (before->state == STATE(FAILED) && change->state == STATE(READY))
        sim_fail(world, "I8", "revision %lld of %s was FAILED and is READY", number, name);
    if (before->state == STATE(FAILED) && is_live(change->state) &&
        before->raised_from_failed >= document->retries_sent)
        sim_fail(world, "I9", "revision %lld of %s was FAILED and is at work again: nobody asked",
            number, name);
    if (before->state == STATE(READY) && is_live(change->state) && world->losses == 0)
        sim_fail(world, "I7",
            "revision %lld of %s was READY and is at work again: nothing was lost", number, name);
    if (change->state == STATE(READY) && change->revision < document->ready_greatest)
        sim_fail(world, "I10", "revision %lld of %s is READY after %lld", number, name,
            (long long)document->ready_greatest);
}

static void
follow(sim_world *world, const change_record *change, sim_document *document)
{
    sim_revision *revision = &document->revisions[change->revision];

    sim_trace(world, "change", (uint64_t)change->revision << 8 | change->state,
        (uint64_t)change->epoch);
    check_change(world, change, document, revision);
    revision->raised_from_failed += revision->state == STATE(FAILED) && is_live(change->state);
    revision->state = change->state;
    revision->epoch = change->epoch;
    if (change->state == STATE(READY) && change->revision > document->ready_greatest)
        document->ready_greatest = change->revision;
}

static void
follow_one(sim_world *world, weir_arena *arena, const change_record *change)
{
    sim_document *document = document_of(world, change, arena);
    if (document == NULL || change->revision >= SIM_REVISIONS_MAX)
        sim_fail(world, "I18", "a change of %s, revision %lld, which nobody knows",
            change->document_id, (long long)change->revision);
    else
        follow(world, change, document);
}

/* The record that holds change_no, *ret_first_no being its first; NULL: there is none. */
static const Weir__Internal__V1__ChangesRecord *
read_changes(sim_world *world, weir_arena *arena, uint64_t change_no, uint64_t *ret_first_no)
{
    sim_node *gateway = &world->nodes[WEIR_SERVICE_GATEWAY];
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };
    ProtobufCMessage *message = NULL;
    weir_error error;
    weir_iter *iter = weir_store_iter(gateway->store, NULL, gateway_key_change(&lower, 0),
        gateway_key_change(&upper, change_no + 1));

    if (weir_iter_last(iter)) {
        *ret_first_no = weir_load_u64(weir_iter_key(iter).data + 1);
        if (weir_wire_decode(&weir__internal__v1__changes_record__descriptor, weir_iter_value(iter),
                NULL, arena, &message, &error) != WEIR_OK)
            sim_fail(world, "I18", "changes do not decode: %s", error.message);
    }
    if (weir_iter_status(iter, &error) != WEIR_OK)
        sim_fail(world, "I18", "the change log: %s", error.message);
    weir_iter_destroy(&iter);
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return (const Weir__Internal__V1__ChangesRecord *)message;
}

void
sim_history_follow(sim_world *world)
{
    sim_node *gateway = &world->nodes[WEIR_SERVICE_GATEWAY];
    gateway_published published;

    gateway_core_published(gateway->core, &published);
    if (published.change_no < world->change_no)
        return;
    weir_arena *arena = weir_arena_create(0);
    while (world->change_no <= published.change_no) {
        uint64_t first_no = 0;
        const Weir__Internal__V1__ChangesRecord *record =
            read_changes(world, arena, world->change_no, &first_no);

        if (record == NULL || world->change_no - first_no >= record->n_changes) {
            sim_fail(world, "I18", "change %llu is not in the log",
                (unsigned long long)world->change_no);
            world->change_no++;
            continue;
        }
        for (size_t i = world->change_no - first_no; i < record->n_changes; i++) {
            follow_one(world, arena, record->changes[i]);
            world->change_no++;
        }
    }
    weir_arena_destroy(&arena);
}
