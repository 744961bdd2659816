/*
 * weights.h - shares by name, written as in "acme=4,trial=1".
 *
 * A list is a setting: short, read rarely and never changed, so it stays text.  A name is 1 to 64
 * of [A-Za-z0-9._-], a weight a whole number from 1 to WEIR_WEIGHT_MAX; "" is a list of none.
 * Threads: none.
 */
#ifndef WEIR_BASE_WEIGHTS_H
#define WEIR_BASE_WEIGHTS_H

#include <stdint.h>

#include "common/base/error.h"

enum { WEIR_WEIGHT_MAX = 100, WEIR_WEIGHT_NAME_BYTES_MAX = 64 };

/* CONFIG_INVALID, which quotes the entry that is wrong or named twice. */
weir_code weir_weights_check(const char *list, weir_error *reterr) WEIR_MUST_CHECK;
/* The weight of a name in a list that was checked; 1 when it is not in it. */
uint32_t weir_weights_of(const char *list, const char *name);

#endif
