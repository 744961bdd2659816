/*
 * dead_letter_id.h - the name of a dead letter: "<collection_no>.<revision>.<run>.<document_id>".
 *
 * Opaque to clients.  It names one run, so what is asked of it can never meet a later one.  Pure.
 */
#ifndef WEIR_DOMAIN_DEAD_LETTER_ID_H
#define WEIR_DOMAIN_DEAD_LETTER_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"

typedef struct weir_dead_letter_id {
    uint64_t collection_no;
    int64_t revision, run;
    const char *document_id; /* points into what was parsed */
} weir_dead_letter_id;

char *weir_dead_letter_id_format(weir_arena *arena, const weir_dead_letter_id *id);
/* False for every text that format would not have made, to the byte. */
bool weir_dead_letter_id_parse(const char *text, weir_dead_letter_id *ret_id);

#endif
