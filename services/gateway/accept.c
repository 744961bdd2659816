/*
 * accept.c - what clients ask of the core: accept, delete, retry, create a collection.
 *
 * Each is one step of the round: all its writes are in one batch, and its answer leaves after that
 * batch is synced.  A refusal writes nothing.  The same request_id with the same payload gets the
 * same revision for ever.
 */
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/limits.h"
#include "common/base/plant.h"
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"

typedef Weir__Internal__V1__AcceptCommand accept_command;
typedef Weir__Internal__V1__RequestRecord request_record;

/* ---- idempotency ---- */

/* *ret_seen: the record of an earlier request with this id and payload; NULL: a new one (or no id).
 * *ret_refused: it was answered with REQUEST_ID_CONFLICT. */
static weir_code
check_request_id(gateway_core *core, weir_stage *stage, const weir_request *request,
    gateway_method method, const char *request_id, ProtobufCBinaryData payload_sha256,
    request_record **ret_seen, bool *ret_refused, weir_error *reterr)
{
    *ret_seen = NULL;
    *ret_refused = false;
    if (request_id[0] == 0)
        return WEIR_OK;
    const weir_code code =
        weir_stage_get(stage, gateway_key_request(&core->key, request->tenant, method, request_id),
            &weir__internal__v1__request_record__descriptor, ret_seen, reterr);
    if (code != WEIR_OK || *ret_seen == NULL)
        return code;
    if (weir_bytes_equal(weir_bytes_of((*ret_seen)->payload_sha256.data,
                             (*ret_seen)->payload_sha256.len),
            weir_bytes_of(payload_sha256.data, payload_sha256.len)))
        return WEIR_OK;
    *ret_refused = true;
    return gateway_refuse(stage, request->reply_to, WEIR_REQUEST_ID_CONFLICT, "request_id",
        "request_id \"%s\" was used with another request; use a new one", request_id);
}

static void
remember_request(gateway_core *core, weir_stage *stage, const weir_request *request,
    gateway_method method, const char *request_id, ProtobufCBinaryData payload_sha256,
    const revision_id *id)
{
    request_record record = WEIR__INTERNAL__V1__REQUEST_RECORD__INIT;

    if (request_id[0] == 0 || WEIR_PLANT(REQUEST_ID_FORGOTTEN))
        return;
    record.payload_sha256 = payload_sha256;
    record.document_id = (char *)(uintptr_t)id->document_id;
    record.revision = id->revision;
    record.collection_no = id->collection->record->collection_no;
    weir_stage_put(stage, gateway_key_request(&core->key, request->tenant, method, request_id),
        &record.base);
}

/* ---- collections ---- */

static weir_code
create_collection(gateway_core *core, weir_stage *stage, collection_record *record,
    collection_entry **ret_entry, weir_error *reterr)
{
    weir_buffer packed = { 0 };

    record->collection_no = core->suite.next_collection_no++;
    record->create_time_ms = weir_stage_now_ms(stage);
    record->version = 1;
    core->suite_changed = true;
    weir_wire_encode(&record->base, &packed);
    weir_batch_put(weir_stage_batch(stage),
        gateway_key_collection(&core->key, record->tenant, record->collection_id),
        weir_buffer_view(&packed));
    /* The value of 'E' is the key of 'C' without its tag. */
    const weir_bytes name =
        gateway_key_collection(&core->range_end, record->tenant, record->collection_id);
    weir_batch_put(weir_stage_batch(stage),
        gateway_key_collection_name(&core->key, record->collection_no),
        weir_bytes_of(name.data + 1, name.size - 1));
    const weir_code code =
        gateway_add_collection(core, weir_buffer_view(&packed), ret_entry, reterr);
    weir_buffer_fini(&packed);
    if (code == WEIR_OK)
        gateway_count(core, *ret_entry);
    return code;
}

