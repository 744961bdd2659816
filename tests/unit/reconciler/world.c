/*
 * world.c - see world.h.
 */
#include "tests/unit/reconciler/world.h"

#include "common/base/assert.h"

weir_error error;

#define OK(expression_)                                                                      \
    do {                                                                                     \
        if ((expression_) != WEIR_OK)                                                        \
            fail_msg("%s: %s: %s", #expression_, weir_code_name(error.code), error.message); \
    } while (0)

static void
fill_random(world *self, uint8_t out[32])
{
    for (size_t i = 0; i < 32; i++)
        out[i] = (uint8_t)weir_rng_next(&self->rng);
}

/* ---- frames ---- */

static bool
push_frame(void *ud, uint32_t link, weir_bytes bytes)
{
    world *self = ud;

    if (self->frame_count == self->frame_capacity) {
        self->frame_capacity = self->frame_capacity == 0 ? 64 : self->frame_capacity * 2;
        self->frames = weir_realloc(self->frames, self->frame_capacity * sizeof *self->frames);
    }
    world_frame *frame = &self->frames[self->frame_count++];
    *frame = (world_frame){ .link = link };
    weir_buffer_append(&frame->bytes, bytes.data, bytes.size);
    return true;
}

static void
drop_frames(world *self)
{
    for (size_t i = 0; i < self->frame_count; i++)
        weir_buffer_fini(&self->frames[i].bytes);
    self->frame_count = 0;
}

/* ---- peers ---- */

static void
pump_peer(world *self, world_peer *peer)
{
    peer->wake_ms = INT64_MAX;
    if (peer->tx != NULL)
        OK(weir_link_tx_pump(peer->tx, self->now_ms, push_frame, self, &peer->wake_ms, &error));
    else
        weir_link_rx_pump(peer->rx, self->now_ms, push_frame, self, &peer->wake_ms);
}

static void
commit_peer(world_peer *peer)
{
    if (peer->rx != NULL)
        OK(weir_link_rx_prepare(peer->rx, peer->batch, &error));
    OK(weir_store_commit(peer->store, peer->batch, true, &error));
    if (peer->tx != NULL)
        weir_link_tx_committed(peer->tx);
    else
        weir_link_rx_committed(peer->rx);
}

static weir_code
take_row(void *ud, uint32_t link, uint64_t seq, const row_message *row, weir_bytes packed,
    weir_error *reterr)
{
    world *self = ud;
    const weir_link_kind kind = weir_link_kind_of(link);
    ProtobufCMessage *copy = NULL;

    (void)row;
    const weir_bytes kept =
        weir_bytes_of(weir_arena_memdup(self->arena, packed.data, packed.size), packed.size);
    OK(weir_wire_decode(&weir__internal__v1__row__descriptor, kept, NULL, self->arena, &copy,
        reterr));
    weir_assert(self->row_count < WORLD_ROWS_MAX);
    self->rows[self->row_count++] =
        (world_row){ .link = kind, .row = (const row_message *)(const void *)copy };
    weir_link_rx_settle(self->peers[kind].rx, seq);
    if (self->answer != NULL)
        self->answer(self, kind, self->rows[self->row_count - 1].row);
    return WEIR_OK;
}

/* What leaves the reconciler reaches its peer at once; what the peer says waits among the frames.
 */
static bool
env_send(void *ud, uint32_t link, weir_bytes bytes)
{
    world *self = ud;
    world_peer *peer = &self->peers[weir_link_kind_of(link)];
    weir_arena *arena = weir_arena_create(0);
    Weir__Internal__V1__Frame *frame = NULL;
    unsigned news = 0;

    OK(weir_link_frame_decode(bytes, arena, &frame, &error));
    if (peer->tx != NULL)
        OK(weir_link_tx_frame(peer->tx, frame, self->now_ms, peer->batch, &news, &error));
    else
        OK(weir_link_rx_frame(peer->rx, frame, 0, self->now_ms, peer->batch, take_row, self,
            &error));
    commit_peer(peer);
    pump_peer(self, peer);
    weir_arena_destroy(&arena);
    return true;
}

static void
env_reply(void *ud, uint64_t reply_to, const weir_error *refusal, const ProtobufCMessage *response)
{
    (void)ud;
    (void)reply_to;
    (void)refusal;
    (void)response;
}

static void
start_peer(world *self, const weir_link_spec *spec)
{
    world_peer *peer = &self->peers[spec->kind];
    const uint32_t link = weir_link_number(spec->kind, 0, 0);
    uint8_t random[32];

    fill_random(self, random);
    peer->store = weir_store_mem_create();
    OK(weir_link_identity_start(peer->store, "peer", random, &peer->identity, &error));
    peer->batch = weir_batch_create(peer->store);
    if (spec->to == WEIR_SERVICE_RECONCILER)
        OK(weir_link_tx_start(&(weir_link_tx_options){ .store = peer->store,
                                  .identity = &peer->identity,
                                  .link = link },
            1, peer->batch, &peer->tx, &error));
    else
        OK(weir_link_rx_start(&(weir_link_rx_options){ .store = peer->store,
                                  .identity = &peer->identity,
                                  .link = link },
            &peer->rx, &error));
    commit_peer(peer);
    if (peer->rx != NULL)
        weir_link_rx_set_credit(peer->rx, 512);
}

void
world_init(world *self, uint64_t seed)
{
    *self = (world){ .rng = { .state = seed }, .now_ms = 1700000000000, .era = 1, .config = { 0 } };
    self->arena = weir_arena_create(0);
    self->store = weir_store_mem_create();
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        const weir_link_spec *spec = weir_link_spec_of((weir_link_kind)kind);

        if (spec->from == WEIR_SERVICE_RECONCILER || spec->to == WEIR_SERVICE_RECONCILER)
            start_peer(self, spec);
    }
}

