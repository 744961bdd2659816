/*
 * gateway_accept_test.c - goal: one accept is one revision, whatever is sent twice.  Method:
 * commands to the core, and what is in its store and at its peers afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/gateway/rig.h"

#define OUTCOME(name_) WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_##name_
#define STATE(name_) WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_

static rig *
with_peers(void)
{
    rig *self = rig_create();

    rig_peer_start(self, &self->ingest);
    rig_peer_start(self, &self->indexer);
    rig_peer_start(self, &self->reconciler);
    rig_settle(self);
    return self;
}

static void
done(rig *self)
{
    rig_check_store(self);
    rig_destroy(&self);
}

static size_t
document_rows(const rig *self)
{
    size_t count = 0;

    for (size_t i = 0; i < self->ingest.row_count; i++)
        count += self->ingest.rows[i]->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT;
    return count;
}

static void
an_accepted_document_is_pending_and_reaches_ingest_with_its_bytes(void **state)
{
    rig *self = with_peers();
    const Weir__V1__IngestDocumentResponse *response = rig_ingested(self,
        RIG_INGEST(self, .text = "hello", .media_type = "text/plain; charset=utf-8"));

    assert_int_equal(response->outcome, OUTCOME(CREATED));
    assert_true(response->collection_created);
    assert_int_equal(response->document->revision, 1);
    assert_int_equal(response->document->run, 1);
    assert_int_equal(response->document->state, STATE(PENDING));
    assert_false(response->document->terminal);
    assert_string_equal(response->document->media_type, "text/plain");
    assert_int_equal(response->document->size_bytes, 5);
    assert_string_equal(response->document->content_sha256,
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    rig_settle(self);
    assert_int_equal(document_rows(self), 1);
    const rig_row *row = self->ingest.rows[0];
    assert_string_equal(row->tenant, "t");
    assert_int_equal(row->epoch, 1);
    assert_int_equal(row->document->body.len, 5);
    assert_memory_equal(row->document->body.data, "hello", 5);
    assert_string_equal(row->document->media_type, "text/plain; charset=utf-8");
    assert_string_equal(row->document->spec->model, "hash-16");
    assert_int_equal(self->reconciler.events[0]->kind, LIFECYCLE(ACCEPTED));
    assert_string_equal(self->reconciler.events[0]->collection_id, "c");
    done(self);
}

static void
a_second_content_is_a_second_revision(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .text = "one");
    const Weir__V1__IngestDocumentResponse *response =
        rig_ingested(self, RIG_INGEST(self, .text = "two"));
    assert_int_equal(response->outcome, OUTCOME(REPLACED));
    assert_int_equal(response->document->revision, 2);
    assert_false(response->collection_created);
    done(self);
}

static void
the_same_content_is_unchanged_unless_forced(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .text = "one");
    const Weir__V1__IngestDocumentResponse *same =
        rig_ingested(self, RIG_INGEST(self, .text = "one"));
    assert_int_equal(same->outcome, OUTCOME(UNCHANGED));
    assert_int_equal(same->document->revision, 1);
    const Weir__V1__IngestDocumentResponse *other =
        rig_ingested(self, RIG_INGEST(self, .text = "one", .media_type = "text/markdown"));
    assert_int_equal(other->outcome, OUTCOME(REPLACED));
    const Weir__V1__IngestDocumentResponse *forced = rig_ingested(self,
        RIG_INGEST(self, .text = "one", .media_type = "text/markdown", .force = true));
    assert_int_equal(forced->outcome, OUTCOME(REPLACED));
    assert_int_equal(forced->document->revision, 3);
    done(self);
}

static void
a_request_id_makes_one_revision_for_ever(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .text = "one", .request_id = "r");
    RIG_INGEST(self, .text = "two");
    const Weir__V1__IngestDocumentResponse *again =
        rig_ingested(self, RIG_INGEST(self, .text = "one", .request_id = "r"));
    assert_int_equal(again->outcome, OUTCOME(REPEATED));
    assert_int_equal(again->document->revision, 1);
    rig_crash(self);
    again = rig_ingested(self, RIG_INGEST(self, .text = "one", .request_id = "r"));
    assert_int_equal(again->outcome, OUTCOME(REPEATED));
    assert_int_equal(rig_document_record(self, "d")->newest_revision, 2);
    done(self);
}

static void
a_request_id_with_another_payload_is_refused_without_effect(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .text = "one", .request_id = "r");
    rig_refused(self, RIG_INGEST(self, .text = "two", .request_id = "r"), WEIR_REQUEST_ID_CONFLICT);
    rig_refused(self, RIG_INGEST(self, .text = "one", .request_id = "r", .document_id = "e"),
        WEIR_REQUEST_ID_CONFLICT);
    assert_int_equal(rig_document_record(self, "d")->newest_revision, 1);
    done(self);
}

static void
a_request_id_belongs_to_its_tenant(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .text = "one", .request_id = "r");
    const Weir__V1__IngestDocumentResponse *other =
        rig_ingested(self, RIG_INGEST(self, .text = "two", .request_id = "r", .tenant = "u"));
    assert_int_equal(other->outcome, OUTCOME(CREATED));
    assert_true(other->collection_created);
    done(self);
}

static void
a_source_version_that_is_not_greater_is_refused(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .text = "one", .source_version = 5);
    rig_refused(self, RIG_INGEST(self, .text = "two", .source_version = 5),
        WEIR_SOURCE_VERSION_NOT_GREATER);
    rig_refused(self, RIG_INGEST(self, .text = "two", .source_version = 4),
        WEIR_SOURCE_VERSION_NOT_GREATER);
    assert_int_equal(rig_ingested(self, RIG_INGEST(self, .text = "one", .source_version = 7))
                         ->outcome,
        OUTCOME(UNCHANGED));
    rig_refused(self, RIG_INGEST(self, .text = "two", .source_version = 6),
        WEIR_SOURCE_VERSION_NOT_GREATER);
    /* Without a version nothing is asked, and the stored one stays. */
    assert_int_equal(rig_ingested(self, RIG_INGEST(self, .text = "three"))->document->revision, 2);
    rig_refused(self, RIG_INGEST(self, .text = "four", .source_version = 7),
        WEIR_SOURCE_VERSION_NOT_GREATER);
    done(self);
}

