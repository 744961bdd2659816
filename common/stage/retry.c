/*
 * retry.c - the one table of what becomes of failures; see retry.h.
 */
#include "common/stage/retry.h"

#include "common/base/assert.h"
#include "common/domain/backoff.h"

#define EVENT(name_) WEIR__V1__DOCUMENT_EVENT_TYPE__DOCUMENT_EVENT_TYPE_##name_

/*
 * The policy of every class.  A pause counts for all documents that ask the same, a wait for one.
 * Who asks what, the stage knows: the embedder pauses a model; each document of ingest waits alone.
 */
static const weir_retry_rule rules[WEIR_CLASS_COUNT] = {
    [WEIR_CLASS_NONE] = { .event = EVENT(UNSPECIFIED), .log_event = "" },
    [WEIR_CLASS_TRANSIENT] = { .cost = WEIR_RETRY_COSTS_ATTEMPT,
        .grows = WEIR_RETRY_BY_ATTEMPTS,
        .end = WEIR_RETRY_ENDS_AT_ATTEMPTS_MAX,
        .may_help = true,
        .event = EVENT(ATTEMPT_FAILED),
        .log_event = "document.retry" },
    [WEIR_CLASS_THROTTLED] = { .cost = WEIR_RETRY_COSTS_NOTHING,
        .grows = WEIR_RETRY_BY_AGE,
        .heeds_cause = true,
        .pause_factor = 1,
        .end = WEIR_RETRY_ENDS_NEVER,
        .may_help = true,
        .event = EVENT(DEFERRED),
        .log_event = "document.parked" },
    [WEIR_CLASS_OUTAGE] = { .cost = WEIR_RETRY_COSTS_NOTHING,
        .grows = WEIR_RETRY_BY_AGE,
        .heeds_cause = true,
        .pause_factor = 2,
        .end = WEIR_RETRY_ENDS_NEVER,
        .may_help = true,
        .event = EVENT(DEFERRED),
        .log_event = "document.parked" },
    [WEIR_CLASS_PERMANENT] = { .cost = WEIR_RETRY_COSTS_ATTEMPT,
        .end = WEIR_RETRY_ENDS_AT_ONCE,
        .event = EVENT(ATTEMPT_FAILED),
        .log_event = "" },
    [WEIR_CLASS_KILLER] = { .cost = WEIR_RETRY_COSTS_CRASH,
        .end = WEIR_RETRY_ENDS_AT_CRASHES_MAX,
        .event = EVENT(ATTEMPT_FAILED),
        .log_event = "document.killer" },
};

const weir_retry_rule *
weir_retry_rule_of(weir_class class)
{
    weir_assert((unsigned)class < WEIR_CLASS_COUNT);
    return &rules[class];
}

const weir_retry_rule *
weir_retry_rule_for(weir_code code)
{
    return weir_retry_rule_of(weir_code_class(code));
}

bool
weir_retry_waits(weir_code code)
{
    return code != WEIR_OK && weir_retry_rule_for(code)->end == WEIR_RETRY_ENDS_NEVER;
}

bool
weir_retry_is_over(const weir_retry_rule *rule, const weir_work_policy *policy, uint32_t attempts,
    uint32_t crashes)
{
    switch (rule->end) {
    case WEIR_RETRY_ENDS_NEVER:
        return false;
    case WEIR_RETRY_ENDS_AT_ATTEMPTS_MAX:
        return attempts >= policy->attempts_max;
    case WEIR_RETRY_ENDS_AT_CRASHES_MAX:
        return crashes >= policy->crashes_max;
    case WEIR_RETRY_ENDS_AT_ONCE:
        return true;
    }
    weir_assert(!"every end is decided");
    return true;
}

/* Not before the time that was asked for, and not all at that time; backoff_max_ms bounds this too,
 * since a try too many costs nothing and a clock may jump. */
static uint32_t
asked_ms(const weir_work_policy *policy, uint32_t retry_after_ms, uint64_t random)
{
    const uint64_t wait_ms = (uint64_t)retry_after_ms +
        weir_backoff_ms(0, policy->backoff_base_ms, policy->backoff_max_ms, random);

    return wait_ms < policy->backoff_max_ms ? (uint32_t)wait_ms : policy->backoff_max_ms;
}

/* Short outages end soon, long ones are not hammered. */
static uint32_t
doublings_of(const weir_work_policy *policy, int64_t waited_ms)
{
    uint32_t doublings = 0;

    while (doublings < 31 && ((int64_t)policy->backoff_base_ms << doublings) < waited_ms)
        doublings++;
    return doublings;
}

uint32_t
weir_retry_wait_ms(const weir_retry_rule *rule, const weir_work_policy *policy, uint32_t attempts,
    int64_t waited_ms, uint32_t retry_after_ms, uint64_t random)
{
    weir_assert(rule->grows != WEIR_RETRY_AT_NO_TIME);
    weir_assert(rule->grows == WEIR_RETRY_BY_AGE || attempts > 0);
    if (rule->heeds_cause && retry_after_ms > 0)
        return asked_ms(policy, retry_after_ms, random);
    return weir_backoff_ms(rule->grows == WEIR_RETRY_BY_AGE ? doublings_of(policy, waited_ms)
                                                            : attempts - 1,
        policy->backoff_base_ms, policy->backoff_max_ms, random);
}

uint32_t
weir_retry_pause_ms(const weir_retry_rule *rule, const weir_work_policy *policy, uint32_t failures,
    uint32_t retry_after_ms, uint64_t random)
{
    weir_assert(rule->pause_factor > 0);
    if (rule->heeds_cause && retry_after_ms > 0)
        return asked_ms(policy, retry_after_ms, random);
    const uint64_t base_ms = (uint64_t)policy->backoff_base_ms * rule->pause_factor;
    const uint32_t max_ms = policy->backoff_max_ms;

    return weir_backoff_ms(failures, base_ms < max_ms ? (uint32_t)base_ms : max_ms, max_ms, random);
}
