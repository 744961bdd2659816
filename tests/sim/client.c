/*
 * client.c - a few clients: ingest, delete, retry, reads that ask the indexer, waits; with request
 * ids that are sent again until they are answered, and now and then afterwards.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/stage/retry.h"
#include "common/wire/wire.h"
#include "services/gateway/keys.h"
#include "tests/sim/sim.h"
#include "weir/internal/v1/command.pb-c.h"

enum {
    RESEND_MS = 4000,
    LARGE_WORDS = 2400, /* 64 chunks have about 900 */
    HUGE_BYTES = 66000, /* above WEIR_INLINE_BODY_BYTES_MAX */
    WORD_BYTES = 12,
    SENT_STEP = 1000,       /* a reply handle is op + 1 + this times the sendings of the op */
    PROBE_FROM = 100000000, /* from here on: a request id that was used for something else */
};

static const struct {
    const char *tenant, *name;
} collections[SIM_COLLECTIONS] = { { "default", "notes" }, { "other", "notes" },
    { "default", "papers" } };
static const char *const documents[SIM_DOCUMENTS] = { "a", "b", "c", "d" };
static const char *const words[] = { "water", "stone", "river", "gate", "fish", "wheel", "mill",
    "reed" };

const char *
sim_tenant(uint32_t collection)
{
    return collections[collection].tenant;
}

const char *
sim_collection_name(uint32_t collection)
{
    return collections[collection].name;
}

const char *
sim_document_name(uint32_t document)
{
    return documents[document];
}

/* ---- bodies ---- */

static bool
percent(sim_world *world, uint32_t share)
{
    return share > 0 && sim_random(world, 100) < share;
}

/* What parses a body by reference is told of no special word. */
static uint64_t
word_count(sim_world *world, const char *special)
{
    if (special == NULL && percent(world, world->options.huge))
        return HUGE_BYTES / 5;
    if (percent(world, world->options.large))
        return 1 + sim_random(world, LARGE_WORDS);
    return 1 + sim_random(world, 40);
}

static char *
make_text(sim_world *world, uint32_t number, const char *special)
{
    const uint64_t count = word_count(world, special);
    const uint64_t at = sim_random(world, count);
    char *body = malloc(count * WORD_BYTES + 64);
    size_t size = (size_t)sprintf(body, "text %u", number);

    for (uint64_t i = 0; i < count; i++)
        size += (size_t)sprintf(body + size, " %s",
            i == at && special != NULL ? special : words[sim_random(world, 8)]);
    return body;
}

/* Blanks alone end as EMPTY; each op has its own, so that a later one is another revision. */
static char *
make_blanks(uint32_t number)
{
    char *body = malloc(number + 2);

    memset(body, ' ', number + 1);
    body[number + 1] = 0;
    return body;
}

static void
make_body(sim_world *world, sim_op *op)
{
    op->is_bad = true;
    if (percent(world, world->options.poison)) {
        op->body = make_text(world, op->number,
            sim_random(world, 2) == 0 ? SIM_POISON_PARSE : SIM_POISON_EMBED);
    } else if (percent(world, world->options.bad)) {
        op->body = sim_random(world, 2) == 0 ? make_blanks(op->number)
                                             : make_text(world, op->number, SIM_CURSED);
    } else {
        op->is_bad = false;
        op->body = make_text(world, op->number, NULL);
    }
}

/* The body of an earlier op on the same document. */
static void
repeat_body(sim_world *world, sim_op *op)
{
    for (const sim_op *before = op; before-- > world->ops;) {
        if (before->kind != SIM_INGEST || before->collection != op->collection ||
            before->document != op->document)
            continue;
        free(op->body);
        op->body = strdup(before->body);
        op->is_bad = before->is_bad;
        op->force = sim_random(world, 2) == 0;
        return;
    }
}

/* ---- ops ---- */

static sim_op_kind
choose_kind(sim_world *world)
{
    const sim_options *options = &world->options;

    if (percent(world, options->deletes))
        return SIM_DELETE;
    if (percent(world, options->retries))
        return SIM_RETRY;
    if (percent(world, options->learns))
        return SIM_LEARN;
    return percent(world, options->waits) ? SIM_WAIT : SIM_INGEST;
}

