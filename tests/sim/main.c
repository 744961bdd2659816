/*
 * main.c - weir-sim: run seeds, report the first that breaks a promise, and check that a seed
 * repeats itself.
 *
 *   weir-sim [--from N] [--seeds N] [--seed N [--verbose]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/sim/sim.h"

typedef struct totals {
    uint64_t rounds, messages, dropped, crashes, wipes;
} totals;

static uint64_t
run_seed(uint64_t seed, bool verbose, totals *sum, bool *ret_ok)
{
    sim_options options = sim_options_of(seed);
    options.verbose = verbose;
    sim_world *world = sim_create(&options);
    *ret_ok = sim_run(world);
    const uint64_t trace = world->trace;

    if (!*ret_ok)
        printf("seed %llu, step %u: %s\n  steps %u drop %u%% duplicate %u%% delay %u ms "
               "crash %u/1000 wipe %u/1000 "
               "clock %u/1000\n  repeat: weir-sim --seed %llu --verbose\n",
            (unsigned long long)seed, world->step, world->failure, options.steps,
            options.drop_percent, options.duplicate_percent, options.delay_ms_max,
            options.crash_per_mille, options.wipe_per_mille, options.clock_jump_per_mille,
            (unsigned long long)seed);
    sum->rounds += world->rounds;
    sum->messages += world->messages_sent;
    sum->dropped += world->messages_dropped;
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++) {
        sum->crashes += world->nodes[service].crashes;
        sum->wipes += world->nodes[service].wipes;
    }
    sim_destroy(&world);
    return trace;
}

int
main(int argc, char **argv)
{
    uint64_t from = 1;
    uint64_t seeds = 100;
    bool verbose = false;
    totals sum = { 0 };
    uint64_t failed = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--from") == 0 && i + 1 < argc) {
            from = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            seeds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            from = strtoull(argv[++i], NULL, 10);
            seeds = 1;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else {
            fprintf(stderr, "usage: weir-sim [--from N] [--seeds N] [--seed N [--verbose]]\n");
            return 2;
        }
    }
    weir_log_init("sim", true, verbose ? WEIR_LOG_DEBUG : WEIR_LOG_ERROR + 1);
    const int64_t begun_ms = weir_clock_mono_ms();
    for (uint64_t seed = from; seed < from + seeds && failed < 5; seed++) {
        bool ok = false;
        bool again = false;
        totals ignored = { 0 };
        const uint64_t trace = run_seed(seed, verbose, &sum, &ok);

        failed += !ok;
        if (ok && seed % 50 == 0 && run_seed(seed, false, &ignored, &again) != trace) {
            printf("seed %llu does not repeat itself\n", (unsigned long long)seed);
            failed++;
        }
    }
    const int64_t took_ms = weir_clock_mono_ms() - begun_ms + 1;
    printf("seeds %llu..%llu: %llu failed; %llu rounds, %llu messages (%llu lost), %llu crashes, "
           "%llu wiped volumes; "
           "%lld ms, %lld seeds per minute\n",
        (unsigned long long)from, (unsigned long long)(from + seeds - 1),
        (unsigned long long)failed, (unsigned long long)sum.rounds,
        (unsigned long long)sum.messages, (unsigned long long)sum.dropped,
        (unsigned long long)sum.crashes, (unsigned long long)sum.wipes, (long long)took_ms,
        (long long)((int64_t)seeds * 60000 / took_ms));
    return failed == 0 ? 0 : 1;
}
