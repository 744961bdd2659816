/*
 * pair.c - see pair.h.
 *
 * B's keys: 'e' id u64 -> position; 'f' position u64 -> id; 'n' -> positions used.
 */
#include "pair.h"

#include <stdio.h>

void
pair_init(pair *p, uint64_t seed)
{
    *p = (pair){ .rng = { .state = seed },
        .now_ms = 1000,
        .arena = weir_arena_create(0),
        .fill_bytes = 16 };
    p->a.store = weir_store_mem_create();
    p->b.store = weir_store_mem_create();
}

static void
queue_clear(pair_queue *queue)
{
    while (queue->count > 0)
        pair_drop(queue, queue->count - 1);
}

void
pair_fini(pair *p)
{
    weir_link_tx_destroy(&p->tx);
    weir_link_rx_destroy(&p->rx);
    weir_batch_destroy(&p->a.batch);
    weir_batch_destroy(&p->b.batch);
    weir_store_close(&p->a.store);
    weir_store_close(&p->b.store);
    queue_clear(&p->forth);
    queue_clear(&p->back);
    weir_free(p->forth.frames);
    weir_free(p->back.frames);
    weir_free(p->flight);
    weir_arena_destroy(&p->arena);
}

static weir_code
begin(pair *p, pair_end *end, const char *service, weir_error *error)
{
    uint8_t random[32];

    for (size_t i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)weir_rng_next(&p->rng);
    if (p->boot_from_volume)
        memset(random + WEIR_STORE_ID_SIZE, 0, WEIR_BOOT_RANDOM_SIZE);
    weir_batch_destroy(&end->batch);
    const weir_code code =
        weir_link_identity_start(end->store, service, random, &end->identity, error);
    end->batch = weir_batch_create(end->store);
    return code;
}

weir_code
pair_start_a(pair *p, weir_error *error)
{
    weir_link_tx_destroy(&p->tx);
    weir_code code = begin(p, &p->a, "sender/0", error);
    const weir_link_tx_options options = { .store = p->a.store,
        .identity = &p->a.identity,
        .link = PAIR_LINK,
        .memory_bytes_max = p->memory_bytes_max };

    if (code == WEIR_OK)
        code = weir_link_tx_start(&options, p->era, p->a.batch, &p->tx, error);
    return code == WEIR_OK ? pair_commit_a(p, error) : code;
}

weir_code
pair_start_b(pair *p, weir_error *error)
{
    weir_link_rx_destroy(&p->rx);
    weir_code code = begin(p, &p->b, "receiver/0", error);
    const weir_link_rx_options options = { .store = p->b.store,
        .identity = &p->b.identity,
        .link = PAIR_LINK,
        .carries_era = p->carries_era };

    if (code == WEIR_OK)
        code = weir_link_rx_start(&options, &p->rx, error);
    if (code == WEIR_OK)
        weir_link_rx_set_credit(p->rx, 16);
    p->flight_count = 0;
    return code;
}

void
pair_crash_a(pair *p)
{
    weir_link_tx_destroy(&p->tx);
    weir_batch_destroy(&p->a.batch);
    weir_store_mem_power_cut(p->a.store, weir_rng_next(&p->rng));
}

void
pair_crash_b(pair *p)
{
    weir_link_rx_destroy(&p->rx);
    weir_batch_destroy(&p->b.batch);
    weir_store_mem_power_cut(p->b.store, weir_rng_next(&p->rng));
    p->flight_count = 0;
}

weir_code
pair_append(pair *p, uint64_t id, uint64_t *ret_seq, weir_error *error)
{
    Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__DocumentRow document = WEIR__INTERNAL__V1__DOCUMENT_ROW__INIT;
    char *text = weir_alloc(p->fill_bytes + 1);

    memset(text, 'x', p->fill_bytes);
    text[p->fill_bytes] = 0;
    row.era = p->era;
    row.tenant = "tenant";
    row.document_id = text;
    row.revision = (int64_t)id;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT;
    row.document = &document;
    const weir_code code = weir_link_tx_append(p->tx, p->a.batch, &row, ret_seq, error);
    weir_free(text);
    return code;
}