/* ---- the process ---- */

weir_code
world_try_start(world *self)
{
    self->core = reconciler_core_create(&self->config);
    weir_stage_options options = { .service = WEIR_SERVICE_RECONCILER,
        .store = self->store,
        .ops = &reconciler_core_ops,
        .core = self->core,
        .env = { .ud = self, .reply = env_reply, .send = env_send } };
    fill_random(self, options.identity_random);
    weir_code code =
        weir_stage_create(&options, self->now_ms, weir_rng_next(&self->rng), &self->stage, &error);
    if (code == WEIR_OK)
        code = weir_stage_release(self->stage, &self->wake_ms, &error);
    return code;
}

void
world_start(world *self)
{
    OK(world_try_start(self));
}

static void
end_process(world *self)
{
    drop_frames(self);
    weir_stage_destroy(&self->stage);
    reconciler_core_destroy(&self->core);
}

void
world_crash(world *self)
{
    end_process(self);
    weir_store_mem_fail_after(self->store, 0);
    weir_store_mem_power_cut(self->store, weir_rng_next(&self->rng));
}

void
world_fini(world *self)
{
    end_process(self);
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        weir_link_tx_destroy(&self->peers[kind].tx);
        weir_link_rx_destroy(&self->peers[kind].rx);
        weir_batch_destroy(&self->peers[kind].batch);
        weir_store_close(&self->peers[kind].store);
    }
    weir_store_close(&self->store);
    weir_arena_destroy(&self->arena);
    weir_free(self->frames);
}

int
world_setup(void **state)
{
    world *self = weir_alloc_zero(1, sizeof *self);

    world_init(self, 1);
    world_start(self);
    *state = self;
    return 0;
}

int
world_teardown(void **state)
{
    world_fini(*state);
    weir_free(*state);
    return 0;
}

/* ---- what the services say ---- */

void
say_row(world *self, weir_link_kind link, row_message *row)
{
    world_peer *peer = &self->peers[link];

    weir_assert(peer->tx != NULL);
    if (row->era == 0)
        row->era = self->era;
    OK(weir_link_tx_append(peer->tx, peer->batch, row, NULL, &error));
    commit_peer(peer);
    pump_peer(self, peer);
}

void
say_on(world *self, weir_link_kind link, const say *said)
{
    static const uint32_t stages[WEIR_LINK_COUNT] = { [WEIR_LINK_GATEWAY_RECONCILER] = 1,
        [WEIR_LINK_INGEST_RECONCILER] = 2,
        [WEIR_LINK_EMBEDDER_RECONCILER] = 3,
        [WEIR_LINK_INDEXER_RECONCILER] = 4 };
    lifecycle_event event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;
    lifecycle_event *list[] = { &event };
    Weir__Internal__V1__EventsRow events = WEIR__INTERNAL__V1__EVENTS_ROW__INIT;
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    uint8_t sha256[32] = { 0xab, 0xcd };

    event.kind = said->kind;
    event.stage = said->stage;
    event.tenant = (char *)(said->tenant != NULL ? said->tenant : "acme");
    event.collection_no = said->collection_no != 0 ? said->collection_no : WORLD_COLLECTION;
    event.document_id = (char *)(said->document_id != NULL ? said->document_id : "d");
    event.revision = said->revision != 0 ? said->revision : 1;
    event.epoch = said->epoch != 0 ? said->epoch : 1;
    event.time_ms = said->time_ms != 0 ? said->time_ms : self->now_ms;
    event.stage = stages[link];
    event.failure = said->failure;
    if (link == WEIR_LINK_GATEWAY_RECONCILER) {
        event.collection_id = (char *)"papers";
        event.size_bytes = 123;
        event.content_sha256.data = sha256;
        event.content_sha256.len = sizeof sha256;
    }
    events.events = list;
    events.n_events = 1;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_EVENTS;
    row.events = &events;
    say_row(self, link, &row);
}

