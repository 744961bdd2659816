/*
 * stage_links.c - the ends of a stage's links: frames in, rows to the core, rows and acks out.
 *
 * Every durable change of a link goes into the round's batch, so a crash leaves a link and the
 * core's effects in step.
 */
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/stage/stage_internal.h"
#include "weir/internal/v1/service.pb-c.h"

enum { CREDIT_ROWS_MIN = 8 };

static weir_code
resolve_row(void *ud, Weir__Internal__V1__Row *row, weir_arena *arena, weir_error *reterr)
{
    const stage_resolver *resolver = ud;
    weir_stage *stage = resolver->stage;

    return stage->options.ops->resolve(stage->options.core, stage, resolver->link, row, arena,
        reterr);
}

static weir_code
start_sender(weir_stage *stage, weir_link_kind kind, weir_error *reterr)
{
    stage->resolvers[kind] = (stage_resolver){ .stage = stage, .link = kind };
    const weir_link_tx_options options = {
        .store = stage->options.store,
        .identity = &stage->identity,
        .link = weir_link_number(kind, 0, 0),
        .resolve = stage->options.ops->resolve != NULL ? resolve_row : NULL,
        .resolve_ud = &stage->resolvers[kind],
    };

    return weir_link_tx_start(&options, stage->era, stage->batch, &stage->tx[kind], reterr);
}

static weir_code
start_receiver(weir_stage *stage, weir_link_kind kind, weir_error *reterr)
{
    const weir_link_rx_options options = {
        .store = stage->options.store,
        .identity = &stage->identity,
        .link = weir_link_number(kind, 0, 0),
        .carries_era = weir_link_spec_of(kind)->carries_era,
    };
    const weir_code code = weir_link_rx_start(&options, &stage->rx[kind], reterr);

    if (code == WEIR_OK)
        weir_stage_set_credit(stage, kind, stage->options.credit_rows_max);
    return code;
}

weir_code
stage_links_start(weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (int kind = 1; kind < WEIR_LINK_COUNT && code == WEIR_OK; kind++) {
        const weir_link_spec *spec = weir_link_spec_of((weir_link_kind)kind);

        if (spec->from == stage->options.service)
            code = start_sender(stage, spec->kind, reterr);
        else if (spec->to == stage->options.service)
            code = start_receiver(stage, spec->kind, reterr);
    }
    return code;
}

void
stage_links_destroy(weir_stage *stage)
{
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        weir_link_tx_destroy(&stage->tx[kind]);
        weir_link_rx_destroy(&stage->rx[kind]);
    }
}

/* Alarms from now on are of this era. */
void
stage_links_set_era(weir_stage *stage)
{
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++)
        if (stage->tx[kind] != NULL)
            weir_link_tx_set_era(stage->tx[kind], stage->era);
}

static weir_code
deliver_row(void *ud, uint32_t link, uint64_t seq, const Weir__Internal__V1__Row *row,
    weir_bytes packed, weir_error *reterr)
{
    weir_stage *stage = ud;
    const weir_code code = weir_stage_raise_era(stage, row->era, reterr);

    stage->event_count++;
    if (code != WEIR_OK)
        return code;
    WEIR_FP_RETURN("stage.row.before", reterr);
    weir_error error = { .code = WEIR_OK };
    const stage_mark mark = stage_aside_mark(stage);
    weir_code taken = stage->options.ops->row(stage->options.core, stage, weir_link_kind_of(link),
        seq, row, packed, &error);
    if (stage_aside_is_harmless(stage, mark, taken))
        taken = stage_aside_row(stage, link, seq, packed, &error, &error);
    if (taken != WEIR_OK)
        *reterr = error;
    return taken == WEIR_OK ? WEIR_FP_CODE("stage.row.after", reterr) : taken;
}