static weir_code
create_default_collection(gateway_core *core, weir_stage *stage, const char *tenant,
    const char *collection_id, collection_entry **ret_entry, weir_error *reterr)
{
    collection_record record = WEIR__INTERNAL__V1__COLLECTION_RECORD__INIT;
    Weir__Internal__V1__EmbedSpec spec = WEIR__INTERNAL__V1__EMBED_SPEC__INIT;

    spec.model = core->default_model;
    spec.fingerprint = core->default_fingerprint;
    spec.dimension = core->config.default_dimension;
    spec.max_tokens = core->config.default_max_tokens;
    spec.overlap_tokens = core->config.default_overlap_tokens;
    record.tenant = (char *)(uintptr_t)tenant;
    record.collection_id = (char *)(uintptr_t)collection_id;
    record.spec = &spec;
    record.default_mode = WEIR__V1__SEARCH_MODE__SEARCH_MODE_VECTOR;
    record.language = (char *)(uintptr_t)"en";
    return create_collection(core, stage, &record, ret_entry, reterr);
}

static void
reply_collection(weir_stage *stage, uint64_t reply_to, const collection_entry *entry)
{
    weir_arena *arena = weir_stage_arena(stage);
    Weir__V1__CreateCollectionResponse *response = weir_arena_alloc(arena, sizeof *response);

    weir__v1__create_collection_response__init(response);
    response->collection = gateway_view_collection(arena, entry->record, &entry->counters);
    weir_stage_reply(stage, reply_to, &response->base);
}

static void
copy_collection(weir_arena *arena, const Weir__V1__Collection *from, collection_record *to)
{
    to->collection_id = from->collection_id;
    to->default_mode = (uint32_t)from->default_mode;
    to->language = from->language[0] != 0 ? from->language : (char *)(uintptr_t)"en";
    to->n_filter_fields = from->n_filter_fields;
    to->filter_fields =
        weir_arena_alloc(arena, (from->n_filter_fields + 1) * sizeof(to->filter_fields[0]));
    for (size_t i = 0; i < from->n_filter_fields; i++) {
        Weir__Internal__V1__FilterFieldRecord *field = weir_arena_alloc(arena, sizeof *field);

        weir__internal__v1__filter_field_record__init(field);
        field->name = from->filter_fields[i]->name;
        field->kind = (uint32_t)from->filter_fields[i]->kind;
        to->filter_fields[i] = field;
    }
}

weir_code
gateway_on_create_collection(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__CreateCollectionCommand *command =
        (const Weir__Internal__V1__CreateCollectionCommand *)request->message;
    const Weir__V1__Collection *wanted = command->request->collection;
    collection_record record = WEIR__INTERNAL__V1__COLLECTION_RECORD__INIT;
    Weir__Internal__V1__EmbedSpec spec = WEIR__INTERNAL__V1__EMBED_SPEC__INIT;
    collection_entry *entry = gateway_find_collection(core, request->tenant, wanted->collection_id);
    request_record *seen = NULL;
    bool refused = false;
    weir_code code = check_request_id(core, stage, request, GATEWAY_METHOD_CREATE_COLLECTION,
        command->request->request_id, command->payload_sha256, &seen, &refused, reterr);

    if (code != WEIR_OK || refused)
        return code;
    if (seen != NULL && entry != NULL) {
        reply_collection(stage, request->reply_to, entry);
        return WEIR_OK;
    }
    if (entry != NULL)
        return gateway_refuse(stage, request->reply_to, WEIR_COLLECTION_EXISTS,
            "collection.collection_id",
            "collection \"%s\" exists already; choose another name or use it as it is",
            wanted->collection_id);
    spec.model = wanted->embedding_model;
    spec.fingerprint = command->fingerprint;
    spec.dimension = (uint32_t)wanted->dimension;
    spec.max_tokens = (uint32_t)wanted->chunking->max_tokens;
    spec.overlap_tokens = (uint32_t)wanted->chunking->overlap_tokens;
    record.tenant = (char *)(uintptr_t)request->tenant;
    record.spec = &spec;
    copy_collection(weir_stage_arena(stage), wanted, &record);
    code = create_collection(core, stage, &record, &entry, reterr);
    if (code != WEIR_OK)
        return code;
    const revision_id id = { .collection = entry, .document_id = wanted->collection_id };
    remember_request(core, stage, request, GATEWAY_METHOD_CREATE_COLLECTION,
        command->request->request_id, command->payload_sha256, &id);
    reply_collection(stage, request->reply_to, entry);
    return WEIR_OK;
}

