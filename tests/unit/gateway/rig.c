/*
 * rig.c - see rig.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/gateway/rig.h"

#include <stdio.h>

#include "common/base/assert.h"
#include "common/wire/wire.h"
#include "services/gateway/check.h"
#include "weir/internal/v1/service.pb-c.h"

enum { START_MS = 1700000000000 };

struct rig_frame {
    rig_frame *next;
    weir_service_id to;
    uint32_t link;
    size_t size;
    uint8_t bytes[];
};

#define CHECK(expression_)                                                   \
    do {                                                                     \
        weir_error error_ = { .code = WEIR_OK };                             \
        weir_error *reterr = &error_;                                        \
        if ((expression_) != WEIR_OK)                                        \
            fail_msg("%s: %s", weir_code_name(error_.code), error_.message); \
    } while (0)

static ProtobufCMessage *
keep(rig *self, const ProtobufCMessage *message)
{
    weir_buffer packed = { 0 };
    ProtobufCMessage *copy = NULL;

    weir_wire_encode(message, &packed);
    CHECK(weir_wire_decode(message->descriptor, weir_buffer_view(&packed), NULL, self->arena, &copy,
        reterr));
    weir_buffer_fini(&packed);
    return copy;
}

/* ---- frames ---- */

static weir_service_id
receiver_of(weir_service_id sender, uint32_t link)
{
    const weir_link_spec *spec = weir_link_spec_of(weir_link_kind_of(link));

    return spec->from == sender ? spec->to : spec->from;
}

static bool
enqueue(rig *self, weir_service_id sender, uint32_t link, weir_bytes frame)
{
    rig_frame *made = weir_alloc(sizeof *made + frame.size);

    *made = (rig_frame){ .to = receiver_of(sender, link), .link = link, .size = frame.size };
    memcpy(made->bytes, frame.data, frame.size);
    if (self->last != NULL)
        self->last->next = made;
    else
        self->first = made;
    self->last = made;
    return true;
}

typedef struct peer_env {
    rig *self;
    rig_peer *peer;
} peer_env;
static peer_env envs[3];

static bool
peer_send(void *ud, uint32_t link, weir_bytes frame)
{
    const peer_env *env = ud;

    return enqueue(env->self, env->peer->service, link, frame);
}

static bool
gateway_send(void *ud, uint32_t link, weir_bytes frame)
{
    return enqueue(ud, WEIR_SERVICE_GATEWAY, link, frame);
}

static void
gateway_reply(void *ud, uint64_t reply_to, const weir_error *error,
    const ProtobufCMessage *response)
{
    rig *self = ud;
    rig_reply *reply = &self->replies[reply_to];

    assert_false(reply->is_there);
    reply->is_there = true;
    if (error != NULL)
        reply->error = *error;
    else
        reply->response = keep(self, response);
}

static void
no_job(void *ud, weir_job *job)
{
    (void)ud;
    job->destroy(job);
    fail_msg("there are no jobs");
}

static void
no_reply(void *ud, uint64_t reply_to, const weir_error *error, const ProtobufCMessage *response)
{
    (void)ud, (void)reply_to, (void)error, (void)response;
}

/* ---- the peers' core: it remembers rows and sends what it is told to ---- */

static weir_code
peer_core_start(void *core, weir_stage *stage, weir_error *reterr)
{
    const peer_env *env = core;

    (void)reterr;
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++)
        if (weir_link_spec_of((weir_link_kind)kind)->to == env->peer->service &&
            env->peer->credit != 0)
            weir_stage_set_credit(stage, (weir_link_kind)kind, env->peer->credit);
    return WEIR_OK;
}

static weir_code
peer_core_row(void *core, weir_stage *stage, weir_link_kind link, uint64_t seq, const rig_row *row,
    weir_bytes packed, weir_error *reterr)
{
    const peer_env *env = core;
    rig_peer *peer = env->peer;

    (void)packed, (void)reterr;
    weir_stage_settle(stage, link, seq);
    rig_row *copy = (rig_row *)(void *)keep(env->self, &row->base);
    weir_assert(peer->row_count < sizeof peer->rows / sizeof peer->rows[0]);
    peer->rows[peer->row_count++] = copy;
    for (size_t i = 0;
        copy->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_EVENTS && i < copy->events->n_events;
        i++)
        peer->events[peer->event_count++] = copy->events->events[i];
    return WEIR_OK;
}