static weir_code
on_sender_frame(weir_stage *stage, weir_link_kind kind, const Weir__Internal__V1__Frame *frame,
    weir_error *reterr)
{
    unsigned news = 0;
    const weir_code code =
        weir_link_tx_frame(stage->tx[kind], frame, stage->now_ms, stage->batch, &news, reterr);

    if (code != WEIR_OK || news == 0 || stage->options.ops->link_news == NULL)
        return code;
    return stage->options.ops->link_news(stage->options.core, stage, kind, news, reterr);
}

static weir_code
on_receiver_frame(weir_stage *stage, weir_link_kind kind, const Weir__Internal__V1__Frame *frame,
    weir_error *reterr)
{
    weir_link_rx_status status;
    const weir_code code = weir_link_rx_frame(stage->rx[kind], frame, stage->era, stage->now_ms,
        stage->batch, deliver_row, stage, reterr);

    if (code != WEIR_OK)
        return code;
    weir_link_rx_status_read(stage->rx[kind], &status);
    return weir_stage_raise_era(stage, status.reset_era, reterr);
}

weir_code
weir_stage_on_frame(weir_stage *stage, uint32_t link, weir_bytes bytes, weir_error *reterr)
{
    const weir_link_kind kind = weir_link_kind_of(link);
    Weir__Internal__V1__Frame *frame = NULL;
    weir_error malformed;

    weir_assert(kind > WEIR_LINK_NONE && kind < WEIR_LINK_COUNT);
    stage->event_count++;
    if (WEIR_FP_FAILS("link.receive.before")) /* as a frame that was lost */
        return WEIR_OK;
    /* A damaged frame is as good as a lost one: the timers of the link send it again. */
    if (weir_link_frame_decode(bytes, stage->arena, &frame, &malformed) != WEIR_OK)
        return WEIR_OK;
    if (stage->tx[kind] != NULL)
        return on_sender_frame(stage, kind, frame, reterr);
    if (stage->rx[kind] != NULL)
        return on_receiver_frame(stage, kind, frame, reterr);
    return WEIR_OK;
}

weir_code
stage_links_prepare(weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (int kind = 1; kind < WEIR_LINK_COUNT && code == WEIR_OK; kind++)
        if (stage->rx[kind] != NULL)
            code = weir_link_rx_prepare(stage->rx[kind], stage->batch, reterr);
    return code;
}

void
stage_links_committed(weir_stage *stage)
{
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        if (stage->tx[kind] != NULL)
            weir_link_tx_committed(stage->tx[kind]);
        if (stage->rx[kind] != NULL)
            weir_link_rx_committed(stage->rx[kind]);
    }
}

weir_code
stage_links_pump(weir_stage *stage, int64_t *wake_ms, weir_error *reterr)
{
    const weir_stage_env *env = &stage->options.env;
    weir_code code = WEIR_OK;

    for (int kind = 1; kind < WEIR_LINK_COUNT && code == WEIR_OK; kind++) {
        int64_t link_wake_ms = INT64_MAX;

        if (stage->tx[kind] != NULL)
            code = weir_link_tx_pump(stage->tx[kind], stage->now_ms, env->send, env->ud,
                &link_wake_ms, reterr);
        else if (stage->rx[kind] != NULL)
            weir_link_rx_pump(stage->rx[kind], stage->now_ms, env->send, env->ud, &link_wake_ms);
        if (link_wake_ms < *wake_ms)
            *wake_ms = link_wake_ms;
    }
    return code;
}

weir_code
stage_links_trim(weir_stage *stage, bool force, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (int kind = 1; kind < WEIR_LINK_COUNT && code == WEIR_OK; kind++)
        if (stage->tx[kind] != NULL)
            code = weir_link_tx_trim(stage->tx[kind], force, reterr);
    return code;
}

/* ---- the era ---- */

static const uint8_t *
store_id_of(const Weir__Internal__V1__ApplyEraRequest *apply, weir_service_id service)
{
    for (size_t i = 0; i < apply->n_stores; i++)
        if (weir_service_from_name(apply->stores[i]->service) == service &&
            apply->stores[i]->store_id.len == WEIR_STORE_ID_SIZE)
            return apply->stores[i]->store_id.data;
    return NULL;
}

