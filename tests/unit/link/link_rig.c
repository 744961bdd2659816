/*
 * link_rig - one end of one link as a process of its own, for tests that kill it.
 *
 *   link_rig sender FOLDER [FD]     appends numbered rows until SIGTERM, then ends when all are
 *                                   acknowledged (status 0)
 *   link_rig receiver FOLDER [FD]   settles rows until SIGTERM
 *   link_rig check FOLDER           compares both databases: every row settled once, in order
 *                                   (status 0), prints the count
 *
 * Databases are FOLDER/a and FOLDER/b, sockets FOLDER/rows and FOLDER/answers.  Row n carries the
 * number n and a body that follows from it; the receiver keeps the bodies of the last rows.  It
 * refuses to go on (status 3) when a row does not follow the last one that it settled.
 *
 * Each start looks at what it finds: the sender at every row that is not acknowledged, the receiver
 * at every body that it must still have; status 3 when one is missing, damaged or too many.
 *
 * FD is the journal: lines "r N" (found at the start: rows appended, or settled), "a N" (rows that
 * the sender knows to be acknowledged) and "c N" (rows appended or settled, the commit is back).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/link/internal.h"

enum {
    LINK = 1 << 16,
    CREDIT = 512,
    OUTSTANDING_MAX = 2000,
    INBOX_MAX = 256,
    TICK_MS = 20,
    BODY_BYTES_MAX = 6000, /* some go to blob files, and write buffers fill within a second */
    BODIES_KEPT = 2000,
    BODIES_TRIMMED = 500
};

typedef struct rig {
    weir_store *store;
    weir_batch *batch;
    weir_link_identity identity;
    weir_link_tx *tx;
    weir_link_rx *rx;
    weir_link_pump *pump;
    weir_arena *arena;

    pthread_mutex_t lock;
    pthread_cond_t came;
    weir_buffer inbox[INBOX_MAX]; /* reused */
    size_t inbox_count;

    uint64_t last; /* number of the last settled row */
    uint64_t told; /* of the last "c" and the last "a" in the journal */
    uint64_t acked_told;
    int journal_fd; /* -1: none */
} rig;

static volatile sig_atomic_t stopping;

static void
on_signal(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

static void
check(weir_code code, const weir_error *error, const char *what)
{
    if (code == WEIR_OK)
        return;
    fprintf(stderr, "link_rig: %s: %s: %s\n", what, weir_code_name(code), error->message);
    exit(4);
}

static _Noreturn void
refuse(const char *what, uint64_t number)
{
    fprintf(stderr, "link_rig: %s: row %llu\n", what, (unsigned long long)number);
    exit(3);
}

/* The parent keeps it, and reads what came before the end of this process. */
static void
tell(const rig *r, char kind, uint64_t number)
{
    if (r->journal_fd >= 0 &&
        dprintf(r->journal_fd, "%c %llu\n", kind, (unsigned long long)number) < 0)
        exit(6);
}

static void
path_of(char *out, size_t size, const char *folder, const char *name)
{
    if ((size_t)snprintf(out, size, "%s/%s", folder, name) >= size)
        exit(5);
}

static weir_store *
open_store(const char *folder, const char *name)
{
    char path[200];
    weir_error error = { 0 };
    weir_store *store = NULL;

    path_of(path, sizeof path, folder, name);
    const weir_store_options options = { .path = path,
        .service = "rig",
        .schema = 1,
        .schema_oldest = 1,
        .cache_bytes = 4 << 20 };
    check(weir_store_open(&options, &store, &error), &error, "open");
    return store;
}

/* ---- bodies ---- */

/* One in eight is long. */
static weir_bytes
body_of(uint64_t number, uint8_t out[BODY_BYTES_MAX])
{
    weir_rng rng = { number };
    const size_t size = weir_rng_below(&rng, number % 8 == 0 ? BODY_BYTES_MAX : 200);

    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)weir_rng_next(&rng);
    return weir_bytes_of(out, size);
}

static bool
is_body_of(uint64_t number, weir_bytes body)
{
    uint8_t wanted[BODY_BYTES_MAX];

    return weir_bytes_equal(body, body_of(number, wanted));
}

static weir_bytes
body_key(uint64_t number, uint8_t out[9])
{
    out[0] = 'r';
    weir_store_u64(out + 1, number);
    return weir_bytes_of(out, 9);
}

static void
keep_body(rig *r, uint64_t number, weir_bytes body)
{
    uint8_t key[9];

    if (!is_body_of(number, body))
        refuse("another body came", number);
    weir_batch_put(r->batch, body_key(number, key), body);
}

