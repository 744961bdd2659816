/*
 * admission.c - see admission.h.
 */
#include "services/gateway/admission.h"

#include <stddef.h>

enum { RETRY_AFTER_MS = 1000, STREAM_SHARE_PERCENT = 95 };

/* A limit of 0 is none; a small one leaves streams nothing but the limit itself. */
static gateway_admission
against(uint64_t value, uint64_t limit)
{
    if (limit == 0)
        return GATEWAY_ACCEPTING;
    if (value >= limit)
        return GATEWAY_REJECTING;
    return value >= limit - limit * (100 - STREAM_SHARE_PERCENT) / 100 ? GATEWAY_THROTTLING
                                                                       : GATEWAY_ACCEPTING;
}

gateway_admission
gateway_admit(const gateway_limits *limits, const gateway_load *load, int64_t now_ms,
    weir_error *ret_why)
{
    const int64_t age_ms = load->oldest_since_ms == 0 ? 0 : now_ms - load->oldest_since_ms;
    const gateway_admission by_documents = against(load->documents, limits->documents_max);
    const gateway_admission by_bytes = against(load->bytes, limits->bytes_max);
    const gateway_admission by_age = against(age_ms > 0 ? (uint64_t)age_ms : 0, limits->age_max_ms);
    gateway_admission worst = by_documents;

    worst = by_bytes > worst ? by_bytes : worst;
    worst = by_age > worst ? by_age : worst;
    if (load->disk_low) {
        worst = GATEWAY_REJECTING;
        (void)weir_error_set(ret_why, WEIR_DISK_LOW,
            "the disk is nearly full; reads, searches and deletes go on: free space, then try "
            "again");
    } else if (worst != GATEWAY_ACCEPTING && by_documents == worst) {
        (void)weir_error_set(ret_why, WEIR_PRESSURE,
            "%llu accepted documents are unfinished (gateway.max_pending_documents is %llu); try "
            "again later",
            (unsigned long long)load->documents, (unsigned long long)limits->documents_max);
    } else if (worst != GATEWAY_ACCEPTING && by_bytes == worst) {
        (void)weir_error_set(ret_why, WEIR_PRESSURE,
            "%llu bytes of accepted documents are unfinished (gateway.max_pending_bytes is "
            "%llu); try again later",
            (unsigned long long)load->bytes, (unsigned long long)limits->bytes_max);
    } else if (worst != GATEWAY_ACCEPTING) {
        (void)weir_error_set(ret_why, WEIR_PRESSURE,
            "the oldest unfinished document is %lld s old (gateway.max_oldest_age_ms is %llu); try "
            "again later",
            (long long)(age_ms / 1000), (unsigned long long)limits->age_max_ms);
    }
    if (worst != GATEWAY_ACCEPTING && ret_why != NULL)
        ret_why->retry_after_ms = RETRY_AFTER_MS;
    return worst;
}
