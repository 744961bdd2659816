/*
 * documents.c - one document or many: get, ls, rm, retry, wait, chunks.
 */
#include <string.h>

#include "cli/cli.h"
#include "common/base/clock.h"
#include "weir/v1/collection.pb-c.h"

typedef Weir__V1__Document document;

#define SERVICE (&weir__v1__document_service__descriptor)

enum { TITLE_MAX = 60, WAIT_SLICE_MS = 20000, WAIT_DEFAULT_MS = 300000 };

/* ---- showing ---- */

static const char *
number(cli *self, int64_t value)
{
    return weir_arena_printf(self->arena, "%lld", (long long)value);
}

static const char *
why(cli *self, const document *it)
{
    if (it->error == NULL)
        return "";
    return weir_arena_printf(self->arena, "%s: %s", it->error->reason,
        cli_plain(self->arena, it->error->message, 200));
}

static void
print_field(const char *name, const char *value)
{
    if (value[0] != '\0' && strcmp(value, "-") != 0)
        printf("%-12s %s\n", name, value);
}

static void
print_document(cli *self, const document *it)
{
    weir_arena *arena = self->arena;

    if (self->json) {
        cli_print_json(&it->base);
        return;
    }
    print_field("document", cli_plain(arena, it->document_id, 0));
    print_field("collection", cli_plain(arena, it->collection_id, 0));
    print_field("revision", number(self, it->revision));
    print_field("state", cli_state_name(it->state));
    print_field("stage", cli_stage_name(it->stage));
    print_field("run", number(self, it->run));
    print_field("searchable",
        it->searchable_revision == 0
            ? "no revision"
            : weir_arena_printf(arena, "revision %lld", (long long)it->searchable_revision));
    print_field("error", why(self, it));
    if (it->error != NULL)
        print_field("attempts", number(self, it->error->attempt_count));
    print_field("chunks", number(self, it->chunk_count));
    print_field("tokens", number(self, it->token_count));
    print_field("type", cli_plain(arena, it->media_type, 0));
    print_field("file", cli_plain(arena, it->filename, 0));
    print_field("size", cli_format_bytes(arena, it->size_bytes));
    print_field("sha256", it->content_sha256);
    print_field("created", cli_format_time(arena, it->create_time));
    print_field("updated", cli_format_time(arena, it->update_time));
    print_field("ready", cli_format_time(arena, it->ready_time));
    print_field("deleted", cli_format_time(arena, it->delete_time));
    print_field("next try", cli_format_time(arena, it->next_attempt_time));
}

static cli_table *
document_table(cli *self)
{
    static const char *const headers[] = { "DOCUMENT", "REV", "STATE", "STAGE", "CHUNKS", "SIZE",
        "UPDATED", "ERROR", NULL };

    return cli_table_create(self->arena, headers);
}

static void
add_document(cli *self, cli_table *table, const ProtobufCMessage *item)
{
    const document *it = (const void *)item;
    cli_table_row(table,
        (const char *const[]){ cli_plain(self->arena, it->document_id, TITLE_MAX),
            number(self, it->revision), cli_state_name(it->state), cli_stage_name(it->stage),
            number(self, it->chunk_count), cli_format_bytes(self->arena, it->size_bytes),
            cli_format_time(self->arena, it->update_time), why(self, it), NULL });
}

/* ---- get, ls ---- */

cli_exit
cli_get(cli *self)
{
    Weir__V1__GetDocumentRequest request = WEIR__V1__GET_DOCUMENT_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    cli_exit result = cli_collection(self, &request.collection_id);

    if (result == CLI_OK)
        result = cli_number(self, "revision", 1, INT64_MAX, 0, &request.revision);
    request.document_id = self->arguments[0];
    if (result == CLI_OK)
        result = cli_call(self, SERVICE, "GetDocument", &request.base, &message);
    if (result == CLI_OK)
        print_document(self,
            ((const Weir__V1__GetDocumentResponse *)(const void *)message)->document);
    return result;
}

/* The --state options as numbers, in the arena. */
static cli_exit
take_states(cli *self, Weir__V1__ListDocumentsRequest *request)
{
    const char *name;

    request->states = weir_arena_alloc_zero(self->arena, CLI_VALUES_MAX * sizeof *request->states);
    for (size_t i = 0; (name = cli_text_at(self, "state", i)) != NULL; i++) {
        const char *full = weir_arena_printf(self->arena, "DOCUMENT_STATE_%s", name);
        const ProtobufCEnumValue *value =
            protobuf_c_enum_descriptor_get_value_by_name(&weir__v1__document_state__descriptor,
                full);
        if (value == NULL || value->value == 0) {
            cli_complain(
                "--state %s: write PENDING, PROCESSING, READY, FAILED, SUPERSEDED or DELETED",
                name);
            return CLI_USAGE;
        }
        request->states[request->n_states++] = (Weir__V1__DocumentState)value->value;
    }
    return CLI_OK;
}

