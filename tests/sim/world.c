/*
 * world.c - nodes, messages, time and faults of the simulator.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "tests/sim/sim.h"
#include "weir/internal/v1/command.pb-c.h"
#include "weir/internal/v1/service.pb-c.h"

enum { ROUND_EVENTS = 6, QUIET_STEPS_MAX = 60000, STATUS_PERIOD_MS = 1000 };

uint64_t
sim_random(sim_world *world, uint64_t bound)
{
    return weir_rng_below(&world->rng, bound);
}

bool
sim_chance(sim_world *world, uint32_t per_mille)
{
    return sim_random(world, 1000) < per_mille;
}

void
sim_trace(sim_world *world, const char *what, uint64_t a, uint64_t b)
{
    const uint64_t words[] = { world->trace, a, b, (uint64_t)world->now_ms };

    world->trace =
        weir_hash64(weir_bytes_of(words, sizeof words), weir_hash64(weir_bytes_str(what), 0));
    if (world->options.verbose)
        fprintf(stderr, "%6u %8lld %-12s %llu %llu\n", world->step,
            (long long)(world->now_ms % 100000000), what, (unsigned long long)a,
            (unsigned long long)b);
}

void
sim_fail(sim_world *world, const char *format, ...)
{
    va_list arguments;

    if (world->failure[0] != 0)
        return;
    va_start(arguments, format);
    vsnprintf(world->failure, sizeof world->failure, format, arguments);
    va_end(arguments);
}

sim_options
sim_options_of(uint64_t seed)
{
    weir_rng rng = { .state = seed ^ 0x5eed };
    sim_options options = { .seed = seed, .steps = 250 + (uint32_t)weir_rng_below(&rng, 400) };

    if (weir_rng_below(&rng, 2) == 0)
        options.drop_percent = (uint32_t)weir_rng_below(&rng, 30);
    if (weir_rng_below(&rng, 2) == 0)
        options.duplicate_percent = (uint32_t)weir_rng_below(&rng, 30);
    if (weir_rng_below(&rng, 2) == 0)
        options.delay_ms_max = 1 + (uint32_t)weir_rng_below(&rng, 5000);
    if (weir_rng_below(&rng, 3) != 0)
        options.crash_per_mille = (uint32_t)weir_rng_below(&rng, 25);
    if (weir_rng_below(&rng, 4) == 0)
        options.wipe_per_mille = 1 + (uint32_t)weir_rng_below(&rng, 4);
    if (weir_rng_below(&rng, 4) == 0)
        options.clock_jump_per_mille = (uint32_t)weir_rng_below(&rng, 5);
    return options;
}

/* ---- what leaves a stage ---- */

static sim_node *
receiver_of(sim_world *world, const sim_node *from, uint32_t link)
{
    const weir_link_spec *spec = weir_link_spec_of(weir_link_kind_of(link));

    return &world->nodes[spec->from == from->service ? spec->to : spec->from];
}

static void
put_message(sim_world *world, sim_node *to, uint32_t link, weir_bytes frame)
{
    sim_message *message = malloc(sizeof *message + frame.size);
    const uint32_t delay_max = world->quiet ? 2 : world->options.delay_ms_max + 2;

    message->due_ms = world->now_ms + (int64_t)sim_random(world, delay_max);
    message->link = link;
    message->size = frame.size;
    memcpy(message->bytes, frame.data, frame.size);
    message->next = to->messages;
    to->messages = message;
    world->messages_sent++;
}

static bool
env_send(void *ud, uint32_t link, weir_bytes frame)
{
    sim_node *node = ud;
    sim_world *world = node->world;
    sim_node *to = receiver_of(world, node, link);

    if (!world->quiet && sim_random(world, 100) < world->options.drop_percent) {
        world->messages_dropped++;
        return sim_random(world, 2) == 0; /* lost under way, or not even taken */
    }
    put_message(world, to, link, frame);
    if (!world->quiet && sim_random(world, 100) < world->options.duplicate_percent)
        put_message(world, to, link, frame);
    return true;
}

static void
env_job(void *ud, weir_job *job)
{
    sim_node *node = ud;
    sim_job *entry = malloc(sizeof *entry);

    entry->job = job;
    entry->due_ms =
        node->world->now_ms + (int64_t)sim_random(node->world, node->world->quiet ? 5 : 3000);
    entry->next = node->jobs;
    node->jobs = entry;
}

static void
env_reply(void *ud, uint64_t reply_to, const weir_error *error, const ProtobufCMessage *response)
{
    sim_node *node = ud;

    sim_answer(node->world, reply_to, error, response);
}