static void
make_op(sim_world *world, sim_op *op, uint32_t number)
{
    op->state = SIM_OP_NEW;
    op->number = number;
    op->kind = choose_kind(world);
    op->collection = (uint32_t)sim_random(world, world->options.collections);
    op->document = (uint32_t)sim_random(world, world->options.documents);
    snprintf(op->request_id, sizeof op->request_id, "request-%u", number);
    if (op->kind != SIM_INGEST)
        return;
    make_body(world, op);
    if (percent(world, world->options.same))
        repeat_body(world, op);
    if (sim_random(world, 6) == 0)
        op->source_version = 1 + (int64_t)sim_random(world, number + 5);
}

void
sim_client_begin(sim_world *world)
{
    world->op_count = world->options.ops;
    for (uint32_t i = 0; i < world->op_count; i++)
        make_op(world, &world->ops[i], i);
}

/* ---- messages ---- */

static ProtobufCBinaryData
sum_of(weir_arena *arena, const char *text, const char *more)
{
    char *all = weir_arena_alloc(arena, strlen(text) + strlen(more) + 1);

    strcat(strcpy(all, text), more);
    const weir_sha256_sum sum = weir_sha256(weir_bytes_str(all));

    return (ProtobufCBinaryData){ .len = WEIR_SHA256_SIZE,
        .data = weir_arena_memdup(arena, &sum, sizeof sum) };
}

static char *
collection_of(const sim_op *op)
{
    return (char *)(uintptr_t)collections[op->collection].name;
}

static char *
document_of(const sim_op *op)
{
    return (char *)(uintptr_t)documents[op->document];
}

static void
make_ingest(sim_op *op)
{
    Weir__Internal__V1__AcceptCommand *command = weir_arena_alloc(op->arena, sizeof *command);
    Weir__V1__IngestDocumentRequest *request = weir_arena_alloc(op->arena, sizeof *request);
    char version[32];

    snprintf(version, sizeof version, "/%lld/%d", (long long)op->source_version, op->force);
    weir__internal__v1__accept_command__init(command);
    weir__v1__ingest_document_request__init(request);
    request->collection_id = collection_of(op);
    request->document_id = document_of(op);
    request->request_id = op->request_id;
    request->body_case = WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT;
    request->text = op->body;
    request->media_type = (char *)(uintptr_t)"text/plain";
    request->force = op->force;
    request->source_version = op->source_version;
    command->request = request;
    command->content_sha256 = sum_of(op->arena, op->body, "");
    command->settings_sha256 = command->content_sha256;
    command->payload_sha256 = sum_of(op->arena, op->body, version);
    command->made_document_id = (char *)(uintptr_t)"unused";
    op->message = &command->base;
    op->kind_number = GATEWAY_ACCEPT;
}

static void
make_delete(sim_world *world, sim_op *op)
{
    const sim_node *gateway = &world->nodes[WEIR_SERVICE_GATEWAY];
    Weir__Internal__V1__DeleteCommand *command = weir_arena_alloc(op->arena, sizeof *command);
    Weir__V1__DeleteDocumentRequest *request = weir_arena_alloc(op->arena, sizeof *request);

    weir__internal__v1__delete_command__init(command);
    weir__v1__delete_document_request__init(request);
    request->collection_id = collection_of(op);
    request->document_id = document_of(op);
    request->request_id = op->request_id;
    request->allow_missing = true;
    command->request = request;
    command->payload_sha256 = sum_of(op->arena, "delete", "");
    command->wait_until_ms = sim_clock_of(gateway) + 3000;
    op->message = &command->base;
    op->kind_number = GATEWAY_DELETE;
}

static void
make_retry(sim_op *op)
{
    Weir__Internal__V1__RetryCommand *command = weir_arena_alloc(op->arena, sizeof *command);
    Weir__V1__RetryDocumentRequest *request = weir_arena_alloc(op->arena, sizeof *request);

    weir__internal__v1__retry_command__init(command);
    weir__v1__retry_document_request__init(request);
    request->collection_id = collection_of(op);
    request->document_id = document_of(op);
    request->request_id = op->request_id;
    command->request = request;
    command->payload_sha256 = sum_of(op->arena, "retry", "");
    op->message = &command->base;
    op->kind_number = GATEWAY_RETRY;
}

static void
make_wait(sim_world *world, sim_op *op)
{
    const sim_node *gateway = &world->nodes[WEIR_SERVICE_GATEWAY];
    Weir__Internal__V1__WaitCommand *command = weir_arena_alloc(op->arena, sizeof *command);

    weir__internal__v1__wait_command__init(command);
    command->collection_id = collection_of(op);
    command->document_id = document_of(op);
    command->wait_until_ms = sim_clock_of(gateway) + 2000;
    op->message = &command->base;
    op->kind_number = GATEWAY_WAIT;
}

