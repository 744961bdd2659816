/*
 * frame.c - the bytes of one ZeroMQ message.
 *
 * store_id, boot, first sequence and count are the envelope: they are made when a message is sent,
 * never stored, so the same rows can leave in another start.  The envelope of a start does not
 * change and is packed once; rows are packed already and are copied once, straight behind it,
 * because packing a Frame with protobuf-c would touch every byte of every row three times.
 * tests/unit/link/frame_test.c compares both ways.
 */
#include "common/link/internal.h"
#include "common/wire/wire.h"

enum { TAG_FIRST_SEQ = 1 << 3, TAG_ROW = 2 << 3 | 2 };

static size_t
varint_size(uint64_t value)
{
    size_t size = 1;

    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

static uint8_t *
varint_put(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

void
link_envelope_init(weir_buffer *envelope, uint32_t link, const weir_link_identity *identity)
{
    const link_boot boot = link_boot_of(identity);
    Weir__Internal__V1__Boot boot_message = link_boot_message(&boot);
    Weir__Internal__V1__Frame frame = WEIR__INTERNAL__V1__FRAME__INIT;

    frame.link = link;
    frame.store_id = link_borrow(identity->store_id, WEIR_STORE_ID_SIZE);
    frame.boot = &boot_message;
    weir_buffer_clear(envelope);
    weir_wire_encode(&frame.base, envelope);
}

/* Begin a frame: envelope, tag and length of the body; room for the body is reserved. */
static uint8_t *
begin(weir_buffer *out, const weir_buffer *envelope, uint32_t field, size_t body_size)
{
    weir_buffer_clear(out);
    weir_buffer_reserve(out, envelope->size + 1 + varint_size(body_size) + body_size);
    memcpy(out->data, envelope->data, envelope->size);

    uint8_t *at = out->data + envelope->size;
    at = varint_put(at, field << 3 | 2);
    return varint_put(at, body_size);
}

void
link_frame_build(weir_buffer *out, const weir_buffer *envelope, uint32_t field,
    const ProtobufCMessage *body)
{
    const size_t size = protobuf_c_message_get_packed_size(body);
    uint8_t *at = begin(out, envelope, field, size);

    at += protobuf_c_message_pack(body, at);
    out->size = (size_t)(at - out->data);
    weir_assert(out->size <= out->capacity);
}

static size_t
rows_size(uint64_t first_seq, const weir_bytes *rows, size_t count)
{
    size_t size = 1 + varint_size(first_seq);

    for (size_t i = 0; i < count; i++)
        size += 1 + varint_size(rows[i].size) + rows[i].size;
    return size;
}

void
link_frame_build_rows(weir_buffer *out, const weir_buffer *envelope, uint64_t first_seq,
    const weir_bytes *rows, size_t count)
{
    weir_assert(first_seq > 0 && count > 0 && count <= WEIR_FRAME_ROWS_MAX);
    uint8_t *at = begin(out, envelope, LINK_FIELD_ROWS, rows_size(first_seq, rows, count));

    *at++ = TAG_FIRST_SEQ;
    at = varint_put(at, first_seq);
    for (size_t i = 0; i < count; i++) {
        *at++ = TAG_ROW;
        at = varint_put(at, rows[i].size);
        memcpy(at, rows[i].data, rows[i].size);
        at += rows[i].size;
    }
    out->size = (size_t)(at - out->data);
    weir_assert(out->size <= out->capacity);
    weir_assert(out->size <= WEIR_FRAME_BYTES_MAX);
}

static bool
boot_is_whole(const Weir__Internal__V1__Boot *boot)
{
    return boot != NULL && boot->random.len == WEIR_BOOT_RANDOM_SIZE;
}

static bool
hello_is_whole(const Weir__Internal__V1__Hello *hello)
{
    for (size_t i = 0; i < hello->n_starts; i++)
        if (!boot_is_whole(hello->starts[i]->boot))
            return false;
    const Weir__Internal__V1__Reset *reset = hello->reset;
    if (reset != NULL &&
        (reset->start == 0 || reset->receiver_store_id.len != WEIR_STORE_ID_SIZE ||
            reset->sender_store_id.len != WEIR_STORE_ID_SIZE))
        return false;
    return hello->n_starts > 0 && hello->acked < hello->next;
}

static bool
rows_are_whole(const Weir__Internal__V1__Rows *rows)
{
    return rows->first_seq > 0 && rows->n_rows > 0 && rows->n_rows <= WEIR_FRAME_ROWS_MAX &&
        rows->first_seq <= UINT64_MAX - WEIR_FRAME_ROWS_MAX;
}

static bool
ack_is_whole(const Weir__Internal__V1__Ack *ack)
{
    return ack->sender_store_id.len == WEIR_STORE_ID_SIZE && boot_is_whole(ack->sender_boot);
}

static bool
body_is_whole(const Weir__Internal__V1__Frame *frame)
{
    switch (frame->body_case) {
    case WEIR__INTERNAL__V1__FRAME__BODY_ROWS:
        return rows_are_whole(frame->rows);
    case WEIR__INTERNAL__V1__FRAME__BODY_HELLO:
        return hello_is_whole(frame->hello);
    case WEIR__INTERNAL__V1__FRAME__BODY_ANSWER: /* no sender_boot: no boot of this sender was ever
                                                    seen */
        return boot_is_whole(frame->answer->hello_boot) &&
            (frame->answer->sender_boot == NULL || boot_is_whole(frame->answer->sender_boot));
    case WEIR__INTERNAL__V1__FRAME__BODY_ACK:
        return ack_is_whole(frame->ack);
    case WEIR__INTERNAL__V1__FRAME__BODY_NAK:
        return ack_is_whole(frame->nak);
    case WEIR__INTERNAL__V1__FRAME__BODY__NOT_SET:
    case _WEIR__INTERNAL__V1__FRAME__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return false;
}

bool
link_frame_is_whole(const Weir__Internal__V1__Frame *frame)
{
    return frame->store_id.len == WEIR_STORE_ID_SIZE && boot_is_whole(frame->boot) &&
        body_is_whole(frame);
}

weir_code
weir_link_frame_decode(weir_bytes bytes, weir_arena *arena, Weir__Internal__V1__Frame **ret_frame,
    weir_error *reterr)
{
    if (bytes.size > WEIR_FRAME_BYTES_MAX)
        return weir_error_set(reterr, WEIR_MALFORMED_MESSAGE, "a frame of %zu bytes; at most %d",
            bytes.size, WEIR_FRAME_BYTES_MAX);

    ProtobufCMessage *message = NULL;
    const weir_code code = weir_wire_decode(&weir__internal__v1__frame__descriptor, bytes, NULL,
        arena, &message, reterr);
    if (code != WEIR_OK)
        return code;

    Weir__Internal__V1__Frame *frame = (Weir__Internal__V1__Frame *)message;
    if (!link_frame_is_whole(frame))
        return weir_error_set(reterr, WEIR_MALFORMED_MESSAGE,
            "a frame of link %#x lacks a field or has one of a wrong size (body %d)",
            (unsigned)frame->link, (int)frame->body_case);
    *ret_frame = frame;
    return WEIR_OK;
}