static weir_code
peer_core_request(void *core, weir_stage *stage, const weir_request *request, weir_error *reterr)
{
    (void)core;
    return weir_stage_send(stage, (weir_link_kind)request->kind,
        (rig_row *)(uintptr_t)request->message, NULL, reterr);
}

static const weir_core_ops peer_ops = {
    .start = peer_core_start,
    .row = peer_core_row,
    .request = peer_core_request,
};

/* ---- life ---- */

static void
fill_random(rig *self, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)weir_rng_next(&self->rng);
}

static weir_code
try_start_gateway(rig *self, weir_error *reterr)
{
    weir_stage_options options = { .service = WEIR_SERVICE_GATEWAY,
        .store = self->store,
        .ops = &gateway_core_ops,
        .env = { .ud = self, .reply = gateway_reply, .job = no_job, .send = gateway_send } };

    self->core = gateway_core_create(&self->config);
    options.core = self->core;
    fill_random(self, options.identity_random, sizeof options.identity_random);
    return weir_stage_create(&options, self->now_ms, weir_rng_next(&self->rng), &self->stage,
        reterr);
}

static void
start_gateway(rig *self)
{
    CHECK(try_start_gateway(self, reterr));
    CHECK(weir_stage_release(self->stage, &self->wake_ms, reterr));
}

void
rig_peer_start(rig *self, rig_peer *peer)
{
    peer_env *env = &envs[peer == &self->ingest ? 0 : peer == &self->indexer ? 1 : 2];
    int64_t wake_ms = 0;
    weir_stage_options options = { .service = peer->service,
        .store = peer->store,
        .ops = &peer_ops,
        .core = env,
        .env = { .ud = env, .reply = no_reply, .job = no_job, .send = peer_send } };

    *env = (peer_env){ self, peer };
    fill_random(self, options.identity_random, sizeof options.identity_random);
    CHECK(weir_stage_create(&options, self->now_ms, weir_rng_next(&self->rng), &peer->stage,
        reterr));
    CHECK(weir_stage_release(peer->stage, &wake_ms, reterr));
}

rig *
rig_create(void)
{
    rig *self = weir_alloc_zero(1, sizeof *self);

    self->now_ms = START_MS;
    self->rng.state = 42;
    self->arena = weir_arena_create(0);
    self->next_reply = 1;
    self->config = (gateway_core_config){ .auto_create_collections = true,
        .default_model = "hash-16",
        .default_fingerprint = "0123",
        .default_dimension = 16,
        .default_max_tokens = 64,
        .default_overlap_tokens = 8,
        .disk_low = &self->disk_low };
    self->store = weir_store_mem_create();
    self->ingest = (rig_peer){ .service = WEIR_SERVICE_INGEST, .store = weir_store_mem_create() };
    self->indexer = (rig_peer){ .service = WEIR_SERVICE_INDEXER, .store = weir_store_mem_create() };
    self->reconciler =
        (rig_peer){ .service = WEIR_SERVICE_RECONCILER, .store = weir_store_mem_create() };
    start_gateway(self);
    return self;
}

static void
drop_frames(rig *self)
{
    while (self->first != NULL) {
        rig_frame *gone = self->first;

        self->first = gone->next;
        weir_free(gone);
    }
    self->last = NULL;
}

void
rig_destroy(rig **rig_p)
{
    rig *self = *rig_p;

    weir_stage_destroy(&self->stage);
    gateway_core_destroy(&self->core);
    weir_store_close(&self->store);
    rig_peer *const peers[] = { &self->ingest, &self->indexer, &self->reconciler };
    for (size_t i = 0; i < 3; i++) {
        weir_stage_destroy(&peers[i]->stage);
        weir_store_close(&peers[i]->store);
    }
    drop_frames(self);
    weir_arena_destroy(&self->arena);
    weir_free(self);
    *rig_p = NULL;
}

static void
cut_power(rig *self)
{
    weir_stage_destroy(&self->stage);
    gateway_core_destroy(&self->core);
    weir_store_mem_power_cut(self->store, weir_rng_next(&self->rng));
    drop_frames(self);
}

void
rig_crash(rig *self)
{
    cut_power(self);
    start_gateway(self);
}