static uint64_t
lost_era_of(const Weir__Internal__V1__ApplyEraRequest *apply, weir_service_id service)
{
    for (size_t i = 0; i < apply->n_stores; i++)
        if (weir_service_from_name(apply->stores[i]->service) == service)
            return apply->stores[i]->lost_era;
    return 0;
}

/* Once for each loss of either end that the gateway has decided about, whatever the link has met by
 * then.  A link that stopped for another reason keeps what it has met, whatever loss began the era:
 * the gateway's next look finds it.  One whose ends were never lost keeps its rows. */
static bool
needs_reset(const weir_stage *stage, weir_link_kind link,
    const Weir__Internal__V1__ApplyEraRequest *apply)
{
    const weir_link_spec *spec = weir_link_spec_of(link);
    weir_link_tx_status status;

    weir_link_tx_status_read(stage->tx[link], &status);
    return status.reset_era < lost_era_of(apply, spec->from) ||
        status.reset_era < lost_era_of(apply, spec->to);
}

weir_code
weir_stage_reset_link(weir_stage *stage, weir_link_kind link,
    const uint8_t receiver_store_id[WEIR_STORE_ID_SIZE], weir_error *reterr)
{
    weir_assert(stage->tx[link] != NULL);
    return weir_link_tx_reset(stage->tx[link], stage->era, receiver_store_id, stage->batch, reterr);
}

/* A request that is out of date (it names a database that was replaced since) is refused by the
 * link: *ret_applied false, and the gateway says what is in force now. */
static weir_code
reset_if_needed(weir_stage *stage, weir_link_kind link,
    const Weir__Internal__V1__ApplyEraRequest *apply, bool *ret_applied, weir_error *reterr)
{
    const uint8_t *receiver = store_id_of(apply, weir_link_spec_of(link)->to);

    if (!needs_reset(stage, link, apply))
        return WEIR_OK;
    if (receiver == NULL) { /* the gateway has not met that service yet, and asks again */
        *ret_applied = false;
        return WEIR_OK;
    }
    const weir_code code = weir_stage_reset_link(stage, link, receiver, reterr);
    if (code != WEIR_INVALID_ARGUMENT)
        return code;
    weir_log(WEIR_LOG_WARN, "era.reset_refused", WEIR_STR("link", weir_link_spec_of(link)->name),
        WEIR_STR("message", reterr != NULL ? reterr->message : ""));
    *ret_applied = false;
    return WEIR_OK;
}

weir_code
stage_links_apply_era(weir_stage *stage, const weir_request *request, weir_error *reterr)
{
    const Weir__Internal__V1__ApplyEraRequest *apply =
        (const Weir__Internal__V1__ApplyEraRequest *)request->message;
    weir_code code = weir_stage_raise_era(stage, apply->era, reterr);
    bool is_applied = apply->era == stage->era;

    for (int kind = 1; kind < WEIR_LINK_COUNT && code == WEIR_OK && apply->era == stage->era;
        kind++) {
        const weir_link_kind link = (weir_link_kind)kind;

        if (stage->tx[kind] != NULL)
            code = reset_if_needed(stage, link, apply, &is_applied, reterr);
    }
    if (code != WEIR_OK)
        return code;
    WEIR_FP_RETURN("stage.era_apply.after", reterr);
    if (is_applied)
        stage->applied_era = apply->era;
    Weir__Internal__V1__ApplyEraResponse *response =
        weir_arena_alloc(stage->arena, sizeof *response);
    weir__internal__v1__apply_era_response__init(response);
    response->era = stage->era;
    weir_stage_reply(stage, request->reply_to, &response->base);
    return WEIR_OK;
}

/* ---- the core's side ---- */

