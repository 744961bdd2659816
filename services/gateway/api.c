/*
 * api.c - the tables of the gateway's RPCs.  A method of the proto without a row answers
 * UNIMPLEMENTED by its name.
 */
#include "services/gateway/parts.h"
#include "services/gateway/rpcs.h"
#include "services/gateway/watchers.h"
#include "weir/v1/collection.pb-c.h"
#include "weir/v1/dead_letter.pb-c.h"
#include "weir/v1/document.pb-c.h"
#include "weir/v1/search.pb-c.h"
#include "weir/v1/system.pb-c.h"

#define ROW(method_, flags_, request_) \
    { .method = (method_), .flags = (flags_), .request = (request_) }

static const weir_rpc_handler collection_rows[] = {
    ROW("CreateCollection", WEIR_RPC_POOL, gateway_create_collection_rpc),
    ROW("GetCollection", WEIR_RPC_POOL, gateway_get_collection_rpc),
    ROW("ListCollections", WEIR_RPC_POOL, gateway_list_collections_rpc),
    ROW("WaitCollection", 0, gateway_wait_collection_rpc),
};

static const weir_rpc_handler document_rows[] = {
    ROW("IngestDocument", 0, gateway_ingest_document_rpc),
    { .method = "IngestDocuments",
        .open = gateway_ingest_documents_open,
        .message = gateway_ingest_documents_message,
        .half_closed = gateway_ingest_documents_half_closed,
        .writable = gateway_ingest_documents_writable,
        .cancelled = gateway_ingest_documents_cancelled,
        .draining = gateway_ingest_documents_draining,
        .done = gateway_ingest_documents_done },
    ROW("GetDocument", WEIR_RPC_POOL, gateway_get_document_rpc),
    ROW("ListDocuments", WEIR_RPC_POOL, gateway_list_documents_rpc),
    ROW("DeleteDocument", 0, gateway_delete_document_rpc),
    ROW("RetryDocument", 0, gateway_retry_document_rpc),
    ROW("WaitDocument", 0, gateway_wait_document_rpc),
    { .method = "WatchDocuments",
        .flags = WEIR_RPC_POOL,
        .request = gateway_watch_documents_rpc,
        .writable = gateway_watcher_writable,
        .cancelled = gateway_watcher_cancelled,
        .draining = gateway_watcher_draining,
        .done = gateway_watcher_done },
    ROW("ListChunks", WEIR_RPC_POOL, gateway_list_chunks_rpc),
    ROW("ListDocumentEvents", WEIR_RPC_POOL, gateway_list_document_events_rpc),
    ROW("ExplainDocument", WEIR_RPC_POOL, gateway_explain_document_rpc),
    { .method = "DownloadDocument",
        .flags = WEIR_RPC_POOL,
        .request = gateway_download_document_rpc,
        .writable = gateway_parts_writable,
        .cancelled = gateway_parts_cancelled,
        .done = gateway_parts_done },
};

static const weir_rpc_handler search_rows[] = {
    ROW("Search", WEIR_RPC_POOL, gateway_search_rpc),
};

static const weir_rpc_handler dead_letter_rows[] = {
    ROW("ListDeadLetters", WEIR_RPC_POOL, gateway_list_dead_letters_rpc),
    ROW("GetDeadLetter", WEIR_RPC_POOL, gateway_get_dead_letter_rpc),
    ROW("SummarizeDeadLetters", WEIR_RPC_POOL, gateway_summarize_dead_letters_rpc),
    ROW("RequeueDeadLetters", WEIR_RPC_POOL, gateway_requeue_dead_letters_rpc),
    ROW("DiscardDeadLetters", WEIR_RPC_POOL, gateway_discard_dead_letters_rpc),
};

static const weir_rpc_handler system_rows[] = {
    ROW("GetPressure", WEIR_RPC_POOL, gateway_get_pressure_rpc),
    { .method = "WatchPressure",
        .flags = WEIR_RPC_POOL,
        .request = gateway_watch_pressure_rpc,
        .writable = gateway_watcher_writable,
        .cancelled = gateway_watcher_cancelled,
        .draining = gateway_watcher_draining,
        .done = gateway_watcher_done },
    ROW("GetServerInfo", WEIR_RPC_POOL, gateway_get_server_info_rpc),
    ROW("ListModels", WEIR_RPC_POOL, gateway_list_models_rpc),
    ROW("RunAudit", WEIR_RPC_POOL, gateway_run_audit_rpc),
    ROW("ListInconsistencies", WEIR_RPC_POOL, gateway_list_inconsistencies_rpc),
    ROW("ResolveInconsistency", 0, gateway_resolve_inconsistency_rpc),
};

static const weir_rpc_handler source_rows[] = {
    { .method = "ReadSource",
        .flags = WEIR_RPC_POOL,
        .request = gateway_read_source_rpc,
        .writable = gateway_parts_writable,
        .cancelled = gateway_parts_cancelled,
        .done = gateway_parts_done },
};

#define API(descriptor_, rows_) \
    { .service = &descriptor_,  \
        .handlers = (rows_),    \
        .handler_count = sizeof(rows_) / sizeof(rows_)[0] }

const weir_service_api gateway_tcp_apis[] = {
    API(weir__v1__collection_service__descriptor, collection_rows),
    API(weir__v1__document_service__descriptor, document_rows),
    API(weir__v1__search_service__descriptor, search_rows),
    API(weir__v1__dead_letter_service__descriptor, dead_letter_rows),
    API(weir__v1__system_service__descriptor, system_rows),
    { .service = NULL },
};

const weir_service_api gateway_unix_apis[] = {
    API(weir__internal__v1__source_service__descriptor, source_rows),
    { .service = NULL },
};
