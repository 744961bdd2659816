/*
 * expose.c - the Prometheus text format, version 0.0.4.
 *
 * A family without a series is left out: HELP and TYPE of nothing helps nobody.
 */
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/metrics/metrics_internal.h"

static void print(weir_buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
print(weir_buffer *out, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    const int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size > 0)
        weir_buffer_append(out, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}

static void
append_text(weir_buffer *out, const char *text)
{
    weir_buffer_append(out, text, strlen(text));
}

/* Backslash and line feed, and in label values the quote. */
static void
append_escaped(weir_buffer *out, const char *text, bool quote)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            append_text(out, "\\n");
        else if (*text == '\\' || (quote && *text == '"'))
            print(out, "\\%c", *text);
        else
            weir_buffer_append(out, text, 1);
    }
}

/* The shortest of two forms that reads back as the same number. */
static void
append_number(weir_buffer *out, double value)
{
    char text[40];

    if (!isfinite(value)) {
        print(out, " %s\n", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.17g", value);
    print(out, " %s\n", text);
}

/* le: NULL, or the upper bound of a bucket. */
static void
append_labels(weir_buffer *out, const weir_metric *metric, const char *le)
{
    const char *separator = "{";

    for (size_t i = 0; i < WEIR_METRICS_LABELS_MAX && metric->labels[i] != NULL; i++) {
        print(out, "%s%s=\"", separator, metric->family->labels[i]);
        append_escaped(out, metric->labels[i], true);
        append_text(out, "\"");
        separator = ",";
    }
    if (le != NULL) {
        print(out, "%sle=\"%s\"", separator, le);
        separator = ",";
    }
    if (separator[0] == ',')
        append_text(out, "}");
}

static void
expose_histogram(weir_buffer *out, const weir_metric *metric)
{
    const weir_metric_family *family = metric->family;
    uint64_t cumulated = 0;
    char le[32];

    for (size_t i = 0; i <= family->bucket_count; i++) {
        cumulated += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        if (i < family->bucket_count)
            snprintf(le, sizeof le, "%.12g", family->buckets[i]);
        else
            snprintf(le, sizeof le, "+Inf");
        print(out, "%s_bucket", family->name);
        append_labels(out, metric, le);
        append_number(out, (double)cumulated);
    }
    print(out, "%s_sum", family->name);
    append_labels(out, metric, NULL);
    append_number(out, atomic_load_explicit(&metric->value, memory_order_relaxed));
    print(out, "%s_count", family->name);
    append_labels(out, metric, NULL);
    append_number(out, (double)cumulated);
}

static void
expose_family(weir_buffer *out, const metrics_family *family)
{
    static const char *const types[] = { "", "counter", "gauge", "histogram" };

    if (family->first == NULL)
        return;
    print(out, "# HELP %s ", family->spec->name);
    append_escaped(out, family->spec->help, false);
    print(out, "\n# TYPE %s %s\n", family->spec->name, types[family->spec->type]);
    for (const weir_metric *it = family->first; it != NULL; it = it->next) {
        if (family->spec->type == WEIR_HISTOGRAM) {
            expose_histogram(out, it);
            continue;
        }
        append_text(out, family->spec->name);
        append_labels(out, it, NULL);
        append_number(out, atomic_load_explicit(&it->value, memory_order_relaxed));
    }
}

void
weir_metrics_expose(weir_metrics *metrics, weir_buffer *out)
{
    pthread_mutex_lock(&metrics->lock);
    for (const metrics_family *it = metrics->first; it != NULL; it = it->next)
        expose_family(out, it);
    pthread_mutex_unlock(&metrics->lock);
}