/* ---- start, crash, wipe ---- */

static int64_t
clock_of(const sim_node *node)
{
    return node->world->now_ms + node->clock_skew_ms;
}

static void
node_start(sim_node *node)
{
    sim_world *world = node->world;
    weir_error error = { .code = WEIR_OK };
    weir_stage_options options = { .service = node->service,
        .store = node->store,
        .env = { .ud = node, .reply = env_reply, .job = env_job, .send = env_send },
        .credit_rows_max = 1 + (uint32_t)sim_random(world, 64) };

    for (size_t i = 0; i < sizeof options.identity_random; i++)
        options.identity_random[i] = (uint8_t)sim_random(world, 256);
    options.ops = sim_core_create(node);
    options.core = node->core;
    sim_trace(world, "start", (uint64_t)node->service, 0);
    if (weir_stage_create(&options, clock_of(node), weir_rng_next(&world->rng), &node->stage,
            &error) != WEIR_OK) {
        sim_fail(world, "%s does not start: %s", weir_service_name(node->service), error.message);
        sim_core_destroy(node);
        return;
    }
    node->wake_ms = world->now_ms;
    if (weir_stage_release(node->stage, &node->wake_ms, &error) != WEIR_OK)
        sim_fail(world, "%s: %s", weir_service_name(node->service), error.message);
}

static void
drop_jobs(sim_node *node)
{
    while (node->jobs != NULL) {
        sim_job *job = node->jobs;
        node->jobs = job->next;
        job->job->destroy(job->job);
        free(job);
    }
}

static void
drop_messages(sim_node *node)
{
    while (node->messages != NULL) {
        sim_message *message = node->messages;
        node->messages = message->next;
        free(message);
    }
}

static void
node_stop(sim_node *node)
{
    if (node->stage == NULL)
        return;
    drop_jobs(node);
    weir_stage_destroy(&node->stage);
    sim_core_destroy(node);
}

static void
node_crash(sim_node *node, bool wipe)
{
    sim_world *world = node->world;

    sim_trace(world, wipe ? "wipe" : "crash", (uint64_t)node->service, 0);
    node_stop(node);
    if (wipe) {
        weir_store_mem_wipe(node->store);
        node->wipes++;
    } else {
        weir_store_mem_power_cut(node->store, weir_rng_next(&world->rng));
        node->crashes++;
    }
    /* What was on the way to it is mostly gone with its sockets. */
    if (sim_random(world, 4) != 0)
        drop_messages(node);
    node->up_at_ms = world->now_ms + (int64_t)sim_random(world, 3000);
    if (node->service == WEIR_SERVICE_GATEWAY)
        sim_client_gateway_crashed(world);
}

/* ---- rounds ---- */

/* A message that is due, any of them: links may reorder. */
static sim_message *
take_message(sim_node *node)
{
    sim_world *world = node->world;
    uint64_t due_count = 0;
    sim_message **chosen = NULL;

    for (sim_message **at = &node->messages; *at != NULL; at = &(*at)->next)
        if ((*at)->due_ms <= world->now_ms && sim_random(world, ++due_count) == 0)
            chosen = at;
    if (chosen == NULL)
        return NULL;
    sim_message *message = *chosen;
    *chosen = message->next;
    return message;
}

static sim_job *
take_job(sim_node *node)
{
    for (sim_job **at = &node->jobs; *at != NULL; at = &(*at)->next) {
        if ((*at)->due_ms > node->world->now_ms)
            continue;
        sim_job *job = *at;
        *at = job->next;
        return job;
    }
    return NULL;
}

static weir_code
give_event(sim_node *node, weir_error *error)
{
    sim_world *world = node->world;
    sim_job *job = sim_random(world, 2) == 0 ? take_job(node) : NULL;
    weir_code code = WEIR_OK;

    if (job != NULL) {
        job->job->run(job->job);
        code = weir_stage_on_job(node->stage, job->job, error);
        free(job);
        return code;
    }
    sim_message *message = take_message(node);
    if (message == NULL)
        return WEIR_OK;
    sim_trace(world, "frame", message->link,
        weir_hash64(weir_bytes_of(message->bytes, message->size), 0));
    code = weir_stage_on_frame(node->stage, message->link,
        weir_bytes_of(message->bytes, message->size), error);
    free(message);
    return code;
}

