/*
 * metrics.h - counters, gauges and histograms, and their Prometheus text.
 *
 * Families are declared in tables; a series (a family with its label values) is made on first use
 * and lives as long as the registry, so hot paths keep its pointer.  Labels are bounded: a family
 * of more than WEIR_METRICS_SERIES_MAX series counts the rest under the label values "other".
 *
 * Threads: all functions from any thread.  Adding to a counter or gauge is one atomic operation,
 * observing a histogram three; making or finding a series takes a lock.
 */
#ifndef WEIR_METRICS_METRICS_H
#define WEIR_METRICS_METRICS_H

#include "common/base/bytes.h"

enum { WEIR_METRICS_LABELS_MAX = 3, WEIR_METRICS_BUCKETS_MAX = 20, WEIR_METRICS_SERIES_MAX = 256 };

typedef enum weir_metric_type { WEIR_COUNTER = 1, WEIR_GAUGE, WEIR_HISTOGRAM } weir_metric_type;

typedef struct weir_metric_family {
    const char *name; /* counters end in _total; NULL ends a table */
    weir_metric_type type;
    const char *help;
    const char *labels[WEIR_METRICS_LABELS_MAX]; /* names; NULL ends them */
    const double *buckets; /* HISTOGRAM: ascending upper bounds without +Inf */
    size_t bucket_count;
} weir_metric_family;

/* 100 us to 60 s, for durations in seconds. */
extern const double weir_metrics_duration_buckets[];
extern const size_t weir_metrics_duration_bucket_count;
/* 1 to 4,096, doubling, for numbers of things. */
extern const double weir_metrics_count_buckets[];
extern const size_t weir_metrics_count_bucket_count;

typedef struct weir_metrics weir_metrics;
typedef struct weir_metric weir_metric; /* one series */

weir_metrics *weir_metrics_create(void);
void weir_metrics_destroy(weir_metrics **metrics_p);

/* Declare a NULL-ended table; it outlives the registry.  A name already declared is asserted.
 * Families without labels have their one series, at 0, at once. */
void weir_metrics_declare(weir_metrics *metrics, const weir_metric_family *families);

/* The series of a declared family (asserted) with label values in the order of its names; unused
 * ones NULL. */
weir_metric *weir_metrics_series(weir_metrics *metrics, const char *name, const char *label1,
    const char *label2, const char *label3);

void weir_metric_add(weir_metric *counter, uint64_t amount);
/* For counters that mirror a total kept elsewhere: never lowers. */
void weir_metric_set_total(weir_metric *counter, double total);
void weir_metric_set(weir_metric *gauge, double value);
void weir_metric_move(weir_metric *gauge, double by);
void weir_metric_observe(weir_metric *histogram, double value);
/* Of a counter or gauge; of a histogram, how many were observed. */
double weir_metric_value(const weir_metric *metric);

/* Append everything in the Prometheus text format (version 0.0.4), families in the order of
 * declaration. */
void weir_metrics_expose(weir_metrics *metrics, weir_buffer *out);

#endif