/* In a batch of its own that is not synced: after a cut more of them may be there, never fewer. */
static void
trim_bodies(rig *r)
{
    uint8_t from[9], to[9];
    weir_error error = { 0 };

    if (r->last / BODIES_TRIMMED == r->told / BODIES_TRIMMED || r->last < BODIES_KEPT)
        return;
    check(weir_store_delete_range(r->store, body_key(0, from), body_key(r->last - BODIES_KEPT, to),
              &error),
        &error, "delete_range");
}

static void
check_bodies(rig *r)
{
    uint8_t from[9];
    weir_error error = { 0 };
    weir_iter *iter = weir_store_iter(r->store, NULL, body_key(0, from), weir_bytes_str("s"));
    uint64_t expected = 0;

    while (weir_iter_next(iter)) {
        const uint64_t number = weir_load_u64(weir_iter_key(iter).data + 1);
        if (expected != 0 && number != expected)
            refuse("a body is missing", expected);
        if (!is_body_of(number, weir_iter_value(iter)))
            refuse("a body is damaged", number);
        if (expected == 0 && number > 1 && number + BODIES_KEPT > r->last + 1)
            refuse("the bodies begin late", number);
        expected = number + 1;
    }
    check(weir_iter_status(iter, &error), &error, "iterate");
    weir_iter_destroy(&iter);
    if (expected != r->last + 1 && r->last != 0)
        refuse("the bodies end elsewhere than the rows", r->last);
}

/* R1 and I20: all rows that were not acknowledged are there, and nothing beyond. */
static void
check_outbox(const rig *r, const weir_link_tx_status *status)
{
    const link_outbox_key from = link_outbox_key_of(LINK, status->acked + 1);
    const link_outbox_key to = link_outbox_key_of(LINK + 1, 0);
    weir_iter *iter = weir_store_iter(r->store, NULL, weir_bytes_of(from.bytes, sizeof from.bytes),
        weir_bytes_of(to.bytes, sizeof to.bytes));
    weir_error error = { 0 };
    weir_bytes packed;
    uint64_t expected = status->acked + 1;

    for (uint64_t seq = 0; weir_iter_next(iter); expected++) {
        if (!link_outbox_key_parse(weir_iter_key(iter), LINK, &seq) || seq != expected)
            refuse("the outbox has a gap", expected);
        check(link_row_check(LINK, seq, weir_iter_value(iter), &packed, &error), &error, "row");
    }
    check(weir_iter_status(iter, &error), &error, "iterate");
    weir_iter_destroy(&iter);
    if (expected != status->next)
        refuse("the outbox ends elsewhere", status->next);
}

/* ---- frames ---- */

static bool
arrived(void *ud, uint32_t link, weir_bytes frame)
{
    rig *r = ud;

    (void)link;
    pthread_mutex_lock(&r->lock);
    const bool taken = r->inbox_count < INBOX_MAX;
    if (taken) {
        weir_buffer *place = &r->inbox[r->inbox_count++];
        weir_buffer_clear(place);
        weir_buffer_append(place, frame.data, frame.size);
        pthread_cond_signal(&r->came);
    }
    pthread_mutex_unlock(&r->lock);
    return taken;
}

/* Wait until a frame came or the time is up. */
static void
wait_for_frames(rig *r, int64_t until_ms)
{
    const int64_t now_ms = weir_clock_mono_ms();
    const int64_t tick_ms = until_ms < now_ms ? 0
        : until_ms - now_ms < TICK_MS         ? until_ms - now_ms
                                              : TICK_MS;
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += tick_ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&r->lock);
    while (r->inbox_count == 0 && !stopping)
        if (pthread_cond_timedwait(&r->came, &r->lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&r->lock);
}

static weir_code
settle(void *ud, uint32_t link, uint64_t seq, const Weir__Internal__V1__Row *row, weir_bytes packed,
    weir_error *reterr)
{
    rig *r = ud;
    uint8_t number[8];

    (void)link, (void)packed, (void)reterr;
    if ((uint64_t)row->revision != r->last + 1)
        refuse("not the next", (uint64_t)row->revision);
    weir_store_u64(number, ++r->last);
    keep_body(r, r->last, weir_bytes_of(row->document->body.data, row->document->body.len));
    weir_batch_put(r->batch, weir_bytes_str("n"), weir_bytes_of(number, 8));
    weir_link_rx_settle(r->rx, seq);
    return WEIR_OK;
}

