/*
 * world.c - nodes, rounds, messages and time of the simulator.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "tests/sim/sim.h"

enum {
    QUIET_STEPS_MAX = 200000,
    QUIET_MS_MAX = 2 * 3600 * 1000, /* every backoff is shorter, all of them together too */
    IDLE_WAKE_MS = 1000,            /* a shell runs a round at least as often */
};

uint64_t
sim_random(sim_world *world, uint64_t bound)
{
    return weir_rng_below(&world->rng, bound);
}

bool
sim_chance(sim_world *world, uint32_t per_mille)
{
    return per_mille > 0 && sim_random(world, 1000) < per_mille;
}

void
sim_trace(sim_world *world, const char *what, uint64_t a, uint64_t b)
{
    const uint64_t words[] = { world->trace, a, b, (uint64_t)world->now_ms };

    world->trace =
        weir_hash64(weir_bytes_of(words, sizeof words), weir_hash64(weir_bytes_str(what), 0));
    if (world->verbose)
        fprintf(stderr, "%6u %8lld %-12s %llu %llu\n", world->step,
            (long long)(world->now_ms % 100000000), what, (unsigned long long)a,
            (unsigned long long)b);
}

void
sim_fail(sim_world *world, const char *invariant, const char *format, ...)
{
    va_list arguments;

    if (world->failure[0] != 0)
        return;
    world->invariant = invariant;
    va_start(arguments, format);
    vsnprintf(world->failure, sizeof world->failure, format, arguments);
    va_end(arguments);
}

/* ---- what leaves a stage ---- */

static sim_node *
receiver_of(sim_world *world, const sim_node *from, uint32_t link)
{
    const weir_link_spec *spec = weir_link_spec_of(weir_link_kind_of(link));

    return &world->nodes[spec->from == from->service ? spec->to : spec->from];
}

static bool
is_answer_of(const sim_node *from, uint32_t link)
{
    return weir_link_spec_of(weir_link_kind_of(link))->to == from->service;
}

/* With links in order a message waits for those before it. */
static int64_t
due_of(sim_world *world, const sim_node *to, uint32_t link, bool is_answer)
{
    const uint32_t delay_max = world->quiet ? 2 : world->options.delay_ms + 2;
    int64_t due_ms = world->now_ms + (int64_t)sim_random(world, delay_max);

    if (world->options.in_order == 0)
        return due_ms;
    for (const sim_message *message = to->messages; message != NULL; message = message->next)
        if (message->link == link && message->is_answer == is_answer && message->due_ms > due_ms)
            due_ms = message->due_ms;
    return due_ms;
}

static void
put_message(sim_world *world, sim_node *to, uint32_t link, bool is_answer, weir_bytes frame)
{
    sim_message *message = malloc(sizeof *message + frame.size);

    message->due_ms = due_of(world, to, link, is_answer);
    message->number = world->next_message++;
    message->link = link;
    message->is_answer = is_answer;
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
    const bool is_answer = is_answer_of(node, link);

    if (sim_link_is_cut(world, weir_link_kind_of(link), is_answer) ||
        (!world->quiet && sim_random(world, 100) < world->options.drop)) {
        world->messages_dropped++;
        return sim_random(world, 2) == 0; /* lost under way, or not even taken */
    }
    put_message(world, to, link, is_answer, frame);
    if (!world->quiet && sim_random(world, 100) < world->options.duplicate)
        put_message(world, to, link, is_answer, frame);
    return true;
}

static void
env_job(void *ud, weir_job *job)
{
    sim_node *node = ud;
    sim_world *world = node->world;
    sim_job *entry = malloc(sizeof *entry);

    entry->job = job;
    entry->due_ms =
        world->now_ms + (int64_t)sim_random(world, world->quiet ? 5 : world->options.job_ms);
    entry->next = node->jobs;
    node->jobs = entry;
}

static void
env_reply(void *ud, uint64_t reply_to, const weir_error *error, const ProtobufCMessage *response)
{
    sim_node *node = ud;

    sim_answer(node->world, reply_to, error, response);
}

