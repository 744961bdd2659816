/*
 * Goal: a link keeps its promises whatever the network and the machines do, and a link with any one
 * rule broken does not pass. Method: one seed is one history: rows are appended while frames are
 * dropped, doubled, swapped, delayed and damaged, either end is killed with its unsynced tail cut
 * off, volumes are wiped or put back to an older copy.  Checked at every step: a row is settled
 * once and in order by one volume; an acknowledged row was settled; no alarm without a lost or
 * rolled-back volume.  Then the faults stop, and everything must be settled and acknowledged.
 *
 * This file is compiled with the link's own sources and WEIR_LINK_MUTANTS.  ADVERSARY_SEEDS and
 * ADVERSARY_FIRST set the range; a failure prints its seed.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/wire.h"
#include "pair.h"

link_mutant weir_link_mutant = LINK_MUTANT_NONE;

enum { STEPS = 250, ROWS_MAX = 4096, QUIET_TURNS = 600, QUEUE_MAX = 12 };

/* What A holds, as the world knows it; goes back with the volume. */
typedef struct timeline {
    uint64_t ids[ROWS_MAX]; /* by sequence number */
    uint64_t count;         /* committed: numbers 1 .. count */
    uint64_t base;          /* rows up to it were given up by a RESET */
} timeline;

typedef struct copy {
    weir_store *store;
    timeline rows;
    uint8_t store_id[WEIR_STORE_ID_SIZE];
} copy;

typedef struct world {
    pair link;
    timeline rows;
    uint64_t pending[ROWS_MAX]; /* appended in the open round */
    size_t pending_count;
    uint64_t next_id;
    uint64_t era;
    copy copy_a, copy_b;
    bool lost_a, lost_b; /* a volume was lost and nobody has decided about it */
    uint64_t acked_seen;
    unsigned losses_left;
    /* how often each fault comes, in 256ths */
    unsigned appetite, drop, twice, swap, damage, partition, crash, lose;
    uint64_t alarms, crashes, losses;
    const char *failed;
    char failed_text[200];
} world;

static void
fail_world(world *w, const char *format, ...)
{
    va_list arguments;

    if (w->failed != NULL)
        return;
    va_start(arguments, format);
    vsnprintf(w->failed_text, sizeof w->failed_text, format, arguments);
    va_end(arguments);
    w->failed = w->failed_text;
}

static bool
chance(world *w, unsigned of_256)
{
    return weir_rng_below(&w->link.rng, 256) < of_256;
}

static uint64_t
below(world *w, uint64_t bound)
{
    return weir_rng_below(&w->link.rng, bound);
}

static void
expect(world *w, weir_code code, const weir_error *error, const char *what)
{
    if (code != WEIR_OK)
        fail_world(w, "%s: %s: %s", what, weir_code_name(code), error->message);
}

/* ---- what must hold ---- */

/* Nothing is acknowledged that the receiver's volume has not settled; a lost one is excused until
 * the alarm. */
static void
check_acked(world *w)
{
    const uint64_t acked = pair_tx(&w->link).acked;

    for (uint64_t seq = w->acked_seen > w->rows.base ? w->acked_seen + 1 : w->rows.base + 1;
        seq <= acked; seq++) {
        if (seq > w->rows.count)
            fail_world(w, "row %llu is acknowledged, %llu exist", (unsigned long long)seq,
                (unsigned long long)w->rows.count);
        else if (!w->lost_b && !pair_has_effect(&w->link, w->rows.ids[seq]))
            fail_world(w, "row %llu is acknowledged and not settled", (unsigned long long)seq);
        if (w->failed != NULL)
            return;
    }
    if (acked > w->acked_seen)
        w->acked_seen = acked;
}

/* The sender judges, of both volumes. */
static bool
in_alarm(const world *w)
{
    return pair_tx(&w->link).state == WEIR_LINK_REGRESSED;
}

