/*
 * Goal: `weir up` keeps five processes alive, says how they are, and leaves none behind.
 * Method: the real program beside five copies of a service without a purpose.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/suite_lock.h"
#include "common/base/clock.h"
#include "tests/tools/ports.h"
#include "tests/unit/cli/run_program.h"

enum { DEADLINE_MS = 60000 };

static char folder[128]; /* bin/ and data/ */
static char program[160];
static char data[160];
static int port_base;

static void
link_program(const char *from, const char *name)
{
    char to[256];

    snprintf(to, sizeof to, "%s/bin/%s", folder, name);
    assert_int_equal(link(from, to), 0);
}

static int
make(void **state)
{
    char name[64];
    char bin[160];

    /* Beside the programs: hard links do not cross file systems. */
    snprintf(folder, sizeof folder, "%.*s/suite-XXXXXX",
        (int)(strrchr(WEIR_PROGRAM, '/') - WEIR_PROGRAM), WEIR_PROGRAM);
    if (strlen(folder) > 60)
        return -1;
    assert_non_null(mkdtemp(folder));
    snprintf(bin, sizeof bin, "%s/bin", folder);
    snprintf(data, sizeof data, "%s/d", folder);
    assert_int_equal(mkdir(bin, 0700), 0);
    link_program(WEIR_PROGRAM, "weir");
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++) {
        snprintf(name, sizeof name, "weir-%s", weir_service_name((weir_service_id)i));
        link_program(SAMPLE_SERVICE, name);
    }
    snprintf(program, sizeof program, "%s/bin/weir", folder);
    return 0;
}

static const program_result *
weir(const char *format, ...)
{
    char words[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    return run_words(program, words);
}

static int
unmake(void **state)
{
    char shell[256];
    suite_ids ids;

    if (suite_lock_read(data, &ids) && ids.supervisor > 0) {
        kill(ids.supervisor, SIGKILL);
        suite_lock_wait_free(data, DEADLINE_MS);
    }
    snprintf(shell, sizeof shell, "rm -rf %s", folder);
    return system(shell);
}

static void
up(void)
{
    const program_result *result = weir("up --data %s --port-base %d --detach", data, port_base);

    if (result->status != 0)
        fail_msg("up: %d: %s", result->status, result->err);
    assert_contains(result->out, "weir is up");
    assert_contains(result->out, data);
}

static suite_ids
ids_now(void)
{
    suite_ids ids;

    assert_true(suite_lock_read(data, &ids));
    return ids;
}

static void
wait_dead(const suite_ids *ids)
{
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;

    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++) {
        while (is_alive(ids->services[i].pid)) {
            pause_ms(5);
            if (weir_clock_mono_ms() > until_ms)
                fail_msg("%s is still alive", weir_service_name((weir_service_id)i));
        }
    }
}

/* A service that is slow to answer is said not to serve. */
static const program_result *
status_when_all_serve(void)
{
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;
    const program_result *result;

    while ((result = weir("status --data %s -o json", data))->status != 0)
        assert_true(weir_clock_mono_ms() < until_ms);
    return result;
}

static void
it_starts_says_how_it_is_and_ends(void **state)
{
    up();
    const suite_ids ids = ids_now();
    const program_result *result = status_when_all_serve();
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++) {
        char wanted[256];
        assert_true(is_alive(ids.services[i].pid));
        snprintf(wanted, sizeof wanted,
            "{\"name\":\"%s\",\"pid\":%d,\"state\":\"SERVING\","
            "\"grpc\":\"127.0.0.1:%d\",\"admin\":\"127.0.0.1:%d\"",
            weir_service_name((weir_service_id)i), (int)ids.services[i].pid, port_base + 69 + i,
            port_base + 89 + i);
        assert_contains(result->out, wanted);
    }
    assert_contains(result->out, "\"version\":\"" WEIR_VERSION "\"");
    assert_contains(weir("status --data %s", data)->out, "gateway");
    result = weir("down --data %s", data);
    assert_int_equal(result->status, 0);
    wait_dead(&ids);
    result = weir("status --data %s -o json", data);
    assert_int_equal(result->status, CLI_UNREACHABLE);
    assert_contains(result->out, "\"state\":\"STOPPED\"");
    assert_int_equal(weir("down --data %s", data)->status, 0);
}

static void
a_killed_service_comes_back_at_once(void **state)
{
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;

    up();
    const suite_ids before = ids_now();
    kill(before.services[WEIR_SERVICE_EMBEDDER].pid, SIGKILL);
    for (;;) {
        const program_result *result = weir("status --data %s -o json", data);
        const char *embedder = strstr(result->out, "\"name\":\"embedder\"");
        assert_non_null(embedder);
        const char *end = strchr(embedder, '}');
        if (strstr(embedder, "\"SERVING\"") != NULL && strstr(embedder, "\"SERVING\"") < end &&
            strstr(embedder, "\"restarts\":1") != NULL && strstr(embedder, "\"restarts\":1") < end)
            break;
        assert_true(weir_clock_mono_ms() < until_ms);
    }
    const suite_ids after = ids_now();
    assert_int_not_equal(after.services[WEIR_SERVICE_EMBEDDER].pid,
        before.services[WEIR_SERVICE_EMBEDDER].pid);
    assert_int_equal(after.services[WEIR_SERVICE_GATEWAY].pid,
        before.services[WEIR_SERVICE_GATEWAY].pid);
}