/* ---- start and end of a process ---- */

int64_t
sim_clock_of(const sim_node *node)
{
    return node->world->now_ms + node->clock_skew_ms;
}

/* wake_ms as the node's own clock says it. */
static void
set_wake(sim_node *node, int64_t wake_ms)
{
    node->wake_ms = wake_ms == INT64_MAX ? wake_ms : wake_ms - node->clock_skew_ms;
}

static bool
may_be_planned(const sim_node *node, weir_code code)
{
    return code == WEIR_STORE_IO && !node->world->quiet && node->world->options.store_error > 0;
}

/* A process that cannot go on exits; only one that was meant to meet a failing store may. */
static void
break_down(sim_node *node, weir_code code, const weir_error *error)
{
    sim_world *world = node->world;

    if (!may_be_planned(node, code))
        sim_fail(world, "exit", "%s broke: %s", weir_service_name(node->service), error->message);
    else
        sim_node_end(node, SIM_END_POWER);
}

static weir_code
create_stage(sim_node *node, weir_error *error)
{
    sim_world *world = node->world;
    weir_stage_options options = { .service = node->service,
        .store = node->store,
        .env = { .ud = node, .reply = env_reply, .job = env_job, .send = env_send },
        .credit_rows_max = world->options.credit };

    for (size_t i = 0; i < sizeof options.identity_random; i++)
        options.identity_random[i] = (uint8_t)sim_random(world, 256);
    options.ops = sim_core_create(node);
    options.core = node->core;
    return weir_stage_create(&options, sim_clock_of(node), weir_rng_next(&world->rng), &node->stage,
        error);
}