static void
end_round(sim_node *node, weir_code code, weir_error *error)
{
    sim_world *world = node->world;

    if (code == WEIR_OK)
        code = weir_stage_on_time(node->stage, error);
    if (code == WEIR_OK)
        code = weir_stage_commit(node->stage, error);
    /* A crash right after the commit: everything is on disk and nothing has left. */
    if (code == WEIR_OK && !world->quiet && world->options.crash_per_mille > 0 &&
        sim_chance(world, 3)) {
        node_crash(node, false);
        return;
    }
    int64_t wake_ms = INT64_MAX;
    if (code == WEIR_OK)
        code = weir_stage_release(node->stage, &wake_ms, error);
    node->wake_ms = wake_ms == INT64_MAX ? wake_ms : wake_ms - node->clock_skew_ms;
    world->rounds++;
    if (code != WEIR_OK)
        sim_fail(world, "%s broke: %s", weir_service_name(node->service), error->message);
}

static void
run_round(sim_node *node)
{
    weir_error error = { .code = WEIR_OK };
    weir_code code = WEIR_OK;
    const uint64_t events = 1 + sim_random(node->world, ROUND_EVENTS);

    weir_stage_begin(node->stage, clock_of(node), weir_rng_next(&node->world->rng));
    for (uint64_t i = 0; i < events && code == WEIR_OK && !weir_stage_is_full(node->stage); i++)
        code = give_event(node, &error);
    end_round(node, code, &error);
}

void
sim_request(sim_world *world, sim_node *node, uint32_t kind, uint64_t reply_to,
    const ProtobufCMessage *message)
{
    weir_error error = { .code = WEIR_OK };
    const weir_request request = { .kind = kind,
        .reply_to = reply_to,
        .tenant = "default",
        .message = message };

    sim_trace(world, "request", kind, reply_to);
    weir_stage_begin(node->stage, clock_of(node), weir_rng_next(&world->rng));
    end_round(node, weir_stage_on_request(node->stage, &request, &error), &error);
}

/* ---- the once-a-second look at every service, as the gateway's status thread does it ---- */

static void
name_alarm(Weir__Internal__V1__PeerStatusCommand *command, const sim_node *node,
    const weir_stage_link_view *view)
{
    const weir_service_id peer = weir_link_spec_of(view->kind)->to;

    /* A link to the gateway that stopped shows that this end was lost: the gateway's volume is not
     * among those. */
    command->regressed_peer =
        (char *)(uintptr_t)weir_service_name(peer == WEIR_SERVICE_GATEWAY ? node->service : peer);
    command->alarm_era = view->tx.alarm_era;
}

static void
tell_status(sim_world *world, const sim_node *node, weir_stage_status *status, uint64_t era)
{
    Weir__Internal__V1__PeerStatusCommand command = WEIR__INTERNAL__V1__PEER_STATUS_COMMAND__INIT;

    command.service = (char *)(uintptr_t)weir_service_name(node->service);
    command.store_id.data = status->identity.store_id;
    command.store_id.len = WEIR_STORE_ID_SIZE;
    for (uint32_t i = 0; i < status->link_count && status->applied_era >= era; i++)
        if (status->links[i].sender && status->links[i].tx.state == WEIR_LINK_REGRESSED)
            name_alarm(&command, node, &status->links[i]);
    sim_request(world, &world->nodes[WEIR_SERVICE_GATEWAY], GATEWAY_PEER_STATUS, 0, &command.base);
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
        pointers[apply.n_stores] = &stores[apply.n_stores];
        apply.n_stores++;
    }
    apply.stores = pointers;
    sim_request(world, node, WEIR_REQUEST_APPLY_ERA, 0, &apply.base);
}

static void
look_at(sim_world *world, sim_node *node)
{
    sim_node *gateway = &world->nodes[WEIR_SERVICE_GATEWAY];
    gateway_published published;
    weir_stage_status status;

    if (node->stage == NULL || gateway->stage == NULL)
        return;
    weir_stage_status_read(node->stage, &status);
    gateway_core_published(gateway->core, &published);
    tell_status(world, node, &status, published.era);
    if (gateway->stage != NULL && status.applied_era < published.era)
        apply_era(world, node, &published);
}

static void
look_around(sim_world *world)
{
    if (world->now_ms < world->next_status_ms)
        return;
    world->next_status_ms = world->now_ms + STATUS_PERIOD_MS;
    for (int service = WEIR_SERVICE_INGEST; service < WEIR_SERVICE_COUNT; service++)
        look_at(world, &world->nodes[service]);
}

/* ---- time ---- */

