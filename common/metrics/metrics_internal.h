/*
 * metrics_internal.h - families and series, for the registry and its exposition.
 */
#ifndef WEIR_METRICS_METRICS_INTERNAL_H
#define WEIR_METRICS_METRICS_INTERNAL_H

#include <pthread.h>

#include "common/metrics/metrics.h"

struct weir_metric {
    const weir_metric_family *family;
    char *labels[WEIR_METRICS_LABELS_MAX];
    _Atomic double value;      /* of a histogram: the sum */
    _Atomic uint64_t *buckets; /* bucket_count + 1, each for itself (not cumulated) */
    weir_metric *next;
};

typedef struct metrics_family metrics_family;
struct metrics_family {
    const weir_metric_family *spec;
    weir_metric *first;
    weir_metric **last;
    size_t series_count;
    metrics_family *next;
};

struct weir_metrics {
    pthread_mutex_t lock; /* over the lists, not over values */
    metrics_family *first;
};

#endif