weir_code
weir_stage_send(weir_stage *stage, weir_link_kind link, Weir__Internal__V1__Row *row,
    uint64_t *ret_seq, weir_error *reterr)
{
    uint64_t seq = 0;

    weir_assert(stage->tx[link] != NULL);
    if (row->era == 0)
        row->era = stage->era;
    if (row->handed_over_ms == 0)
        row->handed_over_ms = stage->now_ms;
    const weir_code code = weir_link_tx_append(stage->tx[link], stage->batch, row, &seq, reterr);
    if (code == WEIR_OK && ret_seq != NULL)
        *ret_seq = seq;
    return code;
}

uint64_t
weir_stage_room(const weir_stage *stage, weir_link_kind link)
{
    weir_assert(stage->tx[link] != NULL);
    return weir_link_tx_room(stage->tx[link]);
}

void
weir_stage_link_status(const weir_stage *stage, weir_link_kind link,
    weir_link_tx_status *ret_status)
{
    weir_assert(stage->tx[link] != NULL);
    weir_link_tx_status_read(stage->tx[link], ret_status);
}

void
weir_stage_received_status(const weir_stage *stage, weir_link_kind link,
    weir_link_rx_status *ret_status)
{
    weir_assert(stage->rx[link] != NULL);
    weir_link_rx_status_read(stage->rx[link], ret_status);
}

void
weir_stage_settle(weir_stage *stage, weir_link_kind link, uint64_t seq)
{
    weir_assert(stage->rx[link] != NULL);
    weir_link_rx_settle(stage->rx[link], seq);
}

static void
give_credit(weir_stage *stage, weir_link_kind link)
{
    uint32_t rows = stage->wanted_credit[link];

    if (rows < CREDIT_ROWS_MIN)
        rows = CREDIT_ROWS_MIN;
    if (rows > stage->options.credit_rows_max)
        rows = stage->options.credit_rows_max;
    if (stage->disk_low)
        rows = weir_link_spec_of(link)->control ? CREDIT_ROWS_MIN : 0;
    weir_link_rx_set_credit(stage->rx[link], rows);
}

void
weir_stage_set_credit(weir_stage *stage, weir_link_kind link, uint32_t rows)
{
    weir_assert(stage->rx[link] != NULL);
    stage->wanted_credit[link] = rows;
    give_credit(stage, link);
}

void
weir_stage_set_disk_low(weir_stage *stage, bool disk_low)
{
    stage->disk_low = disk_low;
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++)
        if (stage->rx[kind] != NULL)
            give_credit(stage, (weir_link_kind)kind);
}

bool
weir_stage_link_lost(const weir_stage_link_view *view, weir_service_id *ret_first,
    weir_service_id *ret_second)
{
    const weir_link_spec *spec = weir_link_spec_of(view->kind);
    const weir_service_id other = spec->to == WEIR_SERVICE_GATEWAY ? spec->from : spec->to;

    *ret_first = *ret_second = WEIR_SERVICE_NONE;
    if (!view->sender || view->tx.state != WEIR_LINK_REGRESSED)
        return false;
    *ret_first = other;
    if (spec->from == WEIR_SERVICE_GATEWAY || spec->to == WEIR_SERVICE_GATEWAY)
        return true;
    if (view->tx.alarm_lost == WEIR_LINK_LOST_OWN)
        *ret_first = spec->from;
    if (view->tx.alarm_lost == WEIR_LINK_LOST_EITHER)
        *ret_second = spec->from;
    return true;
}

void
stage_links_view(weir_stage *stage, weir_stage_status *status)
{
    status->link_count = 0;
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        weir_stage_link_view *view = &status->links[status->link_count];

        view->kind = (weir_link_kind)kind;
        view->sender = stage->tx[kind] != NULL;
        if (stage->tx[kind] != NULL)
            weir_link_tx_status_read(stage->tx[kind], &view->tx);
        else if (stage->rx[kind] != NULL)
            weir_link_rx_status_read(stage->rx[kind], &view->rx);
        else
            continue;
        status->link_count++;
    }
}
