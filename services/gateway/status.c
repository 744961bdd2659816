/*
 * status.c - see status.h.
 */
#include "services/gateway/status.h"

#include <pthread.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/wire.h"

enum {
    LOOK_MS = 500,
    APPLY_MS = 2000,
    FRESH_INTERVALS = 3,
    FIRST_LOOKS_MS = 100,
    FIRST_MS = 60000
};

typedef struct seen {
    weir_buffer packed; /* the last answer; empty: none */
    int64_t at_ms;      /* monotonic */
} seen;

struct gateway_status {
    gateway *self;
    pthread_t thread;
    weir_rpc_stub *stubs[WEIR_SERVICE_COUNT];
    weir_arena *arena; /* of one look; the thread's */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, is_joined;
    int64_t began_ms; /* monotonic */
    seen seen[WEIR_SERVICE_COUNT];
};

/* ---- what a look leads to ---- */

static void
keep(gateway_status *status, weir_service_id service, const stage_status *answer)
{
    seen *kept = &status->seen[service];

    pthread_mutex_lock(&status->lock);
    weir_buffer_clear(&kept->packed);
    weir_wire_encode(&answer->base, &kept->packed);
    kept->at_ms = weir_clock_mono_ms();
    pthread_mutex_unlock(&status->lock);
}

/* alarm NULL: none. */
static void
tell_one(gateway_status *status, const stage_status *answer,
    const Weir__Internal__V1__LinkAlarm *alarm)
{
    Weir__Internal__V1__PeerStatusCommand command = WEIR__INTERNAL__V1__PEER_STATUS_COMMAND__INIT;
    weir_error error;

    command.service = answer->service;
    command.store_id = answer->store_id;
    command.era = answer->held_era != 0 ? answer->held_era : answer->era;
    if (alarm != NULL && alarm->n_lost > 0) {
        command.regressed_peer = alarm->lost[0];
        command.link_peer = alarm->peer;
        command.reset_era = alarm->reset_era;
    }
    if (alarm != NULL && alarm->n_lost > 1)
        command.or_peer = alarm->lost[1];
    /* A full inbox: the next look says the same. */
    if (weir_shell_submit(status->self->service->shell, GATEWAY_PEER_STATUS, "", NULL,
            &command.base, NULL, NULL, &error) != WEIR_OK)
        weir_log(WEIR_LOG_DEBUG, "peer.status_dropped", WEIR_STR("peer", answer->service));
}

/* All of them: two volumes may be lost at once. */
static void
tell_core(gateway_status *status, const stage_status *answer)
{
    tell_one(status, answer, NULL);
    for (size_t i = 0; i < answer->n_alarms; i++)
        tell_one(status, answer, answer->alarms[i]);
}

static void
add_store(Weir__Internal__V1__ApplyEraRequest *request, Weir__Internal__V1__StoreIdentity *store,
    weir_service_id service, const uint8_t *store_id, uint64_t lost_era)
{
    weir__internal__v1__store_identity__init(store);
    store->service = (char *)(uintptr_t)weir_service_name(service);
    store->lost_era = lost_era;
    store->store_id.data = (uint8_t *)(uintptr_t)store_id;
    store->store_id.len = WEIR_STORE_ID_SIZE;
    request->stores[request->n_stores++] = store;
}

/* Tell a service that is behind which era it is and which databases are in force.  Idempotent. */
static void
apply_era(gateway_status *status, weir_service_id service, const gateway_published *published)
{
    Weir__Internal__V1__ApplyEraRequest request = WEIR__INTERNAL__V1__APPLY_ERA_REQUEST__INIT;
    Weir__Internal__V1__StoreIdentity stores[WEIR_SERVICE_COUNT];
    Weir__Internal__V1__StoreIdentity *pointers[WEIR_SERVICE_COUNT];
    const weir_rpc_call_options options = { .timeout_ms = APPLY_MS };
    ProtobufCMessage *response = NULL;
    weir_stage_status own;
    weir_error error;

    weir_stage_status_read(weir_shell_stage(status->self->service->shell), &own);
    request.era = published->era;
    request.stores = pointers;
    add_store(&request, &stores[0], WEIR_SERVICE_GATEWAY, own.identity.store_id, 0);
    for (int id = WEIR_SERVICE_GATEWAY + 1; id < WEIR_SERVICE_COUNT; id++)
        if (published->has_store[id])
            add_store(&request, &stores[id], (weir_service_id)id, published->store_id[id],
                published->lost_era[id]);
    const weir_code code = weir_rpc_unary(status->stubs[service], "ApplyEra", &request.base,
        &options, status->arena, &response, &error);
    weir_log(code == WEIR_OK ? WEIR_LOG_INFO : WEIR_LOG_WARN, "era.applied",
        WEIR_STR("peer", weir_service_name(service)), WEIR_INT("era", (int64_t)published->era),
        WEIR_STR("message", code == WEIR_OK ? "" : error.message));
}