/* ---- accept ---- */

/* *ret_entry NULL: refused. */
static weir_code
find_or_create(gateway_core *core, weir_stage *stage, const weir_request *request,
    const char *collection_id, collection_entry **ret_entry, bool *ret_created, weir_error *reterr)
{
    *ret_created = false;
    *ret_entry = gateway_find_collection(core, request->tenant, collection_id);
    if (*ret_entry != NULL)
        return WEIR_OK;
    if (!core->config.auto_create_collections)
        return gateway_refuse(stage, request->reply_to, WEIR_COLLECTION_NOT_FOUND, "collection_id",
            "there is no collection \"%s\"; make it with CreateCollection", collection_id);
    *ret_created = true;
    return create_default_collection(core, stage, request->tenant, collection_id, ret_entry,
        reterr);
}

/* Items of a stream are never refused: the stream reads no more of them under pressure. */
static bool
refuse_for_pressure(const gateway_core *core, weir_stage *stage, const weir_request *request,
    bool held)
{
    gateway_load load = core->load;
    weir_error why;

    if (held)
        return false;
    load.disk_low =
        core->config.disk_low != NULL && __atomic_load_n(core->config.disk_low, __ATOMIC_RELAXED);
    if (gateway_admit(&core->config.limits, &load, weir_stage_now_ms(stage), &why) !=
        GATEWAY_REJECTING)
        return false;
    weir_stage_fail(stage, request->reply_to, &why);
    return true;
}

static void
fill_revision(weir_stage *stage, const accept_command *command, revision_record *revision)
{
    const Weir__V1__IngestDocumentRequest *request = command->request;
    weir_arena *arena = weir_stage_arena(stage);

    revision->epoch = 1;
    revision->stage = STAGE_NUMBER(ACCEPT);
    revision->era = weir_stage_era(stage);
    revision->size_bytes = request->body_case == WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT
        ? strlen(request->text)
        : request->data.len;
    revision->content_sha256 = command->content_sha256;
    revision->settings_sha256 = command->settings_sha256;
    revision->media_type = request->media_type;
    revision->filename = request->filename;
    revision->source_version = request->source_version;
    revision->create_time_ms = weir_stage_now_ms(stage);
    revision->traceparent = command->traceparent;
    revision->n_metadata = request->n_metadata;
    revision->metadata =
        weir_arena_alloc(arena, (request->n_metadata + 1) * sizeof(revision->metadata[0]));
    for (size_t i = 0; i < request->n_metadata; i++) {
        Weir__Internal__V1__MetadataEntry *entry = weir_arena_alloc(arena, sizeof *entry);

        weir__internal__v1__metadata_entry__init(entry);
        entry->key = request->metadata[i]->key;
        entry->value = request->metadata[i]->value;
        revision->metadata[i] = entry;
    }
}

static void
put_source(gateway_core *core, weir_stage *stage, const revision_id *id,
    const Weir__V1__IngestDocumentRequest *request)
{
    const weir_bytes body = request->body_case == WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT
        ? weir_bytes_str(request->text)
        : weir_bytes_of(request->data.data, request->data.len);

    /* The request lives until its round is released. */
    weir_batch_put_lent(weir_stage_batch(stage),
        gateway_key_source(&core->key, id->collection->record->collection_no, id->document_id,
            id->revision),
        body);
}

