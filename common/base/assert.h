/*
 * assert.h - assertions that stay on in release builds.
 *
 * For the programmer's mistakes only: bytes from disk, network, configuration or another service
 * return an error.
 */
#ifndef WEIR_BASE_ASSERT_H
#define WEIR_BASE_ASSERT_H

/* Logs the expression with file and line, then aborts.  Never returns. */
_Noreturn void weir_assert_failed(const char *expression, const char *file, int line);

#define weir_assert(expression_) \
    ((expression_) ? (void)0 : weir_assert_failed(#expression_, __FILE__, __LINE__))

#endif