bool
rig_crash_in_start(rig *self, uint32_t calls)
{
    weir_error error;

    cut_power(self);
    weir_store_mem_fail_after(self->store, calls);
    const bool is_up = try_start_gateway(self, &error) == WEIR_OK;
    weir_store_mem_fail_after(self->store, 0);
    if (!is_up) {
        assert_int_equal(error.code, WEIR_STORE_IO);
        gateway_core_destroy(&self->core);
    }
    return !is_up;
}

void
rig_peer_stop(rig *self, rig_peer *peer)
{
    (void)self;
    weir_stage_destroy(&peer->stage);
}

void
rig_peer_restart(rig *self, rig_peer *peer, bool wipe)
{
    rig_peer_stop(self, peer);
    if (wipe)
        weir_store_mem_wipe(peer->store);
    else
        weir_store_mem_power_cut(peer->store, weir_rng_next(&self->rng));
    rig_peer_start(self, peer);
}

/* ---- rounds ---- */

void
rig_round_begin(rig *self)
{
    weir_stage_begin(self->stage, self->now_ms, weir_rng_next(&self->rng));
}

uint64_t
rig_round_submit(rig *self, gateway_command kind, const char *tenant,
    const ProtobufCMessage *message)
{
    const weir_request request = { .kind = kind,
        .reply_to = self->next_reply++,
        .tenant = tenant,
        .message = message };

    assert_true(request.reply_to < RIG_REPLIES_MAX);
    CHECK(weir_stage_on_request(self->stage, &request, reterr));
    return request.reply_to;
}

void
rig_round_end(rig *self)
{
    CHECK(weir_stage_on_time(self->stage, reterr));
    CHECK(weir_stage_commit(self->stage, reterr));
    CHECK(weir_stage_release(self->stage, &self->wake_ms, reterr));
}

uint64_t
rig_submit(rig *self, gateway_command kind, const char *tenant, const ProtobufCMessage *message)
{
    rig_round_begin(self);
    const uint64_t reply = rig_round_submit(self, kind, tenant, message);
    rig_round_end(self);
    return reply;
}

static void
peer_round(rig *self, rig_peer *peer, const rig_frame *frame)
{
    int64_t wake_ms = 0;

    weir_stage_begin(peer->stage, self->now_ms, weir_rng_next(&self->rng));
    if (frame != NULL)
        CHECK(weir_stage_on_frame(peer->stage, frame->link,
            weir_bytes_of(frame->bytes, frame->size), reterr));
    CHECK(weir_stage_commit(peer->stage, reterr));
    CHECK(weir_stage_release(peer->stage, &wake_ms, reterr));
}

static rig_peer *
peer_of(rig *self, weir_service_id service)
{
    rig_peer *const peers[] = { &self->ingest, &self->indexer, &self->reconciler };

    for (size_t i = 0; i < 3; i++)
        if (peers[i]->service == service)
            return peers[i]->stage != NULL ? peers[i] : NULL;
    return NULL;
}

static void
deliver(rig *self, const rig_frame *frame)
{
    if (frame->to == WEIR_SERVICE_GATEWAY) {
        rig_round_begin(self);
        CHECK(weir_stage_on_frame(self->stage, frame->link,
            weir_bytes_of(frame->bytes, frame->size), reterr));
        rig_round_end(self);
        return;
    }
    rig_peer *peer = peer_of(self, frame->to);
    if (peer != NULL)
        peer_round(self, peer, frame);
}

static void
deliver_all(rig *self)
{
    for (int left = 100000; self->first != NULL; left--) {
        rig_frame *frame = self->first;

        assert_true(left > 0);
        self->first = frame->next;
        if (self->first == NULL)
            self->last = NULL;
        deliver(self, frame);
        weir_free(frame);
    }
}

static void
tick(rig *self)
{
    rig_peer *const peers[] = { &self->ingest, &self->indexer, &self->reconciler };

    rig_round_begin(self);
    rig_round_end(self);
    for (size_t i = 0; i < 3; i++)
        if (peers[i]->stage != NULL)
            peer_round(self, peers[i], NULL);
    deliver_all(self);
}

static void
add_store(rig *self, Weir__Internal__V1__ApplyEraRequest *request, weir_service_id service,
    const uint8_t *store_id, uint64_t lost_era)
{
    Weir__Internal__V1__StoreIdentity *store = weir_arena_alloc(self->arena, sizeof *store);

    weir__internal__v1__store_identity__init(store);
    store->service = (char *)(uintptr_t)weir_service_name(service);
    store->store_id.data = weir_arena_memdup(self->arena, store_id, WEIR_STORE_ID_SIZE);
    store->store_id.len = WEIR_STORE_ID_SIZE;
    store->lost_era = lost_era;
    request->stores[request->n_stores++] = store;
}