static weir_code
accept_revision(gateway_core *core, weir_stage *stage, const accept_command *command,
    const revision_id *id, document_record *document, revision_record *revision, weir_error *reterr)
{
    const bool is_new = document->newest_revision == 0;

    gateway_archive_newest(core, stage, id);
    WEIR_FP_RETURN("gateway.accept.before", reterr);
    fill_revision(stage, command, revision);
    put_source(core, stage, id, command->request);
    if (is_new || document->deleted_below == document->newest_revision)
        id->collection->counters.documents++;
    if (is_new) {
        document->oldest_revision = 1;
        document->create_time_ms = weir_stage_now_ms(stage);
    }
    id->collection->counters.accepted++;
    core->accepted_total++;
    document->newest_revision = id->revision;
    if (command->request->source_version != 0)
        document->source_version = command->request->source_version;
    gateway_tell(stage, id, revision, LIFECYCLE(ACCEPTED));
    WEIR_FP_RETURN("gateway.accept.after", reterr);
    return gateway_hand_over(core, stage, id, revision, GATEWAY_LANE_NEW, reterr);
}

/* The revision as it was accepted in this step: durable, and no stage has begun. */
static void
answer_accepted(weir_stage *stage, const weir_request *request, const revision_id *id,
    const document_record *document, const revision_record *revision,
    Weir__V1__IngestOutcome outcome, bool created)
{
    weir_arena *arena = weir_stage_arena(stage);
    Weir__V1__IngestDocumentResponse *response = weir_arena_alloc(arena, sizeof *response);

    weir__v1__ingest_document_response__init(response);
    response->document = gateway_view_document(arena, id->collection->record, document, revision,
        id->document_id, id->revision);
    gateway_view_pending(response->document);
    response->outcome = outcome;
    response->collection_created = created;
    weir_stage_reply(stage, request->reply_to, &response->base);
}

static weir_code
answer_accept(gateway_core *core, weir_stage *stage, const weir_request *request,
    const accept_command *command, const revision_id *id, Weir__V1__IngestOutcome outcome,
    bool created, weir_error *reterr)
{
    const waiter wish = { .kind = WAITER_INGEST,
        .reply_to = request->reply_to,
        .collection = id->collection,
        .document_id = (char *)(uintptr_t)id->document_id,
        .revision = id->revision,
        .until_ms = command->wait_until_ms,
        .outcome = (uint32_t)outcome,
        .collection_created = created };

    return gateway_wait_for(core, stage, &wish, reterr);
}

/* The newest revision has the same bytes, metadata and settings: nothing is done.  One whose dead
 * letter was discarded has no bytes any more. */
static weir_code
is_unchanged(gateway_core *core, weir_stage *stage, const accept_command *command,
    const revision_id *newest, bool *ret_unchanged, weir_error *reterr)
{
    revision_record *revision = NULL;

    *ret_unchanged = false;
    if (command->request->force || newest->revision == 0)
        return WEIR_OK;
    const weir_code code = gateway_get_revision_of(core, stage, newest, &revision, reterr);
    if (code == WEIR_OK && revision != NULL)
        *ret_unchanged = !revision->is_delete && revision->state != DOCUMENT_STATE(SUPERSEDED) &&
            weir_bytes_equal(weir_bytes_of(revision->settings_sha256.data,
                                 revision->settings_sha256.len),
                weir_bytes_of(command->settings_sha256.data, command->settings_sha256.len));
    return code;
}

/* Nothing but a greater source_version is new. */
static void
keep_source_version(gateway_core *core, weir_stage *stage, const revision_id *id,
    document_record *document, int64_t source_version)
{
    if (source_version == 0)
        return;
    document->source_version = source_version;
    gateway_put_document(core, stage, id->collection->record->collection_no, id->document_id,
        document);
}