/* What the indexer's register says now; false: it does not answer, or there is nothing to learn. */
static bool
make_learn(sim_world *world, sim_op *op)
{
    sim_node *indexer = &world->nodes[WEIR_SERVICE_INDEXER];
    Weir__Internal__V1__LearnCommand *command = weir_arena_alloc(op->arena, sizeof *command);
    Weir__Internal__V1__GetIndexedDocumentRequest request =
        WEIR__INTERNAL__V1__GET_INDEXED_DOCUMENT_REQUEST__INIT;
    Weir__Internal__V1__GetIndexedDocumentResponse response =
        WEIR__INTERNAL__V1__GET_INDEXED_DOCUMENT_RESPONSE__INIT;
    const collection_record *collection = sim_read_collection(world, op->arena, op->collection);
    gateway_published published;
    weir_error error;

    if (collection == NULL || indexer->stage == NULL)
        return false;
    gateway_core_published(world->nodes[WEIR_SERVICE_GATEWAY].core, &published);
    request.tenant = collection->tenant;
    request.collection_no = collection->collection_no;
    request.document_id = document_of(op);
    if (indexer_get_document(indexer->core, &request, &response, op->arena, &error) != WEIR_OK ||
        !response.complete || response.ready_revision == 0)
        return false;
    weir__internal__v1__learn_command__init(command);
    command->collection_no = collection->collection_no;
    command->document_id = document_of(op);
    command->revision = response.ready_revision;
    command->epoch = response.ready_epoch;
    command->chunk_count = response.chunk_count;
    command->token_count = response.token_count;
    command->ready_time_ms = response.ready_time_ms;
    command->media_type = response.media_type;
    command->era = published.era;
    op->message = &command->base;
    op->kind_number = GATEWAY_LEARN;
    return true;
}

/* ---- sending ---- */

static bool
wants_to_be_sent(const sim_world *world, const sim_op *op)
{
    return op->state == SIM_OP_NEW ||
        (op->state == SIM_OP_SENT && world->now_ms - op->sent_ms > RESEND_MS);
}

/* A retry is for a document that FAILED, if there is one. */
static void
aim_retry(sim_world *world, sim_op *op)
{
    uint64_t count = 0;

    for (uint32_t collection = 0; collection < world->options.collections; collection++) {
        for (uint32_t document = 0; document < world->options.documents; document++) {
            const sim_document *known = &world->documents[collection][document];
            bool has_failed = false;

            for (int i = 0; i < SIM_REVISIONS_MAX; i++)
                has_failed |= known->revisions[i].state ==
                    (uint32_t)WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED;
            if (!has_failed || sim_random(world, ++count) != 0)
                continue;
            op->collection = collection;
            op->document = document;
        }
    }
}

static bool
make_message(sim_world *world, sim_op *op)
{
    if (op->arena == NULL)
        op->arena = weir_arena_create(0);
    switch (op->kind) {
    case SIM_INGEST:
        make_ingest(op);
        return true;
    case SIM_DELETE:
        make_delete(world, op);
        return true;
    case SIM_RETRY:
        if (op->sent_count == 0)
            aim_retry(world, op);
        make_retry(op);
        return true;
    case SIM_LEARN:
        return make_learn(world, op);
    case SIM_WAIT:
        make_wait(world, op);
        return true;
    }
    return false;
}

static void
send_op(sim_world *world, sim_op *op)
{
    const uint64_t reply_to = op->number + 1 + SENT_STEP * (uint64_t)op->sent_count;

    if (!make_message(world, op)) {
        op->state = SIM_OP_REFUSED;
        return;
    }
    if (op->kind == SIM_RETRY && op->sent_count == 0)
        world->documents[op->collection][op->document].retries_sent++;
    if (op->state == SIM_OP_NEW)
        op->state = SIM_OP_SENT;
    op->sent_ms = world->now_ms;
    op->sent_count++;
    sim_request(world, &world->nodes[WEIR_SERVICE_GATEWAY], op->kind_number, reply_to,
        sim_tenant(op->collection), op->message);
}

/* The same id for something else: refused, with no effect. */
static void
probe_conflict(sim_world *world, const sim_op *op)
{
    sim_op other = *op;

    other.arena = weir_arena_create(0);
    other.body = (char *)(uintptr_t)"something else";
    make_ingest(&other);
    sim_request(world, &world->nodes[WEIR_SERVICE_GATEWAY], GATEWAY_ACCEPT, PROBE_FROM + op->number,
        sim_tenant(op->collection), other.message);
    weir_arena_destroy(&other.arena);
}