static void
apply_era(rig *self, rig_peer *peer)
{
    Weir__Internal__V1__ApplyEraRequest request = WEIR__INTERNAL__V1__APPLY_ERA_REQUEST__INIT;
    gateway_published published;
    weir_stage_status own;
    int64_t wake_ms = 0;

    gateway_core_published(self->core, &published);
    weir_stage_status_read(self->stage, &own);
    request.era = published.era;
    request.stores = weir_arena_alloc(self->arena, WEIR_SERVICE_COUNT * sizeof(request.stores[0]));
    add_store(self, &request, WEIR_SERVICE_GATEWAY, own.identity.store_id, 0);
    for (int service = WEIR_SERVICE_GATEWAY + 1; service < WEIR_SERVICE_COUNT; service++)
        if (published.has_store[service])
            add_store(self, &request, (weir_service_id)service, published.store_id[service],
                published.lost_era[service]);
    const weir_request command = { .kind = WEIR_REQUEST_APPLY_ERA,
        .tenant = "",
        .message = &request.base };
    weir_stage_begin(peer->stage, self->now_ms, weir_rng_next(&self->rng));
    CHECK(weir_stage_on_request(peer->stage, &command, reterr));
    CHECK(weir_stage_commit(peer->stage, reterr));
    CHECK(weir_stage_release(peer->stage, &wake_ms, reterr));
}

void
rig_tell_status(rig *self, rig_peer *peer)
{
    Weir__Internal__V1__PeerStatusCommand command = WEIR__INTERNAL__V1__PEER_STATUS_COMMAND__INIT;
    weir_stage_status status;

    weir_stage_status_read(peer->stage, &status);
    command.service = (char *)(uintptr_t)weir_service_name(peer->service);
    command.store_id.data = status.identity.store_id;
    command.store_id.len = WEIR_STORE_ID_SIZE;
    command.era = status.held_era;
    rig_submit(self, GATEWAY_PEER_STATUS, "", &command.base);
    apply_era(self, peer);
}

void
rig_settle(rig *self)
{
    deliver_all(self);
    rig_run_ms(self, 30);
}

void
rig_run_ms(rig *self, int64_t duration_ms)
{
    const int64_t until_ms = self->now_ms + duration_ms;

    tick(self);
    while (self->now_ms < until_ms) {
        self->now_ms += until_ms - self->now_ms < 10 ? until_ms - self->now_ms : 10;
        tick(self);
    }
}

void
rig_send(rig *self, rig_peer *peer, weir_link_kind link, rig_row *row)
{
    const weir_request request = { .kind = (uint32_t)link, .tenant = "", .message = &row->base };
    int64_t wake_ms = 0;

    weir_stage_begin(peer->stage, self->now_ms, weir_rng_next(&self->rng));
    CHECK(weir_stage_on_request(peer->stage, &request, reterr));
    CHECK(weir_stage_commit(peer->stage, reterr));
    CHECK(weir_stage_release(peer->stage, &wake_ms, reterr));
    rig_settle(self);
}

/* ---- commands ---- */

static ProtobufCBinaryData
sum_of(rig *self, weir_sha256_sum sum)
{
    return (ProtobufCBinaryData){ .data =
                                      weir_arena_memdup(self->arena, sum.bytes, sizeof sum.bytes),
        .len = sizeof sum.bytes };
}

static char *
or_default(const char *text, const char *otherwise)
{
    return (char *)(uintptr_t)(text != NULL ? text : otherwise);
}

static Weir__Internal__V1__AcceptCommand *
make_accept(rig *self, const rig_ingest_options *options)
{
    Weir__V1__IngestDocumentRequest *request = weir_arena_alloc(self->arena, sizeof *request);
    Weir__Internal__V1__AcceptCommand *command = weir_arena_alloc(self->arena, sizeof *command);

    weir__v1__ingest_document_request__init(request);
    weir__internal__v1__accept_command__init(command);
    request->collection_id = or_default(options->collection_id, "c");
    request->document_id = or_default(options->document_id, "d");
    request->body_case = WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT;
    request->text = or_default(options->text, "text");
    request->request_id = or_default(options->request_id, "");
    request->media_type = or_default(options->media_type, "");
    request->source_version = options->source_version;
    request->force = options->force;
    const weir_sha256_sum content = weir_sha256(weir_bytes_str(request->text));
    const weir_sha256_sum settings = gateway_hash_settings(request, &content);
    command->request = request;
    command->content_sha256 = sum_of(self, content);
    command->settings_sha256 = sum_of(self, settings);
    command->payload_sha256 = sum_of(self, gateway_hash_ingest(request, &settings));
    command->held = options->held;
    if (options->wait_ms > 0)
        command->wait_until_ms = self->now_ms + options->wait_ms;
    return command;
}