static weir_code
accept_into(gateway_core *core, weir_stage *stage, const weir_request *request,
    const accept_command *command, collection_entry *collection, bool created, weir_error *reterr)
{
    const Weir__V1__IngestDocumentRequest *wanted = command->request;
    const bool is_named = wanted->document_id[0] != 0;
    revision_id id = { .collection = collection,
        .document_id = is_named ? wanted->document_id : command->made_document_id };
    document_record fresh = WEIR__INTERNAL__V1__DOCUMENT_RECORD__INIT;
    document_record *document = NULL;
    revision_record revision = WEIR__INTERNAL__V1__REVISION_RECORD__INIT;
    bool unchanged = false;
    weir_code code = gateway_get_document(core, stage, collection->record->collection_no,
        id.document_id, &document, reterr);

    if (code != WEIR_OK)
        return code;
    if (document == NULL)
        document = &fresh;
    id.document = document;
    id.revision = document->newest_revision;
    if (wanted->source_version != 0 && wanted->source_version <= document->source_version)
        return gateway_refuse(stage, request->reply_to, WEIR_SOURCE_VERSION_NOT_GREATER,
            "source_version",
            "document \"%s\" has source_version %lld already; send a greater one than that",
            id.document_id, (long long)document->source_version);
    code = is_unchanged(core, stage, command, &id, &unchanged, reterr);
    if (code == WEIR_OK && unchanged) {
        keep_source_version(core, stage, &id, document, wanted->source_version);
        remember_request(core, stage, request, GATEWAY_METHOD_INGEST, wanted->request_id,
            command->payload_sha256, &id);
        return answer_accept(core, stage, request, command, &id,
            WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_UNCHANGED, created, reterr);
    }
    id.revision = document->newest_revision + 1;
    const Weir__V1__IngestOutcome outcome =
        id.revision > 1 && document->deleted_below < document->newest_revision
        ? WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_REPLACED
        : WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_CREATED;
    if (code == WEIR_OK)
        code = accept_revision(core, stage, command, &id, document, &revision, reterr);
    if (code != WEIR_OK)
        return code;
    remember_request(core, stage, request, GATEWAY_METHOD_INGEST, wanted->request_id,
        command->payload_sha256, &id);
    if (command->wait_until_ms > weir_stage_now_ms(stage))
        return answer_accept(core, stage, request, command, &id, outcome, created, reterr);
    answer_accepted(stage, request, &id, document, &revision, outcome, created);
    return WEIR_OK;
}

weir_code
gateway_on_accept(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const accept_command *command = (const accept_command *)request->message;
    request_record *seen = NULL;
    collection_entry *collection = NULL;
    bool refused = false;
    bool created = false;
    weir_code code = check_request_id(core, stage, request, GATEWAY_METHOD_INGEST,
        command->request->request_id, command->payload_sha256, &seen, &refused, reterr);

    if (code != WEIR_OK || refused)
        return code;
    if (seen != NULL) {
        const revision_id id = { .collection =
                                     gateway_find_collection_no(core, seen->collection_no),
            .document_id = seen->document_id,
            .revision = seen->revision };
        weir_assert(id.collection != NULL);
        return answer_accept(core, stage, request, command, &id,
            WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_REPEATED, false, reterr);
    }
    if (refuse_for_pressure(core, stage, request, command->held))
        return WEIR_OK;
    code = find_or_create(core, stage, request, command->request->collection_id, &collection,
        &created, reterr);
    if (code != WEIR_OK || collection == NULL)
        return code;
    return accept_into(core, stage, request, command, collection, created, reterr);
}

/* ---- delete ---- */

weir_code
gateway_send_tombstone(weir_stage *stage, const revision_id *id, int64_t delete_time_ms,
    weir_error *reterr)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__DeleteRow tombstone = WEIR__INTERNAL__V1__DELETE_ROW__INIT;

    WEIR_FP_RETURN("gateway.tombstone.before", reterr);
    tombstone.delete_time_ms = delete_time_ms;
    row.tenant = id->collection->record->tenant;
    row.collection_no = id->collection->record->collection_no;
    row.document_id = (char *)(uintptr_t)id->document_id;
    row.revision = id->revision;
    row.deleted_below = id->revision;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE;
    row.delete_ = &tombstone;
    return weir_stage_send(stage, WEIR_LINK_GATEWAY_INDEXER, &row, NULL, reterr);
}

