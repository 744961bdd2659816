/* What the JSON tests share: one message in, one line of text out. */
#ifndef WEIR_TESTS_JSON_SUPPORT_H
#define WEIR_TESTS_JSON_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/json/json.h"
#include "json_shapes.pb-c.h"

static inline void
assert_encodes(const void *message, const weir_json_options *options, const char *expected)
{
    weir_buffer out = { 0 };
    weir_error error = { 0 };

    if (weir_json_encode(message, options, &out, &error) != WEIR_OK)
        fail_msg("%s", error.message);
    weir_buffer_append_u8(&out, 0);
    assert_string_equal((const char *)out.data, expected);
    weir_buffer_fini(&out);
}

static inline void *
decode(weir_arena *arena, const ProtobufCMessageDescriptor *descriptor, const char *json)
{
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };

    if (weir_json_decode(descriptor, weir_bytes_str(json), arena, &message, &error) != WEIR_OK)
        fail_msg("%s", error.message);
    assert_ptr_equal(message->descriptor, descriptor);
    return message;
}

static inline void *
decode_shapes(weir_arena *arena, const char *json)
{
    return decode(arena, &weir__test__shapes__descriptor, json);
}

/* field NULL: any. */
static inline void
assert_refused(const ProtobufCMessageDescriptor *descriptor, const char *json, weir_code expected,
    const char *field, const char *part_of_message)
{
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };
    const weir_code code =
        weir_json_decode(descriptor, weir_bytes_str(json), arena, &message, &error);

    if (code != expected || error.code != expected)
        fail_msg("%s answered %s: %s", json, weir_code_name(code), error.message);
    assert_null(message);
    if (field != NULL)
        assert_string_equal(error.field, field);
    if (strstr(error.message, part_of_message) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.message, part_of_message);
    weir_arena_destroy(&arena);
}

#endif
