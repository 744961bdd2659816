/*
 * collections.c - `weir collection` and `weir model`.
 */
#include "cli/cli.h"
#include "weir/v1/collection.pb-c.h"
#include "weir/v1/system.pb-c.h"

typedef Weir__V1__Collection collection;

#define SERVICE (&weir__v1__collection_service__descriptor)

static cli_table *
collection_table(cli *self)
{
    static const char *const headers[] = { "COLLECTION", "MODEL", "DIMENSION", "TOKENS", "OVERLAP",
        "DOCUMENTS", "CHUNKS", "CREATED", NULL };

    return cli_table_create(self->arena, headers);
}

static const char *
number(cli *self, int64_t value)
{
    return weir_arena_printf(self->arena, "%lld", (long long)value);
}

static void
add(cli *self, cli_table *table, const ProtobufCMessage *item)
{
    const collection *it = (const void *)item;

    cli_table_row(table,
        (const char *const[]){ cli_plain(self->arena, it->collection_id, 0),
            cli_plain(self->arena, it->embedding_model, 0), number(self, it->dimension),
            number(self, it->chunking != NULL ? it->chunking->max_tokens : 0),
            number(self, it->chunking != NULL ? it->chunking->overlap_tokens : 0),
            number(self, it->document_count), number(self, it->chunk_count),
            cli_format_time(self->arena, it->create_time), NULL });
}

static void
print_one(cli *self, const collection *it)
{
    cli_table *table = collection_table(self);

    if (self->json) {
        cli_print_json(&it->base);
        return;
    }
    add(self, table, &it->base);
    cli_table_print(self, table);
}

cli_exit
cli_collection_create(cli *self)
{
    Weir__V1__CreateCollectionRequest request = WEIR__V1__CREATE_COLLECTION_REQUEST__INIT;
    Weir__V1__Collection wanted = WEIR__V1__COLLECTION__INIT;
    Weir__V1__Chunking chunking = WEIR__V1__CHUNKING__INIT;
    ProtobufCMessage *message = NULL;
    int64_t max_tokens = 0;
    int64_t overlap_tokens = 0;
    cli_exit result = cli_number(self, "max-tokens", 1, 100000, 0, &max_tokens);

    if (result == CLI_OK)
        result = cli_number(self, "overlap-tokens", 0, 100000, 0, &overlap_tokens);
    chunking.max_tokens = (int32_t)max_tokens;
    chunking.overlap_tokens = (int32_t)overlap_tokens;
    wanted.collection_id = self->arguments[0];
    wanted.embedding_model = (char *)cli_text(self, "model", "");
    if (max_tokens != 0 || overlap_tokens != 0)
        wanted.chunking = &chunking;
    request.collection = &wanted;
    if (result == CLI_OK)
        result = cli_call(self, SERVICE, "CreateCollection", &request.base, &message);
    if (result == CLI_OK)
        print_one(self,
            ((const Weir__V1__CreateCollectionResponse *)(const void *)message)->collection);
    return result;
}

cli_exit
cli_collection_get(cli *self)
{
    Weir__V1__GetCollectionRequest request = WEIR__V1__GET_COLLECTION_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    request.collection_id = self->arguments[0];
    const cli_exit result = cli_call(self, SERVICE, "GetCollection", &request.base, &message);
    if (result == CLI_OK)
        print_one(self,
            ((const Weir__V1__GetCollectionResponse *)(const void *)message)->collection);
    return result;
}

cli_exit
cli_collection_ls(cli *self)
{
    Weir__V1__ListCollectionsRequest request = WEIR__V1__LIST_COLLECTIONS_REQUEST__INIT;

    return cli_list(self, SERVICE, "ListCollections", &request.base, 0, collection_table(self),
        add);
}

static void
add_model(cli *self, cli_table *table, const ProtobufCMessage *item)
{
    const Weir__V1__Model *it = (const void *)item;

    cli_table_row(table,
        (const char *const[]){ it->name, number(self, it->dimension), number(self, it->max_tokens),
            it->language, it->provider, it->is_default ? "yes" : "",
            it->available ? "yes" : cli_plain(self->arena, it->unavailable_reason, 0), NULL });
}

cli_exit
cli_model_ls(cli *self)
{
    static const char *const headers[] = { "MODEL", "DIMENSION", "TOKENS", "LANGUAGE", "PROVIDER",
        "DEFAULT", "AVAILABLE", NULL };
    Weir__V1__ListModelsRequest request = WEIR__V1__LIST_MODELS_REQUEST__INIT;

    return cli_list(self, &weir__v1__system_service__descriptor, "ListModels", &request.base, 0,
        cli_table_create(self->arena, headers), add_model);
}
