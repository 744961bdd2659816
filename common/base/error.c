/*
 * error.c - the table of failures, made from WEIR_CODE_MAP, and the filling of one failure.
 */
#include "common/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"

typedef struct code_row {
    const char *name;
    int grpc_status;
    weir_class class;
} code_row;

static const code_row code_rows[WEIR_CODE_COUNT] = {
#define CODE_ROW(number_, name_, grpc_, class_) [number_] = { #name_, grpc_, WEIR_CLASS_##class_ },
    WEIR_CODE_MAP(CODE_ROW)
#undef CODE_ROW
};

/* Copy text and cut it, where it must be cut, before a whole UTF-8 character: messages travel in
 * protobuf strings. */
static void
copy_cut(char *out, size_t out_size, const char *text)
{
    size_t size = strlen(text);

    if (size >= out_size) {
        size = out_size - 1;
        while (size > 0 && ((unsigned char)text[size] & 0xC0) == 0x80)
            size--;
    }
    memmove(out, text, size);
    out[size] = '\0';
}

static void __attribute__((format(printf, 4, 0)))
fill(weir_error *reterr, weir_code code, const char *field, const char *format, va_list arguments)
{
    /* One byte more than fits, so that copy_cut sees the cut.  Formatted aside, because an
     * argument may be the old message of the same error ("reading x: %s"). */
    char message[sizeof reterr->message + 1];
    char name[sizeof reterr->field + 1];

    weir_assert(code != WEIR_OK);
    if (reterr == NULL)
        return;
    (void)vsnprintf(message, sizeof message, format, arguments);
    copy_cut(name, sizeof reterr->field, field);

    reterr->code = code;
    reterr->retry_after_ms = 0;
    copy_cut(reterr->field, sizeof reterr->field, name);
    copy_cut(reterr->message, sizeof reterr->message, message);
}

weir_code
weir_error_set(weir_error *reterr, weir_code code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fill(reterr, code, "", format, arguments);
    va_end(arguments);
    return code;
}

weir_code
weir_error_set_field(weir_error *reterr, weir_code code, const char *field, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fill(reterr, code, field, format, arguments);
    va_end(arguments);
    return code;
}

static const code_row *
row_of(weir_code code)
{
    const bool known = (unsigned)code < WEIR_CODE_COUNT && code_rows[code].name != NULL;

    return &code_rows[known ? code : WEIR_INTERNAL];
}

const char *
weir_code_name(weir_code code)
{
    return row_of(code)->name;
}

int
weir_code_grpc_status(weir_code code)
{
    return row_of(code)->grpc_status;
}

weir_class
weir_code_class(weir_code code)
{
    return row_of(code)->class;
}

const char *
weir_class_name(weir_class class)
{
    static const char *const names[WEIR_CLASS_COUNT] = {
        [WEIR_CLASS_NONE] = "done",
        [WEIR_CLASS_TRANSIENT] = "transient",
        [WEIR_CLASS_THROTTLED] = "throttled",
        [WEIR_CLASS_OUTAGE] = "outage",
        [WEIR_CLASS_PERMANENT] = "permanent",
        [WEIR_CLASS_KILLER] = "killer",
    };

    weir_assert((unsigned)class < WEIR_CLASS_COUNT);
    return names[class];
}

weir_code
weir_code_from_name(const char *name)
{
    for (unsigned code = 0; code < WEIR_CODE_COUNT; code++) {
        if (code_rows[code].name != NULL && strcmp(code_rows[code].name, name) == 0)
            return (weir_code)code;
    }
    return WEIR_INTERNAL;
}
