/*
 * reads_internal.h - what the files of the reconciler's reads share.
 */
#ifndef WEIR_RECONCILER_READS_INTERNAL_H
#define WEIR_RECONCILER_READS_INTERNAL_H

#include "common/domain/dead_letter_id.h"
#include "services/reconciler/keys.h"
#include "services/reconciler/reads.h"
#include "weir/internal/v1/record.pb-c.h"

typedef Weir__Internal__V1__EndingRecord ending_record;

char *reconciler_dead_letter_id(weir_arena *arena, const reconciler_id *id, int64_t epoch);
/* WEIR_CORRUPT when it does not decode. */
weir_code reconciler_decode_ended(weir_arena *arena, weir_bytes value, ending_record **ret_record,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
