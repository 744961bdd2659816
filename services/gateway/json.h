/*
 * json.h - the JSON port: Connect unary JSON for every unary RPC, and a few REST paths for curl.
 *
 * POST /weir.v1.DocumentService/GetDocument and the like: the RPC, ProtoJSON in and out.
 *
 * POST /v1/collections/{collection_id}/documents: IngestDocument, the request as JSON.
 *
 * PUT /v1/collections/{collection_id}/documents/{document_id}: IngestDocument, the body as it is,
 * the media type from Content-Type; ?filename= and ?request_id=.  GET and DELETE of the same path:
 * GetDocument and DeleteDocument.
 *
 * GET /v1/collections/{collection_id}:search: Search by ?q=, ?k= and ?filter=; POST: the request as
 * JSON.
 *
 * GET /v1/pressure: GetPressure, ?collection_id=.
 *
 * A call made here is the same call: interceptors, pool, observer and handler of the gRPC server.
 * Failures are Connect's error bodies.
 */
#ifndef WEIR_GATEWAY_JSON_H
#define WEIR_GATEWAY_JSON_H

#include "services/gateway/gateway.h"

/* The gRPC server is there.  ADDRESS_IN_USE names the address. */
weir_code gateway_json_start(gateway *self, gateway_json **ret_json,
    weir_error *reterr) WEIR_MUST_CHECK;
/* New requests are answered UNAVAILABLE; those under way go on.  Accepts NULL. */
void gateway_json_drain(gateway_json *json);
/* Accepts NULL. */
void gateway_json_stop(gateway_json **json_p);

#endif