static void
take_frame(rig *r, weir_bytes bytes)
{
    Weir__Internal__V1__Frame *frame = NULL;
    weir_error error = { 0 };
    unsigned news = 0;

    weir_arena_reset(r->arena);
    check(weir_link_frame_decode(bytes, r->arena, &frame, &error), &error, "decode");
    if (r->tx != NULL)
        check(weir_link_tx_frame(r->tx, frame, weir_clock_mono_ms(), r->batch, &news, &error),
            &error, "frame");
    else
        check(weir_link_rx_frame(r->rx, frame, 0, weir_clock_mono_ms(), r->batch, settle, r,
                  &error),
            &error, "frame");
    if (news & WEIR_LINK_NEWS_ALARM) {
        fprintf(stderr, "link_rig: an alarm without a lost volume\n");
        exit(3);
    }
}

/* The arrays change places, so the pump's thread is not held up by the work. */
static void
take_frames(rig *r, weir_buffer *taken)
{
    pthread_mutex_lock(&r->lock);
    const size_t count = r->inbox_count;
    for (size_t i = 0; i < count; i++) {
        const weir_buffer kept = taken[i];
        taken[i] = r->inbox[i];
        r->inbox[i] = kept;
    }
    r->inbox_count = 0;
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < count; i++)
        take_frame(r, weir_buffer_view(&taken[i]));
}

/* ---- rounds ---- */

static void
append(rig *r, uint64_t number)
{
    Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__DocumentRow document = WEIR__INTERNAL__V1__DOCUMENT_ROW__INIT;
    uint8_t bytes[BODY_BYTES_MAX];
    const weir_bytes body = body_of(number, bytes);
    weir_error error = { 0 };
    uint64_t seq = 0;

    document.body = (ProtobufCBinaryData){ .len = body.size, .data = bytes };
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT;
    row.document = &document;
    row.document_id =
        "a document whose name is long enough to make the row look like one of the real ones";
    row.revision = (int64_t)number;
    check(weir_link_tx_append(r->tx, r->batch, &row, &seq, &error), &error, "append");
    weir_assert(seq == number);
}

static weir_link_tx_status
tx_status(const rig *r)
{
    weir_link_tx_status status;

    weir_link_tx_status_read(r->tx, &status);
    return status;
}

/* What the commit that just returned has made durable. */
static void
tell_progress(rig *r, uint64_t number)
{
    if (number != r->told)
        tell(r, 'c', number);
    r->told = number;
}

static void
tell_acked(rig *r, uint64_t acked)
{
    if (acked != r->acked_told)
        tell(r, 'a', acked);
    r->acked_told = acked;
}

static int64_t
sender_round(rig *r)
{
    const weir_link_tx_status status = tx_status(r);
    weir_error error = { 0 };
    int64_t wake_ms;

    if (!stopping && status.next - status.acked < OUTSTANDING_MAX)
        for (uint64_t i = 0; i < 1 + weir_random_u64() % 64; i++)
            append(r, status.next + i);
    check(weir_store_commit(r->store, r->batch, true, &error), &error, "commit");
    weir_link_tx_committed(r->tx);
    tell_progress(r, tx_status(r).next - 1);
    tell_acked(r, status.acked);
    check(weir_link_tx_pump(r->tx, weir_clock_mono_ms(), weir_link_pump_send, r->pump, &wake_ms,
              &error),
        &error, "pump");
    check(weir_link_tx_trim(r->tx, false, &error), &error, "trim");
    return wake_ms;
}

static int64_t
receiver_round(rig *r)
{
    weir_error error = { 0 };
    int64_t wake_ms;

    check(weir_link_rx_prepare(r->rx, r->batch, &error), &error, "prepare");
    check(weir_store_commit(r->store, r->batch, true, &error), &error, "commit");
    weir_link_rx_committed(r->rx);
    trim_bodies(r);
    tell_progress(r, r->last);
    weir_link_rx_pump(r->rx, weir_clock_mono_ms(), weir_link_pump_send, r->pump, &wake_ms);
    return wake_ms;
}

static bool
is_finished(const rig *r)
{
    return stopping && (r->tx == NULL || tx_status(r).acked + 1 == tx_status(r).next);
}

static void
run(rig *r)
{
    static weir_buffer taken[INBOX_MAX];

    while (!is_finished(r)) {
        take_frames(r, taken);
        const int64_t wake_ms = r->tx != NULL ? sender_round(r) : receiver_round(r);
        wait_for_frames(r, wake_ms);
    }
    for (size_t i = 0; i < INBOX_MAX; i++)
        weir_buffer_fini(&taken[i]);
}

/* ---- start and stop ---- */