uint64_t
rig_ingest(rig *self, rig_ingest_options options)
{
    return rig_submit(self, GATEWAY_ACCEPT, or_default(options.tenant, "t"),
        &make_accept(self, &options)->base);
}

uint64_t
rig_round_ingest(rig *self, rig_ingest_options options)
{
    return rig_round_submit(self, GATEWAY_ACCEPT, or_default(options.tenant, "t"),
        &make_accept(self, &options)->base);
}

uint64_t
rig_delete(rig *self, const char *document_id, const char *request_id, bool allow_missing)
{
    Weir__V1__DeleteDocumentRequest *request = weir_arena_alloc(self->arena, sizeof *request);
    Weir__Internal__V1__DeleteCommand *command = weir_arena_alloc(self->arena, sizeof *command);

    weir__v1__delete_document_request__init(request);
    weir__internal__v1__delete_command__init(command);
    request->collection_id = (char *)(uintptr_t)"c";
    request->document_id = or_default(document_id, "d");
    request->allow_missing = allow_missing;
    command->payload_sha256 = sum_of(self, gateway_hash_message(&request->base));
    request->request_id = or_default(request_id, "");
    command->request = request;
    command->wait_until_ms = self->now_ms + 1000;
    return rig_submit(self, GATEWAY_DELETE, "t", &command->base);
}

uint64_t
rig_retry(rig *self, const char *document_id, int64_t revision, const char *request_id)
{
    Weir__V1__RetryDocumentRequest *request = weir_arena_alloc(self->arena, sizeof *request);
    Weir__Internal__V1__RetryCommand *command = weir_arena_alloc(self->arena, sizeof *command);

    weir__v1__retry_document_request__init(request);
    weir__internal__v1__retry_command__init(command);
    request->collection_id = (char *)(uintptr_t)"c";
    request->document_id = or_default(document_id, "d");
    request->revision = revision;
    command->payload_sha256 = sum_of(self, gateway_hash_message(&request->base));
    request->request_id = or_default(request_id, "");
    command->request = request;
    return rig_submit(self, GATEWAY_RETRY, "t", &command->base);
}

uint64_t
rig_wait(rig *self, const char *document_id, int64_t revision, int64_t wait_ms)
{
    Weir__Internal__V1__WaitCommand *command = weir_arena_alloc(self->arena, sizeof *command);

    weir__internal__v1__wait_command__init(command);
    command->collection_id = (char *)(uintptr_t)"c";
    command->document_id = or_default(document_id, "d");
    command->revision = revision;
    command->wait_until_ms = self->now_ms + wait_ms;
    return rig_submit(self, GATEWAY_WAIT, "t", &command->base);
}

uint64_t
rig_wait_collection(rig *self, const char *token_document_id, int64_t revision, int64_t wait_ms)
{
    Weir__Internal__V1__WaitCollectionCommand *command =
        weir_arena_alloc(self->arena, sizeof *command);

    weir__internal__v1__wait_collection_command__init(command);
    command->collection_id = (char *)(uintptr_t)"c";
    command->document_id = or_default(token_document_id, "");
    command->revision = revision;
    command->wait_until_ms = self->now_ms + wait_ms;
    return rig_submit(self, GATEWAY_WAIT_COLLECTION, "t", &command->base);
}

/* ---- what the peers say ---- */

static rig_row
row_about(const char *document_id, int64_t revision, int64_t epoch)
{
    rig_row row = WEIR__INTERNAL__V1__ROW__INIT;

    row.tenant = (char *)(uintptr_t)"t";
    row.collection_no = 1;
    row.document_id = or_default(document_id, "d");
    row.revision = revision;
    row.epoch = epoch;
    return row;
}

