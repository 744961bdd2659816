/*
 * rpcs.h - the callbacks of the gateway's RPCs, for the tables in api.c.
 *
 * Each is a row's `request` (or `open`, `message`, ...) as rpc.h lays down; `context` is the
 * gateway.
 */
#ifndef WEIR_GATEWAY_RPCS_H
#define WEIR_GATEWAY_RPCS_H

#include "services/gateway/gateway.h"

typedef void gateway_request_rpc(weir_rpc_call *call, const ProtobufCMessage *request,
    void *context);
typedef void gateway_event_rpc(weir_rpc_call *call, void *context);

/* CollectionService */
gateway_request_rpc gateway_create_collection_rpc;
gateway_request_rpc gateway_get_collection_rpc;
gateway_request_rpc gateway_list_collections_rpc;
gateway_request_rpc gateway_wait_collection_rpc;

/* DocumentService */
gateway_request_rpc gateway_ingest_document_rpc;
gateway_event_rpc gateway_ingest_documents_open;
weir_rpc_flow gateway_ingest_documents_message(weir_rpc_call *call, const ProtobufCMessage *message,
    void *context);
gateway_event_rpc gateway_ingest_documents_half_closed;
gateway_event_rpc gateway_ingest_documents_writable;
gateway_event_rpc gateway_ingest_documents_cancelled;
gateway_event_rpc gateway_ingest_documents_draining;
gateway_event_rpc gateway_ingest_documents_done;
gateway_request_rpc gateway_get_document_rpc;
gateway_request_rpc gateway_list_documents_rpc;
gateway_request_rpc gateway_delete_document_rpc;
gateway_request_rpc gateway_retry_document_rpc;
gateway_request_rpc gateway_wait_document_rpc;
gateway_request_rpc gateway_watch_documents_rpc;
gateway_request_rpc gateway_list_chunks_rpc;
gateway_request_rpc gateway_list_document_events_rpc;
gateway_request_rpc gateway_explain_document_rpc;
gateway_request_rpc gateway_download_document_rpc;

/* SearchService */
gateway_request_rpc gateway_search_rpc;

/* DeadLetterService */
gateway_request_rpc gateway_list_dead_letters_rpc;
gateway_request_rpc gateway_get_dead_letter_rpc;
gateway_request_rpc gateway_summarize_dead_letters_rpc;
gateway_request_rpc gateway_requeue_dead_letters_rpc;
gateway_request_rpc gateway_discard_dead_letters_rpc;

/* SystemService */
gateway_request_rpc gateway_get_pressure_rpc;
gateway_request_rpc gateway_watch_pressure_rpc;
gateway_request_rpc gateway_get_server_info_rpc;
gateway_request_rpc gateway_list_models_rpc;
gateway_request_rpc gateway_run_audit_rpc;
gateway_request_rpc gateway_list_inconsistencies_rpc;
gateway_request_rpc gateway_resolve_inconsistency_rpc;

/* SourceService */
gateway_request_rpc gateway_read_source_rpc;

/* As WEIR_RPC_UNARY, for a table in another file: defines gateway_<name>_rpc from the static
 * function <name>. */
#define GATEWAY_UNARY(name_, request_type_, response_type_, response_init_)            \
    WEIR_RPC_UNARY(name_, gateway, request_type_, response_type_, response_init_)      \
    void gateway_##name_##_rpc(weir_rpc_call *call_, const ProtobufCMessage *request_, \
        void *context_)                                                                \
    {                                                                                  \
        name_##_rpc(call_, request_, context_);                                        \
    }
/* As WEIR_RPC_REQUEST, likewise. */
#define GATEWAY_REQUEST(name_, request_type_)                                          \
    WEIR_RPC_REQUEST(name_, gateway, request_type_)                                    \
    void gateway_##name_##_rpc(weir_rpc_call *call_, const ProtobufCMessage *request_, \
        void *context_)                                                                \
    {                                                                                  \
        name_##_rpc(call_, request_, context_);                                        \
    }

#endif
