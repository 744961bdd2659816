/*
 * weir-ingest: owns one edge of the lifecycle, ACCEPTED -> CHUNKED.
 *
 *   takes   documents (gateway); large bodies are read from the gateway's Unix socket
 *   writes  link cursors, deferred documents, rows of chunks
 *   sends   rows of at most 64 chunks to the embedder; CHUNKED and failures to the reconciler
 *
 * Nothing is lost if this process dies at any line: a document is unsettled at the gateway,
 * deferred here with the count of its attempts, or its chunks are in the outbox.  One that kills
 * this process is set aside after three times.
 */
#include "common/service/service.h"
#include "services/ingest/core.h"
#include "services/ingest/source.h"

typedef struct ingest {
    weir_service *service;
    ingest_core *core;
    ingest_source source;
} ingest;

static weir_code
start(weir_service *service, weir_service_parts *parts, weir_error *reterr)
{
    const weir_ingest_config *config = &service->config->ingest;
    ingest *self = weir_alloc_zero(1, sizeof *self);

    (void)reterr;
    self->service = service;
    self->source.timeout_ms = config->source_timeout_ms;
    self->source.stub = weir_rpc_stub_open(weir_service_channel(service, WEIR_SERVICE_GATEWAY),
        &weir__internal__v1__source_service__descriptor);
    const ingest_options options = { .policy = weir_service_work_policy(&config->retry),
        .model_dir = service->config->common.model_dir,
        .chunks_max = config->chunks_per_document_max,
        .text_bytes_max = config->text_bytes_max,
        .read_source = ingest_source_read,
        .read_source_ud = &self->source,
        .observer = weir_service_work_observer(service) };
    self->core = ingest_core_create(&options);
    *parts = (weir_service_parts){ .self = self,
        .ops = &ingest_core_ops,
        .core = self->core,
        .workers = config->workers };
    return WEIR_OK;
}

static void
stop(weir_service *service, void *context)
{
    ingest *self = context;

    (void)service;
    ingest_core_destroy(&self->core);
    weir_rpc_stub_close(&self->source.stub);
    weir_free(self);
}

static const weir_service_spec ingest_spec = {
    .id = WEIR_SERVICE_INGEST,
    .start = start,
    .stop = stop,
};

int
main(int argc, char **argv)
{
    return weir_service_main(argc, argv, &ingest_spec);
}
