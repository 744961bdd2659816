/*
 * ingest.h - an ingest as the command of the core, for the unary call and for the stream.
 *
 * Threads: pure, but for the clock and randomness of a made document_id.
 */
#ifndef WEIR_GATEWAY_INGEST_H
#define WEIR_GATEWAY_INGEST_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "weir/internal/v1/command.pb-c.h"

/* Check the request, then fill the command, which borrows it; everything else lives in the arena.
 */
weir_code gateway_ingest_command(weir_arena *arena, Weir__V1__IngestDocumentRequest *request,
    Weir__Internal__V1__AcceptCommand *ret_command, weir_error *reterr) WEIR_MUST_CHECK;

#endif