static bool
has_due(const sim_node *node)
{
    if (node->stage == NULL)
        return node->up_at_ms <= node->world->now_ms;
    if (node->wake_ms <= node->world->now_ms)
        return true;
    for (const sim_message *message = node->messages; message != NULL; message = message->next)
        if (message->due_ms <= node->world->now_ms)
            return true;
    for (const sim_job *job = node->jobs; job != NULL; job = job->next)
        if (job->due_ms <= node->world->now_ms)
            return true;
    return false;
}

static int64_t
next_due(const sim_node *node)
{
    int64_t due_ms = node->stage == NULL ? node->up_at_ms : node->wake_ms;

    for (const sim_message *message = node->messages; message != NULL && node->stage != NULL;
        message = message->next)
        due_ms = message->due_ms < due_ms ? message->due_ms : due_ms;
    for (const sim_job *job = node->jobs; job != NULL; job = job->next)
        due_ms = job->due_ms < due_ms ? job->due_ms : due_ms;
    return due_ms;
}

static void
advance_time(sim_world *world)
{
    int64_t due_ms = world->next_status_ms;

    for (int service = 1; service < WEIR_SERVICE_COUNT; service++) {
        const int64_t node_ms = next_due(&world->nodes[service]);
        due_ms = node_ms < due_ms ? node_ms : due_ms;
    }
    if (due_ms > world->now_ms)
        world->now_ms = due_ms;
}

/* A node that has something to do; NULL: none has. */
static sim_node *
choose_node(sim_world *world)
{
    uint64_t count = 0;
    sim_node *chosen = NULL;

    for (int service = 1; service < WEIR_SERVICE_COUNT; service++)
        if (has_due(&world->nodes[service]) && sim_random(world, ++count) == 0)
            chosen = &world->nodes[service];
    return chosen;
}

static void
step_nodes(sim_world *world)
{
    sim_node *node = choose_node(world);

    look_around(world);
    if (node == NULL) {
        advance_time(world);
        return;
    }
    if (node->stage == NULL)
        node_start(node);
    else
        run_round(node);
}

static void
inject_faults(sim_world *world)
{
    sim_node *node = &world->nodes[1 + sim_random(world, WEIR_SERVICE_COUNT - 1)];

    if (sim_chance(world, world->options.crash_per_mille) && node->stage != NULL)
        node_crash(node, false);
    if (sim_chance(world, world->options.wipe_per_mille) && node->service != WEIR_SERVICE_GATEWAY &&
        node->wipes < 2)
        node_crash(node, true);
    if (sim_chance(world, world->options.clock_jump_per_mille))
        node->clock_skew_ms = (int64_t)sim_random(world, 4000000) - 2000000;
}

/* ---- the run ---- */

sim_world *
sim_create(const sim_options *options)
{
    sim_world *world = calloc(1, sizeof *world);

    world->options = *options;
    world->rng.state = options->seed;
    world->now_ms = 1800000000000;
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++) {
        sim_node *node = &world->nodes[service];
        node->world = world;
        node->service = (weir_service_id)service;
        node->store = weir_store_mem_create();
    }
    return world;
}

void
sim_destroy(sim_world **world_p)
{
    sim_world *world = *world_p;

    for (int service = 1; service < WEIR_SERVICE_COUNT; service++) {
        sim_node *node = &world->nodes[service];
        node_stop(node);
        drop_messages(node);
        weir_store_close(&node->store);
    }
    sim_client_end(world);
    free(world);
    *world_p = NULL;
}

static void
run_quiet(sim_world *world)
{
    char why[256] = "";

    world->quiet = true;
    sim_trace(world, "quiet", 0, 0);
    for (uint32_t i = 0; i < QUIET_STEPS_MAX && world->failure[0] == 0; i++) {
        world->step++;
        if (i % 4 == 0)
            sim_client_step(world);
        step_nodes(world);
        if (i % 64 == 0 && sim_client_is_done(world) && sim_is_settled(world, why, sizeof why))
            return;
    }
    sim_fail(world, "not settled after a quiet time: %s", why);
}

bool
sim_run(sim_world *world)
{
    sim_client_begin(world);
    while (world->step < world->options.steps && world->failure[0] == 0) {
        world->step++;
        inject_faults(world);
        if (sim_random(world, 5) == 0)
            sim_client_step(world);
        step_nodes(world);
        if (world->step % 16 == 0)
            sim_check_now(world);
    }
    if (world->failure[0] == 0)
        run_quiet(world);
    if (world->failure[0] == 0)
        sim_check_end(world);
    return world->failure[0] == 0;
}