weir_code
gateway_delete_all(gateway_core *core, weir_stage *stage, const revision_id *id,
    document_record *document, weir_error *reterr)
{
    /* It outlives this call: the document's record points to it. */
    revision_record *revision = weir_arena_alloc(weir_stage_arena(stage), sizeof *revision);

    weir__internal__v1__revision_record__init(revision);
    WEIR_FP_RETURN("gateway.delete.before", reterr);
    gateway_archive_newest(core, stage, id);
    revision->epoch = 1;
    revision->era = weir_stage_era(stage);
    revision->is_delete = true;
    revision->create_time_ms = weir_stage_now_ms(stage);
    revision->delete_time_ms = weir_stage_now_ms(stage);
    gateway_take_off(id->collection, &id->collection->counters.documents, 1);
    id->collection->counters.accepted++;
    document->newest_revision = id->revision;
    document->deleted_below = id->revision;
    document->searchable_revision = 0;
    weir_code code =
        gateway_retire_lower(core, stage, id, document, DOCUMENT_STATE(DELETED), reterr);
    if (code == WEIR_OK)
        code = gateway_send_tombstone(stage, id, revision->delete_time_ms, reterr);
    return code != WEIR_OK
        ? code
        : gateway_set_state(core, stage, id, revision, DOCUMENT_STATE(DELETED), reterr);
}

static weir_code
answer_missing(weir_stage *stage, const weir_request *request, const revision_id *id,
    const Weir__V1__DeleteDocumentRequest *wanted)
{
    if (!wanted->allow_missing)
        return gateway_refuse_missing(stage, request->reply_to, id, 0);
    Weir__V1__DeleteDocumentResponse *response =
        weir_arena_alloc(weir_stage_arena(stage), sizeof *response);
    weir__v1__delete_document_response__init(response);
    weir_stage_reply(stage, request->reply_to, &response->base);
    return WEIR_OK;
}

static weir_code
answer_delete(gateway_core *core, weir_stage *stage, const weir_request *request,
    const revision_id *id, int64_t until_ms, weir_error *reterr)
{
    const waiter wish = { .kind = WAITER_DELETE,
        .reply_to = request->reply_to,
        .collection = id->collection,
        .document_id = (char *)(uintptr_t)id->document_id,
        .revision = id->revision,
        .until_ms = until_ms };

    return gateway_wait_for(core, stage, &wish, reterr);
}

weir_code
gateway_on_delete(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__DeleteCommand *command =
        (const Weir__Internal__V1__DeleteCommand *)request->message;
    const Weir__V1__DeleteDocumentRequest *wanted = command->request;
    revision_id id = { .collection =
                           gateway_find_collection(core, request->tenant, wanted->collection_id),
        .document_id = wanted->document_id };
    request_record *seen = NULL;
    document_record *document = NULL;
    bool refused = false;
    weir_code code = check_request_id(core, stage, request, GATEWAY_METHOD_DELETE,
        wanted->request_id, command->payload_sha256, &seen, &refused, reterr);

    if (code != WEIR_OK || refused)
        return code;
    if (id.collection != NULL)
        code = gateway_get_document(core, stage, id.collection->record->collection_no,
            id.document_id, &document, reterr);
    if (code != WEIR_OK)
        return code;
    id.document = document;
    if (id.collection == NULL && !wanted->allow_missing)
        return gateway_refuse(stage, request->reply_to, WEIR_COLLECTION_NOT_FOUND, "collection_id",
            "there is no collection \"%s\"", wanted->collection_id);
    if (document == NULL)
        return answer_missing(stage, request, &id, wanted);
    id.revision = seen != NULL ? seen->revision : document->newest_revision;
    if (seen == NULL && document->deleted_below < document->newest_revision) {
        id.revision = document->newest_revision + 1;
        code = gateway_delete_all(core, stage, &id, document, reterr);
    }
    if (code != WEIR_OK)
        return code;
    if (seen == NULL)
        remember_request(core, stage, request, GATEWAY_METHOD_DELETE, wanted->request_id,
            command->payload_sha256, &id);
    return answer_delete(core, stage, request, &id, command->wait_until_ms, reterr);
}

/* ---- retry ---- */

