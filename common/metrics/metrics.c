/*
 * metrics.c - the registry: families by table, series in a list per family.
 *
 * A series is written by atomic operations alone and never moves or goes, so that a reader needs
 * the lock only to walk the lists.  The numbers of one exposition are each exact, but not of one
 * instant: `_count` of a histogram is the sum of the buckets as they were read, so the text is
 * always consistent in itself.
 */
#include "common/metrics/metrics.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/assert.h"
#include "common/metrics/metrics_internal.h"

const double weir_metrics_duration_buckets[] = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60 };
const size_t weir_metrics_duration_bucket_count =
    sizeof weir_metrics_duration_buckets / sizeof weir_metrics_duration_buckets[0];
const double weir_metrics_count_buckets[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048,
    4096 };
const size_t weir_metrics_count_bucket_count =
    sizeof weir_metrics_count_buckets / sizeof weir_metrics_count_buckets[0];

weir_metrics *
weir_metrics_create(void)
{
    weir_metrics *metrics = weir_alloc_zero(1, sizeof *metrics);

    pthread_mutex_init(&metrics->lock, NULL);
    return metrics;
}

static void
destroy_family(metrics_family *family)
{
    weir_metric *next;

    for (weir_metric *it = family->first; it != NULL; it = next) {
        next = it->next;
        for (size_t i = 0; i < WEIR_METRICS_LABELS_MAX; i++)
            weir_free(it->labels[i]);
        weir_free(it->buckets);
        weir_free(it);
    }
    weir_free(family);
}

void
weir_metrics_destroy(weir_metrics **metrics_p)
{
    weir_metrics *metrics = *metrics_p;
    metrics_family *next;

    if (metrics == NULL)
        return;
    for (metrics_family *it = metrics->first; it != NULL; it = next) {
        next = it->next;
        destroy_family(it);
    }
    pthread_mutex_destroy(&metrics->lock);
    weir_free(metrics);
    *metrics_p = NULL;
}

static metrics_family *
find_family(const weir_metrics *metrics, const char *name)
{
    for (metrics_family *it = metrics->first; it != NULL; it = it->next)
        if (strcmp(it->spec->name, name) == 0)
            return it;
    return NULL;
}

static size_t
label_count(const weir_metric_family *spec)
{
    size_t count = 0;

    while (count < WEIR_METRICS_LABELS_MAX && spec->labels[count] != NULL)
        count++;
    return count;
}

static weir_metric *
add_series(metrics_family *family, const char *const *labels)
{
    weir_metric *metric = weir_alloc_zero(1, sizeof *metric);

    metric->family = family->spec;
    for (size_t i = 0; i < label_count(family->spec); i++)
        metric->labels[i] = weir_strdup(labels[i]);
    if (family->spec->type == WEIR_HISTOGRAM)
        metric->buckets = weir_alloc_zero(family->spec->bucket_count + 1, sizeof *metric->buckets);
    *family->last = metric;
    family->last = &metric->next;
    family->series_count++;
    return metric;
}

static void
declare_family(weir_metrics *metrics, const weir_metric_family *spec)
{
    static const char *const no_labels[WEIR_METRICS_LABELS_MAX];
    metrics_family **end = &metrics->first;

    weir_assert(find_family(metrics, spec->name) == NULL);
    weir_assert(spec->help != NULL && spec->bucket_count <= WEIR_METRICS_BUCKETS_MAX);
    weir_assert((spec->type == WEIR_HISTOGRAM) == (spec->buckets != NULL));
    while (*end != NULL)
        end = &(*end)->next;
    *end = weir_alloc_zero(1, sizeof **end);
    (*end)->spec = spec;
    (*end)->last = &(*end)->first;
    if (label_count(spec) == 0)
        add_series(*end, no_labels);
}

void
weir_metrics_declare(weir_metrics *metrics, const weir_metric_family *families)
{
    pthread_mutex_lock(&metrics->lock);
    for (; families->name != NULL; families++)
        declare_family(metrics, families);
    pthread_mutex_unlock(&metrics->lock);
}

static bool
labels_equal(const weir_metric *metric, const char *const *labels, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(metric->labels[i], labels[i]) != 0)
            return false;
    return true;
}

static weir_metric *
find_or_add_series(metrics_family *family, const char *const *labels)
{
    static const char *const others[WEIR_METRICS_LABELS_MAX] = { "other", "other", "other" };
    const size_t count = label_count(family->spec);

    for (weir_metric *it = family->first; it != NULL; it = it->next)
        if (labels_equal(it, labels, count))
            return it;
    if (family->series_count < WEIR_METRICS_SERIES_MAX)
        return add_series(family, labels);
    for (weir_metric *it = family->first; it != NULL; it = it->next)
        if (labels_equal(it, others, count))
            return it;
    return add_series(family, others);
}

weir_metric *
weir_metrics_series(weir_metrics *metrics, const char *name, const char *label1, const char *label2,
    const char *label3)
{
    const char *const labels[WEIR_METRICS_LABELS_MAX] = { label1, label2, label3 };

    pthread_mutex_lock(&metrics->lock);
    metrics_family *family = find_family(metrics, name);
    weir_assert(family != NULL);
    for (size_t i = 0; i < WEIR_METRICS_LABELS_MAX; i++)
        weir_assert((labels[i] != NULL) == (i < label_count(family->spec)));
    weir_metric *metric = find_or_add_series(family, labels);
    pthread_mutex_unlock(&metrics->lock);
    return metric;
}

/* ---- one series ---- */

static void
atomic_move(_Atomic double *value, double by)
{
    double old = atomic_load_explicit(value, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(value, &old, old + by, memory_order_relaxed,
        memory_order_relaxed))
        continue;
}

void
weir_metric_add(weir_metric *counter, uint64_t amount)
{
    weir_assert(counter->family->type == WEIR_COUNTER);
    atomic_move(&counter->value, (double)amount);
}

void
weir_metric_set_total(weir_metric *counter, double total)
{
    weir_assert(counter->family->type == WEIR_COUNTER);
    double old = atomic_load_explicit(&counter->value, memory_order_relaxed);

    while (old < total &&
        !atomic_compare_exchange_weak_explicit(&counter->value, &old, total, memory_order_relaxed,
            memory_order_relaxed))
        continue;
}

void
weir_metric_set(weir_metric *gauge, double value)
{
    weir_assert(gauge->family->type == WEIR_GAUGE);
    atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

void
weir_metric_move(weir_metric *gauge, double by)
{
    weir_assert(gauge->family->type == WEIR_GAUGE);
    atomic_move(&gauge->value, by);
}

void
weir_metric_observe(weir_metric *histogram, double value)
{
    weir_assert(histogram->family->type == WEIR_HISTOGRAM);
    size_t bucket = 0;

    while (bucket < histogram->family->bucket_count && value > histogram->family->buckets[bucket])
        bucket++;
    atomic_fetch_add_explicit(&histogram->buckets[bucket], 1, memory_order_relaxed);
    atomic_move(&histogram->value, value);
}

double
weir_metric_value(const weir_metric *metric)
{
    uint64_t count = 0;

    if (metric->family->type != WEIR_HISTOGRAM)
        return atomic_load_explicit(&metric->value, memory_order_relaxed);
    for (size_t i = 0; i <= metric->family->bucket_count; i++)
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
    return (double)count;
}
