/*
 * faults.c - what goes wrong, and when.
 */
#include <stdio.h>

#include "tests/sim/sim.h"

enum { DAY_MS = 86400000, IDLE_WAKE_MS = 1000, STORE_CALLS_MAX = 40, RESTORES_MAX = 2 };

static sim_node *
any_node(sim_world *world)
{
    return &world->nodes[1 + sim_random(world, WEIR_SERVICE_COUNT - 1)];
}

/* ---- links ---- */

bool
sim_link_is_cut(const sim_world *world, weir_link_kind kind, bool is_answer)
{
    return world->cut_until_ms[kind][is_answer] > world->now_ms;
}

static void
cut_link(sim_world *world, int kind, uint64_t directions, int64_t until_ms)
{
    for (int direction = 0; direction < 2; direction++)
        if ((directions >> direction & 1) != 0)
            world->cut_until_ms[kind][direction] = until_ms;
}

/* Some links, or all of one service, in one direction or both. */
static void
cut_some(sim_world *world)
{
    const int64_t until_ms = world->now_ms + 1 + (int64_t)sim_random(world, world->options.cut_ms);
    const uint64_t directions = 1 + sim_random(world, 3);
    const bool is_service = sim_random(world, 2) == 0;
    const weir_service_id service = any_node(world)->service;

    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        const weir_link_spec *spec = weir_link_spec_of((weir_link_kind)kind);
        const bool touches = spec->from == service || spec->to == service;

        if (is_service ? touches : sim_random(world, 3) == 0)
            cut_link(world, kind, directions, until_ms);
    }
    if (is_service)
        world->away_until_ms[service] = until_ms;
    world->faults[SIM_FAULT_CUT]++;
    sim_trace(world, "cut", is_service ? (uint64_t)service : 0, directions);
}

/* ---- processes ---- */

static void
pause_node(sim_world *world)
{
    sim_node *node = any_node(world);

    node->paused_until_ms = world->now_ms + 1 + (int64_t)sim_random(world, world->options.pause_ms);
    world->faults[SIM_FAULT_PAUSE]++;
    sim_trace(world, "pause", (uint64_t)node->service, 0);
}

/* Seconds, or as far as a clock may go, ahead or back, or to the right time. */
static int64_t
new_skew(sim_world *world)
{
    const int64_t most =
        sim_random(world, 2) == 0 ? 20000 : (int64_t)world->options.clock_days * DAY_MS;
    const int64_t skew = (int64_t)sim_random(world, (uint64_t)most);

    switch (sim_random(world, 4)) {
    case 0:
        return 0;
    case 1:
        return -skew;
    default:
        return skew;
    }
}

/* A shell wakes within a second, whatever its clock says. */
static void
set_clock(sim_node *node, int64_t skew_ms)
{
    const int64_t latest_ms = node->world->now_ms + IDLE_WAKE_MS;

    node->clock_skew_ms = skew_ms;
    if (node->wake_ms > latest_ms)
        node->wake_ms = latest_ms;
    sim_trace(node->world, "clock", (uint64_t)node->service, (uint64_t)skew_ms);
}

static void
jump_clock(sim_world *world)
{
    set_clock(any_node(world), new_skew(world));
    world->faults[SIM_FAULT_CLOCK]++;
}

/* ---- disks ---- */

/* The next look of its shell finds the disk low, or not any more. */
static void
fill_disk(sim_world *world)
{
    sim_node *node = any_node(world);

    node->disk_low_until_ms = world->now_ms + 1 + (int64_t)sim_random(world, 20000);
    node->wake_ms = world->now_ms;
    world->faults[SIM_FAULT_DISK]++;
    sim_trace(world, "disk", (uint64_t)node->service, 0);
}

/* It refuses a write, and the process does not open it before there is room again. */
static void
overfill_disk(sim_world *world)
{
    sim_node *node = any_node(world);

    if (node->stage == NULL)
        return;
    sim_node_end(node, SIM_END_POWER);
    node->up_at_ms = world->now_ms + (int64_t)sim_random(world, 20000);
    world->faults[SIM_FAULT_DISK]++;
}