/* An answered request once more. */
static void
repeat_some(sim_world *world)
{
    sim_op *op = &world->ops[sim_random(world, world->op_count)];

    if (op->state != SIM_OP_OK || op->kind == SIM_LEARN || op->kind == SIM_WAIT)
        return;
    if (op->kind == SIM_INGEST && sim_random(world, 3) == 0)
        probe_conflict(world, op);
    else
        send_op(world, op);
}

void
sim_client_step(sim_world *world)
{
    const sim_node *gateway = &world->nodes[WEIR_SERVICE_GATEWAY];
    uint64_t count = 0;
    sim_op *chosen = NULL;

    if (gateway->stage == NULL || gateway->paused_until_ms > world->now_ms)
        return;
    if (percent(world, world->options.repeats)) {
        repeat_some(world);
        return;
    }
    for (uint32_t i = 0; i < world->op_count; i++)
        if (wants_to_be_sent(world, &world->ops[i]) && sim_random(world, ++count) == 0)
            chosen = &world->ops[i];
    if (chosen != NULL)
        send_op(world, chosen);
}

bool
sim_client_is_done(const sim_world *world)
{
    for (uint32_t i = 0; i < world->op_count; i++)
        if (world->ops[i].state == SIM_OP_NEW || world->ops[i].state == SIM_OP_SENT)
            return false;
    return true;
}

/* ---- answers ---- */

static void
raise_to(int64_t *greatest, int64_t value)
{
    if (value > *greatest)
        *greatest = value;
}

static const Weir__V1__Document *
document_in(const sim_op *op, const ProtobufCMessage *response)
{
    switch (op->kind) {
    case SIM_INGEST:
        return ((const Weir__V1__IngestDocumentResponse *)response)->document;
    case SIM_DELETE:
        return ((const Weir__V1__DeleteDocumentResponse *)response)->document;
    case SIM_RETRY:
        return ((const Weir__V1__RetryDocumentResponse *)response)->document;
    case SIM_LEARN:
    case SIM_WAIT:
        break;
    }
    return NULL;
}

/* document NULL: there was nothing to delete, or nothing is promised. */
static void
acknowledge(sim_world *world, sim_op *op, const Weir__V1__Document *document)
{
    sim_document *known = &world->documents[op->collection][op->document];

    op->state = SIM_OP_OK;
    if (document == NULL)
        return;
    if (op->revision != 0 && op->revision != document->revision)
        sim_fail(world, "I15", "%s was answered with revision %lld and with %lld", op->request_id,
            (long long)op->revision, (long long)document->revision);
    op->revision = document->revision;
    if (op->kind == SIM_DELETE)
        raise_to(&known->deleted_acked, document->revision);
    if (op->kind == SIM_INGEST)
        raise_to(&known->ingested_acked, document->revision);
}

static void
on_probe(sim_world *world, uint64_t number, const weir_error *error)
{
    if (error == NULL)
        sim_fail(world, "I15", "request-%llu was answered for another request too",
            (unsigned long long)number);
}

void
sim_answer(sim_world *world, uint64_t reply_to, const weir_error *error,
    const ProtobufCMessage *response)
{
    sim_trace(world, "answer", reply_to, error != NULL ? (uint64_t)error->code : 0);
    if (reply_to >= PROBE_FROM) {
        on_probe(world, reply_to - PROBE_FROM, error);
        return;
    }
    sim_op *op = &world->ops[(reply_to - 1) % SENT_STEP];
    if (error == NULL)
        acknowledge(world, op, document_in(op, response));
    else if (op->state == SIM_OP_SENT &&
        (!weir_retry_rule_for(error->code)->may_help || op->kind == SIM_WAIT))
        op->state = SIM_OP_REFUSED;
    else if (op->state == SIM_OP_SENT)
        op->sent_ms = world->now_ms - RESEND_MS; /* the outcome is unknown: ask again soon */
}

void
sim_client_gateway_crashed(sim_world *world)
{
    for (uint32_t i = 0; i < world->op_count; i++)
        if (world->ops[i].state == SIM_OP_SENT)
            world->ops[i].sent_ms = world->now_ms - RESEND_MS + 500;
}

void
sim_client_end(sim_world *world)
{
    for (uint32_t i = 0; i < world->op_count; i++) {
        weir_arena_destroy(&world->ops[i].arena);
        free(world->ops[i].body);
    }
}
