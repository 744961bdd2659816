/*
 * client.c - a few clients: ingest, delete, retry, with request ids that are sent again until they
 * are answered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/wire/wire.h"
#include "tests/sim/sim.h"
#include "weir/internal/v1/command.pb-c.h"

enum { RESEND_MS = 4000, WORDS_MAX = 1200 };

static const char *const collections[SIM_COLLECTIONS] = { "notes", "papers" };
static const char *const documents[SIM_DOCUMENTS] = { "a", "b", "c", "d", "e", "f" };
static const char *const words[] = { "water", "stone", "river", "gate", "fish", "wheel", "mill",
    "reed" };

const char *
sim_collection_name(uint32_t collection)
{
    return collections[collection];
}

const char *
sim_document_name(uint32_t document)
{
    return documents[document];
}

static char *
make_body(sim_world *world, uint32_t number)
{
    const uint64_t count =
        sim_random(world, 8) == 0 ? sim_random(world, WORDS_MAX) + 1 : sim_random(world, 40) + 1;
    char *body = malloc(count * 8 + 32);
    size_t size = (size_t)sprintf(body, "text %u", number);

    for (uint64_t i = 0; i < count; i++)
        size += (size_t)sprintf(body + size, " %s", words[sim_random(world, 8)]);
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
make_op(sim_world *world, sim_op *op, uint32_t number)
{
    const uint64_t dice = sim_random(world, 10);

    op->state = SIM_OP_NEW;
    op->collection = (uint32_t)sim_random(world, SIM_COLLECTIONS);
    op->document = (uint32_t)sim_random(world, SIM_DOCUMENTS);
    snprintf(op->request_id, sizeof op->request_id, "request-%u", number);
    if (dice < 7) {
        op->kind = SIM_INGEST;
        op->is_bad = sim_random(world, 8) == 0;
        op->body = op->is_bad ? make_blanks(number) : make_body(world, number);
    } else {
        op->kind = dice < 9 ? SIM_DELETE : SIM_RETRY;
    }
}

void
sim_client_begin(sim_world *world)
{
    world->op_count = 8 + (uint32_t)sim_random(world, SIM_OPS_MAX - 8);
    for (uint32_t i = 0; i < world->op_count; i++)
        make_op(world, &world->ops[i], i);
}

/* ---- messages ---- */

static ProtobufCBinaryData
sum_of(weir_arena *arena, const char *text)
{
    const weir_sha256_sum sum = weir_sha256(weir_bytes_str(text));

    return (ProtobufCBinaryData){ .len = WEIR_SHA256_SIZE,
        .data = weir_arena_memdup(arena, &sum, sizeof sum) };
}

static void
make_ingest(sim_op *op)
{
    Weir__Internal__V1__AcceptCommand *command = weir_arena_alloc(op->arena, sizeof *command);
    Weir__V1__IngestDocumentRequest *request = weir_arena_alloc(op->arena, sizeof *request);

    weir__internal__v1__accept_command__init(command);
    weir__v1__ingest_document_request__init(request);
    request->collection_id = (char *)(uintptr_t)collections[op->collection];
    request->document_id = (char *)(uintptr_t)documents[op->document];
    request->request_id = op->request_id;
    request->body_case = WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT;
    request->text = op->body;
    request->media_type = (char *)(uintptr_t)"text/plain";
    command->request = request;
    command->content_sha256 = sum_of(op->arena, op->body);
    command->settings_sha256 = command->content_sha256;
    command->payload_sha256 = command->content_sha256;
    command->made_document_id = (char *)(uintptr_t)"unused";
    op->message = &command->base;
    op->kind_number = GATEWAY_ACCEPT;
}

static void
make_delete(sim_world *world, sim_op *op)
{
    Weir__Internal__V1__DeleteCommand *command = weir_arena_alloc(op->arena, sizeof *command);
    Weir__V1__DeleteDocumentRequest *request = weir_arena_alloc(op->arena, sizeof *request);

    weir__internal__v1__delete_command__init(command);
    weir__v1__delete_document_request__init(request);
    request->collection_id = (char *)(uintptr_t)collections[op->collection];
    request->document_id = (char *)(uintptr_t)documents[op->document];
    request->request_id = op->request_id;
    request->allow_missing = true;
    command->request = request;
    command->payload_sha256 = sum_of(op->arena, "delete");
    command->wait_until_ms = world->now_ms + 3000;
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
    request->collection_id = (char *)(uintptr_t)collections[op->collection];
    request->document_id = (char *)(uintptr_t)documents[op->document];
    request->request_id = op->request_id;
    command->request = request;
    command->payload_sha256 = sum_of(op->arena, "retry");
    op->message = &command->base;
    op->kind_number = GATEWAY_RETRY;
}

/* ---- sending and answers ---- */

static bool
wants_to_be_sent(const sim_world *world, const sim_op *op)
{
    return op->state == SIM_OP_NEW ||
        (op->state == SIM_OP_SENT && world->now_ms - op->sent_ms > RESEND_MS);
}

static void
send_op(sim_world *world, sim_op *op)
{
    const uint64_t reply_to = (uint64_t)(op - world->ops) + 1 + 1000 * (uint64_t)op->sent_count;

    if (op->arena == NULL)
        op->arena = weir_arena_create(0);
    if (op->kind == SIM_INGEST)
        make_ingest(op);
    else if (op->kind == SIM_DELETE)
        make_delete(world, op);
    else
        make_retry(op);
    op->state = SIM_OP_SENT;
    op->sent_ms = world->now_ms;
    op->sent_count++;
    sim_request(world, &world->nodes[WEIR_SERVICE_GATEWAY], op->kind_number, reply_to, op->message);
}

void
sim_client_step(sim_world *world)
{
    uint64_t count = 0;
    sim_op *chosen = NULL;

    if (world->nodes[WEIR_SERVICE_GATEWAY].stage == NULL)
        return;
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

/* document NULL: there was nothing to delete. */
static void
acknowledge(sim_world *world, sim_op *op, const Weir__V1__Document *document)
{
    op->state = SIM_OP_OK;
    op->acked_step = world->step;
    if (document == NULL)
        return;
    if (op->revision != 0 && op->revision != document->revision)
        sim_fail(world, "%s was answered with revision %lld and with %lld", op->request_id,
            (long long)op->revision, (long long)document->revision);
    op->revision = document->revision;
    int64_t *deleted = &world->deleted_acked[op->collection][op->document];
    if (op->kind == SIM_DELETE && document->revision > *deleted)
        *deleted = document->revision;
}

static const Weir__V1__Document *
document_of(const sim_op *op, const ProtobufCMessage *response)
{
    if (op->kind == SIM_INGEST)
        return ((const Weir__V1__IngestDocumentResponse *)response)->document;
    if (op->kind == SIM_DELETE)
        return ((const Weir__V1__DeleteDocumentResponse *)response)->document;
    return ((const Weir__V1__RetryDocumentResponse *)response)->document;
}

void
sim_answer(sim_world *world, uint64_t reply_to, const weir_error *error,
    const ProtobufCMessage *response)
{
    sim_op *op = &world->ops[(reply_to - 1) % 1000];

    sim_trace(world, "answer", reply_to, error != NULL ? (uint64_t)error->code : 0);
    if (error == NULL)
        acknowledge(world, op, document_of(op, response));
    else if (op->state == SIM_OP_SENT && weir_code_outcome(error->code) == WEIR_OUTCOME_FAILED)
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