static void
check_alarm(world *w)
{
    if (in_alarm(w) && !w->lost_a && !w->lost_b)
        fail_world(w, "an alarm without a loss: %s%s", pair_tx(&w->link).alarm,
            pair_rx(&w->link).alarm);
}

/* Rows of the link in force are the sender's own, in order. */
static void
check_flight(world *w)
{
    const weir_link_tx_status tx = pair_tx(&w->link);
    const weir_link_rx_status rx = pair_rx(&w->link);

    if (w->lost_a || w->lost_b || rx.reset_era != w->era || tx.state == WEIR_LINK_REGRESSED)
        return;
    for (size_t i = 0; i < w->link.flight_count; i++) {
        const pair_flight *row = &w->link.flight[i];
        if (row->seq > w->rows.base &&
            (row->seq > w->rows.count || w->rows.ids[row->seq] != row->id))
            fail_world(w, "row %llu was delivered with the content of another",
                (unsigned long long)row->seq);
    }
}

static void
check(world *w)
{
    if (w->link.doubled > 0)
        fail_world(w, "a row was settled twice");
    check_alarm(w);
    check_flight(w);
    check_acked(w);
}

/* ---- the sender's machine ---- */

static void
commit_a(world *w)
{
    weir_error error = { 0 };

    expect(w, pair_commit_a(&w->link, &error), &error, "commit of A");
    for (size_t i = 0; i < w->pending_count; i++)
        w->rows.ids[++w->rows.count] = w->pending[i];
    w->pending_count = 0;
}

static void
start_a(world *w)
{
    weir_error error = { 0 };

    w->pending_count = 0;
    w->link.boot_from_volume = LINK_MUTANT(BOOT_FROM_VOLUME);
    expect(w, pair_start_a(&w->link, &error), &error, "start of A");
    w->acked_seen = w->failed == NULL ? pair_tx(&w->link).acked
                                      : 0; /* what the volume knows was checked before */
}

static void
crash_a(world *w)
{
    w->crashes++;
    pair_crash_a(&w->link);
    start_a(w);
}

static void
append(world *w)
{
    weir_error error = { 0 };
    uint64_t seq = 0;

    if (w->rows.count + w->pending_count + 2 >= ROWS_MAX)
        return;
    expect(w, pair_append(&w->link, ++w->next_id, &seq, &error), &error, "append");
    w->pending[w->pending_count++] = w->next_id;
    if (w->failed == NULL && seq != w->rows.count + w->pending_count)
        fail_world(w, "row %llu was given the number %llu",
            (unsigned long long)(w->rows.count + w->pending_count), (unsigned long long)seq);
}

static void
round_of_a(world *w)
{
    weir_error error = { 0 };

    for (uint64_t rows = chance(w, w->appetite) ? below(w, 4) : 0; rows > 0; rows--)
        append(w);
    if (chance(w, 64))
        expect(w, pair_pump_a(&w->link, &error), &error, "pump of A before its commit");
    if (chance(w, w->crash)) {
        crash_a(w);
        return;
    }
    commit_a(w);
    if (chance(w, 32))
        return; /* not pumped yet */
    expect(w, pair_pump_a(&w->link, &error), &error, "pump of A");
}

static void
trim(world *w)
{
    weir_error error = { 0 };

    expect(w, weir_link_tx_trim(w->link.tx, true, &error), &error, "trim");
}

/* ---- the receiver's machine ---- */

static void
start_b(world *w)
{
    weir_error error = { 0 };

    expect(w, pair_start_b(&w->link, &error), &error, "start of B");
}

static void
crash_b(world *w)
{
    w->crashes++;
    pair_crash_b(&w->link);
    start_b(w);
}

static void
settle_some(world *w, size_t count)
{
    weir_error error = { 0 };

    expect(w, pair_settle(&w->link, count, &error), &error, "settle");
}

