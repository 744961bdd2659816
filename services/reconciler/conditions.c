/*
 * conditions.c - see conditions.h.
 */
#include "services/reconciler/conditions.h"

typedef Weir__Internal__V1__EndedCondition condition;
typedef Weir__Internal__V1__EndingRecord ending_record;

#define FIELD(name_) WEIR__INTERNAL__V1__ENDED_CONDITION__FIELD__FIELD_##name_
#define COMPARISON(name_) WEIR__INTERNAL__V1__ENDED_CONDITION__COMPARISON__COMPARISON_##name_

enum { NS_PER_MS = 1000000 };

static int
order(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

/* < 0, 0, > 0: the dead letter's value against the condition's; false: no such field. */
static bool
compare(const condition *wanted, const reconciler_id *id, const ending_record *record,
    int *ret_order)
{
    const Weir__Internal__V1__Failure *failure = record->failure;

    switch (wanted->field) {
    case FIELD(REASON):
        *ret_order = order(failure != NULL ? failure->code : 0, wanted->number);
        return true;
    case FIELD(STAGE):
        *ret_order = order(failure != NULL ? failure->stage : 0, wanted->number);
        return true;
    case FIELD(DOCUMENT_ID):
        *ret_order = strcmp(id->document_id, wanted->text);
        return true;
    case FIELD(REVISION):
        *ret_order = order(id->revision, wanted->number);
        return true;
    case FIELD(RUN):
        *ret_order = order(record->epoch, wanted->number);
        return true;
    case FIELD(LAST_FAILURE_TIME):
        *ret_order = order(failure != NULL ? failure->time_ms * NS_PER_MS : 0, wanted->number);
        return true;
    case FIELD(UNSPECIFIED):
    case _WEIR__INTERNAL__V1__ENDED_CONDITION__FIELD_IS_INT_SIZE:
        return false;
    }
    return false;
}

static bool
holds(const condition *wanted, const reconciler_id *id, const ending_record *record)
{
    int found = 0;

    if (!compare(wanted, id, record, &found))
        return false;
    switch (wanted->comparison) {
    case COMPARISON(EQUAL):
        return found == 0;
    case COMPARISON(NOT_EQUAL):
        return found != 0;
    case COMPARISON(LESS):
        return found < 0;
    case COMPARISON(AT_MOST):
        return found <= 0;
    case COMPARISON(GREATER):
        return found > 0;
    case COMPARISON(AT_LEAST):
        return found >= 0;
    case COMPARISON(UNSPECIFIED):
    case _WEIR__INTERNAL__V1__ENDED_CONDITION__COMPARISON_IS_INT_SIZE:
        return false;
    }
    return false;
}

bool
reconciler_matches(condition *const *conditions, size_t count, const reconciler_id *id,
    const ending_record *record)
{
    for (size_t i = 0; i < count; i++)
        if (!holds(conditions[i], id, record))
            return false;
    return true;
}