static void
a_status_is_no_success_while_a_service_does_not_serve(void **state)
{
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;

    up();
    const pid_t embedder = ids_now().services[WEIR_SERVICE_EMBEDDER].pid;
    assert_int_equal(kill(embedder, SIGSTOP), 0);
    const program_result *result;
    do {
        result = weir("status --data %s -o json", data);
        assert_int_equal(result->status, CLI_ERROR);
        assert_contains(result->out, "\"state\":\"NOT_SERVING\"");
        assert_contains(result->err, "weir doctor --data");
        assert_true(weir_clock_mono_ms() < until_ms); /* the others may be slow to answer */
    } while (strstr(result->err, "1 of 5 services do not serve: embedder is NOT_SERVING") == NULL);
    kill(embedder, SIGCONT);
    (void)status_when_all_serve();
}

/* The time in milliseconds until the service has another process. */
static int64_t
kill_and_wait(weir_service_id id)
{
    const int64_t begun_ms = weir_clock_mono_ms();
    const pid_t old = ids_now().services[id].pid;

    kill(old, SIGKILL);
    for (;;) {
        const pid_t now = ids_now().services[id].pid;
        if (now != old && now != 0)
            return weir_clock_mono_ms() - begun_ms;
        pause_ms(5);
        assert_true(weir_clock_mono_ms() - begun_ms < DEADLINE_MS);
    }
}

static void
a_service_that_falls_again_waits(void **state)
{
    up();
    (void)kill_and_wait(WEIR_SERVICE_INGEST);
    assert_true(kill_and_wait(WEIR_SERVICE_INGEST) >= 900);
    assert_true(kill_and_wait(WEIR_SERVICE_INGEST) >= 1900);
    assert_int_equal(ids_now().services[WEIR_SERVICE_INGEST].restarts, 3);
}

static void
services_die_with_their_supervisor_and_a_new_one_starts(void **state)
{
    up();
    const suite_ids ids = ids_now();
    kill(ids.supervisor, SIGKILL);
    wait_dead(&ids);
    assert_true(suite_lock_wait_free(data, DEADLINE_MS)); /* closed by whoever ends last */
    up();
    assert_int_equal(weir("down --data %s", data)->status, 0);
}

static void
a_second_suite_on_the_same_folder_is_a_conflict(void **state)
{
    up();
    const program_result *result = weir("up --data %s --port-base %d "
                                        "--detach",
        data, ports_free_base());
    assert_int_equal(result->status, CLI_CONFLICT);
    assert_contains(result->err, "weir down --data");
}

static void
a_port_in_use_ends_the_start_with_the_reason(void **state)
{
    up();
    const program_result *result = weir("up --data %s/second --port-base %d "
                                        "--detach",
        folder, port_base);
    assert_int_equal(result->status, CLI_ERROR);
    assert_contains(result->err, "ADDRESS_IN_USE");
    char second[200];
    suite_ids ids;
    snprintf(second, sizeof second, "%s/second", folder);
    assert_false(suite_lock_read(second, &ids));
}

static void
a_wrong_setting_starts_nothing(void **state)
{
    const program_result *result = weir("up --data %s --set log.levle=debug --detach", data);

    assert_int_equal(result->status, CLI_USAGE);
    assert_contains(result->err, "did you mean log.level?");
    result = weir("up --data %s --config /nowhere.yaml", data);
    assert_int_equal(result->status, CLI_USAGE);
    assert_contains(result->err, "/nowhere.yaml");
}

static int
serving_count(void)
{
    static const char wanted[] = "\"state\":\"SERVING\"";
    int count = 0;

    for (const char *at = weir("status --data %s -o "
                               "json",
             data)
             ->out;
        (at = strstr(at, wanted)) != NULL; at++)
        count++;
    return count;
}

static void
in_the_foreground_an_interrupt_drains(void **state)
{
    char base[16];
    char log[200];
    char *argv[] = { program, (char *)"up", (char *)"--data", data, (char *)"--port-base", base,
        NULL };
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;

    snprintf(base, sizeof base, "%d", port_base);
    snprintf(log, sizeof log, "%s/up.out", folder);
    const pid_t pid = start_program(argv, log);
    while (serving_count() != 5)
        assert_true(weir_clock_mono_ms() < until_ms);
    const suite_ids ids = ids_now();
    kill(pid, SIGINT);
    assert_int_equal(wait_program(pid), 0);
    wait_dead(&ids);
}

static void
a_service_that_fails_its_first_start_ends_the_suite(void **state)
{
    char broken[256];

    snprintf(broken, sizeof broken, "%s/bin/weir-indexer", folder);
    assert_int_equal(unlink(broken), 0);
    const program_result *result = weir("up --data %s --port-base %d --detach", data, port_base);
    assert_int_equal(result->status, CLI_ERROR);
    assert_contains(result->err, "weir-indexer does not start: No such file");
}

#define CASE(test_) cmocka_unit_test_setup_teardown(test_, make, unmake)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_starts_says_how_it_is_and_ends),
        CASE(a_killed_service_comes_back_at_once),
        CASE(a_status_is_no_success_while_a_service_does_not_serve),
        CASE(a_service_that_falls_again_waits),
        CASE(services_die_with_their_supervisor_and_a_new_one_starts),
        CASE(a_second_suite_on_the_same_folder_is_a_conflict),
        CASE(a_port_in_use_ends_the_start_with_the_reason),
        CASE(a_wrong_setting_starts_nothing),
        CASE(in_the_foreground_an_interrupt_drains),
        CASE(a_service_that_fails_its_first_start_ends_the_suite),
    };

    port_base = ports_free_base();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