static void
round_of_b(world *w)
{
    weir_error error = { 0 };

    settle_some(w, (size_t)below(w, w->link.flight_count + 1));
    if (chance(w, 32))
        pair_pump_b(&w->link); /* before the commit */
    if (chance(w, w->crash)) {
        crash_b(w);
        return;
    }
    expect(w, pair_commit_b(&w->link, &error), &error, "commit of B");
    if (chance(w, w->crash))
        crash_b(w); /* after the commit, before the ack */
    if (chance(w, 16))
        weir_link_rx_set_credit(w->link.rx, (uint32_t)below(w, 12));
    pair_pump_b(&w->link);
}

/* ---- the network ---- */

/* Flip a bit of one row; the envelope is what a transport's own checks cover. */
static void
damage_row(world *w, size_t index)
{
    struct pair_frame *bytes = &w->link.forth.frames[index];
    Weir__Internal__V1__Frame *frame = NULL;
    weir_buffer out = { 0 };

    weir_arena_reset(w->link.arena);
    if (weir_link_frame_decode(weir_bytes_of(bytes->data, bytes->size), w->link.arena, &frame,
            NULL) != WEIR_OK ||
        frame->body_case != WEIR__INTERNAL__V1__FRAME__BODY_ROWS)
        return;
    ProtobufCBinaryData *row = &frame->rows->rows[below(w, frame->rows->n_rows)];
    row->data[below(w, row->len)] ^= (uint8_t)(1 << below(w, 8));
    weir_wire_encode(&frame->base, &out);
    pair_drop(&w->link.forth, index);
    pair_push(&w->link.forth, weir_buffer_view(&out));
    weir_buffer_fini(&out);
}

static void
disturb(world *w, pair_queue *queue)
{
    if (queue->count > 1 && chance(w, w->swap))
        pair_swap(queue, (size_t)below(w, queue->count), (size_t)below(w, queue->count));
    if (queue->count > 0 && chance(w, w->damage) && queue == &w->link.forth)
        damage_row(w, (size_t)below(w, queue->count));
    while (queue->count > 0 && (chance(w, w->drop) || queue->count > QUEUE_MAX))
        pair_drop(queue, (size_t)below(w, queue->count));
    if (queue->blocked ? chance(w, 32) : chance(w, w->partition))
        queue->blocked = !queue->blocked;
}

static void
frame_to_b(world *w)
{
    weir_error error = { 0 };

    w->link.refuse = chance(w, 8) ? WEIR_PRESSURE : WEIR_OK;
    if (w->link.forth.count > 0) {
        const weir_code code = pair_hand_to_b(&w->link, 0, chance(w, w->twice), &error);
        if (code != WEIR_PRESSURE)
            expect(w, code, &error, "frame to B");
    }
    w->link.refuse = WEIR_OK;
}

static void
frame_to_a(world *w)
{
    weir_error error = { 0 };

    if (w->link.back.count > 0)
        expect(w, pair_hand_to_a(&w->link, 0, chance(w, w->twice), &error), &error, "frame to A");
}

/* ---- lost volumes ---- */

static void
copy_drop(copy *of)
{
    weir_store_close(&of->store);
}

static void
wipe_a(world *w)
{
    weir_link_tx_destroy(&w->link.tx);
    weir_batch_destroy(&w->link.a.batch);
    weir_store_mem_wipe(w->link.a.store);
    w->rows.count = w->rows.base = 0;
    w->lost_a = true;
    copy_drop(&w->copy_a);
    start_a(w);
}

static void
wipe_b(world *w)
{
    weir_link_rx_destroy(&w->link.rx);
    weir_batch_destroy(&w->link.b.batch);
    weir_store_mem_wipe(w->link.b.store);
    w->link.flight_count = 0;
    w->lost_b = true;
    copy_drop(&w->copy_b); /* a replaced database does not come back: it is refused for ever */
    start_b(w);
}

static void
roll_back_a(world *w)
{
    weir_link_tx_destroy(&w->link.tx);
    weir_batch_destroy(&w->link.a.batch);
    weir_store_close(&w->link.a.store);
    w->link.a.store = w->copy_a.store;
    w->rows = w->copy_a.rows;
    w->copy_a.store = NULL;
    w->lost_a = true;
    start_a(w);
    if (!chance(w, 128) || w->failed != NULL)
        return;
    for (uint64_t rows = below(w, 12); rows > 0; rows--)
        append(w);
    commit_a(w);
    crash_a(w); /* a second start before anybody heard of the first */
}

