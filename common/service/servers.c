/*
 * servers.c - the two gRPC servers of a service: TCP for clients and operators, a Unix socket for
 * its peers.
 *
 * Health speaks for both: SERVING once they listen, NOT_SERVING while the service has a reason, and
 * from the drain on.
 */
#include <stdio.h>

#include "common/base/log.h"
#include "common/service/service_internal.h"

static weir_code
create_server(weir_service *service, const char *address, bool public, weir_rpc_server **ret_server,
    weir_error *reterr)
{
    const weir_common_config *common = &service->config->common;
    const bool tls = public && service->spec->id == WEIR_SERVICE_GATEWAY &&
        common->tls_certificate_file[0] != '\0';
    const weir_rpc_server_options options = {
        .descriptors = service->descriptors,
        .addresses = &address,
        .address_count = 1,
        .workers =
            service->spec->id == WEIR_SERVICE_GATEWAY && service->config->gateway.workers != 0
            ? service->config->gateway.workers
            : common->rpc_workers,
        .pool_queue_max = common->rpc_pool_queue_max,
        .message_bytes_max = common->rpc_message_bytes_max,
        .too_large_hint = service->spec->too_large_hint,
        .metadata_bytes_max = common->rpc_metadata_bytes_max,
        .concurrent_streams_max = common->rpc_concurrent_streams_max,
        .keepalive_ms = common->rpc_keepalive_ms,
        .connection_age_ms = public ? common->rpc_connection_age_ms : 0,
        .connection_grace_ms = common->rpc_connection_grace_ms,
        .tls_certificate_file = tls ? common->tls_certificate_file : NULL,
        .tls_key_file = tls ? common->tls_key_file : NULL,
        .tls_client_ca_file =
            tls && common->tls_client_ca_file[0] != '\0' ? common->tls_client_ca_file : NULL,
    };

    return weir_rpc_server_create(service->runtime, &options, ret_server, reterr);
}

static weir_code
add_apis(weir_service *service, weir_rpc_server *server, const weir_service_api *apis, bool inner,
    weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (; apis != NULL && apis->service != NULL && code == WEIR_OK; apis++)
        code = weir_rpc_server_add(server, apis->service, apis->handlers, apis->handler_count,
            service->self, reterr);
    if (code == WEIR_OK)
        code = service_stage_rpc_add(service, server, inner, reterr);
    if (code == WEIR_OK)
        code = weir_rpc_server_add_health(server, reterr);
    if (code == WEIR_OK)
        code = weir_rpc_server_add_reflection(server, reterr);
    if (code == WEIR_OK)
        weir_rpc_server_observe(server, service_metrics_observe_call, service);
    return code;
}

weir_code
service_servers_create(weir_service *service, weir_error *reterr)
{
    const weir_common_config *common = &service->config->common;
    const bool v6 = strchr(common->listen_address, ':') != NULL;
    char tcp[128];
    char path[1200];

    snprintf(tcp, sizeof tcp, "%s%s%s:%u", v6 ? "[" : "", common->listen_address, v6 ? "]" : "",
        (unsigned)weir_suite_grpc_port(service->config, (unsigned)service->spec->id));
    snprintf(path, sizeof path, "unix:%s/%s.grpc", service->run_dir, service->name);
    weir_code code = create_server(service, tcp, true, &service->server, reterr);
    if (code == WEIR_OK)
        code = add_apis(service, service->server, service->spec->tcp_apis, false, reterr);
    if (code == WEIR_OK)
        code = create_server(service, path, false, &service->inner, reterr);
    if (code == WEIR_OK)
        code = add_apis(service, service->inner, service->spec->unix_apis, true, reterr);
    return code;
}

weir_code
service_servers_start(weir_service *service, weir_error *reterr)
{
    weir_code code = weir_rpc_server_start(service->inner, reterr);

    if (code == WEIR_OK)
        code = weir_rpc_server_start(service->server, reterr);
    if (code != WEIR_OK)
        return code;
    pthread_mutex_lock(&service->private->lock);
    service->private->listening = true;
    pthread_mutex_unlock(&service->private->lock);
    service_health_update(service);
    return WEIR_OK;
}