void
rig_ready(rig *self, const char *document_id, int64_t revision, int64_t epoch, uint32_t chunks)
{
    Weir__Internal__V1__ReadyRow ready = WEIR__INTERNAL__V1__READY_ROW__INIT;
    rig_row row = row_about(document_id, revision, epoch);

    ready.chunk_count = chunks;
    ready.token_count = chunks * 10;
    ready.ready_time_ms = self->now_ms;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_READY;
    row.ready = &ready;
    rig_send(self, &self->indexer, WEIR_LINK_INDEXER_GATEWAY, &row);
}

void
rig_deleted(rig *self, const char *document_id, int64_t revision)
{
    Weir__Internal__V1__DeletedRow deleted = WEIR__INTERNAL__V1__DELETED_ROW__INIT;
    rig_row row = row_about(document_id, revision, 0);

    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETED;
    row.deleted = &deleted;
    rig_send(self, &self->indexer, WEIR_LINK_INDEXER_GATEWAY, &row);
}

void
rig_raise(rig *self, const char *document_id, int64_t revision, int64_t epoch)
{
    Weir__Internal__V1__RaiseRow raise = WEIR__INTERNAL__V1__RAISE_ROW__INIT;
    rig_row row = row_about(document_id, revision, epoch);

    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_RAISE;
    row.raise = &raise;
    rig_send(self, &self->reconciler, WEIR_LINK_RECONCILER_GATEWAY, &row);
}

void
rig_give_up(rig *self, const char *document_id, int64_t revision, int64_t epoch)
{
    Weir__Internal__V1__Failure failure = WEIR__INTERNAL__V1__FAILURE__INIT;
    Weir__Internal__V1__GiveUpRow give_up = WEIR__INTERNAL__V1__GIVE_UP_ROW__INIT;
    rig_row row = row_about(document_id, revision, epoch);

    failure.stage = STAGE_NUMBER(EMBED);
    failure.code = WEIR_EMBED_FAILED;
    failure.message = (char *)(uintptr_t)"the model refused";
    failure.attempt_count = 5;
    give_up.failure = &failure;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_GIVE_UP;
    row.give_up = &give_up;
    rig_send(self, &self->reconciler, WEIR_LINK_RECONCILER_GATEWAY, &row);
}

/* ---- answers ---- */

static const ProtobufCMessage *
response_of(rig *self, uint64_t reply, const ProtobufCMessageDescriptor *descriptor)
{
    const rig_reply *got = &self->replies[reply];

    if (!got->is_there)
        fail_msg("call %llu has no answer", (unsigned long long)reply);
    if (got->error.code != WEIR_OK)
        fail_msg("%s: %s", weir_code_name(got->error.code), got->error.message);
    if (descriptor != NULL)
        assert_ptr_equal(got->response->descriptor, descriptor);
    return got->response;
}

const Weir__V1__IngestDocumentResponse *
rig_ingested(rig *self, uint64_t reply)
{
    return (const Weir__V1__IngestDocumentResponse *)(const void *)response_of(self, reply,
        &weir__v1__ingest_document_response__descriptor);
}

const Weir__V1__Document *
rig_document(rig *self, uint64_t reply)
{
    const ProtobufCMessage *response = response_of(self, reply, NULL);

    if (response->descriptor == &weir__v1__delete_document_response__descriptor)
        return ((const Weir__V1__DeleteDocumentResponse *)(const void *)response)->document;
    if (response->descriptor == &weir__v1__retry_document_response__descriptor)
        return ((const Weir__V1__RetryDocumentResponse *)(const void *)response)->document;
    assert_ptr_equal(response->descriptor, &weir__v1__wait_document_response__descriptor);
    return ((const Weir__V1__WaitDocumentResponse *)(const void *)response)->document;
}

void
rig_refused(rig *self, uint64_t reply, weir_code code)
{
    const rig_reply *got = &self->replies[reply];

    assert_true(got->is_there);
    assert_string_equal(weir_code_name(got->error.code), weir_code_name(code));
}

bool
rig_is_answered(rig *self, uint64_t reply)
{
    return self->replies[reply].is_there;
}

/* ---- what is in the store ---- */

static ProtobufCMessage *
stored(rig *self, weir_bytes key, const ProtobufCMessageDescriptor *descriptor)
{
    weir_buffer value = { 0 };
    bool found = false;
    ProtobufCMessage *message = NULL;

    CHECK(weir_store_get(self->store, NULL, key, &value, &found, reterr));
    if (found)
        CHECK(weir_wire_decode(descriptor, weir_buffer_view(&value), NULL, self->arena, &message,
            reterr));
    weir_buffer_fini(&value);
    return message;
}

