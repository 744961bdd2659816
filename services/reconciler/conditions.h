/*
 * conditions.h - does a dead letter match a filter?  Pure.
 */
#ifndef WEIR_RECONCILER_CONDITIONS_H
#define WEIR_RECONCILER_CONDITIONS_H

#include "services/reconciler/keys.h"
#include "weir/internal/v1/record.pb-c.h"
#include "weir/internal/v1/service.pb-c.h"

/* All conditions hold.  One of a field or a comparison that is not known here never does. */
bool reconciler_matches(Weir__Internal__V1__EndedCondition *const *conditions, size_t count,
    const reconciler_id *id, const Weir__Internal__V1__EndingRecord *record);

#endif