static uint64_t
read_last(weir_store *store)
{
    weir_buffer value = { 0 };
    weir_error error = { 0 };
    bool found = false;

    check(weir_store_get(store, NULL, weir_bytes_str("n"), &value, &found, &error), &error, "get");
    const uint64_t last = found ? weir_load_u64(value.data) : 0;
    weir_buffer_fini(&value);
    return last;
}

static void
start_link(rig *r, bool sender)
{
    weir_error error = { 0 };
    uint8_t random[32];

    weir_random_bytes(random, sizeof random);
    check(weir_link_identity_start(r->store, sender ? "sender" : "receiver", random, &r->identity,
              &error),
        &error, "identity");
    r->batch = weir_batch_create(r->store);
    if (sender) {
        const weir_link_tx_options options = { .store = r->store,
            .identity = &r->identity,
            .link = LINK };
        check(weir_link_tx_start(&options, 0, r->batch, &r->tx, &error), &error, "start");
        const weir_link_tx_status status = tx_status(r);
        check_outbox(r, &status);
        r->told = status.next - 1;
        tell(r, 'r', r->told);
        tell_acked(r, status.acked);
        return;
    }
    const weir_link_rx_options options = { .store = r->store,
        .identity = &r->identity,
        .link = LINK };
    check(weir_link_rx_start(&options, &r->rx, &error), &error, "start");
    weir_link_rx_set_credit(r->rx, CREDIT);
    r->last = read_last(r->store);
    check_bodies(r);
    r->told = r->last;
    tell(r, 'r', r->last);
}

static void
start_pump(rig *r, const char *folder, bool sender)
{
    char rows[200] = "ipc://", answers[200] = "ipc://";
    weir_error error = { 0 };

    path_of(rows + 6, sizeof rows - 6, folder, "rows");
    path_of(answers + 6, sizeof answers - 6, folder, "answers");
    const weir_link_endpoint endpoint = { .link = LINK,
        .sender = sender,
        .rows = rows,
        .answers = answers };
    check(weir_link_pump_start(&endpoint, 1, arrived, r, &r->pump, &error), &error, "pump");
}

static void
stop(rig *r)
{
    weir_error error = { 0 };

    weir_link_pump_stop(&r->pump);
    if (r->tx != NULL)
        check(weir_link_tx_trim(r->tx, true, &error), &error, "trim");
    check(weir_link_identity_stop(r->batch, &error), &error, "stop");
    check(weir_store_commit(r->store, r->batch, true, &error), &error, "commit");
    weir_link_tx_destroy(&r->tx);
    weir_link_rx_destroy(&r->rx);
    weir_batch_destroy(&r->batch);
    weir_store_close(&r->store);
    weir_arena_destroy(&r->arena);
    for (size_t i = 0; i < INBOX_MAX; i++)
        weir_buffer_fini(&r->inbox[i]);
}

static int
work(const char *folder, bool sender, int journal_fd)
{
    static rig r;
    pthread_condattr_t monotonic;
    struct sigaction action = { .sa_handler = on_signal };

    sigset_t term;

    sigaction(SIGTERM, &action, NULL);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &term, NULL); /* whoever started it may have sent one already */
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.came, &monotonic);
    r.journal_fd = journal_fd;
    r.arena = weir_arena_create(0);
    r.store = open_store(folder, sender ? "a" : "b");
    start_link(&r, sender);
    start_pump(&r, folder, sender);
    run(&r);
    stop(&r);
    return 0;
}

/* The sender's `next` against the receiver's last row. */
static int
compare(const char *folder)
{
    weir_store *a = open_store(folder, "a"), *b = open_store(folder, "b");
    const link_record_key key = link_record_key_of('l', LINK);
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };

    check(link_record_load(a, weir_bytes_of(key.bytes, sizeof key.bytes),
              &weir__internal__v1__link_tx_record__descriptor, arena, &message, &error),
        &error, "record");
    const uint64_t sent =
        message != NULL ? ((Weir__Internal__V1__LinkTxRecord *)message)->next - 1 : 0;
    const uint64_t settled = read_last(b);
    printf("%llu rows sent, %llu settled\n", (unsigned long long)sent, (unsigned long long)settled);
    weir_arena_destroy(&arena);
    weir_store_close(&a);
    weir_store_close(&b);
    return sent == settled && sent > 0 ? 0 : 3;
}

int
main(int argc, char **argv)
{
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: link_rig sender|receiver|check FOLDER [FD]\n");
        return 2;
    }
    weir_log_init("rig", true, WEIR_LOG_ERROR);
    if (strcmp(argv[1], "check") == 0)
        return compare(argv[2]);
    return work(argv[2], strcmp(argv[1], "sender") == 0, argc == 4 ? atoi(argv[3]) : -1);
}