static void
roll_back_b(world *w)
{
    weir_link_rx_destroy(&w->link.rx);
    weir_batch_destroy(&w->link.b.batch);
    weir_store_close(&w->link.b.store);
    w->link.b.store = w->copy_b.store;
    w->copy_b.store = NULL;
    w->link.flight_count = 0;
    w->lost_b = true;
    start_b(w);
}

static void
copy_a(world *w)
{
    copy_drop(&w->copy_a);
    w->copy_a = (copy){ .store = weir_store_mem_clone(w->link.a.store), .rows = w->rows };
}

static void
copy_b(world *w)
{
    copy_drop(&w->copy_b);
    w->copy_b = (copy){ .store = weir_store_mem_clone(w->link.b.store) };
}

static void
lose_something(world *w)
{
    const uint64_t kind = below(w, 8);

    if (kind == 6)
        copy_a(w);
    if (kind == 7)
        copy_b(w);
    if (kind >= 6 || w->losses_left == 0)
        return;
    if (kind >= 2 && (kind < 4 ? w->copy_a.store : w->copy_b.store) == NULL)
        return;
    w->losses_left--;
    w->losses++;
    if (kind == 0)
        wipe_a(w);
    else if (kind == 1)
        wipe_b(w);
    else if (kind < 4)
        roll_back_a(w);
    else
        roll_back_b(w);
}

/* The gateway: a new era, RESET, and some of the work again. */
static void
gateway(world *w)
{
    weir_error error = { 0 };

    if (!in_alarm(w))
        return;
    w->alarms++;
    w->link.era = ++w->era;
    if (w->pending_count > 0)
        commit_a(w);
    const uint64_t start = w->rows.count + 1;
    if (chance(w, 128))
        append(w); /* of the new era, before the RESET: it stays */
    expect(w,
        weir_link_tx_reset(w->link.tx, w->era, w->link.b.identity.store_id, w->link.a.batch,
            &error),
        &error, "RESET");
    append(w);
    commit_a(w);
    w->rows.base = start - 1;
    w->acked_seen = start - 1;
    w->lost_a = w->lost_b = false;
    copy_drop(&w->copy_b);
}

/* ---- a history ---- */

static void
step(world *w)
{
    const uint64_t kind = below(w, 16);

    if (kind < 3)
        round_of_a(w);
    else if (kind < 6)
        frame_to_b(w);
    else if (kind < 8)
        round_of_b(w);
    else if (kind < 11)
        frame_to_a(w);
    else if (kind == 11)
        trim(w);
    else if (kind == 12)
        w->link.now_ms += (int64_t)below(w, chance(w, 64) ? 5000 : 200);
    else if (kind == 13)
        gateway(w);
    else if (kind == 14 && chance(w, w->crash))
        (chance(w, 128) ? crash_a : crash_b)(w);
    else if (kind == 15 && chance(w, w->lose) && chance(w, 100))
        lose_something(w);
    disturb(w, &w->link.forth);
    disturb(w, &w->link.back);
}

static bool
is_done(const world *w)
{
    const weir_link_tx_status tx = pair_tx(&w->link);

    return tx.state == WEIR_LINK_OPEN && pair_rx(&w->link).hello_seen &&
        tx.acked == w->rows.count && tx.acked == pair_rx(&w->link).cursor && !in_alarm(w) &&
        w->link.flight_count == 0;
}