void
say_answer(world *self, const char *document_id, int64_t revision, int64_t epoch,
    Weir__Internal__V1__RevokeAnswerRow__Verdict verdict)
{
    Weir__Internal__V1__RevokeAnswerRow answer = WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__INIT;
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;

    answer.verdict = verdict;
    row.tenant = (char *)"acme";
    row.collection_no = WORLD_COLLECTION;
    row.document_id = (char *)document_id;
    row.revision = revision;
    row.epoch = epoch;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE_ANSWER;
    row.revoke_answer = &answer;
    say_row(self, WEIR_LINK_INDEXER_RECONCILER, &row);
}

failure_record *
a_failure(world *self, weir_code code, const char *message, size_t attempts)
{
    failure_record *failure = weir_arena_alloc(self->arena, sizeof *failure);

    weir__internal__v1__failure__init(failure);
    failure->stage = 3;
    failure->code = (uint32_t)code;
    failure->message = weir_arena_strdup(self->arena, message);
    failure->attempt_count = (uint32_t)attempts;
    failure->time_ms = self->now_ms;
    failure->n_attempts = attempts;
    failure->attempts =
        weir_arena_alloc(self->arena, (attempts + 1) * sizeof(failure->attempts[0]));
    for (size_t i = 0; i < attempts; i++) {
        Weir__Internal__V1__Attempt *attempt = weir_arena_alloc(self->arena, sizeof *attempt);

        weir__internal__v1__attempt__init(attempt);
        attempt->stage = 3;
        attempt->code = (uint32_t)code;
        attempt->message = failure->message;
        attempt->time_ms = self->now_ms - (int64_t)(attempts - 1 - i) * 1000;
        failure->attempts[i] = attempt;
    }
    return failure;
}

void
say_seed(world *self, Weir__Internal__V1__SeedEntry **entries, size_t count, bool done)
{
    Weir__Internal__V1__SeedRow seed = WEIR__INTERNAL__V1__SEED_ROW__INIT;
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;

    seed.entries = entries;
    seed.n_entries = count;
    seed.done = done;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED;
    row.seed = &seed;
    say_row(self, WEIR_LINK_GATEWAY_RECONCILER, &row);
}

void
say_era(world *self, uint64_t era)
{
    self->era = era;
    SAY(self, GATEWAY, .kind = LIFECYCLE(CHUNKED), .document_id = "era");
}

/* ---- rounds ---- */

/* Any link's oldest frame; *ret_bytes is the caller's. */
static uint32_t
pop_frame(world *self, weir_buffer *ret_bytes)
{
    size_t at = (size_t)weir_rng_below(&self->rng, self->frame_count);
    const uint32_t link = self->frames[at].link;

    for (size_t i = 0; i < at; i++)
        if (self->frames[i].link == link)
            at = i;
    *ret_bytes = self->frames[at].bytes;
    self->frame_count--;
    memmove(&self->frames[at], &self->frames[at + 1],
        (self->frame_count - at) * sizeof self->frames[0]);
    return link;
}

weir_code
world_round(world *self, uint32_t frames)
{
    weir_code code = WEIR_OK;

    self->rounds++;
    weir_stage_begin(self->stage, self->now_ms, weir_rng_next(&self->rng));
    for (; frames > 0 && self->frame_count > 0 && code == WEIR_OK; frames--) {
        weir_buffer bytes = { 0 };
        const uint32_t link = pop_frame(self, &bytes);

        code = weir_stage_on_frame(self->stage, link, weir_buffer_view(&bytes), &error);
        weir_buffer_fini(&bytes);
    }
    if (code == WEIR_OK)
        code = weir_stage_on_time(self->stage, &error);
    if (code == WEIR_OK)
        code = weir_stage_commit(self->stage, &error);
    return code == WEIR_OK ? weir_stage_release(self->stage, &self->wake_ms, &error) : code;
}

static bool
is_settled(const world *self)
{
    weir_stage_status status;

    if (self->frame_count > 0)
        return false;
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        weir_link_tx_status tx = { 0 };

        if (self->peers[kind].tx == NULL)
            continue;
        weir_link_tx_status_read(self->peers[kind].tx, &tx);
        if (tx.state != WEIR_LINK_OPEN || tx.acked + 1 != tx.next)
            return false;
    }
    weir_stage_status_read(self->stage, &status);
    for (uint32_t i = 0; i < status.link_count; i++)
        if (status.links[i].sender &&
            (status.links[i].tx.state != WEIR_LINK_OPEN ||
                status.links[i].tx.acked + 1 != status.links[i].tx.next))
            return false;
    return true;
}