static void
a_missing_collection_is_refused_when_none_is_made(void **state)
{
    rig *self = rig_create();

    self->config.auto_create_collections = false;
    rig_crash(self);
    rig_refused(self, RIG_INGEST(self, .text = "one"), WEIR_COLLECTION_NOT_FOUND);
    done(self);
}

static void
at_a_limit_accepts_are_refused_and_repeats_and_streams_are_not(void **state)
{
    rig *self = rig_create();

    self->config.limits.documents_max = 2;
    rig_crash(self);
    RIG_INGEST(self, .document_id = "a", .request_id = "r");
    RIG_INGEST(self, .document_id = "b");
    rig_refused(self, RIG_INGEST(self, .document_id = "x"), WEIR_PRESSURE);
    assert_int_equal(rig_ingested(self, RIG_INGEST(self, .document_id = "a", .request_id = "r"))
                         ->outcome,
        OUTCOME(REPEATED));
    assert_int_equal(rig_ingested(self, RIG_INGEST(self, .document_id = "x", .held = true))
                         ->outcome,
        OUTCOME(CREATED));
    done(self);
}

static void
a_limit_of_bytes_or_of_age_refuses_too(void **state)
{
    rig *self = rig_create();

    self->config.limits.bytes_max = 10;
    rig_crash(self);
    RIG_INGEST(self, .document_id = "a", .text = "0123456789");
    rig_refused(self, RIG_INGEST(self, .document_id = "b"), WEIR_PRESSURE);
    self->config.limits.bytes_max = 0;
    self->config.limits.age_max_ms = 1000;
    rig_crash(self);
    RIG_INGEST(self, .document_id = "b");
    rig_run_ms(self, 1000);
    rig_refused(self, RIG_INGEST(self, .document_id = "x"), WEIR_PRESSURE);
    done(self);
}