cli_exit
cli_ls(cli *self)
{
    Weir__V1__ListDocumentsRequest request = WEIR__V1__LIST_DOCUMENTS_REQUEST__INIT;
    int64_t limit = 0;
    cli_table *table = document_table(self);
    cli_exit result = cli_collection(self, &request.collection_id);

    if (result == CLI_OK)
        result = take_states(self, &request);
    if (result == CLI_OK)
        result = cli_number(self, "limit", 1, INT32_MAX, 0, &limit);
    request.filter = (char *)cli_text(self, "filter", "");
    request.show_deleted = cli_has(self, "deleted");
    return result != CLI_OK
        ? result
        : cli_list(self, SERVICE, "ListDocuments", &request.base, limit, table, add_document);
}

/* ---- rm, retry ---- */

/* Run `one` for each argument; the first failure is the exit code, the rest is still done. */
static cli_exit
for_each_id(cli *self, cli_exit (*one)(cli *self, char *collection, char *id))
{
    char *collection = NULL;
    cli_exit result = cli_collection(self, &collection);

    for (int i = 0; result != CLI_USAGE && i < self->argument_count; i++) {
        const cli_exit single = one(self, collection, self->arguments[i]);
        if (result == CLI_OK)
            result = single;
    }
    return result;
}

static void
say(cli *self, const document *it, const char *what)
{
    if (self->json && it != NULL)
        cli_print_json(&it->base);
    else if (it != NULL)
        printf("%s: %s (revision %lld)\n", cli_plain(self->arena, it->document_id, 0), what,
            (long long)it->revision);
}

static cli_exit
remove_one(cli *self, char *collection, char *id)
{
    Weir__V1__DeleteDocumentRequest request = WEIR__V1__DELETE_DOCUMENT_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    request.collection_id = collection;
    request.document_id = id;
    request.allow_missing = cli_has(self, "allow-missing");
    const cli_exit result = cli_call(self, SERVICE, "DeleteDocument", &request.base, &message);
    if (result == CLI_OK)
        say(self, ((const Weir__V1__DeleteDocumentResponse *)(const void *)message)->document,
            "deleted");
    return result;
}

cli_exit
cli_rm(cli *self)
{
    return for_each_id(self, remove_one);
}

static cli_exit
retry_one(cli *self, char *collection, char *id)
{
    Weir__V1__RetryDocumentRequest request = WEIR__V1__RETRY_DOCUMENT_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    cli_exit result = cli_number(self, "revision", 1, INT64_MAX, 0, &request.revision);

    request.collection_id = collection;
    request.document_id = id;
    if (result == CLI_OK)
        result = cli_call(self, SERVICE, "RetryDocument", &request.base, &message);
    if (result == CLI_OK)
        say(self, ((const Weir__V1__RetryDocumentResponse *)(const void *)message)->document,
            "trying again");
    return result;
}

cli_exit
cli_retry(cli *self)
{
    return for_each_id(self, retry_one);
}

/* ---- wait ---- */

static Google__Protobuf__Duration
slice_until(int64_t until_ms)
{
    Google__Protobuf__Duration duration = GOOGLE__PROTOBUF__DURATION__INIT;
    int64_t left_ms = until_ms - weir_clock_mono_ms();

    if (left_ms > WAIT_SLICE_MS)
        left_ms = WAIT_SLICE_MS;
    if (left_ms < 1)
        left_ms = 1; /* 0 would be the server's default */
    duration.seconds = left_ms / 1000;
    duration.nanos = (int32_t)(left_ms % 1000 * 1000000);
    return duration;
}