void
service_servers_stop(weir_service *service, uint32_t drain_ms)
{
    weir_rpc_server_stop(service->server, drain_ms);
    weir_rpc_server_stop(service->inner, drain_ms / 4);
}

/* ---- ready or not ---- */

void
service_unready_reason(weir_service *service, char *out, size_t size)
{
    struct weir_service_private *private = service->private;

    pthread_mutex_lock(&private->lock);
    if (atomic_load(&private->draining))
        snprintf(out, size, "draining");
    else if (!private->listening)
        snprintf(out, size, "starting");
    else
        snprintf(out, size, "%s", private->unready);
    pthread_mutex_unlock(&private->lock);
}

void
service_health_update(weir_service *service)
{
    struct weir_service_private *private = service->private;
    char reason[200];

    service_unready_reason(service, reason, sizeof reason);
    pthread_mutex_lock(&private->lock);
    const bool serving = reason[0] == '\0';
    const bool changed = serving != private->serving;
    private->serving = serving;
    const bool listening = private->listening;
    pthread_mutex_unlock(&private->lock);
    if (!changed || !listening)
        return;
    weir_rpc_server_set_health(service->server, NULL, serving);
    weir_rpc_server_set_health(service->inner, NULL, serving);
    weir_log(WEIR_LOG_INFO, serving ? "service.serving" : "service.not_serving",
        WEIR_STR("reason", reason));
}

void
weir_service_set_unready(weir_service *service, const char *reason)
{
    pthread_mutex_lock(&service->private->lock);
    snprintf(service->private->unready, sizeof service->private->unready, "%s",
        reason != NULL ? reason : "");
    pthread_mutex_unlock(&service->private->lock);
    service_health_update(service);
}

/* ---- from calls to the core and to peers ---- */

weir_shell *
service_shell_hold(weir_service *service)
{
    pthread_rwlock_rdlock(&service->private->shell_lock);
    if (service->shell == NULL)
        pthread_rwlock_unlock(&service->private->shell_lock);
    return service->shell;
}

void
service_shell_release(weir_service *service)
{
    pthread_rwlock_unlock(&service->private->shell_lock);
}

static void
finish_call(void *call, const weir_error *error, const ProtobufCMessage *response)
{
    if (error != NULL)
        weir_rpc_fail(call, error);
    else
        weir_rpc_reply(call, response);
}

static weir_code
submit(weir_service *service, weir_rpc_call *call, uint32_t kind, const char *tenant,
    const ProtobufCMessage *request, weir_error *reterr)
{
    weir_shell *shell = service_shell_hold(service);

    if (shell == NULL)
        return weir_error_set(reterr, WEIR_DRAINING, "the service stops");
    const weir_code code = weir_shell_submit(shell, kind, tenant, weir_rpc_request_id(call),
        request, finish_call, call, reterr);
    service_shell_release(service);
    return code;
}

void
weir_service_submit(weir_service *service, weir_rpc_call *call, uint32_t kind, const char *tenant,
    const ProtobufCMessage *request)
{
    weir_error error = { 0 };

    if (submit(service, call, kind, tenant, request, &error) != WEIR_OK)
        weir_rpc_fail(call, &error);
}

weir_rpc_channel *
weir_service_channel(weir_service *service, weir_service_id peer)
{
    struct weir_service_private *private = service->private;
    char target[1200];
    weir_error error = { 0 };

    pthread_mutex_lock(&private->lock);
    if (private->channels[peer] == NULL) {
        snprintf(target, sizeof target, "unix:%s/%s.grpc", service->run_dir,
            weir_service_name(peer));
        const weir_rpc_channel_options options = { .reconnect_max_ms = 500 };
        if (weir_rpc_channel_open(service->runtime, target, &options, &private->channels[peer],
                &error) != WEIR_OK)
            weir_service_fatal(service, &error);
    }
    weir_rpc_channel *channel = private->channels[peer];
    pthread_mutex_unlock(&private->lock);
    return channel;
}