/* Time passes to the next thing that anybody wants to do. */
static void
let_time_pass(world *self, int64_t until_ms)
{
    int64_t next_ms = self->wake_ms;

    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++)
        if ((self->peers[kind].tx != NULL || self->peers[kind].rx != NULL) &&
            self->peers[kind].wake_ms < next_ms)
            next_ms = self->peers[kind].wake_ms;
    next_ms = next_ms < until_ms ? next_ms : until_ms;
    if (next_ms > self->now_ms)
        self->now_ms = next_ms;
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++)
        if (self->peers[kind].tx != NULL || self->peers[kind].rx != NULL)
            pump_peer(self, &self->peers[kind]);
}

weir_code
world_try_settle(world *self)
{
    weir_code code = world_round(self, 1000);

    for (int i = 0; code == WEIR_OK && !is_settled(self); i++) {
        weir_assert(i < 100000); /* it never comes to rest */
        if (self->frame_count == 0)
            let_time_pass(self, INT64_MAX);
        code = world_round(self, 1 + (uint32_t)weir_rng_below(&self->rng, 8));
    }
    return code;
}

void
world_settle(world *self)
{
    OK(world_try_settle(self));
}

void
world_wait(world *self, int64_t for_ms)
{
    const int64_t until_ms = self->now_ms + for_ms;

    world_settle(self);
    while (self->now_ms < until_ms) {
        let_time_pass(self, until_ms);
        OK(world_round(self, 1000));
    }
    world_settle(self);
}

/* ---- what came of it ---- */

size_t
asked(const world *self, weir_link_kind link)
{
    size_t count = 0;

    for (size_t i = 0; i < self->row_count; i++)
        count += self->rows[i].link == link;
    return count;
}

const row_message *
last_asked(const world *self, weir_link_kind link)
{
    for (size_t i = self->row_count; i-- > 0;)
        if (self->rows[i].link == link)
            return self->rows[i].row;
    return NULL;
}

static const ending_record *
record_at(world *self, weir_bytes key)
{
    weir_buffer value = { 0 };
    ProtobufCMessage *message = NULL;
    bool found = false;

    OK(weir_store_get(self->store, NULL, key, &value, &found, &error));
    if (found)
        OK(weir_wire_decode(&weir__internal__v1__ending_record__descriptor,
            weir_buffer_view(&value), NULL, self->arena, &message, &error));
    weir_buffer_fini(&value);
    return (const ending_record *)(const void *)message;
}

const ending_record *
ending_of(world *self, const char *document_id, int64_t revision)
{
    weir_buffer key = { 0 };
    const ending_record *record =
        record_at(self, reconciler_key_ending(&key, WORLD_COLLECTION, document_id, revision));

    weir_buffer_fini(&key);
    return record;
}

const ending_record *
dead_letter_of(world *self, const char *document_id, int64_t revision)
{
    weir_buffer key = { 0 };
    const ending_record *record = record_at(self,
        reconciler_key_dead_letter(&key, "acme", WORLD_COLLECTION, document_id, revision));

    weir_buffer_fini(&key);
    return record;
}

bool
is_unfinished(world *self, const char *document_id, int64_t revision)
{
    weir_buffer key = { 0 };
    weir_buffer value = { 0 };
    bool found = false;

    OK(weir_store_get(self->store, NULL,
        reconciler_key_unfinished(&key, WORLD_COLLECTION, document_id, revision), &value, &found,
        &error));
    found = found && value.data[value.size - 1] == 0;
    weir_buffer_fini(&key);
    weir_buffer_fini(&value);
    return found;
}

/* is_live: leave the marks of revisions that were READY too early out. */
static size_t
count_range(world *self, char tag, bool is_live)
{
    const uint8_t lower[] = { (uint8_t)tag };
    const uint8_t upper[] = { (uint8_t)(tag + 1) };
    weir_iter *iter =
        weir_store_iter(self->store, NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));
    size_t count = 0;

    while (weir_iter_next(iter)) {
        const weir_bytes value = weir_iter_value(iter);

        count += !is_live || value.data[value.size - 1] == 0;
    }
    weir_iter_destroy(&iter);
    return count;
}

size_t
count_keys(world *self, char tag)
{
    return count_range(self, tag, false);
}

reconciler_published
published(world *self)
{
    reconciler_published result;

    reconciler_core_published(self->core, &result);
    return result;
}

void
assert_counts_are_true(world *self)
{
    const reconciler_published told = published(self);

    assert_int_equal(told.dead_letters, count_keys(self, 'L'));
    assert_int_equal(told.endings, count_keys(self, 'E'));
    assert_int_equal(told.unfinished, count_range(self, 'U', true));
}
