/*
 * meter.c - a core between the shell and the service's core, that measures rounds and changes
 * nothing.
 *
 * All on the core thread, but resolve, which only reads.
 */
#include "common/base/clock.h"
#include "common/service/service_internal.h"

static weir_code
meter_start(void *core, weir_stage *stage, weir_error *reterr)
{
    service_meter *meter = core;

    return meter->inner->start(meter->core, stage, reterr);
}

static weir_code
meter_row(void *core, weir_stage *stage, weir_link_kind link, uint64_t seq,
    const Weir__Internal__V1__Row *row, weir_bytes packed, weir_error *reterr)
{
    service_meter *meter = core;

    meter->events++;
    return meter->inner->row(meter->core, stage, link, seq, row, packed, reterr);
}

static weir_code
meter_request(void *core, weir_stage *stage, const weir_request *request, weir_error *reterr)
{
    service_meter *meter = core;

    meter->events++;
    return meter->inner->request(meter->core, stage, request, reterr);
}

static weir_code
meter_job_done(void *core, weir_stage *stage, weir_job *job, weir_error *reterr)
{
    service_meter *meter = core;

    meter->events++;
    return meter->inner->job_done(meter->core, stage, job, reterr);
}

static weir_code
meter_wake(void *core, weir_stage *stage, weir_error *reterr)
{
    service_meter *meter = core;

    return meter->inner->wake(meter->core, stage, reterr);
}

static weir_code
meter_link_news(void *core, weir_stage *stage, weir_link_kind link, unsigned news,
    weir_error *reterr)
{
    service_meter *meter = core;

    return meter->inner->link_news(meter->core, stage, link, news, reterr);
}

static weir_code
meter_resolve(void *core, weir_stage *stage, weir_link_kind link, Weir__Internal__V1__Row *row,
    weir_arena *arena, weir_error *reterr)
{
    service_meter *meter = core;

    return meter->inner->resolve(meter->core, stage, link, row, arena, reterr);
}

static weir_code
meter_era_raised(void *core, weir_stage *stage, uint64_t era, weir_error *reterr)
{
    service_meter *meter = core;

    return meter->inner->era_raised(meter->core, stage, era, reterr);
}

static weir_code
meter_round_end(void *core, weir_stage *stage, weir_error *reterr)
{
    service_meter *meter = core;
    const weir_code code = meter->inner->round_end != NULL
        ? meter->inner->round_end(meter->core, stage, reterr)
        : WEIR_OK;

    meter->round_end_us = weir_clock_mono_us();
    return code;
}

/* Rounds without an event (a timer, an ack) would drown the others. */
static void
meter_committed(void *core, weir_stage *stage)
{
    service_meter *meter = core;

    if (meter->events > 0) {
        weir_metric_observe(meter->commit_duration,
            (double)(weir_clock_mono_us() - meter->round_end_us) / 1e6);
        weir_metric_observe(meter->commit_events, (double)meter->events);
        meter->events = 0;
    }
    if (meter->inner->committed != NULL)
        meter->inner->committed(meter->core, stage);
}

void
service_meter_init(service_meter *meter, const weir_service_parts *parts, weir_metrics *metrics)
{
    const weir_core_ops *inner = parts->ops;

    *meter = (service_meter){ .inner = inner, .core = parts->core };
    meter->commit_duration =
        weir_metrics_series(metrics, "weir_commit_duration_seconds", NULL, NULL, NULL);
    meter->commit_events = weir_metrics_series(metrics, "weir_commit_events", NULL, NULL, NULL);
    /* An op that the service lacks stays NULL: the stage asks for that. */
    meter->ops = (weir_core_ops){
        .start = meter_start,
        .row = inner->row != NULL ? meter_row : NULL,
        .request = inner->request != NULL ? meter_request : NULL,
        .job_done = inner->job_done != NULL ? meter_job_done : NULL,
        .wake = inner->wake != NULL ? meter_wake : NULL,
        .link_news = inner->link_news != NULL ? meter_link_news : NULL,
        .resolve = inner->resolve != NULL ? meter_resolve : NULL,
        .era_raised = inner->era_raised != NULL ? meter_era_raised : NULL,
        .round_end = meter_round_end,
        .committed = meter_committed,
        .custody = inner->custody,
    };
}
