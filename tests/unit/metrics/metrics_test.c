/* Goal: what is counted is what is exposed, in a form that Prometheus takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/metrics/metrics.h"

static const double buckets[] = { 0.1, 1, 10 };
static const weir_metric_family families[] = {
    { "weir_things_total", WEIR_COUNTER, "Things seen.", { "kind", "colour" }, NULL, 0 },
    { "weir_depth", WEIR_GAUGE, "Depth now,\nwith a \\.", { NULL }, NULL, 0 },
    { "weir_wait_seconds", WEIR_HISTOGRAM, "Waits.", { "stage" }, buckets, 3 },
    { "weir_unused_total", WEIR_COUNTER, "Never seen.", { "kind" }, NULL, 0 },
    { NULL },
};

static weir_metrics *metrics;
static weir_buffer out;

static int
make(void **state)
{
    metrics = weir_metrics_create();
    weir_metrics_declare(metrics, families);
    return 0;
}

static int
unmake(void **state)
{
    weir_metrics_destroy(&metrics);
    weir_buffer_fini(&out);
    return 0;
}

static const char *
exposed(void)
{
    weir_buffer_clear(&out);
    weir_metrics_expose(metrics, &out);
    weir_buffer_append_u8(&out, 0);
    return (const char *)out.data;
}

static void
assert_exposed(const char *wanted)
{
    const char *text = exposed();

    if (strstr(text, wanted) == NULL)
        fail_msg("\"%s\" is not in:\n%s", wanted, text);
}

static void
a_family_without_labels_begins_at_zero(void **state)
{
    assert_exposed(
        "# HELP weir_depth Depth now,\\nwith a \\\\.\n# TYPE weir_depth gauge\nweir_depth 0\n");
    assert_null(strstr(exposed(), "weir_unused_total"));
}

static void
the_same_labels_are_the_same_series(void **state)
{
    weir_metric *a = weir_metrics_series(metrics, "weir_things_total", "big", "red", NULL);
    weir_metric *b = weir_metrics_series(metrics, "weir_things_total", "big", "red", NULL);
    weir_metric *c = weir_metrics_series(metrics, "weir_things_total", "big", "a\"b\\\n", NULL);

    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    weir_metric_add(a, 2);
    weir_metric_add(b, 3);
    weir_metric_add(c, 1);
    assert_exposed("weir_things_total{kind=\"big\",colour=\"red\"} 5\n");
    assert_exposed("weir_things_total{kind=\"big\",colour=\"a\\\"b\\\\\\n\"} 1\n");
    assert_true(weir_metric_value(a) > 4.5);
}

static void
a_histogram_cumulates_its_buckets(void **state)
{
    weir_metric *wait = weir_metrics_series(metrics, "weir_wait_seconds", "embed", NULL, NULL);
    const double values[] = { 0.05, 0.1, 0.5, 5, 50 };

    for (size_t i = 0; i < 5; i++)
        weir_metric_observe(wait, values[i]);
    assert_exposed("weir_wait_seconds_bucket{stage=\"embed\",le=\"0.1\"} 2\n"
                   "weir_wait_seconds_bucket{stage=\"embed\",le=\"1\"} 3\n"
                   "weir_wait_seconds_bucket{stage=\"embed\",le=\"10\"} 4\n"
                   "weir_wait_seconds_bucket{stage=\"embed\",le=\"+Inf\"} 5\n"
                   "weir_wait_seconds_sum{stage=\"embed\"} 55.65\n");
    assert_exposed("weir_wait_seconds_count{stage=\"embed\"} 5\n");
    assert_int_equal((int)weir_metric_value(wait), 5);
}

static void
gauges_are_set_and_moved_and_totals_never_fall(void **state)
{
    weir_metric *depth = weir_metrics_series(metrics, "weir_depth", NULL, NULL, NULL);
    weir_metric *total = weir_metrics_series(metrics, "weir_things_total", "a", "b", NULL);

    weir_metric_set(depth, 5);
    weir_metric_move(depth, -2);
    assert_exposed("weir_depth 3\n");
    weir_metric_set_total(total, 7);
    weir_metric_set_total(total, 6);
    assert_exposed("{kind=\"a\",colour=\"b\"} 7\n");
}

static void
too_many_series_become_other(void **state)
{
    char kind[32];

    for (int i = 0; i < WEIR_METRICS_SERIES_MAX + 10; i++) {
        snprintf(kind, sizeof kind, "k%d", i);
        weir_metric_add(weir_metrics_series(metrics, "weir_things_total", kind, "x", NULL), 1);
    }
    assert_exposed("weir_things_total{kind=\"other\",colour=\"other\"} 10\n");
}

static void *
count_much(void *argument)
{
    weir_metric *counter = weir_metrics_series(metrics, "weir_things_total", "t", "t", NULL);
    weir_metric *wait = weir_metrics_series(metrics, "weir_wait_seconds", "t", NULL, NULL);

    for (int i = 0; i < 10000; i++) {
        weir_metric_add(counter, 1);
        weir_metric_observe(wait, 1);
    }
    return argument;
}

static void
threads_lose_no_count(void **state)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_much, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_exposed("weir_things_total{kind=\"t\",colour=\"t\"} 40000\n");
    assert_exposed("weir_wait_seconds_sum{stage=\"t\"} 40000\n");
    assert_exposed("weir_wait_seconds_count{stage=\"t\"} 40000\n");
}

/* promtool is Prometheus' own reader; the base system has it. */
static void
promtool_has_nothing_to_say(void **state)
{
    if (access("/usr/bin/promtool", X_OK) != 0)
        skip();
    weir_metric_add(weir_metrics_series(metrics, "weir_things_total", "a\"b", "c\\d", NULL), 2);
    weir_metric_observe(weir_metrics_series(metrics, "weir_wait_seconds", "x", NULL, NULL), 2);
    exposed();
    FILE *pipe = popen("/usr/bin/promtool check metrics", "w");
    assert_non_null(pipe);
    fwrite(out.data, 1, out.size - 1, pipe);
    assert_int_equal(pclose(pipe), 0);
}

#define CASE(test_) cmocka_unit_test_setup_teardown(test_, make, unmake)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_family_without_labels_begins_at_zero),
        CASE(the_same_labels_are_the_same_series),
        CASE(a_histogram_cumulates_its_buckets),
        CASE(gauges_are_set_and_moved_and_totals_never_fall),
        CASE(too_many_series_become_other),
        CASE(threads_lose_no_count),
        CASE(promtool_has_nothing_to_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