static void
a_full_disk_refuses_accepts_and_takes_deletes(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .text = "one");
    self->disk_low = true;
    rig_refused(self, RIG_INGEST(self, .text = "two"), WEIR_DISK_LOW);
    const uint64_t reply = rig_delete(self, "d", NULL, false);
    rig_settle(self);
    rig_deleted(self, "d", 2);
    assert_int_equal(rig_document(self, reply)->state, STATE(DELETED));
    done(self);
}

static void
a_large_body_goes_by_reference(void **state)
{
    rig *self = with_peers();
    char *text = weir_arena_alloc(self->arena, 70001);

    memset(text, 'a', 70000);
    text[70000] = 0;
    RIG_INGEST(self, .text = text);
    rig_settle(self);
    assert_true(self->ingest.rows[0]->document->by_reference);
    assert_int_equal(self->ingest.rows[0]->document->body.len, 0);
    assert_int_equal(self->ingest.rows[0]->document->size_bytes, 70000);
    done(self);
}

/* ---- collections ---- */

static uint64_t
create(rig *self, const char *name, const char *request_id)
{
    Weir__V1__CreateCollectionRequest *request = weir_arena_alloc(self->arena, sizeof *request);
    Weir__V1__Collection *wanted = weir_arena_alloc(self->arena, sizeof *wanted);
    Weir__V1__Chunking *chunking = weir_arena_alloc(self->arena, sizeof *chunking);
    Weir__Internal__V1__CreateCollectionCommand *command =
        weir_arena_alloc(self->arena, sizeof *command);

    weir__v1__create_collection_request__init(request);
    weir__v1__collection__init(wanted);
    weir__v1__chunking__init(chunking);
    weir__internal__v1__create_collection_command__init(command);
    wanted->collection_id = (char *)(uintptr_t)name;
    wanted->embedding_model = (char *)(uintptr_t)"hash-32";
    wanted->dimension = 32;
    wanted->chunking = chunking;
    chunking->max_tokens = 128;
    request->collection = wanted;
    request->request_id = (char *)(uintptr_t)request_id;
    command->request = request;
    command->fingerprint = (char *)(uintptr_t)"4567";
    command->payload_sha256 =
        (ProtobufCBinaryData){ .data = (uint8_t *)wanted->collection_id, .len = strlen(name) };
    return rig_submit(self, GATEWAY_CREATE_COLLECTION, "t", &command->base);
}

static void
a_collection_is_made_once_and_keeps_its_model(void **state)
{
    rig *self = with_peers();

    create(self, "c", "r");
    assert_int_equal(self->replies[1].error.code, WEIR_OK);
    create(self, "c", "r");
    assert_int_equal(self->replies[2].error.code, WEIR_OK);
    rig_refused(self, create(self, "c", ""), WEIR_COLLECTION_EXISTS);
    rig_refused(self, create(self, "e", "r"), WEIR_REQUEST_ID_CONFLICT);
    rig_crash(self);
    RIG_INGEST(self, .text = "one");
    rig_settle(self);
    assert_string_equal(self->ingest.rows[0]->document->spec->model, "hash-32");
    assert_int_equal(self->ingest.rows[0]->collection_no, 1);
    done(self);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_accepted_document_is_pending_and_reaches_ingest_with_its_bytes),
        cmocka_unit_test(a_second_content_is_a_second_revision),
        cmocka_unit_test(the_same_content_is_unchanged_unless_forced),
        cmocka_unit_test(a_request_id_makes_one_revision_for_ever),
        cmocka_unit_test(a_request_id_with_another_payload_is_refused_without_effect),
        cmocka_unit_test(a_request_id_belongs_to_its_tenant),
        cmocka_unit_test(a_source_version_that_is_not_greater_is_refused),
        cmocka_unit_test(a_missing_collection_is_refused_when_none_is_made),
        cmocka_unit_test(at_a_limit_accepts_are_refused_and_repeats_and_streams_are_not),
        cmocka_unit_test(a_limit_of_bytes_or_of_age_refuses_too),
        cmocka_unit_test(a_full_disk_refuses_accepts_and_takes_deletes),
        cmocka_unit_test(a_large_body_goes_by_reference),
        cmocka_unit_test(a_collection_is_made_once_and_keeps_its_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