/* Faults are off: everything arrives, and time goes on to whatever is due. */
static void
quiet_turn(world *w)
{
    weir_error error = { 0 };

    gateway(w);
    commit_a(w);
    expect(w, pair_pump_a(&w->link, &error), &error, "pump of A");
    while (w->failed == NULL && w->link.forth.count > 0)
        frame_to_b(w);
    settle_some(w, w->link.flight_count);
    expect(w, pair_commit_b(&w->link, &error), &error, "commit of B");
    pair_pump_b(&w->link);
    while (w->failed == NULL && w->link.back.count > 0)
        frame_to_a(w);
    check(w);
    w->link.now_ms += w->link.wake_ms > w->link.now_ms && w->link.wake_ms < w->link.now_ms + 500
        ? w->link.wake_ms - w->link.now_ms
        : 500;
}

/* The rows of the sender's volume, in order, are what the receiver's volume did since the last
 * RESET. */
static void
check_effects(world *w)
{
    uint64_t *ids = NULL;
    const size_t count = pair_effects(&w->link, &ids);
    uint64_t seq = w->rows.base;

    for (size_t i = 0; i < count; i++)
        if (seq < w->rows.count && ids[i] == w->rows.ids[seq + 1])
            seq++;
    if (seq != w->rows.count)
        fail_world(w, "row %llu of %llu was not settled in its order", (unsigned long long)seq + 1,
            (unsigned long long)w->rows.count);
    weir_free(ids);
}

static void
calm(world *w)
{
    w->drop = w->twice = w->swap = w->damage = w->partition = w->crash = w->lose = 0;
    w->link.forth.blocked = w->link.back.blocked = false;
    weir_link_rx_set_credit(w->link.rx, 8);
    for (int i = 0; i < QUIET_TURNS && w->failed == NULL && !is_done(w); i++)
        quiet_turn(w);
    if (w->failed == NULL && !is_done(w))
        fail_world(w,
            "not settled after the faults stopped: state %d, acked %llu, cursor %llu, rows %llu",
            (int)pair_tx(&w->link).state, (unsigned long long)pair_tx(&w->link).acked,
            (unsigned long long)pair_rx(&w->link).cursor, (unsigned long long)w->rows.count);
    if (w->failed == NULL)
        check_effects(w);
    commit_a(w); /* a record that waits in the round holds the trim up */
    trim(w);
    if (w->failed == NULL && pair_outbox_count(&w->link) != 0)
        fail_world(w, "%zu rows stay in the outbox", pair_outbox_count(&w->link));
}

static unsigned
rate(world *w, unsigned most)
{
    return chance(w, 128) ? 0 : (unsigned)below(w, most + 1);
}

static void
world_init(world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    pair_init(&w->link, seed * 0x9e3779b97f4a7c15ull + 1);
    w->appetite =
        chance(w, 128) ? 256 : (unsigned)below(w, 40); /* short histories find other things */
    w->drop = rate(w, 64);
    w->twice = rate(w, 64);
    w->swap = rate(w, 128);
    w->damage = rate(w, 32);
    w->partition = rate(w, 16);
    w->crash = rate(w, 48);
    w->lose = chance(w, 96) ? 0 : 255;
    w->losses_left = 1 + (unsigned)below(w, 4);
    w->link.memory_bytes_max = chance(w, 128) ? 200 : 0; /* often too small: rows are read back */
    start_a(w);
    start_b(w);
}

static void
world_fini(world *w)
{
    copy_drop(&w->copy_a);
    copy_drop(&w->copy_b);
    pair_fini(&w->link);
}

/* ADVERSARY_TRACE: one line per step, for finding out why a seed fails. */
static void
trace(const world *w, int step_number)
{
    static int wanted = -1;

    if (wanted < 0)
        wanted = getenv("ADVERSARY_TRACE") != NULL;
    if (wanted == 0)
        return;
    const weir_link_tx_status tx = pair_tx(&w->link);
    const weir_link_rx_status rx = pair_rx(&w->link);
    printf("%3d: A state %d next %llu acked %llu sent %llu rows %llu base %llu | "
           "B cursor %llu received %llu era %llu "
           "hello %d | queues %zu %zu lost %d %d alarm %s%s\n",
        step_number, (int)tx.state, (unsigned long long)tx.next, (unsigned long long)tx.acked,
        (unsigned long long)tx.sent, (unsigned long long)w->rows.count,
        (unsigned long long)w->rows.base, (unsigned long long)rx.cursor,
        (unsigned long long)rx.received, (unsigned long long)rx.reset_era, rx.hello_seen,
        w->link.forth.count, w->link.back.count, w->lost_a, w->lost_b, tx.alarm, rx.alarm);
}

