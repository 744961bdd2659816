/*
 * assert.c - the end of a process that has broken its own rules: one log line, then abort.
 */
#include "common/base/assert.h"

#include <stdlib.h>

#include "common/base/log.h"

_Noreturn void
weir_assert_failed(const char *expression, const char *file, int line)
{
    weir_log(WEIR_LOG_ERROR, "assert.failed", WEIR_STR("expression", expression),
        WEIR_STR("file", file), WEIR_INT("line", line));
    abort();
}
