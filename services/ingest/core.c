/*
 * core.c - see core.h: rows to jobs, results to rows.
 */
#include "services/ingest/core.h"

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "services/ingest/job.h"
#include "weir/v1/document.pb-c.h"

typedef Weir__Internal__V1__Row row_message;

struct ingest_core {
    ingest_options options;
    ingest_tokenizers *tokenizers;
    weir_work *work;
};

/* ---- the work ---- */

static weir_code
start_item(void *self, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    ingest_core *core = self;
    const weir_error nothing = { .code = WEIR_OK };

    if (weir_work_item_row(item)->document->source_gone) /* superseded or deleted meanwhile */
        return weir_work_done(core->work, stage, item, NULL, &nothing, reterr);
    weir_stage_start_job(stage, &ingest_job_create(&core->options, core->tokenizers, item)->base);
    return WEIR_OK;
}

static void
tell_chunked(weir_stage *stage, const row_message *row, const ingest_rows *rows)
{
    Weir__Internal__V1__LifecycleEvent event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

    event.kind = WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_CHUNKED;
    event.tenant = row->tenant;
    event.collection_no = row->collection_no;
    event.document_id = row->document_id;
    event.revision = row->revision;
    event.epoch = row->epoch;
    event.time_ms = weir_stage_now_ms(stage);
    event.chunk_count = rows->chunk_count;
    event.token_count = rows->token_count;
    event.stage = WEIR__V1__STAGE__STAGE_CHUNK;
    weir_stage_event(stage, &event);
}

/* The row's own facts travel on: whose, which try, in which era, what is deleted, which trace. */
static weir_code
send_rows(weir_stage *stage, const row_message *row, const ingest_rows *rows, weir_error *reterr)
{
    row_message out = *row;
    weir_code code = WEIR_OK;

    out.handed_over_ms = 0; /* now */
    out.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_CHUNKS;
    for (size_t i = 0; i < rows->count && code == WEIR_OK; i++) {
        out.chunks = &rows->rows[i];
        WEIR_FP_RETURN("ingest.emit.before", reterr);
        code = weir_stage_send(stage, WEIR_LINK_INGEST_EMBEDDER, &out, NULL, reterr);
    }
    return code;
}

static weir_code
emit_item(void *self, weir_stage *stage, weir_work_item *item, void *payload, weir_error *reterr)
{
    const row_message *row = weir_work_item_row(item);
    const ingest_rows *rows = payload;

    (void)self;
    if (rows == NULL) /* the source is gone */
        return WEIR_OK;
    tell_chunked(stage, row, rows);
    return send_rows(stage, row, rows, reterr);
}

static void
release_payload(void *self, void *payload)
{
    (void)self;
    ingest_rows_destroy(payload);
}

/* ---- handlers ---- */

static weir_code
core_start(void *self, weir_stage *stage, weir_error *reterr)
{
    ingest_core *core = self;

    return weir_work_start(core->work, stage, reterr);
}

static weir_code
core_row(void *self, weir_stage *stage, weir_link_kind link, uint64_t seq, const row_message *row,
    weir_bytes packed, weir_error *reterr)
{
    ingest_core *core = self;

    return weir_work_on_row(core->work, stage, link, seq, row, packed, reterr);
}

static weir_code
core_job_done(void *self, weir_stage *stage, weir_job *base, weir_error *reterr)
{
    ingest_core *core = self;
    ingest_job *job = (ingest_job *)base;
    ingest_rows *rows = job->rows;

    job->rows = NULL; /* the work's from here */
    return weir_work_done(core->work, stage, job->item, rows, &job->result, reterr);
}

static weir_code
core_era_raised(void *self, weir_stage *stage, uint64_t era, weir_error *reterr)
{
    ingest_core *core = self;

    return weir_work_on_era(core->work, stage, era, reterr);
}

static weir_code
core_round_end(void *self, weir_stage *stage, weir_error *reterr)
{
    ingest_core *core = self;

    return weir_work_on_round(core->work, stage, reterr);
}

const weir_core_ops ingest_core_ops = {
    .start = core_start,
    .row = core_row,
    .job_done = core_job_done,
    .era_raised = core_era_raised,
    .round_end = core_round_end,
};

ingest_core *
ingest_core_create(const ingest_options *options)
{
    static const weir_work_ops ops = { .payload = WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT,
        .start = start_item,
        .emit = emit_item,
        .release = release_payload };
    ingest_core *core = weir_alloc_zero(1, sizeof *core);

    core->options = *options;
    core->options.model_dir = NULL; /* the tokenizers have their own copy */
    core->tokenizers = ingest_tokenizers_create(options->model_dir);
    core->work = weir_work_create(&ops, core, &options->policy, WEIR_LINK_GATEWAY_INGEST,
        WEIR__V1__STAGE__STAGE_CHUNK);
    weir_work_observe(core->work, &options->observer);
    return core;
}

void
ingest_core_destroy(ingest_core **core_p)
{
    ingest_core *core = *core_p;

    if (core == NULL)
        return;
    weir_work_destroy(&core->work);
    ingest_tokenizers_destroy(&core->tokenizers);
    weir_free(core);
    *core_p = NULL;
}