const revision_record *
rig_revision(rig *self, const char *document_id, int64_t revision)
{
    const document_record *document = rig_document_record(self, document_id);
    weir_buffer key = { 0 };

    if (document->newest_revision == revision && document->newest != NULL)
        return document->newest;
    ProtobufCMessage *message = stored(self, gateway_key_revision(&key, 1, document_id, revision),
        &weir__internal__v1__revision_record__descriptor);
    weir_buffer_fini(&key);
    assert_non_null(message);
    return (const revision_record *)(const void *)message;
}

const document_record *
rig_document_record(rig *self, const char *document_id)
{
    weir_buffer key = { 0 };
    ProtobufCMessage *message = stored(self, gateway_key_document(&key, 1, document_id),
        &weir__internal__v1__document_record__descriptor);

    weir_buffer_fini(&key);
    assert_non_null(message);
    return (const document_record *)(const void *)message;
}

typedef struct store_sums {
    uint64_t by_state[8];
    uint64_t chunks, unready, unready_bytes, pending, revisions;
    uint64_t unready_entries, newest_live;
} store_sums;

static bool
has_key(rig *self, weir_bytes key)
{
    weir_buffer value = { 0 };
    bool found = false;

    CHECK(weir_store_get(self->store, NULL, key, &value, &found, reterr));
    weir_buffer_fini(&value);
    return found;
}

/* Its size among the unready ones; 0: it is not there. */
static uint64_t
unready_size(rig *self, uint64_t unready_no)
{
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };
    ProtobufCMessage *message = NULL;
    uint64_t size = 0;
    weir_iter *iter = weir_store_iter(self->store, NULL, gateway_key_unready(&lower, 0),
        gateway_key_unready(&upper, unready_no + 1));

    if (weir_iter_last(iter)) {
        const uint64_t at = unready_no - weir_load_u64(weir_iter_key(iter).data + 1);

        CHECK(weir_wire_decode(&weir__internal__v1__unready_page_record__descriptor,
            weir_iter_value(iter), NULL, self->arena, &message, reterr));
        const Weir__Internal__V1__UnreadyPageRecord *page =
            (const Weir__Internal__V1__UnreadyPageRecord *)(const void *)message;
        size = at < page->n_sizes ? page->sizes[at] : 0;
    }
    CHECK(weir_iter_status(iter, reterr));
    weir_iter_destroy(&iter);
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return size;
}

static void
check_revision(rig *self, uint64_t collection_no, const char *document_id, int64_t number,
    const revision_record *revision, store_sums *sums)
{
    const bool is_unready =
        revision->state == DOCUMENT_STATE(PENDING) || revision->state == DOCUMENT_STATE(PROCESSING);
    const bool has_source = is_unready || revision->state == DOCUMENT_STATE(READY) ||
        revision->state == DOCUMENT_STATE(FAILED);
    weir_buffer scratch = { 0 };

    assert_in_range(revision->state, 1, 6);
    sums->by_state[revision->state]++;
    sums->revisions++;
    if (revision->state == DOCUMENT_STATE(READY))
        sums->chunks += revision->chunk_count;
    assert_int_equal(has_key(self,
                         gateway_key_source(&scratch, collection_no, document_id, number)),
        has_source);
    if (is_unready) {
        sums->unready++;
        sums->unready_bytes += revision->size_bytes;
        assert_int_equal(unready_size(self, revision->unready_no), revision->size_bytes + 1);
    }
    sums->pending += revision->state == DOCUMENT_STATE(PENDING);
    weir_buffer_fini(&scratch);
}

typedef void visit_key(rig *self, weir_bytes key, weir_bytes value, store_sums *sums);

static void
visit_revision(rig *self, weir_bytes key, weir_bytes value, store_sums *sums)
{
    ProtobufCMessage *message = NULL;

    CHECK(weir_wire_decode(&weir__internal__v1__revision_record__descriptor, value, NULL,
        self->arena, &message, reterr));
    check_revision(self, weir_load_u64(key.data + 1), (const char *)key.data + 9,
        (int64_t)weir_load_u64(key.data + key.size - 8),
        (const revision_record *)(const void *)message, sums);
}