weir_code
pair_commit_a(pair *p, weir_error *error)
{
    const weir_code code = weir_store_commit(p->a.store, p->a.batch, true, error);

    if (code == WEIR_OK)
        weir_link_tx_committed(p->tx);
    return code;
}

void
pair_push(pair_queue *queue, weir_bytes frame)
{
    if (queue->count == queue->capacity) {
        queue->capacity = queue->capacity * 2 + 8;
        queue->frames = weir_realloc(queue->frames, queue->capacity * sizeof *queue->frames);
    }
    uint8_t *copy = weir_alloc(frame.size + 1);
    memcpy(copy, frame.data, frame.size);
    queue->frames[queue->count++] = (struct pair_frame){ .data = copy, .size = frame.size };
}

void
pair_drop(pair_queue *queue, size_t index)
{
    weir_assert(index < queue->count);
    weir_free(queue->frames[index].data);
    memmove(queue->frames + index, queue->frames + index + 1,
        (queue->count - index - 1) * sizeof *queue->frames);
    queue->count--;
}

void
pair_swap(pair_queue *queue, size_t i, size_t j)
{
    const struct pair_frame kept = queue->frames[i];

    queue->frames[i] = queue->frames[j];
    queue->frames[j] = kept;
}

static bool
queue_send(void *ud, uint32_t link, weir_bytes frame)
{
    pair_queue *queue = ud;

    weir_assert(link == PAIR_LINK);
    if (!queue->blocked)
        pair_push(queue, frame);
    return !queue->blocked;
}

weir_code
pair_pump_a(pair *p, weir_error *error)
{
    return weir_link_tx_pump(p->tx, p->now_ms, queue_send, &p->forth, &p->wake_ms, error);
}

void
pair_pump_b(pair *p)
{
    int64_t wake_ms;

    weir_link_rx_pump(p->rx, p->now_ms, queue_send, &p->back, &wake_ms);
    if (wake_ms < p->wake_ms)
        p->wake_ms = wake_ms;
}

static weir_code
deliver(void *ud, uint32_t link, uint64_t seq, const Weir__Internal__V1__Row *row,
    weir_bytes packed, weir_error *reterr)
{
    pair *p = ud;

    weir_assert(link == PAIR_LINK && packed.size == weir__internal__v1__row__get_packed_size(row));
    if (p->refuse != WEIR_OK)
        return weir_error_set(reterr, p->refuse, "no room for row %llu", (unsigned long long)seq);
    if (p->flight_count == p->flight_capacity) {
        p->flight_capacity = p->flight_capacity * 2 + 16;
        p->flight = weir_realloc(p->flight, p->flight_capacity * sizeof *p->flight);
    }
    p->flight[p->flight_count++] = (pair_flight){ .seq = seq, .id = (uint64_t)row->revision };
    return WEIR_OK;
}

static Weir__Internal__V1__Frame *
open_frame(pair *p, const pair_queue *queue, size_t index)
{
    Weir__Internal__V1__Frame *frame = NULL;
    weir_error error = { 0 };

    weir_assert(index < queue->count);
    weir_arena_reset(p->arena);
    const weir_code code =
        weir_link_frame_decode(weir_bytes_of(queue->frames[index].data, queue->frames[index].size),
            p->arena, &frame, &error);
    weir_assert(code == WEIR_OK);
    return frame;
}

weir_code
pair_hand_to_b(pair *p, size_t index, bool keep, weir_error *error)
{
    const weir_code code = weir_link_rx_frame(p->rx, open_frame(p, &p->forth, index), p->b_era,
        p->now_ms, p->b.batch, deliver, p, error);

    if (!keep)
        pair_drop(&p->forth, index);
    return code;
}

weir_code
pair_hand_to_a(pair *p, size_t index, bool keep, weir_error *error)
{
    unsigned news = 0;
    const weir_code code = weir_link_tx_frame(p->tx, open_frame(p, &p->back, index), p->now_ms,
        p->a.batch, &news, error);

    p->news |= news;
    if (!keep)
        pair_drop(&p->back, index);
    return code;
}

/* ---- effects ---- */

typedef struct effect_key {
    uint8_t bytes[9];
} effect_key;

