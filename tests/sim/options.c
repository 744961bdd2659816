/*
 * options.c - see options.h.
 */
#include "tests/sim/options.h"

#include "common/base/random.h"

static uint32_t
below(weir_rng *rng, uint32_t bound)
{
    return (uint32_t)weir_rng_below(rng, bound);
}

/* 1 .. most in one seed of `every`, else 0. */
static uint32_t
maybe(weir_rng *rng, uint32_t every, uint32_t most)
{
    const uint32_t value = 1 + below(rng, most);

    return below(rng, every) == 0 ? value : 0;
}

static void
derive_network(weir_rng *rng, sim_options *options)
{
    options->drop = maybe(rng, 3, 30);
    options->duplicate = maybe(rng, 3, 30);
    options->delay_ms = maybe(rng, 3, 5000);
    options->in_order = maybe(rng, 3, 1);
    options->cut = maybe(rng, 4, 12);
    options->cut_ms = 100 + below(rng, 30000);
}

static void
derive_processes(weir_rng *rng, sim_options *options)
{
    options->crash = maybe(rng, 3, 20);
    options->kill = maybe(rng, 4, 20);
    options->crash_mid = maybe(rng, 3, 15);
    options->down_ms = 1 + below(rng, below(rng, 4) == 0 ? 60000 : 3000);
    options->pause = maybe(rng, 5, 8);
    options->pause_ms = 100 + below(rng, 120000);
    options->clock = maybe(rng, 5, 8);
    options->clock_days = below(rng, 2) == 0 ? 365 : 1;
}

static void
derive_disks(weir_rng *rng, sim_options *options)
{
    options->disk_low = maybe(rng, 6, 8);
    options->disk_full = maybe(rng, 8, 4);
    options->store_error = maybe(rng, 6, 8);
    options->wipe = maybe(rng, 4, 5);
    options->rollback = maybe(rng, 4, 6);
    options->losses_max = below(rng, 3) == 0 ? 1 : 1 + below(rng, 4);
}

static void
derive_work(weir_rng *rng, sim_options *options)
{
    options->embed_error = maybe(rng, 2, 30);
    options->outage = maybe(rng, 6, 8);
    options->collections = 1 + below(rng, 3);
    options->documents = 1 + below(rng, 4);
    options->ops = 6 + below(rng, 40);
    options->pace = 4 + below(rng, 30);
    options->deletes = maybe(rng, 2, 25);
    options->retries = maybe(rng, 2, 25);
    options->learns = maybe(rng, 3, 15);
    options->waits = maybe(rng, 4, 10);
    options->repeats = maybe(rng, 3, 10);
    options->bad = maybe(rng, 2, 40);
    options->poison = maybe(rng, 5, 20);
    options->large = maybe(rng, 2, 40);
    options->huge = maybe(rng, 20, 10);
    options->same = maybe(rng, 3, 30);
}

static void
derive_limits(weir_rng *rng, sim_options *options)
{
    options->credit = 1 + below(rng, below(rng, 2) == 0 ? 4 : 64);
    options->in_flight = 1 + below(rng, 6);
    options->in_flight_gateway = maybe(rng, 3, 4);
    options->events = 1 + below(rng, 10);
    options->job_ms = 1 + below(rng, below(rng, 3) == 0 ? 6000 : 1500);
}

sim_options
sim_options_of(uint64_t seed)
{
    weir_rng rng = { .state = seed ^ 0x5eed };
    sim_options options = { .seed = seed, .steps = 250 + below(&rng, 550) };

    derive_network(&rng, &options);
    derive_processes(&rng, &options);
    derive_disks(&rng, &options);
    derive_work(&rng, &options);
    derive_limits(&rng, &options);
    options.restore = maybe(&rng, 6, 4);
    return options;
}

void
sim_options_lose(sim_options *options)
{
    weir_rng rng = { .state = options->seed ^ 0x1055e5 };

    options->rollback = 3 + below(&rng, 10);
    options->losses_max = 2 + below(&rng, 6);
    options->bad = 10 + below(&rng, 40);
}

void
sim_options_print(FILE *out, const sim_options *options)
{
    fprintf(out, "seed=%llu", (unsigned long long)options->seed);
#define PRINT(name_, text_)  \
    if (options->name_ != 0) \
        fprintf(out, " %s=%u", #name_, options->name_);
    SIM_OPTION_MAP(PRINT)
#undef PRINT
    fputc('\n', out);
}