static void
node_start(sim_node *node)
{
    sim_world *world = node->world;
    weir_error error = { .code = WEIR_OK };
    int64_t wake_ms = INT64_MAX;

    sim_trace(world, "start", (uint64_t)node->service, 0);
    sim_faults_arm(node);
    weir_code code = create_stage(node, &error);
    node->told_disk_low = false;
    /* A crash in the middle of a start: it is committed, and nothing has left. */
    if (code == WEIR_OK && !world->quiet && sim_chance(world, world->options.crash_mid)) {
        sim_faults_disarm(node);
        sim_node_end(node, SIM_END_POWER);
        return;
    }
    if (code == WEIR_OK)
        code = weir_stage_release(node->stage, &wake_ms, &error);
    sim_faults_disarm(node);
    if (code != WEIR_OK) {
        if (node->stage == NULL)
            sim_core_destroy(node);
        break_down(node, code, &error);
        return;
    }
    set_wake(node, wake_ms);
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

void
sim_node_drop_messages(sim_node *node)
{
    while (node->messages != NULL) {
        sim_message *message = node->messages;
        node->messages = message->next;
        free(message);
    }
}

void
sim_node_stop(sim_node *node)
{
    if (node->stage == NULL)
        return;
    drop_jobs(node);
    weir_stage_destroy(&node->stage);
    sim_core_destroy(node);
}

static void
change_volume(sim_node *node, sim_end how)
{
    sim_world *world = node->world;

    node->was_put_back = node->was_put_back || how == SIM_END_WIPE || how == SIM_END_ROLLBACK;
    switch (how) {
    case SIM_END_KILL:
        weir_store_mem_fail_after(node->store, 0);
        world->faults[SIM_FAULT_KILL]++;
        break;
    case SIM_END_POWER:
        weir_store_mem_power_cut(node->store, weir_rng_next(&world->rng));
        world->faults[SIM_FAULT_CRASH]++;
        break;
    case SIM_END_WIPE:
        weir_store_mem_wipe(node->store);
        world->faults[SIM_FAULT_WIPE]++;
        break;
    case SIM_END_ROLLBACK:
        weir_store_close(&node->store);
        node->store = weir_store_mem_clone(node->backup);
        weir_store_mem_power_cut(node->store, weir_rng_next(&world->rng));
        world->faults[SIM_FAULT_ROLLBACK]++;
        break;
    }
}

void
sim_node_end(sim_node *node, sim_end how)
{
    sim_world *world = node->world;

    sim_trace(world, "end", (uint64_t)node->service, (uint64_t)how);
    sim_node_stop(node);
    change_volume(node, how);
    node->must_die = false;
    /* What was on the way to it is mostly gone with its sockets. */
    if (sim_random(world, 4) != 0)
        sim_node_drop_messages(node);
    node->up_at_ms = world->now_ms + (int64_t)sim_random(world, world->options.down_ms);
    if (node->service == WEIR_SERVICE_GATEWAY)
        sim_client_gateway_crashed(world);
}

/* ---- rounds ---- */

/* A message that is due, any of them: links may reorder. */
static sim_message **
choose_message(sim_node *node)
{
    sim_world *world = node->world;
    uint64_t due_count = 0;
    sim_message **chosen = NULL;

    for (sim_message **at = &node->messages; *at != NULL; at = &(*at)->next)
        if ((*at)->due_ms <= world->now_ms && sim_random(world, ++due_count) == 0)
            chosen = at;
    if (chosen == NULL || world->options.in_order == 0)
        return chosen;
    const uint32_t link = (*chosen)->link;
    for (sim_message **at = &node->messages; *at != NULL; at = &(*at)->next)
        if ((*at)->link == link && (*at)->number < (*chosen)->number)
            chosen = at;
    return chosen;
}

static sim_message *
take_message(sim_node *node)
{
    sim_message **chosen = choose_message(node);

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
give_job(sim_node *node, sim_job *job, weir_error *error)
{
    weir_code code = WEIR_OK;

    sim_trace(node->world, "job", (uint64_t)node->service, job->job->kind);
    node->must_die = sim_job_kills(node, job->job);
    if (!node->must_die)
        job->job->run(job->job);
    if (node->must_die) {
        job->job->destroy(job->job);
        node->world->faults[SIM_FAULT_POISON]++;
    } else {
        code = weir_stage_on_job(node->stage, job->job, error);
    }
    free(job);
    return code;
}

static weir_code
give_event(sim_node *node, weir_error *error)
{
    sim_world *world = node->world;
    sim_job *job = sim_random(world, 2) == 0 ? take_job(node) : NULL;

    if (job != NULL)
        return give_job(node, job, error);
    sim_message *message = take_message(node);
    if (message == NULL)
        return WEIR_OK;
    sim_trace(world, "frame", message->link,
        weir_hash64(weir_bytes_of(message->bytes, message->size), 0));
    const weir_code code = weir_stage_on_frame(node->stage, message->link,
        weir_bytes_of(message->bytes, message->size), error);
    free(message);
    return code;
}

/* As the shell does in each round. */
static void
look_at_disk(sim_node *node)
{
    node->disk_low = node->world->now_ms < node->disk_low_until_ms;
    if (node->disk_low != node->told_disk_low)
        weir_stage_set_disk_low(node->stage, node->disk_low);
    node->told_disk_low = node->disk_low;
}

static void
begin_round(sim_node *node)
{
    weir_stage_begin(node->stage, sim_clock_of(node), weir_rng_next(&node->world->rng));
    look_at_disk(node);
    sim_faults_arm(node);
}

static void
end_round(sim_node *node, weir_code code, weir_error *error)
{
    sim_world *world = node->world;
    int64_t wake_ms = INT64_MAX;

    if (code == WEIR_OK)
        code = weir_stage_on_time(node->stage, error);
    const bool dies = !world->quiet && sim_chance(world, world->options.crash_mid);
    const bool dies_before = dies && sim_random(world, 2) == 0;
    if (code == WEIR_OK && !dies_before && !node->must_die)
        code = weir_stage_commit(node->stage, error);
    world->rounds++;
    if (code == WEIR_OK && (dies || node->must_die)) {
        sim_faults_disarm(node);
        sim_node_end(node, sim_random(world, 2) == 0 ? SIM_END_POWER : SIM_END_KILL);
        return;
    }
    if (code == WEIR_OK)
        code = weir_stage_release(node->stage, &wake_ms, error);
    sim_faults_disarm(node);
    set_wake(node, wake_ms);
    if (code != WEIR_OK)
        break_down(node, code, error);
    else if (node->service == WEIR_SERVICE_GATEWAY)
        sim_history_follow(world);
}

static void
run_round(sim_node *node)
{
    weir_error error = { .code = WEIR_OK };
    weir_code code = WEIR_OK;
    const uint64_t events = 1 + sim_random(node->world, node->world->options.events);

    begin_round(node);
    for (uint64_t i = 0;
        i < events && code == WEIR_OK && !node->must_die && !weir_stage_is_full(node->stage); i++)
        code = give_event(node, &error);
    end_round(node, code, &error);
}

void
sim_request(sim_world *world, sim_node *node, uint32_t kind, uint64_t reply_to, const char *tenant,
    const ProtobufCMessage *message)
{
    weir_error error = { .code = WEIR_OK };
    const weir_request request = { .kind = kind,
        .reply_to = reply_to,
        .tenant = tenant,
        .message = message };

    sim_trace(world, "request", kind, reply_to);
    begin_round(node);
    end_round(node, weir_stage_on_request(node->stage, &request, &error), &error);
}

/* ---- time ---- */

static bool
is_paused(const sim_node *node)
{
    return node->paused_until_ms > node->world->now_ms;
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
    return due_ms > node->paused_until_ms ? due_ms : node->paused_until_ms;
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
        if (next_due(&world->nodes[service]) <= world->now_ms && sim_random(world, ++count) == 0)
            chosen = &world->nodes[service];
    return chosen;
}

static void
step_nodes(sim_world *world)
{
    sim_look_around(world);
    sim_node *node = choose_node(world);

    if (node == NULL) {
        advance_time(world);
        return;
    }
    if (node->stage == NULL)
        node_start(node);
    else if (!is_paused(node))
        run_round(node);
}

/* ---- the run ---- */

sim_world *
sim_create(const sim_options *options)
{
    sim_world *world = calloc(1, sizeof *world);

    world->options = *options;
    world->rng.state = options->seed;
    world->now_ms = 1800000000000;
    world->change_no = 1;
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
        sim_node_stop(node);
        sim_node_drop_messages(node);
        weir_store_close(&node->store);
        weir_store_close(&node->backup);
    }
    sim_client_end(world);
    free(world);
    *world_p = NULL;
}

static void
run_quiet(sim_world *world)
{
    char why[256] = "the clients are not done";

    world->quiet = true;
    world->quiet_from_ms = world->now_ms;
    sim_trace(world, "quiet", 0, 0);
    sim_faults_end(world);
    for (uint32_t i = 0; i < QUIET_STEPS_MAX && world->failure[0] == 0; i++) {
        world->step++;
        if (i % 4 == 0)
            sim_client_step(world);
        step_nodes(world);
        if (i % 64 == 63)
            sim_check_now(world);
        if (i % 32 == 0 && sim_client_is_done(world) && sim_is_settled(world, why, sizeof why))
            return;
        if (world->now_ms - world->quiet_from_ms > QUIET_MS_MAX)
            break;
    }
    sim_fail(world, "I2", "not settled after a quiet time of %lld s: %s",
        (long long)(world->now_ms - world->quiet_from_ms) / 1000, why);
}

bool
sim_run(sim_world *world)
{
    sim_client_begin(world);
    while (world->step < world->options.steps && world->failure[0] == 0) {
        world->step++;
        sim_faults_inject(world);
        if (sim_random(world, 100) < world->options.pace)
            sim_client_step(world);
        step_nodes(world);
        if (world->step % 8 == 0)
            sim_check_now(world);
    }
    if (world->failure[0] == 0)
        run_quiet(world);
    if (world->failure[0] == 0)
        sim_check_end(world);
    return world->failure[0] == 0;
}