static weir_code
answer_retry(gateway_core *core, weir_stage *stage, const weir_request *request,
    const revision_id *id, bool is_fresh, weir_error *reterr)
{
    weir_arena *arena = weir_stage_arena(stage);
    revision_id answered = *id;
    revision_record *revision = NULL;
    const weir_code code = gateway_get_both(core, stage, &answered, &revision, reterr);

    if (code != WEIR_OK)
        return code;
    weir_assert(revision != NULL);
    Weir__V1__RetryDocumentResponse *response = weir_arena_alloc(arena, sizeof *response);
    weir__v1__retry_document_response__init(response);
    response->document = gateway_view_document(arena, id->collection->record, answered.document,
        revision, id->document_id, id->revision);
    if (is_fresh)
        gateway_view_pending(response->document);
    weir_stage_reply(stage, request->reply_to, &response->base);
    return WEIR_OK;
}

/* *ret_revision NULL: refused. */
static weir_code
find_failed(gateway_core *core, weir_stage *stage, const weir_request *request, revision_id *id,
    int64_t wanted, revision_record **ret_revision, weir_error *reterr)
{
    document_record *document = NULL;
    weir_code code = WEIR_OK;

    *ret_revision = NULL;
    if (id->collection != NULL)
        code = gateway_get_document(core, stage, id->collection->record->collection_no,
            id->document_id, &document, reterr);
    if (code != WEIR_OK)
        return code;
    if (id->collection == NULL)
        return gateway_refuse(stage, request->reply_to, WEIR_COLLECTION_NOT_FOUND, "collection_id",
            "there is no such collection; ListCollections shows those that exist");
    if (document == NULL || wanted > document->newest_revision)
        return gateway_refuse_missing(stage, request->reply_to, id, document != NULL ? wanted : 0);
    if (wanted != 0 && wanted < document->newest_revision)
        return gateway_refuse(stage, request->reply_to, WEIR_STATE_NOT_RETRYABLE, "revision",
            "revision %lld is not the newest (%lld); only that can be retried", (long long)wanted,
            (long long)document->newest_revision);
    id->revision = document->newest_revision;
    id->document = document;
    code = gateway_get_revision_of(core, stage, id, ret_revision, reterr);
    if (code != WEIR_OK || *ret_revision == NULL ||
        (*ret_revision)->state == DOCUMENT_STATE(FAILED) || WEIR_PLANT(RETRY_WITHOUT_COMPARE))
        return code;
    *ret_revision = NULL;
    return gateway_refuse(stage, request->reply_to, WEIR_STATE_NOT_RETRYABLE, NULL,
        "document \"%s\" is not FAILED, so there is nothing to retry", id->document_id);
}

weir_code
gateway_on_retry(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__RetryCommand *command =
        (const Weir__Internal__V1__RetryCommand *)request->message;
    const Weir__V1__RetryDocumentRequest *wanted = command->request;
    revision_id id = { .collection =
                           gateway_find_collection(core, request->tenant, wanted->collection_id),
        .document_id = wanted->document_id };
    request_record *seen = NULL;
    revision_record *revision = NULL;
    bool refused = false;
    weir_code code = check_request_id(core, stage, request, GATEWAY_METHOD_RETRY,
        wanted->request_id, command->payload_sha256, &seen, &refused, reterr);

    if (code != WEIR_OK || refused)
        return code;
    if (seen != NULL && id.collection != NULL) {
        id.revision = seen->revision;
        return answer_retry(core, stage, request, &id, false, reterr);
    }
    WEIR_FP_RETURN("gateway.retry.before", reterr);
    code = find_failed(core, stage, request, &id, wanted->revision, &revision, reterr);
    if (code != WEIR_OK || revision == NULL)
        return code;
    code = gateway_raise(core, stage, &id, revision, GATEWAY_LANE_NEW, reterr);
    if (code != WEIR_OK)
        return code;
    remember_request(core, stage, request, GATEWAY_METHOD_RETRY, wanted->request_id,
        command->payload_sha256, &id);
    return answer_retry(core, stage, request, &id, true, reterr);
}
