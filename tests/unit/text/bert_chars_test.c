/* Goal: every character is what the reference says.  Method: all 1,112,064 of them, by hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/id.h"
#include "common/text/bert_chars.h"

/* Printed by tests/tokenizer/run.sh. */
#define REFERENCE "619c29f2d21f99eeb85198f692d33226cfbbb881fc083a6e22aea91ad3a16745"

/* Words that 'x', the character and 'y' make: the script counts them the same way. */
static int
words_with_neighbours(weir_bert_class found)
{
    return found == WEIR_BERT_SPACE ? 2 : found == WEIR_BERT_ALONE ? 3 : 1;
}

static void
append_line(weir_buffer *out, uint32_t code)
{
    uint32_t codes[WEIR_BERT_CODES_MAX];
    size_t count = 0;
    char text[32];
    const weir_bert_class found = weir_bert_character(code, codes, &count);
    int size = snprintf(text, sizeof text, "%X %d ", code, words_with_neighbours(found));

    weir_buffer_append(out, text, (size_t)size);
    for (size_t i = 0; i < count; i++) {
        size = snprintf(text, sizeof text, "%s%X", i > 0 ? "," : "", codes[i]);
        weir_buffer_append(out, text, (size_t)size);
    }
    weir_buffer_append_u8(out, '\n');
}

static void
every_character_is_what_the_reference_makes_of_it(void **state)
{
    weir_buffer lines = { 0 };
    char hex[65];

    for (uint32_t code = 0; code < 0x110000; code++) {
        if (code < 0xD800 || code >= 0xE000)
            append_line(&lines, code);
    }
    const weir_sha256_sum sum = weir_sha256(weir_buffer_view(&lines));

    weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes), hex);
    assert_string_equal(hex, REFERENCE);
    weir_buffer_fini(&lines);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_is_what_the_reference_makes_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