void
sim_faults_arm(sim_node *node)
{
    sim_world *world = node->world;

    if (world->quiet || !sim_chance(world, world->options.store_error))
        return;
    weir_store_mem_fail_after(node->store, 1 + (uint32_t)sim_random(world, STORE_CALLS_MAX));
    world->faults[SIM_FAULT_STORE]++;
}

/* Whatever was planned for this round is over; a store that failed stays so until its process has
 * ended. */
void
sim_faults_disarm(sim_node *node)
{
    if (!node->world->quiet && node->world->options.store_error > 0)
        weir_store_mem_fail_after(node->store, 0);
}

/* ---- volumes ---- */

static void
lose_volume(sim_world *world, sim_end how)
{
    sim_node *node = any_node(world);

    if (node->service == WEIR_SERVICE_GATEWAY || world->losses >= world->options.losses_max ||
        (how == SIM_END_ROLLBACK && node->backup == NULL))
        return;
    world->losses++;
    sim_node_end(node, how);
}

/* A copy that a later rollback brings back. */
static void
copy_volume(sim_world *world)
{
    sim_node *node = any_node(world);

    if (node->service == WEIR_SERVICE_GATEWAY)
        return;
    weir_store_close(&node->backup);
    node->backup = weir_store_mem_clone(node->store);
    sim_trace(world, "copy", (uint64_t)node->service, 0);
}

/* Everything is stopped; the inner volumes come back as they were, each at a moment of its own, or
 * new.  The gateway was copied last: whatever came after that copy is gone everywhere, so the
 * moment of the restore may as well be that of the copy. */
static void
restore_all(sim_world *world)
{
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++) {
        sim_node *node = &world->nodes[service];

        if (service == WEIR_SERVICE_GATEWAY)
            sim_node_end(node, SIM_END_POWER);
        else
            sim_node_end(node, node->backup != NULL ? SIM_END_ROLLBACK : SIM_END_WIPE);
    }
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++)
        sim_node_drop_messages(&world->nodes[service]);
    for (size_t i = 0; i < sizeof world->restored_id; i++)
        world->restored_id[i] = (uint8_t)sim_random(world, 256);
    world->losses += WEIR_SERVICE_COUNT - 2;
    world->restores++;
    world->faults[SIM_FAULT_RESTORE]++;
    sim_trace(world, "restore", world->restores, 0);
}

/* ---- all of them ---- */

static void
end_someone(sim_world *world, sim_end how)
{
    sim_node *node = any_node(world);

    if (node->stage != NULL)
        sim_node_end(node, how);
}

void
sim_faults_inject(sim_world *world)
{
    const sim_options *options = &world->options;

    if (sim_chance(world, options->cut))
        cut_some(world);
    if (sim_chance(world, options->crash))
        end_someone(world, SIM_END_POWER);
    if (sim_chance(world, options->kill))
        end_someone(world, SIM_END_KILL);
    if (sim_chance(world, options->pause))
        pause_node(world);
    if (sim_chance(world, options->clock))
        jump_clock(world);
    if (sim_chance(world, options->disk_low))
        fill_disk(world);
    if (sim_chance(world, options->disk_full))
        overfill_disk(world);
    if (sim_chance(world, options->wipe))
        lose_volume(world, SIM_END_WIPE);
    if (options->rollback + options->restore > 0 && sim_chance(world, 15))
        copy_volume(world);
    if (options->restore > 0 && world->restores < RESTORES_MAX &&
        sim_chance(world, options->restore))
        restore_all(world);
    if (sim_chance(world, options->rollback))
        lose_volume(world, SIM_END_ROLLBACK);
    if (sim_chance(world, options->outage)) {
        world->outage_until_ms = world->now_ms + (int64_t)sim_random(world, 60000);
        world->faults[SIM_FAULT_OUTAGE]++;
    }
}

void
sim_faults_end(sim_world *world)
{
    memset(world->cut_until_ms, 0, sizeof world->cut_until_ms);
    memset(world->away_until_ms, 0, sizeof world->away_until_ms);
    world->outage_until_ms = 0;
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++) {
        sim_node *node = &world->nodes[service];

        node->paused_until_ms = 0;
        if (node->disk_low_until_ms > 0)
            node->wake_ms = world->now_ms;
        node->disk_low_until_ms = 0;
        if (sim_random(world, 2) == 0)
            set_clock(node, 0);
    }
}