static void
visit_document(rig *self, weir_bytes key, weir_bytes value, store_sums *sums)
{
    const uint64_t collection_no = weir_load_u64(key.data + 1);
    const char *document_id = gateway_key_document_id(key);
    ProtobufCMessage *message = NULL;
    weir_buffer scratch = { 0 };

    CHECK(weir_wire_decode(&weir__internal__v1__document_record__descriptor, value, NULL,
        self->arena, &message, reterr));
    const document_record *document = (const document_record *)(const void *)message;
    /* Its newest revision is in it, or in the place where schema 1 had it. */
    assert_int_equal(has_key(self,
                         gateway_key_revision(&scratch, collection_no, document_id,
                             document->newest_revision)),
        document->newest == NULL);
    if (document->newest != NULL)
        check_revision(self, collection_no, document_id, document->newest_revision,
            document->newest, sums);
    sums->newest_live += document->newest_revision != document->deleted_below;
    weir_buffer_fini(&scratch);
}

static void
visit_unready(rig *self, weir_bytes key, weir_bytes value, store_sums *sums)
{
    ProtobufCMessage *message = NULL;
    uint64_t live = 0;

    (void)key;
    CHECK(weir_wire_decode(&weir__internal__v1__unready_page_record__descriptor, value, NULL,
        self->arena, &message, reterr));
    const Weir__Internal__V1__UnreadyPageRecord *page =
        (const Weir__Internal__V1__UnreadyPageRecord *)(const void *)message;
    for (size_t i = 0; i < page->n_sizes; i++)
        live += page->sizes[i] != 0;
    assert_true(live > 0); /* an empty page is deleted */
    sums->unready_entries += live;
}

static void
scan(rig *self, char tag, visit_key *visit, store_sums *sums)
{
    const uint8_t lower[] = { (uint8_t)tag };
    const uint8_t upper[] = { (uint8_t)(tag + 1) };
    weir_iter *iter =
        weir_store_iter(self->store, NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));

    while (weir_iter_next(iter))
        visit(self, weir_iter_key(iter), weir_iter_value(iter), sums);
    CHECK(weir_iter_status(iter, reterr));
    weir_iter_destroy(&iter);
}

static void
add_counters(rig *self, weir_bytes key, weir_bytes value, store_sums *sums)
{
    ProtobufCMessage *message = NULL;

    (void)key;
    CHECK(weir_wire_decode(&weir__internal__v1__counters_record__descriptor, value, NULL,
        self->arena, &message, reterr));
    const counters_record *counters = (const counters_record *)(const void *)message;
    sums->by_state[DOCUMENT_STATE(PENDING)] += counters->pending;
    sums->by_state[DOCUMENT_STATE(PROCESSING)] += counters->processing;
    sums->by_state[DOCUMENT_STATE(READY)] += counters->ready;
    sums->by_state[DOCUMENT_STATE(FAILED)] += counters->failed;
    sums->by_state[DOCUMENT_STATE(SUPERSEDED)] += counters->superseded;
    sums->by_state[DOCUMENT_STATE(DELETED)] += counters->deleted;
    sums->chunks += counters->chunks;
    sums->newest_live += counters->documents;
    sums->revisions += counters->accepted;
}

void
rig_check_store(rig *self)
{
    store_sums found = { { 0 } };
    store_sums counted = { { 0 } };
    gateway_published published;

    scan(self, 'R', visit_revision, &found);
    scan(self, 'D', visit_document, &found);
    scan(self, 'V', visit_unready, &found);
    scan(self, 'N', add_counters, &counted);
    for (size_t state = 1; state <= 6; state++)
        assert_int_equal(found.by_state[state], counted.by_state[state]);
    assert_int_equal(found.chunks, counted.chunks);
    assert_int_equal(found.newest_live, counted.newest_live);
    assert_int_equal(found.revisions, counted.revisions);
    assert_int_equal(found.unready, found.unready_entries);
    gateway_core_published(self->core, &published);
    assert_int_equal(published.load.documents, found.unready);
    assert_int_equal(published.load.bytes, found.unready_bytes);
    assert_int_equal(published.load.oldest_since_ms != 0, found.unready > 0);
    assert_int_equal(published.pending, found.by_state[DOCUMENT_STATE(PENDING)]);
    assert_int_equal(published.processing, found.by_state[DOCUMENT_STATE(PROCESSING)]);
    assert_true(published.backlog >=
        found.pending); /* an entry of an older epoch may still stand there */
}
