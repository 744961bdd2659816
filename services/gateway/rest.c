/*
 * rest.c - the REST paths of json.h as calls of RPCs.
 */
#include <stdlib.h>

#include "common/json/json.h"
#include "services/gateway/json_internal.h"
#include "weir/v1/document.pb-c.h"
#include "weir/v1/search.pb-c.h"
#include "weir/v1/system.pb-c.h"

static const char collections[] = "/v1/collections/";

/* A path below /v1/collections/, decoded. */
typedef struct rest_path {
    char *collection_id;
    char *document_id; /* NULL: the documents of the collection */
    bool is_search;
} rest_path;

static char *
decode(weir_arena *arena, const char *text, size_t size)
{
    char *decoded = weir_arena_alloc(arena, size + 1);

    return weir_http_percent_decode(text, size, decoded) ? decoded : NULL;
}

/* {collection_id}:search, {collection_id}/documents, {collection_id}/documents/{document_id};
 * false: none of them. */
static bool
split_path(weir_arena *arena, const char *path, rest_path *ret_path)
{
    static const char documents[] = "/documents";
    const char *rest = path + sizeof collections - 1;
    const size_t size = strcspn(rest, "/:");
    const char *tail = rest + size;

    *ret_path = (rest_path){ .collection_id = decode(arena, rest, size),
        .is_search = strcmp(tail, ":search") == 0 };
    if (size == 0 || ret_path->collection_id == NULL)
        return false;
    if (ret_path->is_search)
        return true;
    if (strncmp(tail, documents, sizeof documents - 1) != 0)
        return false;
    tail += sizeof documents - 1;
    if (*tail == 0)
        return true;
    /* The rest is one id: its slashes may stand as they are. */
    ret_path->document_id =
        *tail == '/' && tail[1] != 0 ? decode(arena, tail + 1, strlen(tail + 1)) : NULL;
    return ret_path->document_id != NULL;
}

static weir_code
not_found(const weir_http_request *request, weir_error *reterr)
{
    return weir_error_set(reterr, WEIR_NOT_FOUND,
        "there is no %s %.200s; there are POST /v1/collections/{id}/documents, GET, PUT and DELETE "
        "/v1/collections/{id}/documents/{id}, GET and POST /v1/collections/{id}:search, and GET "
        "/v1/pressure; every unary RPC is a POST of its own path",
        weir_http_method(request), weir_http_path(request));
}

/* names: those that the path knows, ended by NULL. */
static weir_code
check_query(const weir_http_request *request, const char *const *names, weir_error *reterr)
{
    const char *other = weir_http_query_other(request, names);

    if (other == NULL)
        return WEIR_OK;
    return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "query",
        "%s %.200s knows no parameter \"%.100s\" in its query", weir_http_method(request),
        weir_http_path(request), other);
}

static const char *const no_names[] = { NULL };

static void *
make(json_wish *wish, weir_rpc_server *server, const char *path)
{
    wish->method = weir_rpc_server_method(server, path);
    wish->message = weir_arena_alloc(wish->arena, wish->method->input->sizeof_message);
    wish->method->input->message_init(wish->message);
    return wish->message;
}

static weir_code
decode_body(json_wish *wish, const weir_http_request *request, weir_error *reterr)
{
    const weir_bytes body = weir_http_body(request);

    return weir_json_decode(wish->method->input, body.size > 0 ? body : weir_bytes_str("{}"),
        wish->arena, &wish->message, reterr);
}

/* ---- documents ---- */

/* The bytes as they are, as `curl -T` sends them. */
static weir_code
put_document(weir_rpc_server *server, const weir_http_request *request, const rest_path *path,
    json_wish *wish, weir_error *reterr)
{
    static const char *const names[] = { "filename", "request_id", NULL };
    Weir__V1__IngestDocumentRequest *message =
        make(wish, server, "/weir.v1.DocumentService/IngestDocument");
    const weir_bytes body = weir_http_body(request);
    const char *type = weir_http_header(request, "content-type");
    const char *filename = weir_http_query(request, "filename");
    const char *slash = strrchr(path->document_id, '/');

    message->collection_id = path->collection_id;
    message->document_id = path->document_id;
    message->body_case = WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_DATA;
    message->data.data = weir_arena_memdup(wish->arena, body.data, body.size);
    message->data.len = body.size;
    /* curl's own guess says nothing about the bytes. */
    if (type != NULL && strncmp(type, "application/x-www-form-urlencoded", 33) != 0)
        message->media_type = weir_arena_strdup(wish->arena, type);
    message->filename = weir_arena_strdup(wish->arena,
        filename != NULL    ? filename
            : slash != NULL ? slash + 1
                            : path->document_id);
    if (weir_http_query(request, "request_id") != NULL)
        message->request_id =
            weir_arena_strdup(wish->arena, weir_http_query(request, "request_id"));
    return check_query(request, names, reterr);
}

