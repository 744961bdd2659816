/*
 * message.c - protobuf-c messages and metadata to and from the core's slices.
 */
#include "common/rpc/internal.h"

grpc_byte_buffer *
wr_message_pack(const ProtobufCMessage *message)
{
    const size_t size = protobuf_c_message_get_packed_size(message);
    grpc_slice slice = grpc_slice_malloc(size);
    grpc_byte_buffer *buffer;

    weir_assert(protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice)) == size);
    buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

/* The bytes in one piece: borrowed when the core has them so, which small messages are. */
static grpc_slice
flatten(grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_reader reader;
    grpc_slice slice;

    weir_assert(grpc_byte_buffer_reader_init(&reader, buffer) != 0);
    if (grpc_byte_buffer_reader_next(&reader, &slice) == 0)
        slice = grpc_empty_slice();
    grpc_byte_buffer_reader_destroy(&reader);
    if (GRPC_SLICE_LENGTH(slice) == grpc_byte_buffer_length(buffer))
        return slice;

    grpc_slice_unref(slice);
    weir_assert(grpc_byte_buffer_reader_init(&reader, buffer) != 0);
    slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    return slice;
}

weir_code
wr_message_unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *buffer,
    weir_arena *arena, ProtobufCMessage **ret_message, weir_error *reterr)
{
    const grpc_slice whole = flatten(buffer);
    const weir_code code =
        weir_wire_decode(type, wr_slice_bytes(&whole), NULL, arena, ret_message, reterr);

    grpc_slice_unref(whole);
    return code;
}

weir_bytes
wr_slice_bytes(const grpc_slice *slice)
{
    return weir_bytes_of(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

char *
wr_slice_text(weir_arena *arena, const grpc_slice *slice)
{
    const weir_bytes bytes = wr_slice_bytes(slice);

    return weir_arena_strndup(arena, (const char *)bytes.data, bytes.size);
}

/* Takes the slices over. */
static void
pairs_put(wr_pairs *pairs, grpc_metadata item)
{
    if (pairs->count == pairs->room) {
        pairs->room = pairs->room * 2 + 4;
        pairs->items = weir_realloc(pairs->items, pairs->room * sizeof pairs->items[0]);
    }
    pairs->items[pairs->count++] = item;
}

void
wr_pairs_copy(wr_pairs *pairs, const wr_pairs *from)
{
    for (size_t i = 0; i < from->count; i++)
        pairs_put(pairs,
            (grpc_metadata){ .key = grpc_slice_ref(from->items[i].key),
                .value = grpc_slice_ref(from->items[i].value) });
}

bool
wr_pairs_add(wr_pairs *pairs, const char *key, weir_bytes value)
{
    grpc_metadata item = {
        .key = grpc_slice_from_copied_string(key),
        .value = grpc_slice_from_copied_buffer((const char *)value.data, value.size),
    };
    const bool legal = grpc_header_key_is_legal(item.key) != 0 &&
        (grpc_is_binary_header(item.key) != 0 ||
            grpc_header_nonbin_value_is_legal(item.value) != 0);

    if (!legal || pairs->count == WR_PAIRS_MAX) {
        grpc_slice_unref(item.key);
        grpc_slice_unref(item.value);
        return false;
    }
    pairs_put(pairs, item);
    return true;
}

void
wr_pairs_fini(wr_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        grpc_slice_unref(pairs->items[i].key);
        grpc_slice_unref(pairs->items[i].value);
    }
    weir_free(pairs->items);
    *pairs = (wr_pairs){ 0 };
}

weir_bytes
wr_metadata_find(const grpc_metadata *items, size_t count, const char *key, size_t *ret_count)
{
    const weir_bytes wanted = weir_bytes_str(key);
    weir_bytes value = { 0 };

    *ret_count = 0;
    for (size_t i = 0; i < count; i++)
        if (weir_bytes_equal(wr_slice_bytes(&items[i].key), wanted)) {
            value = wr_slice_bytes(&items[i].value);
            *ret_count += 1;
        }
    return value;
}

int64_t
wr_deadline_ms(gpr_timespec deadline)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) >= 0)
        return INT64_MAX;

    const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));

    return left.tv_sec * 1000 + left.tv_nsec / 1000000;
}