static void
look(gateway_status *status, weir_service_id service)
{
    const Weir__Internal__V1__GetStageStatusRequest request =
        WEIR__INTERNAL__V1__GET_STAGE_STATUS_REQUEST__INIT;
    const weir_rpc_call_options options = { .timeout_ms = LOOK_MS };
    ProtobufCMessage *message = NULL;
    gateway_published published;
    weir_error error;

    weir_arena_reset(status->arena);
    if (weir_rpc_unary(status->stubs[service], "GetStageStatus", &request.base, &options,
            status->arena, &message, &error) != WEIR_OK)
        return; /* it is away: its age tells */
    const stage_status *answer = (const stage_status *)(const void *)message;
    keep(status, service, answer);
    gateway_core_published(status->self->core, &published);
    tell_core(status, answer);
    if (answer->applied_era < published.era)
        apply_era(status, service, &published);
}

/* ---- the thread ---- */

/* All start together, and nothing is known of a service until its first answer: models, dead
 * letters, which database it has.  Under the lock. */
static uint32_t
interval_ms(const gateway_status *status)
{
    const uint32_t usual_ms = status->self->config->gateway.status_interval_ms;

    if (usual_ms <= FIRST_LOOKS_MS || weir_clock_mono_ms() - status->began_ms > FIRST_MS)
        return usual_ms;
    for (int id = WEIR_SERVICE_GATEWAY + 1; id < WEIR_SERVICE_COUNT; id++)
        if (status->seen[id].packed.size == 0)
            return FIRST_LOOKS_MS;
    return usual_ms;
}

/* Under the lock. */
static void
rest(gateway_status *status)
{
    const int64_t at_ms = weir_clock_mono_ms() + interval_ms(status);
    const struct timespec until = { .tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000 };

    while (!status->stopping && weir_clock_mono_ms() < at_ms)
        (void)pthread_cond_timedwait(&status->wake, &status->lock, &until);
}

static void *
status_main(void *arg)
{
    gateway_status *status = arg;

    pthread_mutex_lock(&status->lock);
    while (!status->stopping) {
        pthread_mutex_unlock(&status->lock);
        for (int id = WEIR_SERVICE_GATEWAY + 1; id < WEIR_SERVICE_COUNT; id++)
            look(status, (weir_service_id)id);
        pthread_mutex_lock(&status->lock);
        rest(status);
    }
    pthread_mutex_unlock(&status->lock);
    return NULL;
}

gateway_status *
gateway_status_start(gateway *self)
{
    gateway_status *status = weir_alloc_zero(1, sizeof *status);
    pthread_condattr_t monotonic;

    status->self = self;
    status->began_ms = weir_clock_mono_ms();
    status->arena = weir_arena_create(0);
    for (int id = WEIR_SERVICE_GATEWAY + 1; id < WEIR_SERVICE_COUNT; id++)
        status->stubs[id] =
            weir_rpc_stub_open(weir_service_channel(self->service, (weir_service_id)id),
                &weir__internal__v1__stage_service__descriptor);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&status->lock, NULL);
    pthread_cond_init(&status->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&status->thread, NULL, status_main, status) != 0)
        weir_assert(!"the thread of the status can be started");
    return status;
}

void
gateway_status_stop(gateway_status *status)
{
    if (status == NULL || status->is_joined)
        return;
    pthread_mutex_lock(&status->lock);
    status->stopping = true;
    pthread_cond_signal(&status->wake);
    pthread_mutex_unlock(&status->lock);
    pthread_join(status->thread, NULL);
    status->is_joined = true;
}

void
gateway_status_destroy(gateway_status **status_p)
{
    gateway_status *status = *status_p;

    if (status == NULL)
        return;
    gateway_status_stop(status);
    for (int id = 0; id < WEIR_SERVICE_COUNT; id++) {
        weir_rpc_stub_close(&status->stubs[id]);
        weir_buffer_fini(&status->seen[id].packed);
    }
    pthread_mutex_destroy(&status->lock);
    pthread_cond_destroy(&status->wake);
    weir_arena_destroy(&status->arena);
    weir_free(status);
    *status_p = NULL;
}

const stage_status *
gateway_status_read(gateway_status *status, weir_service_id service, weir_arena *arena,
    bool *ret_is_fresh)
{
    const int64_t fresh_ms =
        LOOK_MS + (int64_t)status->self->config->gateway.status_interval_ms * FRESH_INTERVALS;
    const seen *kept = &status->seen[service];
    ProtobufCMessage *message = NULL;
    weir_code code = WEIR_OK;
    weir_error error;

    pthread_mutex_lock(&status->lock);
    *ret_is_fresh = kept->packed.size > 0 && weir_clock_mono_ms() - kept->at_ms <= fresh_ms;
    if (kept->packed.size > 0)
        code = weir_wire_decode(&weir__internal__v1__get_stage_status_response__descriptor,
            weir_buffer_view(&kept->packed), NULL, arena, &message, &error);
    pthread_mutex_unlock(&status->lock);
    weir_assert(code == WEIR_OK); /* it was decoded before */
    return (const stage_status *)(const void *)message;
}