/* True: the history kept all promises. */
static bool
run_seed(uint64_t seed, world *w)
{
    world_init(w, seed);
    for (int i = 0; i < STEPS && w->failed == NULL; i++) {
        step(w);
        trace(w, i);
        if (w->failed == NULL)
            check(w);
    }
    if (w->failed == NULL)
        calm(w);
    world_fini(w);
    return w->failed == NULL;
}

static uint64_t
number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void
no_history_loses_doubles_or_stalls_a_row(void **state)
{
    static world w;
    const uint64_t first = number_from("ADVERSARY_FIRST", 1),
                   count = number_from("ADVERSARY_SEEDS", 6000);
    const int64_t begun_ms = weir_clock_mono_ms();
    uint64_t rows = 0, alarms = 0, crashes = 0, losses = 0;

    for (uint64_t seed = first; seed < first + count; seed++) {
        if (!run_seed(seed, &w))
            fail_msg("seed %llu: %s", (unsigned long long)seed, w.failed);
        rows += w.next_id;
        alarms += w.alarms;
        crashes += w.crashes;
        losses += w.losses;
    }
    print_message("seeds %llu..%llu: %llu rows, %llu crashes, %llu losses, %llu alarms, %lld ms\n",
        (unsigned long long)first, (unsigned long long)(first + count - 1),
        (unsigned long long)rows, (unsigned long long)crashes, (unsigned long long)losses,
        (unsigned long long)alarms, (long long)(weir_clock_mono_ms() - begun_ms));
    assert_true(count < 100 ||
        (alarms > 0 && crashes > 0 && losses > alarms / 2)); /* the faults did happen */
}

/* ---- the broken rules ---- */

static const char *const mutant_names[LINK_MUTANT_COUNT] = {
#define NAME(name_, text_) [LINK_MUTANT_##name_] = #name_ " (" text_ ")",
    LINK_MUTANT_MAP(NAME)
#undef NAME
};

/* In a process of its own, since a broken rule may end in an assertion.  Answers by the exit
 * status. */
static void
hunt(link_mutant mutant, uint64_t seeds, int fd)
{
    static world w;
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    dup2(nowhere, STDERR_FILENO);
    weir_link_mutant = mutant;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        if (!run_seed(seed, &w)) {
            dprintf(fd, "seed %llu: %s", (unsigned long long)seed, w.failed);
            _exit(3);
        }
    _exit(4);
}

static void
a_link_with_any_one_rule_broken_is_found(void **state)
{
    const uint64_t seeds = number_from("ADVERSARY_MUTANT_SEEDS", 6000);
    int survivors = 0;

    for (int mutant = 1; mutant < LINK_MUTANT_COUNT; mutant++) {
        char how[240] = "an assertion of the link";
        int ends[2], status = 0;

        assert_int_equal(pipe(ends), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            hunt((link_mutant)mutant, seeds, ends[1]);
        close(ends[1]);
        const ssize_t got = read(ends[0], how, sizeof how - 1);
        if (got > 0)
            how[got] = 0;
        close(ends[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        const bool found = WIFSIGNALED(status) || WEXITSTATUS(status) == 3;
        print_message("%s\n    %s%s\n", mutant_names[mutant], found ? "found by " : "NOT FOUND",
            found ? how : "");
        survivors += found ? 0 : 1;
    }
    assert_int_equal(survivors, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_history_loses_doubles_or_stalls_a_row),
        cmocka_unit_test(a_link_with_any_one_rule_broken_is_found),
    };

    weir_log_init("test", true, (weir_log_level)(WEIR_LOG_ERROR + 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
