/*
 * json_internal.h - what json.c (calls and answers) and rest.c (paths) share.
 */
#ifndef WEIR_GATEWAY_JSON_INTERNAL_H
#define WEIR_GATEWAY_JSON_INTERNAL_H

#include "common/http/http.h"
#include "services/gateway/json.h"

/* One call to be made for a request. */
typedef struct json_wish {
    const weir_rpc_method *method;
    ProtobufCMessage *message; /* in the arena */
    weir_arena *arena;         /* the wish's; taken by the call */
    int status;                /* HTTP's own answer to what is no call at all; 0: the error's */
} json_wish;

/* The RPC of a REST path with its message.  WEIR_NOT_FOUND: no such path; other failures are the
 * request's.  `wish` has its arena. */
weir_code gateway_rest_parse(weir_rpc_server *server, const weir_http_request *request,
    json_wish *wish, weir_error *reterr) WEIR_MUST_CHECK;

#endif