static weir_code
post_document(weir_rpc_server *server, const weir_http_request *request, const rest_path *path,
    json_wish *wish, weir_error *reterr)
{
    wish->method = weir_rpc_server_method(server, "/weir.v1.DocumentService/IngestDocument");
    weir_code code = check_query(request, no_names, reterr);

    if (code == WEIR_OK)
        code = decode_body(wish, request, reterr);
    if (code == WEIR_OK)
        ((Weir__V1__IngestDocumentRequest *)(void *)wish->message)->collection_id =
            path->collection_id;
    return code;
}

static weir_code
parse_document(weir_rpc_server *server, const weir_http_request *request, const rest_path *path,
    json_wish *wish, weir_error *reterr)
{
    const char *method = weir_http_method(request);

    if (path->document_id == NULL)
        return strcmp(method, "POST") == 0 ? post_document(server, request, path, wish, reterr)
                                           : not_found(request, reterr);
    if (strcmp(method, "PUT") == 0)
        return put_document(server, request, path, wish, reterr);
    if (strcmp(method, "GET") == 0) {
        Weir__V1__GetDocumentRequest *message =
            make(wish, server, "/weir.v1.DocumentService/GetDocument");

        message->collection_id = path->collection_id;
        message->document_id = path->document_id;
        return check_query(request, no_names, reterr);
    }
    if (strcmp(method, "DELETE") == 0) {
        Weir__V1__DeleteDocumentRequest *message =
            make(wish, server, "/weir.v1.DocumentService/DeleteDocument");

        message->collection_id = path->collection_id;
        message->document_id = path->document_id;
        return check_query(request, no_names, reterr);
    }
    return not_found(request, reterr);
}

/* ---- search ---- */

static weir_code
get_search(weir_rpc_server *server, const weir_http_request *request, const rest_path *path,
    json_wish *wish, weir_error *reterr)
{
    static const char *const names[] = { "q", "k", "filter", NULL };
    Weir__V1__SearchRequest *message = make(wish, server, "/weir.v1.SearchService/Search");
    const char *text = weir_http_query(request, "q");
    const char *top_k = weir_http_query(request, "k");
    const char *filter = weir_http_query(request, "filter");
    char *end = NULL;

    message->collection_id = path->collection_id;
    message->query_case = WEIR__V1__SEARCH_REQUEST__QUERY_TEXT;
    message->text = weir_arena_strdup(wish->arena, text != NULL ? text : "");
    if (filter != NULL)
        message->filter = weir_arena_strdup(wish->arena, filter);
    if (top_k == NULL)
        return check_query(request, names, reterr);
    const long value = strtol(top_k, &end, 10);
    if (end == top_k || *end != 0 || value < 0 || value > INT32_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "k",
            "k must be a number of hits");
    message->top_k = (int32_t)value;
    return check_query(request, names, reterr);
}

static weir_code
parse_search(weir_rpc_server *server, const weir_http_request *request, const rest_path *path,
    json_wish *wish, weir_error *reterr)
{
    if (strcmp(weir_http_method(request), "GET") == 0)
        return get_search(server, request, path, wish, reterr);
    if (strcmp(weir_http_method(request), "POST") != 0)
        return not_found(request, reterr);
    wish->method = weir_rpc_server_method(server, "/weir.v1.SearchService/Search");
    weir_code code = check_query(request, no_names, reterr);
    if (code == WEIR_OK)
        code = decode_body(wish, request, reterr);
    if (code == WEIR_OK)
        ((Weir__V1__SearchRequest *)(void *)wish->message)->collection_id = path->collection_id;
    return code;
}

weir_code
gateway_rest_parse(weir_rpc_server *server, const weir_http_request *request, json_wish *wish,
    weir_error *reterr)
{
    const char *text = weir_http_path(request);
    rest_path path;

    if (strcmp(text, "/v1/pressure") == 0 && strcmp(weir_http_method(request), "GET") == 0) {
        static const char *const names[] = { "collection_id", NULL };
        Weir__V1__GetPressureRequest *message =
            make(wish, server, "/weir.v1.SystemService/GetPressure");
        const char *collection_id = weir_http_query(request, "collection_id");

        if (collection_id != NULL)
            message->collection_id = weir_arena_strdup(wish->arena, collection_id);
        return check_query(request, names, reterr);
    }
    if (strncmp(text, collections, sizeof collections - 1) != 0 ||
        !split_path(wish->arena, text, &path))
        return not_found(request, reterr);
    return path.is_search ? parse_search(server, request, &path, wish, reterr)
                          : parse_document(server, request, &path, wish, reterr);
}