static cli_exit
wait_one(cli *self, char *collection, char *id, int64_t revision, int64_t until_ms)
{
    Weir__V1__WaitDocumentRequest request = WEIR__V1__WAIT_DOCUMENT_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    request.collection_id = collection;
    request.document_id = id;
    request.revision = revision;
    for (;;) {
        Google__Protobuf__Duration slice = slice_until(until_ms);
        request.timeout = &slice;
        const cli_exit result = cli_call(self, SERVICE, "WaitDocument", &request.base, &message);
        if (result != CLI_OK)
            return result;
        const document *it =
            ((const Weir__V1__WaitDocumentResponse *)(const void *)message)->document;
        if (!it->terminal && weir_clock_mono_ms() < until_ms)
            continue;
        say(self, it, cli_state_name(it->state));
        if (!it->terminal) {
            cli_complain("%s is not done yet; `weir explain %s -c %s` says why",
                cli_plain(self->arena, id, 0), cli_plain(self->arena, id, 0), collection);
            return CLI_TIMED_OUT;
        }
        return it->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED ? CLI_SOME_FAILED
                                                                            : CLI_OK;
    }
}

static cli_exit
wait_collection(cli *self, char *collection, int64_t until_ms)
{
    Weir__V1__WaitCollectionRequest request = WEIR__V1__WAIT_COLLECTION_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    request.collection_id = collection;
    for (;;) {
        Google__Protobuf__Duration slice = slice_until(until_ms);
        request.timeout = &slice;
        const cli_exit result = cli_call(self, &weir__v1__collection_service__descriptor,
            "WaitCollection", &request.base, &message);
        if (result != CLI_OK)
            return result;
        const Weir__V1__WaitCollectionResponse *it = (const void *)message;
        if (!it->settled && weir_clock_mono_ms() < until_ms)
            continue;
        if (self->json)
            cli_print_json(&it->base);
        else
            printf("%s: %lld pending, %lld processing, %lld ready, %lld failed\n", collection,
                (long long)it->pending, (long long)it->processing, (long long)it->ready,
                (long long)it->failed);
        if (!it->settled) {
            cli_complain(
                "the time is over and the work goes on; `weir ls -c %s --state PROCESSING` "
                "lists what is under way, `weir explain ID -c %s` says why",
                collection, collection);
            return CLI_TIMED_OUT;
        }
        return it->failed > 0 ? CLI_SOME_FAILED : CLI_OK;
    }
}

cli_exit
cli_wait(cli *self)
{
    char *collection = NULL;
    int64_t timeout_ms = 0;
    int64_t revision = 0;
    cli_exit result = cli_collection(self, &collection);

    if (result == CLI_OK)
        result = cli_duration(self, "timeout", WAIT_DEFAULT_MS, &timeout_ms);
    if (result == CLI_OK)
        result = cli_number(self, "revision", 1, INT64_MAX, 0, &revision);
    if (result != CLI_OK)
        return result;
    const int64_t until_ms = weir_clock_mono_ms() + timeout_ms;
    if (self->argument_count == 0)
        return wait_collection(self, collection, until_ms);
    for (int i = 0; i < self->argument_count; i++) {
        const cli_exit single = wait_one(self, collection, self->arguments[i], revision, until_ms);
        if (result == CLI_OK)
            result = single;
    }
    return result;
}

/* ---- chunks ---- */

static const char *
join_headings(cli *self, size_t count, char **headings)
{
    const char *joined = "";

    for (size_t i = 0; i < count; i++)
        joined = weir_arena_printf(self->arena, "%s%s%s", joined, i == 0 ? "" : " > ",
            cli_plain(self->arena, headings[i], TITLE_MAX));
    return joined;
}

static void
print_chunk(cli *self, cli_table *table, const ProtobufCMessage *item)
{
    const Weir__V1__Chunk *it = (const void *)item;

    (void)table;
    const char *headings = join_headings(self, it->n_heading_path, it->heading_path);
    printf("%s#%d  bytes %lld..%lld, %d tokens%s%s%s\n", self->terminal ? "\033[1m" : "",
        it->ordinal, (long long)it->start_byte, (long long)it->end_byte, it->token_count,
        headings[0] != '\0' ? "  " : "", headings, self->terminal ? "\033[0m" : "");
    printf("    %s\n\n", cli_plain(self->arena, it->text, 0));
}

cli_exit
cli_chunks(cli *self)
{
    Weir__V1__ListChunksRequest request = WEIR__V1__LIST_CHUNKS_REQUEST__INIT;
    cli_exit result = cli_collection(self, &request.collection_id);

    if (result == CLI_OK)
        result = cli_number(self, "revision", 1, INT64_MAX, 0, &request.revision);
    request.document_id = self->arguments[0];
    return result != CLI_OK
        ? result
        : cli_list(self, SERVICE, "ListChunks", &request.base, 0, NULL, print_chunk);
}
