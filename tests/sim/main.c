/*
 * main.c - weir-sim: run seeds, report those that break a promise with everything that they stand
 * for, and say how fast.
 *
 *   weir-sim [--losses] [--from N] [--seeds N] [--failures N] [--digest] [--seed N [--verbose]]
 *            [--plant NAME | --list-plants]                     (weir-sim-plants only)
 *
 * --losses rolls volumes back in every seed, many times.
 * --plant breaks a rule on purpose (common/base/plant.h, common/link/mutant.h): a seed must fail.
 * --digest prints the hash of the whole trace of all seeds: two runs of the same program print the
 * same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "tests/sim/plants.h"
#include "tests/sim/sim.h"

typedef struct totals {
    uint64_t seeds, failed, digest;
    uint64_t rounds, messages, dropped;
    uint64_t faults[SIM_FAULT_COUNT];
} totals;

typedef struct arguments {
    uint64_t from, seeds, failures_max;
    bool verbose, digest, losses;
} arguments;

static const char *const fault_names[SIM_FAULT_COUNT] = {
    [SIM_FAULT_CRASH] = "power cuts",
    [SIM_FAULT_KILL] = "kills",
    [SIM_FAULT_WIPE] = "lost volumes",
    [SIM_FAULT_ROLLBACK] = "rolled-back volumes",
    [SIM_FAULT_RESTORE] = "restores",
    [SIM_FAULT_CUT] = "partitions",
    [SIM_FAULT_PAUSE] = "pauses",
    [SIM_FAULT_CLOCK] = "clock jumps",
    [SIM_FAULT_DISK] = "full disks",
    [SIM_FAULT_STORE] = "failing stores",
    [SIM_FAULT_OUTAGE] = "outages",
    [SIM_FAULT_POISON] = "poisoned jobs",
};

static void
add(totals *sum, const sim_world *world, bool ok)
{
    sum->seeds++;
    sum->failed += !ok;
    sum->digest = weir_hash64(weir_bytes_of(&world->trace, sizeof world->trace), sum->digest);
    sum->rounds += world->rounds;
    sum->messages += world->messages_sent;
    sum->dropped += world->messages_dropped;
    for (int fault = 0; fault < SIM_FAULT_COUNT; fault++)
        sum->faults[fault] += world->faults[fault];
}

static void
report(const sim_world *world, const arguments *wanted)
{
    printf("seed %llu, step %u: %s: %s\n  ", (unsigned long long)world->options.seed, world->step,
        world->invariant, world->failure);
    sim_options_print(stdout, &world->options);
    printf("  repeat: weir-sim %s--seed %llu --verbose\n", wanted->losses ? "--losses " : "",
        (unsigned long long)world->options.seed);
    fflush(stdout);
}

static void
run_seed(uint64_t seed, const arguments *wanted, totals *sum)
{
    sim_options options = sim_options_of(seed);

    if (wanted->losses)
        sim_options_lose(&options);
    sim_world *world = sim_create(&options);
    sim_plants_seed(seed);
    world->verbose = wanted->verbose;
    if (wanted->verbose)
        sim_options_print(stdout, &options);
    const bool ok = sim_run(world);
    if (!ok)
        report(world, wanted);
    add(sum, world, ok);
    sim_destroy(&world);
}

static void
print_totals(const arguments *wanted, const totals *sum, int64_t took_ms)
{
    printf("seeds %llu..%llu: %llu failed; %llu rounds, %llu messages (%llu lost)",
        (unsigned long long)wanted->from, (unsigned long long)(wanted->from + sum->seeds - 1),
        (unsigned long long)sum->failed, (unsigned long long)sum->rounds,
        (unsigned long long)sum->messages, (unsigned long long)sum->dropped);
    for (int fault = 0; fault < SIM_FAULT_COUNT; fault++)
        printf(", %llu %s", (unsigned long long)sum->faults[fault], fault_names[fault]);
    if (wanted->digest)
        printf("; digest %016llx\n", (unsigned long long)sum->digest);
    else
        printf("; %lld ms, %lld seeds per minute\n", (long long)took_ms,
            (long long)((int64_t)sum->seeds * 60000 / took_ms));
}

static int
usage(void)
{
    fprintf(stderr,
        "usage: weir-sim [--losses] [--from N] [--seeds N] [--failures N] [--digest] "
        "[--seed N [--verbose]] [--plant NAME | --list-plants]\n");
    return 2;
}

static bool
parse(int argc, char **argv, arguments *wanted)
{
    for (int i = 1; i < argc; i++) {
        const bool has_value = i + 1 < argc;

        if (strcmp(argv[i], "--from") == 0 && has_value) {
            wanted->from = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0 && has_value) {
            wanted->seeds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--failures") == 0 && has_value) {
            wanted->failures_max = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && has_value) {
            wanted->from = strtoull(argv[++i], NULL, 10);
            wanted->seeds = 1;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            wanted->verbose = true;
        } else if (strcmp(argv[i], "--digest") == 0) {
            wanted->digest = true;
        } else if (strcmp(argv[i], "--losses") == 0) {
            wanted->losses = true;
        } else if (strcmp(argv[i], "--plant") == 0 && has_value) {
            if (!sim_plants_choose(argv[++i]))
                return false;
        } else if (strcmp(argv[i], "--list-plants") == 0) {
            sim_plants_list();
            exit(0);
        } else {
            return false;
        }
    }
    return wanted->seeds > 0;
}

int
main(int argc, char **argv)
{
    arguments wanted = { .from = 1, .seeds = 100, .failures_max = 5 };
    totals sum = { 0 };

    if (!parse(argc, argv, &wanted))
        return usage();
    weir_log_init("sim", true, wanted.verbose ? WEIR_LOG_DEBUG : WEIR_LOG_ERROR + 1);
    const int64_t begun_ms = weir_clock_mono_ms();
    while (sum.seeds < wanted.seeds && sum.failed < wanted.failures_max)
        run_seed(wanted.from + sum.seeds, &wanted, &sum);
    print_totals(&wanted, &sum, weir_clock_mono_ms() - begun_ms + 1);
    return sum.failed == 0 ? 0 : 1;
}
