/*
 * Goal: a service starts, serves, says how it is, drains and ends with the right code.
 * Method: a real process (sample_service.c) with its own folder and ports, asked over gRPC and
 * HTTP.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/rpc/client.h"
#include "common/wire/descriptors.h"
#include "grpc/health/v1/health.pb-c.h"
#include "tests/tools/ports.h"
#include "weir/internal/v1/service.pb-c.h"

enum { DEADLINE_MS = 60000 };

extern char **environ;

static char folder[64];
static char log_file[96];
static int port_base;
static pid_t service;
static weir_rpc_runtime *runtime;
static weir_error error;

/* ---- the process ---- */

static pid_t
spawn(const char *extra)
{
    char base[16];
    char config[96];
    char *argv[] = { (char *)SAMPLE_SERVICE, (char *)"--data", folder, (char *)"--port-base", base,
        (char *)"--set", (char *)"shutdown_grace_ms=2000", (char *)extra, NULL };
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;

    snprintf(base, sizeof base, "%d", port_base);
    snprintf(config, sizeof config, "%s/x", folder);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, log_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_int_equal(posix_spawn(&pid, SAMPLE_SERVICE, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

/* The exit code; -signal when it was killed. */
static int
wait_exit(pid_t pid)
{
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;
    int status = 0;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct pollfd nothing = { .fd = -1 };
        poll(&nothing, 1, 5);
        assert_true(weir_clock_mono_ms() < until_ms);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static const char *
read_log(void)
{
    static char text[1 << 16];
    FILE *file = fopen(log_file, "r");

    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void
assert_in(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", wanted, text);
}

/* ---- asking it ---- */

static weir_rpc_channel *
open_channel(bool inner)
{
    char target[128];
    weir_rpc_channel *channel = NULL;

    if (inner)
        snprintf(target, sizeof target, "unix:%s/run/reconciler.grpc", folder);
    else
        snprintf(target, sizeof target, "127.0.0.1:%d", port_base + 74);
    assert_int_equal(weir_rpc_channel_open(runtime, target, NULL, &channel, &error), WEIR_OK);
    return channel;
}

static weir_code
ask(bool inner, const ProtobufCServiceDescriptor *descriptor, const char *method,
    const ProtobufCMessage *request, uint32_t timeout_ms, weir_arena *arena,
    ProtobufCMessage **ret_response)
{
    const weir_rpc_call_options options = { .timeout_ms = timeout_ms, .wait_for_ready = true };
    weir_rpc_channel *channel = open_channel(inner);
    weir_rpc_stub *stub = weir_rpc_stub_open(channel, descriptor);
    const weir_code code =
        weir_rpc_unary(stub, method, request, &options, arena, ret_response, &error);

    weir_rpc_stub_close(&stub);
    weir_rpc_channel_close(&channel);
    return code;
}

static int
health(void)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    weir_arena *arena = weir_arena_create(0);
    int status = -1;

    if (ask(false, &grpc__health__v1__health__descriptor, "Check", &request.base, DEADLINE_MS,
            arena, &message) == WEIR_OK)
        status =
            (int)((const Grpc__Health__V1__HealthCheckResponse *)(const void *)message)->status;
    weir_arena_destroy(&arena);
    return status;
}

static weir_code
journal(const char *document_id, uint32_t timeout_ms)
{
    Weir__Internal__V1__GetJournalRequest request = WEIR__INTERNAL__V1__GET_JOURNAL_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    weir_arena *arena = weir_arena_create(0);

    request.document_id = (char *)document_id;
    const weir_code code = ask(false, &weir__internal__v1__reconciler_service__descriptor,
        "GetJournal", &request.base, timeout_ms, arena, &message);
    weir_arena_destroy(&arena);
    return code;
}

static const char *
http_get(const char *path)
{
    static char answer[1 << 18];
    char request[256];
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct sockaddr_in address = { .sin_family = AF_INET,
        .sin_port = htons((uint16_t)(port_base + 94)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    size_t size = 0;
    ssize_t got;

    answer[0] = '\0';
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            path);
        assert_true(send(fd, request, strlen(request), MSG_NOSIGNAL) > 0);
        while ((got = recv(fd, answer + size, sizeof answer - 1 - size, 0)) > 0)
            size += (size_t)got;
        answer[size] = '\0';
    }
    close(fd);
    return answer;
}

static void
wait_ready(void)
{
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;

    while (strstr(http_get("/readyz"), " 200 ") == NULL) {
        struct pollfd nothing = { .fd = -1 };
        poll(&nothing, 1, 5);
        if (weir_clock_mono_ms() > until_ms || kill(service, 0) != 0)
            fail_msg("not ready: %s", read_log());
    }
}

static int
begin(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/weir-service-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(log_file, sizeof log_file, "%s/log", folder);
    service = spawn(NULL);
    wait_ready();
    return 0;
}

static void
remove_folder(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0)
        print_message("%s stays\n", folder);
}

static int
end(void **state)
{
    if (service > 0) {
        kill(service, SIGKILL);
        wait_exit(service);
    }
    service = 0;
    remove_folder();
    return 0;
}

/* ---- the tests ---- */

static void
it_serves_and_drains_with_zero(void **state)
{
    assert_int_equal(health(), GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    assert_int_equal(journal("x", DEADLINE_MS), WEIR_OK);
    assert_in(http_get("/livez"), "alive");
    assert_in(http_get("/nowhere"), " 404 ");
    kill(service, SIGTERM);
    assert_int_equal(wait_exit(service), 0);
    service = 0;
    assert_in(read_log(), "\"event\":\"service.stopped\"");
    assert_in(read_log(), "drained");
}

static void
interrupt_drains_too(void **state)
{
    kill(service, SIGINT);
    assert_int_equal(wait_exit(service), 0);
    service = 0;
}

static void
a_call_that_hangs_is_cut_off_by_the_grace(void **state)
{
    assert_int_equal(journal("hang", 100), WEIR_TIMEOUT);
    const int64_t begun_ms = weir_clock_mono_ms();
    kill(service, SIGTERM);
    assert_int_equal(wait_exit(service), 0);
    service = 0;
    assert_true(weir_clock_mono_ms() - begun_ms < 9000);
}

static void
a_fatal_error_of_the_core_ends_it_with_70_and_it_starts_again(void **state)
{
    assert_int_not_equal(journal("fatal", 5000), WEIR_OK);
    assert_int_equal(wait_exit(service), 70);
    assert_in(read_log(), "\"event\":\"service.fatal\"");
    assert_in(read_log(), "asked to fail");
    service = spawn(NULL);
    wait_ready();
    assert_int_equal(journal("x", DEADLINE_MS), WEIR_OK);
}

static void
it_starts_again_after_a_kill(void **state)
{
    kill(service, SIGKILL);
    assert_int_equal(wait_exit(service), -SIGKILL);
    service = spawn(NULL);
    wait_ready();
    assert_int_equal(health(), GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
}

static void
a_second_one_on_the_same_folder_is_refused(void **state)
{
    const int mine = port_base;

    port_base = ports_free_base();
    const pid_t second = spawn(NULL);
    port_base = mine;
    assert_int_equal(wait_exit(second), 1);
    assert_in(read_log(), "STORE_LOCKED");
}

static void
a_second_one_on_the_same_port_is_refused(void **state)
{
    char mine[sizeof folder];

    memcpy(mine, folder, sizeof mine);
    strcat(folder, "/second");
    const pid_t second = spawn(NULL);
    memcpy(folder, mine, sizeof mine);
    assert_int_equal(wait_exit(second), 1);
    assert_in(read_log(), "ADDRESS_IN_USE");
}

static void
a_wrong_setting_stops_the_start(void **state)
{
    assert_int_equal(wait_exit(spawn("--set=log.levle=debug")), 1);
    assert_in(read_log(), "did you mean log.level?");
    assert_int_equal(wait_exit(spawn("--nonsense")), 2);
    assert_int_equal(wait_exit(spawn("--check")), 0);
}

static void
an_unready_service_is_not_serving(void **state)
{
    assert_int_equal(journal("busy", DEADLINE_MS), WEIR_OK);
    assert_in(http_get("/readyz"), " 503 ");
    assert_in(http_get("/readyz"), "busy with nothing");
    assert_int_equal(health(),
        GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
    assert_int_equal(journal("free", DEADLINE_MS), WEIR_OK);
    assert_in(http_get("/readyz"), " 200 ");
    assert_int_equal(health(), GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
}

static void
the_stage_can_be_looked_into(void **state)
{
    Weir__Internal__V1__GetStageStatusRequest status =
        WEIR__INTERNAL__V1__GET_STAGE_STATUS_REQUEST__INIT;
    Weir__Internal__V1__ListLinksRequest links = WEIR__INTERNAL__V1__LIST_LINKS_REQUEST__INIT;
    const ProtobufCServiceDescriptor *descriptor = &weir__internal__v1__stage_service__descriptor;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;

    assert_int_equal(ask(false, descriptor, "GetStageStatus", &status.base, DEADLINE_MS, arena,
                         &message),
        WEIR_OK);
    const Weir__Internal__V1__GetStageStatusResponse *answer = (const void *)message;
    assert_string_equal(answer->service, "reconciler");
    assert_int_equal(answer->store_id.len, 16);
    assert_int_equal(answer->boot_counter, 1);
    assert_int_equal(answer->dead_letters, 7);
    assert_int_equal(ask(true, descriptor, "ListLinks", &links.base, DEADLINE_MS, arena, &message),
        WEIR_OK);
    const Weir__Internal__V1__ListLinksResponse *listed = (const void *)message;
    assert_int_equal(listed->n_links, 6);
    assert_string_equal(listed->links[0]->state, "waiting");
    weir_arena_destroy(&arena);
}

static void
deferred_work_is_paged_and_foreign_tokens_are_refused(void **state)
{
    Weir__Internal__V1__ListDeferredRequest request =
        WEIR__INTERNAL__V1__LIST_DEFERRED_REQUEST__INIT;
    const ProtobufCServiceDescriptor *descriptor = &weir__internal__v1__stage_service__descriptor;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;

    assert_int_equal(ask(false, descriptor, "ListDeferred", &request.base, DEADLINE_MS, arena,
                         &message),
        WEIR_OK);
    request.page_size = -1;
    assert_int_equal(ask(false, descriptor, "ListDeferred", &request.base, DEADLINE_MS, arena,
                         &message),
        WEIR_INVALID_ARGUMENT);
    assert_string_equal(error.field, "page_size");
    request.page_size = 0;
    request.page_token = (char *)"00000000ab";
    assert_int_equal(ask(false, descriptor, "ListDeferred", &request.base, DEADLINE_MS, arena,
                         &message),
        WEIR_PAGE_TOKEN_INVALID);
    weir_arena_destroy(&arena);
}

static void
the_era_is_applied_over_the_unix_socket_alone(void **state)
{
    Weir__Internal__V1__ApplyEraRequest request = WEIR__INTERNAL__V1__APPLY_ERA_REQUEST__INIT;
    const ProtobufCServiceDescriptor *descriptor = &weir__internal__v1__stage_service__descriptor;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;

    request.era = 5;
    assert_int_equal(ask(false, descriptor, "ApplyEra", &request.base, DEADLINE_MS, arena,
                         &message),
        WEIR_UNIMPLEMENTED);
    assert_int_equal(ask(true, descriptor, "ApplyEra", &request.base, DEADLINE_MS, arena, &message),
        WEIR_OK);
    assert_int_equal(((const Weir__Internal__V1__ApplyEraResponse *)(const void *)message)->era, 5);
    weir_arena_destroy(&arena);
}

/* A call is counted a moment after its answer has left. */
static const char *
wait_for_metric(const char *wanted)
{
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;
    const char *page = http_get("/metrics");

    while (strstr(page, wanted) == NULL) {
        struct pollfd nothing = { .fd = -1 };
        poll(&nothing, 1, 5);
        if (weir_clock_mono_ms() > until_ms)
            fail_msg("no %s", wanted);
        page = http_get("/metrics");
    }
    return page;
}

static void
the_metrics_please_promtool(void **state)
{
    assert_int_equal(journal("x", DEADLINE_MS), WEIR_OK);
    const char *page = wait_for_metric(
        "weir_rpc_requests_total{method=\"weir.internal.v1.ReconcilerService/GetJournal\","
        "code=\"OK\"} 1");

    page = wait_for_metric("weir_commit_events_count 1");
    assert_in(page, "text/plain; version=0.0.4");
    assert_in(page, "weir_stage_queued{stage=\"reconcile\"} 0");
    assert_in(page, "weir_documents_total{state=\"received\"} 2");
    assert_in(page,
        "weir_attempts_total{stage=\"reconcile\",class=\"transient\",reason=\"TIMEOUT\"} 1");
    assert_in(page, "weir_stage_work_seconds_count{stage=\"reconcile\"} 1");
    assert_in(page, "weir_link_lag_rows{link=\"reconciler-gateway\"} 0");
    assert_in(page, "weir_sample_total 0");
    if (access("/usr/bin/promtool", X_OK) != 0)
        return;
    FILE *pipe = popen("/usr/bin/promtool check metrics", "w");
    assert_non_null(pipe);
    const char *body = strstr(page, "\r\n\r\n") + 4;
    fwrite(body, 1, strlen(body), pipe);
    assert_int_equal(pclose(pipe), 0);
}

#define CASE(test_) cmocka_unit_test_setup_teardown(test_, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_serves_and_drains_with_zero),
        CASE(interrupt_drains_too),
        CASE(a_call_that_hangs_is_cut_off_by_the_grace),
        CASE(a_fatal_error_of_the_core_ends_it_with_70_and_it_starts_again),
        CASE(it_starts_again_after_a_kill),
        CASE(a_second_one_on_the_same_folder_is_refused),
        CASE(a_second_one_on_the_same_port_is_refused),
        CASE(a_wrong_setting_stops_the_start),
        CASE(an_unready_service_is_not_serving),
        CASE(the_stage_can_be_looked_into),
        CASE(deferred_work_is_paged_and_foreign_tokens_are_refused),
        CASE(the_era_is_applied_over_the_unix_socket_alone),
        CASE(the_metrics_please_promtool),
    };

    port_base = ports_free_base();
    runtime = weir_rpc_runtime_create(1);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weir_rpc_runtime_destroy(&runtime);
    return failed;
}
