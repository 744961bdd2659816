/*
 * server.c - rpc-interop-server: TestService, health and reflection on one port, until SIGTERM.
 *
 *   rpc-interop-server [--port N] [--unix PATH] [--drain-ms N] [--memory-mb N]
 *     [--tls-cert FILE --tls-key FILE [--tls-client-ca FILE]]
 *
 * Prints "listening on 127.0.0.1:PORT" when it serves; port 0 (the default) takes a free one.
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/wire/descriptors.h"
#include "tests/interop/test_service.h"

typedef struct server_settings {
    const char *port;
    const char *unix_path;
    uint32_t drain_ms;
    size_t memory_mb;
    const char *tls_certificate;
    const char *tls_key;
    const char *tls_client_ca;
} server_settings;

static void
take_option(server_settings *settings, int option)
{
    switch (option) {
    case 'p':
        settings->port = optarg;
        break;
    case 'u':
        settings->unix_path = optarg;
        break;
    case 'd':
        settings->drain_ms = (uint32_t)strtoul(optarg, NULL, 10);
        break;
    case 'm':
        settings->memory_mb = strtoul(optarg, NULL, 10);
        break;
    case 'c':
        settings->tls_certificate = optarg;
        break;
    case 'k':
        settings->tls_key = optarg;
        break;
    case 'a':
        settings->tls_client_ca = optarg;
        break;
    default:
        exit(2);
    }
}

static server_settings
read_settings(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "unix", required_argument, NULL, 'u' },
        { "drain-ms", required_argument, NULL, 'd' },
        { "memory-mb", required_argument, NULL, 'm' },
        { "tls-cert", required_argument, NULL, 'c' },
        { "tls-key", required_argument, NULL, 'k' },
        { "tls-client-ca", required_argument, NULL, 'a' },
        { 0 },
    };
    server_settings settings = { .port = "0", .drain_ms = 1000 };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        take_option(&settings, option);
    return settings;
}

static const char *
hint(const char *method_path)
{
    return strstr(method_path, "UnaryCall") != NULL ? "send it with StreamingInputCall" : NULL;
}

static weir_code
serve(weir_rpc_server *server, weir_error *reterr)
{
    weir_code code = interop_service_add(server, reterr);

    if (code == WEIR_OK)
        code = weir_rpc_server_add_health(server, reterr);
    if (code == WEIR_OK)
        code = weir_rpc_server_add_reflection(server, reterr);
    if (code == WEIR_OK)
        code = weir_rpc_server_start(server, reterr);
    if (code != WEIR_OK)
        return code;
    weir_rpc_server_set_health(server, NULL, true);
    printf("listening on 127.0.0.1:%d\n", weir_rpc_server_port(server, 0));
    fflush(stdout);
    return WEIR_OK;
}

static weir_code
run(weir_rpc_runtime *runtime, const server_settings *settings, weir_rpc_descriptors *descriptors,
    const sigset_t *signals, weir_error *reterr)
{
    char tcp[64];
    char local[256];
    const char *const addresses[] = { tcp, local };
    weir_rpc_server_options options = { .descriptors = descriptors,
        .addresses = addresses,
        .address_count = settings->unix_path == NULL ? 1 : 2,
        .memory_bytes_max = settings->memory_mb << 20,
        .tls_certificate_file = settings->tls_certificate,
        .tls_key_file = settings->tls_key,
        .tls_client_ca_file = settings->tls_client_ca,
        .too_large_hint = hint };
    weir_rpc_server *server = NULL;
    weir_code code;
    int signal_number;

    snprintf(tcp, sizeof tcp, "127.0.0.1:%s", settings->port);
    snprintf(local, sizeof local, "unix:%s",
        settings->unix_path == NULL ? "" : settings->unix_path);
    code = weir_rpc_server_create(runtime, &options, &server, reterr);
    if (code == WEIR_OK)
        code = serve(server, reterr);
    if (code == WEIR_OK) {
        sigwait(signals, &signal_number);
        weir_rpc_server_stop(server, settings->drain_ms);
    }
    weir_rpc_server_destroy(&server);
    return code;
}

int
main(int argc, char **argv)
{
    const server_settings settings = read_settings(argc, argv);
    weir_rpc_descriptors *descriptors = weir_rpc_descriptors_create();
    weir_rpc_runtime *runtime;
    weir_error error;
    weir_code code;
    sigset_t signals;

    weir_log_init("rpc-interop-server", true, WEIR_LOG_INFO);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    runtime = weir_rpc_runtime_create(0);
    code = weir_rpc_descriptors_add(descriptors, interop_descriptor_set(), &error);
    if (code == WEIR_OK)
        code = weir_rpc_descriptors_add(descriptors, weir_descriptor_set(), &error);
    if (code == WEIR_OK)
        code = run(runtime, &settings, descriptors, &signals, &error);
    if (code != WEIR_OK)
        fprintf(stderr, "%s: %s\n", weir_code_name(error.code), error.message);
    weir_rpc_runtime_destroy(&runtime);
    weir_rpc_descriptors_destroy(&descriptors);
    return code == WEIR_OK ? 0 : 1;
}
