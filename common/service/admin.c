/*
 * admin.c - the admin port: /metrics for Prometheus, /livez and /readyz for supervisors and
 * clusters.
 *
 * /livez says that the process answers; /readyz that clients should be sent here: not while
 * starting, draining, or while the service itself has a reason.
 */
#include <stdio.h>

#include "common/service/service_internal.h"

static void
answer_metrics(weir_service *service, weir_http_request *request)
{
    weir_buffer page = { 0 };

    service_metrics_expose(service, &page);
    weir_http_respond(request,
        &(weir_http_answer){ .status = 200,
            .content_type = "text/plain; version=0.0.4; charset=utf-8",
            .body = weir_buffer_view(&page) });
    weir_buffer_fini(&page);
}

static void
answer_ready(weir_service *service, weir_http_request *request)
{
    char reason[200];
    char text[256];

    service_unready_reason(service, reason, sizeof reason);
    snprintf(text, sizeof text, "%s%s\n", reason[0] == '\0' ? "ready" : "not ready: ", reason);
    weir_http_respond_text(request, reason[0] == '\0' ? 200 : 503, "text/plain; charset=utf-8",
        text);
}

static void
handle(weir_http_request *request, void *context)
{
    weir_service *service = context;
    const char *method = weir_http_method(request);
    const char *path = weir_http_path(request);

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        weir_http_respond_text(request, 405, "text/plain; charset=utf-8",
            "only GET is understood here\n");
    else if (strcmp(path, "/metrics") == 0)
        answer_metrics(service, request);
    else if (strcmp(path, "/livez") == 0)
        weir_http_respond_text(request, 200, "text/plain; charset=utf-8", "alive\n");
    else if (strcmp(path, "/readyz") == 0)
        answer_ready(service, request);
    else
        weir_http_respond_text(request, 404, "text/plain; charset=utf-8",
            "not found; there are /metrics, /livez and /readyz\n");
}

weir_code
service_admin_start(weir_service *service, weir_error *reterr)
{
    const weir_common_config *common = &service->config->common;
    const weir_http_options options = {
        .address = common->listen_address,
        .port = weir_suite_admin_port(service->config, (unsigned)service->spec->id),
        .connections_max = common->http_connections_max,
        .timeout_ms = common->http_timeout_ms,
        .body_bytes_max = 1024,
        .handler = handle,
        .context = service,
    };

    return weir_http_server_start(&options, &service->private->admin, reterr);
}
