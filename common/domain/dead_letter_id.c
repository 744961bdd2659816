/*
 * dead_letter_id.c - see dead_letter_id.h.
 */
#include "common/domain/dead_letter_id.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/limits.h"

enum { DIGITS_MAX = 20 };

char *
weir_dead_letter_id_format(weir_arena *arena, const weir_dead_letter_id *id)
{
    return weir_arena_printf(arena, "%" PRIu64 ".%" PRId64 ".%" PRId64 ".%s", id->collection_no,
        id->revision, id->run, id->document_id);
}

/* Decimal digits as they are printed: no sign, no space, no leading zero; *text moves behind the
 * dot that follows. */
static bool
parse_number(const char **text, uint64_t max, uint64_t *ret_number)
{
    const char *at = *text;
    uint64_t number = 0;

    if (*at == '0')
        return false;
    for (; *at >= '0' && *at <= '9' && at - *text < DIGITS_MAX; at++) {
        const uint64_t digit = (uint64_t)(*at - '0');

        if (number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (at == *text || *at != '.')
        return false;
    *text = at + 1;
    *ret_number = number;
    return true;
}

bool
weir_dead_letter_id_parse(const char *text, weir_dead_letter_id *ret_id)
{
    uint64_t revision = 0;
    uint64_t run = 0;

    if (!parse_number(&text, UINT64_MAX, &ret_id->collection_no) ||
        !parse_number(&text, INT64_MAX, &revision) || !parse_number(&text, INT64_MAX, &run))
        return false;
    ret_id->revision = (int64_t)revision;
    ret_id->run = (int64_t)run;
    ret_id->document_id = text;
    return text[0] != 0 &&
        strnlen(text, WEIR_DOCUMENT_ID_BYTES_MAX + 1) <= WEIR_DOCUMENT_ID_BYTES_MAX;
}
