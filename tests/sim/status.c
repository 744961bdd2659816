/*
 * status.c - the once-a-second look at every service, as the gateway's status thread does it.
 */
#include "tests/sim/sim.h"
#include "weir/internal/v1/command.pb-c.h"
#include "weir/internal/v1/service.pb-c.h"

enum { STATUS_PERIOD_MS = 1000 };

/* view NULL: no alarm. */
static void
tell_one(sim_world *world, const sim_node *node, weir_stage_status *status,
    const weir_stage_link_view *view)
{
    Weir__Internal__V1__PeerStatusCommand command = WEIR__INTERNAL__V1__PEER_STATUS_COMMAND__INIT;
    weir_service_id lost[2];

    command.service = (char *)(uintptr_t)weir_service_name(node->service);
    command.store_id.data = status->identity.store_id;
    command.store_id.len = WEIR_STORE_ID_SIZE;
    command.era = status->held_era;
    if (view != NULL && weir_stage_link_lost(view, &lost[0], &lost[1])) {
        command.regressed_peer = (char *)(uintptr_t)weir_service_name(lost[0]);
        if (lost[1] != WEIR_SERVICE_NONE)
            command.or_peer = (char *)(uintptr_t)weir_service_name(lost[1]);
        command.link_peer = (char *)(uintptr_t)weir_service_name(weir_link_spec_of(view->kind)->to);
        command.reset_era = view->tx.reset_era;
    }
    if (world->nodes[WEIR_SERVICE_GATEWAY].stage != NULL)
        sim_request(world, &world->nodes[WEIR_SERVICE_GATEWAY], GATEWAY_PEER_STATUS, 0, "",
            &command.base);
}

static void
tell_status(sim_world *world, const sim_node *node, weir_stage_status *status)
{
    weir_service_id lost[2];

    tell_one(world, node, status, NULL);
    for (uint32_t i = 0; i < status->link_count; i++)
        if (weir_stage_link_lost(&status->links[i], &lost[0], &lost[1]))
            tell_one(world, node, status, &status->links[i]);
}

static void
apply_era(sim_world *world, sim_node *node, const gateway_published *published)
{
    Weir__Internal__V1__ApplyEraRequest apply = WEIR__INTERNAL__V1__APPLY_ERA_REQUEST__INIT;
    Weir__Internal__V1__StoreIdentity stores[WEIR_SERVICE_COUNT];
    Weir__Internal__V1__StoreIdentity *pointers[WEIR_SERVICE_COUNT];
    weir_stage_status own;

    weir_stage_status_read(world->nodes[WEIR_SERVICE_GATEWAY].stage, &own);
    apply.era = published->era;
    for (int service = WEIR_SERVICE_GATEWAY; service < WEIR_SERVICE_COUNT; service++) {
        const bool is_gateway = service == WEIR_SERVICE_GATEWAY;
        if (!is_gateway && !published->has_store[service])
            continue;
        weir__internal__v1__store_identity__init(&stores[apply.n_stores]);
        stores[apply.n_stores].service =
            (char *)(uintptr_t)weir_service_name((weir_service_id)service);
        stores[apply.n_stores].store_id.data =
            is_gateway ? own.identity.store_id : (uint8_t *)(uintptr_t)published->store_id[service];
        stores[apply.n_stores].store_id.len = WEIR_STORE_ID_SIZE;
        stores[apply.n_stores].lost_era = published->lost_era[service];
        pointers[apply.n_stores] = &stores[apply.n_stores];
        apply.n_stores++;
    }
    apply.stores = pointers;
    sim_request(world, node, WEIR_REQUEST_APPLY_ERA, 0, "", &apply.base);
}

static bool
answers(const sim_world *world, const sim_node *node)
{
    return node->stage != NULL && node->paused_until_ms <= world->now_ms &&
        world->away_until_ms[node->service] <= world->now_ms;
}

static void
look_at(sim_world *world, sim_node *node)
{
    sim_node *gateway = &world->nodes[WEIR_SERVICE_GATEWAY];
    gateway_published published;
    weir_stage_status status;

    if (!answers(world, node) || !answers(world, gateway))
        return;
    weir_stage_status_read(node->stage, &status);
    gateway_core_published(gateway->core, &published);
    tell_status(world, node, &status);
    if (gateway->stage != NULL && status.applied_era < published.era)
        apply_era(world, node, &published);
}

void
sim_look_around(sim_world *world)
{
    if (world->now_ms < world->next_status_ms)
        return;
    world->next_status_ms = world->now_ms + STATUS_PERIOD_MS;
    for (int service = WEIR_SERVICE_INGEST; service < WEIR_SERVICE_COUNT; service++)
        look_at(world, &world->nodes[service]);
}
