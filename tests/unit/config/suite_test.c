/* Goal: the suite's own tables are sound, its relations are checked, and the printed files are
 * fresh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/config/suite.h"

static weir_config *config;
static const weir_suite_config *suite;
static weir_error error;

static int
unmake(void **state)
{
    weir_config_destroy(&config);
    return 0;
}

static weir_code
load(const char *first, const char *second, char *const *environment)
{
    const char *assignments[] = { first, second };
    const weir_suite_sources sources = { .environment = environment,
        .assignments = assignments,
        .assignment_count = (first != NULL) + (size_t)(second != NULL) };

    weir_config_destroy(&config);
    return weir_suite_load(&sources, &config, &suite, &error);
}

static void
assert_refused(weir_code code, const char *wanted)
{
    assert_int_equal(code, WEIR_CONFIG_INVALID);
    if (strstr(error.message, wanted) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", wanted, error.message);
}

static void
weights_of_tenants_are_checked(void **state)
{
    assert_int_equal(load("gateway.tenant_weights=acme=4,trial=1", NULL, NULL), WEIR_OK);
    assert_string_equal(suite->gateway.tenant_weights, "acme=4,trial=1");
    assert_refused(load("gateway.tenant_weights=acme=4,trial=0", NULL, NULL),
        "gateway.tenant_weights: \"trial=0\"");
}

static void
defaults_hold_together(void **state)
{
    assert_int_equal(load(NULL, NULL, NULL), WEIR_OK);
    assert_true(suite->gateway.auto_create_collections);
    assert_string_equal(suite->gateway.default_model, "all-minilm-l6-v2");
    assert_int_equal(suite->gateway.request_id_retention_ms, 0);
    assert_int_equal(suite->ingest.retry.attempts_max, 5);
    assert_int_equal(suite->ingest.retry.backoff_base_ms, 500);
    assert_int_equal(suite->embedder.retry.backoff_max_ms, 60000);
    assert_int_equal(suite->embedder.retry.defer_after_ms, 2000);
    assert_int_equal(suite->embedder.batch_tokens, 1024);
    assert_false(suite->embedder.allow_hash_models);
    assert_int_equal(suite->reconciler.linger_ms, 20);
    assert_string_equal(suite->common.listen_address, "127.0.0.1");
}

static void
ports_count_from_the_base(void **state)
{
    assert_int_equal(load("port_base=9000", NULL, NULL), WEIR_OK);
    assert_int_equal(weir_suite_grpc_port(suite, 1), 9070);
    assert_int_equal(weir_suite_grpc_port(suite, 5), 9074);
    assert_int_equal(weir_suite_admin_port(suite, 1), 9090);
    assert_int_equal(weir_suite_admin_port(suite, 5), 9094);
    assert_int_equal(weir_suite_json_port(suite), 9080);
}

static void
a_relation_that_does_not_hold_names_both_keys(void **state)
{
    assert_refused(load("ingest.backoff_base_ms=2000", "ingest.backoff_max_ms=1000", NULL),
        "ingest.backoff_base_ms (2000) must not be above ingest.backoff_max_ms (1000)");
    assert_refused(load("embedder.backoff_base_ms=2000", "embedder.backoff_max_ms=1000", NULL),
        "embedder.backoff_base_ms");
    assert_refused(load("store.reserve_bytes=2GiB", "store.low_water_bytes=1GiB", NULL),
        "store.low_water_bytes");
    assert_refused(load("tls.key_file=/a", NULL, NULL), "tls.certificate_file and tls.key_file");
    assert_refused(load("tls.client_ca_file=/a", NULL, NULL), "needs tls.certificate_file");
}

static void
an_address_beyond_loopback_must_be_meant(void **state)
{
    assert_refused(load("listen_address=0.0.0.0", NULL, NULL), "allow_unauthenticated");
    assert_refused(load("listen_address=localhost", NULL, NULL), "not an IP address");
    assert_int_equal(load("listen_address=0.0.0.0", "allow_unauthenticated=true", NULL), WEIR_OK);
    assert_int_equal(load("listen_address=::1", NULL, NULL), WEIR_OK);
    assert_int_equal(load("listen_address=127.0.0.2", NULL, NULL), WEIR_OK);
}

static void
the_data_folder_is_never_empty(void **state)
{
    char *weir_data[] = { "WEIR_DATA=/somewhere", "HOME=/home/me", NULL };
    char *home[] = { "HOME=/home/me", NULL };

    assert_int_equal(load("data_dir=/given", NULL, weir_data), WEIR_OK);
    assert_string_equal(suite->common.data_dir, "/given");
    assert_int_equal(load(NULL, NULL, weir_data), WEIR_OK);
    assert_string_equal(suite->common.data_dir, "/somewhere");
    assert_int_equal(load(NULL, NULL, home), WEIR_OK);
    assert_string_equal(suite->common.data_dir,
        geteuid() == 0 ? "/var/lib/weir" : "/home/me/.local/share/weir");
}

static void
later_sources_win(void **state)
{
    char *environment[] = { "WEIR_INGEST_WORKERS=7", "WEIR_EMBEDDER_WORKERS=7", NULL };

    assert_int_equal(load("embedder.workers=9", NULL, environment), WEIR_OK);
    assert_int_equal(suite->ingest.workers, 7);
    assert_int_equal(suite->embedder.workers, 9);
    assert_refused(load("ingest.workers=0", NULL, environment), "--set ingest.workers");
    char *bad[] = { "WEIR_INGEST_WORKERS=none", NULL };
    assert_refused(load(NULL, NULL, bad), "WEIR_INGEST_WORKERS");
    const weir_suite_sources sources = { .file = "/nowhere.yaml" };
    weir_config_destroy(&config);
    assert_refused(weir_suite_load(&sources, &config, &suite, &error), "/nowhere.yaml");
}

static void
assert_file_is(const char *path, const weir_buffer *wanted)
{
    char *text = weir_alloc(1 << 20);
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    const size_t size = fread(text, 1, 1 << 20, file);
    fclose(file);
    if (!weir_bytes_equal(weir_bytes_of(text, size), weir_buffer_view(wanted)))
        fail_msg("%s is stale: write it anew with `weir config print --default` or `weir config "
                 "reference`",
            path);
    weir_free(text);
}

static void
the_files_in_config_are_fresh(void **state)
{
    weir_buffer out = { 0 };

    assert_int_equal(load(NULL, NULL, NULL), WEIR_OK);
    weir_config_print_yaml(config, false, &out);
    assert_file_is("config/weir.yaml", &out);
    weir_buffer_clear(&out);
    weir_config_print_reference(config, &out);
    assert_file_is("config/REFERENCE.md", &out);
    weir_buffer_fini(&out);
}

static void
the_shipped_file_is_valid(void **state)
{
    const weir_suite_sources sources = { .file = "config/weir.yaml" };

    weir_config_destroy(&config);
    assert_int_equal(weir_suite_load(&sources, &config, &suite, &error), WEIR_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(weights_of_tenants_are_checked, unmake),
        cmocka_unit_test_teardown(defaults_hold_together, unmake),
        cmocka_unit_test_teardown(ports_count_from_the_base, unmake),
        cmocka_unit_test_teardown(a_relation_that_does_not_hold_names_both_keys, unmake),
        cmocka_unit_test_teardown(an_address_beyond_loopback_must_be_meant, unmake),
        cmocka_unit_test_teardown(the_data_folder_is_never_empty, unmake),
        cmocka_unit_test_teardown(later_sources_win, unmake),
        cmocka_unit_test_teardown(the_files_in_config_are_fresh, unmake),
        cmocka_unit_test_teardown(the_shipped_file_is_valid, unmake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
