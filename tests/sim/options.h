/*
 * options.h - what a seed stands for: which kinds of faults it turns on, how hard, and what the
 * clients do.
 *
 * Every kind is on in some seeds and off in most (swarm testing): a run in which everything happens
 * at once hides what two faults alone would show.  One table names all of them, so that each is
 * printed with its seed.
 */
#ifndef WEIR_TESTS_SIM_OPTIONS_H
#define WEIR_TESTS_SIM_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

/* Name, and what it is.  "per mille" is a chance per step of the noisy phase. */
#define SIM_OPTION_MAP(X)                                                                \
    X(steps, "rounds of the noisy phase")                                                \
    X(drop, "percent of messages that are lost")                                         \
    X(duplicate, "percent of messages that come twice")                                  \
    X(delay_ms, "greatest delay of a message")                                           \
    X(in_order, "1: messages of a link keep their order")                                \
    X(cut, "per mille: a set of links is cut for a while")                               \
    X(cut_ms, "longest cut")                                                             \
    X(crash, "per mille: a process ends and its unsynced tail is cut off")               \
    X(kill, "per mille: a process ends and what it wrote stays")                         \
    X(crash_mid, "per mille of rounds: a process ends before or right after its commit") \
    X(down_ms, "longest time that a process is down")                                    \
    X(pause, "per mille: a process stands still")                                        \
    X(pause_ms, "longest stand-still")                                                   \
    X(clock, "per mille: a wall clock jumps")                                            \
    X(clock_days, "how far a clock may jump")                                            \
    X(disk_low, "per mille: a disk is below its watermark for a while")                  \
    X(disk_full, "per mille: a disk refuses a write, and the process ends")              \
    X(store_error, "per mille: a call of the store fails")                               \
    X(wipe, "per mille: a volume is lost")                                               \
    X(rollback, "per mille: a volume is an older one of its own again")                  \
    X(restore, "per mille: all is stopped, and comes back as a restore leaves it")       \
    X(losses_max, "volumes that may be lost or rolled back in all")                      \
    X(embed_error, "percent of embeddings that fail for a moment")                       \
    X(outage, "per mille: the provider of embeddings is away for a while")               \
    X(collections, "collections in use")                                                 \
    X(documents, "documents in use, in each collection")                                 \
    X(ops, "what clients do, in all")                                                    \
    X(pace, "percent of steps in which a client speaks")                                 \
    X(deletes, "percent of ops")                                                         \
    X(retries, "percent of ops")                                                         \
    X(learns, "percent of ops: a read that the indexer is asked for")                    \
    X(waits, "percent of ops")                                                           \
    X(repeats, "percent of client steps: an answered request is sent again")             \
    X(bad, "percent of bodies that can never be READY")                                  \
    X(poison, "percent of bodies that kill the process which works on them")             \
    X(large, "percent of bodies with several rows of chunks")                            \
    X(huge, "percent of bodies that go by reference")                                    \
    X(same, "percent of bodies that are those of the revision before")                   \
    X(credit, "most rows outstanding on a link")                                         \
    X(in_flight, "jobs at once in a service")                                            \
    X(in_flight_gateway, "revisions PROCESSING at once; 0: as credit allows")            \
    X(events, "most events of a round")                                                  \
    X(job_ms, "longest job")

typedef struct sim_options {
    uint64_t seed;
#define SIM_OPTION_FIELD(name_, text_) uint32_t name_;
    SIM_OPTION_MAP(SIM_OPTION_FIELD)
#undef SIM_OPTION_FIELD
} sim_options;

sim_options sim_options_of(uint64_t seed);
/* The same run with many volumes rolled back, and bodies that fail, whose promises that forgets. */
void sim_options_lose(sim_options *options);
/* One line: those that are not 0. */
void sim_options_print(FILE *out, const sim_options *options);

#endif