static effect_key
key_of(uint8_t tag, uint64_t number)
{
    effect_key key = { { tag } };

    weir_store_u64(key.bytes + 1, number);
    return key;
}

static weir_code
put_effect(pair *p, uint64_t id, weir_error *error)
{
    const effect_key by_id = key_of('e', id), counter = key_of('n', 0);
    uint8_t number[8];
    weir_buffer value = { 0 };
    bool found = false;
    uint64_t position = 0;

    weir_code code =
        weir_batch_get(p->b.batch, weir_bytes_of(by_id.bytes, 9), &value, &found, error);
    if (code == WEIR_OK && found)
        p->doubled++;
    if (code == WEIR_OK)
        code = weir_batch_get(p->b.batch, weir_bytes_of(counter.bytes, 9), &value, &found, error);
    if (code == WEIR_OK && found)
        position = weir_load_u64(value.data);
    weir_buffer_fini(&value);

    const effect_key by_position = key_of('f', position);
    weir_store_u64(number, id);
    weir_batch_put(p->b.batch, weir_bytes_of(by_position.bytes, 9), weir_bytes_of(number, 8));
    weir_store_u64(number, position + 1);
    weir_batch_put(p->b.batch, weir_bytes_of(counter.bytes, 9), weir_bytes_of(number, 8));
    weir_batch_put(p->b.batch, weir_bytes_of(by_id.bytes, 9), weir_bytes_of(number, 8));
    return code;
}

weir_code
pair_settle(pair *p, size_t count, weir_error *error)
{
    weir_code code = WEIR_OK;

    weir_assert(count <= p->flight_count);
    for (size_t i = 0; i < count && code == WEIR_OK; i++)
        code = put_effect(p, p->flight[i].id, error);
    /* Effects in order, marks in any: here from both sides. */
    for (size_t i = 0; i < count && code == WEIR_OK; i++) {
        const size_t index = i % 2 == 0 ? i / 2 : count - 1 - i / 2;
        weir_link_rx_settle(p->rx, p->flight[index].seq);
    }
    if (count > 0)
        memmove(p->flight, p->flight + count, (p->flight_count - count) * sizeof *p->flight);
    p->flight_count -= count;
    return code;
}

weir_code
pair_commit_b(pair *p, weir_error *error)
{
    weir_code code = weir_link_rx_prepare(p->rx, p->b.batch, error);

    if (code == WEIR_OK)
        code = weir_store_commit(p->b.store, p->b.batch, true, error);
    if (code == WEIR_OK)
        weir_link_rx_committed(p->rx);
    return code;
}

bool
pair_has_effect(pair *p, uint64_t id)
{
    const effect_key key = key_of('e', id);
    weir_buffer value = { 0 };
    bool found = false;
    const weir_code code =
        weir_store_get(p->b.store, NULL, weir_bytes_of(key.bytes, 9), &value, &found, NULL);

    weir_assert(code == WEIR_OK);
    weir_buffer_fini(&value);
    return found;
}

static size_t
scan(weir_store *store, uint8_t tag, uint64_t **ret_values)
{
    const uint8_t lower[1] = { tag }, upper[1] = { (uint8_t)(tag + 1) };
    weir_iter *iter =
        weir_store_iter(store, NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));
    size_t count = 0;

    while (weir_iter_next(iter)) {
        if (ret_values != NULL) {
            *ret_values = weir_realloc(*ret_values, (count + 1) * sizeof **ret_values);
            (*ret_values)[count] = weir_load_u64(weir_iter_value(iter).data);
        }
        count++;
    }
    weir_iter_destroy(&iter);
    return count;
}

size_t
pair_effects(pair *p, uint64_t **ret_ids)
{
    *ret_ids = NULL;
    return scan(p->b.store, 'f', ret_ids);
}

size_t
pair_outbox_count(pair *p)
{
    return scan(p->a.store, 'o', NULL);
}

weir_link_tx_status
pair_tx(const pair *p)
{
    weir_link_tx_status status;

    weir_link_tx_status_read(p->tx, &status);
    return status;
}

weir_link_rx_status
pair_rx(const pair *p)
{
    weir_link_rx_status status;

    weir_link_rx_status_read(p->rx, &status);
    return status;
}
