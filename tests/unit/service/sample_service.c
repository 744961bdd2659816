/*
 * sample_service.c - a service without a purpose, for service_test: its core answers GetJournal
 * with nothing and fails on demand.
 *
 *   document_id "hang"   the core never answers
 *   document_id "fatal"  the core returns an error: the process must end with 70
 *   document_id "busy"   the service becomes unready, "free" ready again
 */
#include "common/service/service.h"

#include <string.h>

typedef Weir__Internal__V1__GetJournalRequest journal_request;
typedef Weir__Internal__V1__GetJournalResponse journal_response;

static weir_service *the_service;

static weir_code
core_start(void *core, weir_stage *stage, weir_error *reterr)
{
    static const uint8_t key[] = "x-sample";

    (void)core, (void)reterr;
    weir_batch_put(weir_stage_batch(stage), weir_bytes_of(key, sizeof key), weir_bytes_str("here"));
    return WEIR_OK;
}

static weir_code
core_request(void *core, weir_stage *stage, const weir_request *request, weir_error *reterr)
{
    const journal_request *asked = (const void *)request->message;
    journal_response *response = weir_arena_alloc(weir_stage_arena(stage), sizeof *response);

    (void)core;
    if (strcmp(asked->document_id, "fatal") == 0)
        return weir_error_set(reterr, WEIR_STORE_IO, "asked to fail");
    if (strcmp(asked->document_id, "hang") == 0)
        return WEIR_OK;
    if (strcmp(asked->document_id, "busy") == 0)
        weir_service_set_unready(the_service, "busy with nothing");
    if (strcmp(asked->document_id, "free") == 0)
        weir_service_set_unready(the_service, NULL);
    weir__internal__v1__get_journal_response__init(response);
    weir_stage_reply(stage, request->reply_to, &response->base);
    return WEIR_OK;
}

static const weir_core_ops core_ops = { .start = core_start, .request = core_request };

static void
get_journal(weir_service *service, weir_rpc_call *call, const journal_request *request)
{
    weir_service_submit(service, call, 1, "", &request->base);
}

WEIR_RPC_REQUEST(get_journal, weir_service, journal_request)

static const weir_rpc_handler handlers[] = { { .method = "GetJournal",
    .request = get_journal_rpc } };
static const weir_service_api apis[] = {
    { &weir__internal__v1__reconciler_service__descriptor, handlers, 1 },
    { NULL, NULL, 0 },
};

static const weir_metric_family metrics[] = {
    { "weir_sample_total", WEIR_COUNTER, "Nothing.", { NULL }, NULL, 0 },
    { .name = NULL },
};

static weir_code
start(weir_service *service, weir_service_parts *parts, weir_error *reterr)
{
    (void)reterr;
    the_service = service;
    parts->self = service;
    parts->ops = &core_ops;
    weir_service_count_documents(service, "received", 2);
    const weir_work_observer observer = weir_service_work_observer(service);
    observer.attempted(observer.ud, WEIR_TIMEOUT);
    observer.waited(observer.ud, 20);
    observer.worked(observer.ud, 1500);
    return WEIR_OK;
}

static void
status(weir_service *service, void *self, Weir__Internal__V1__GetStageStatusResponse *response,
    weir_arena *arena)
{
    (void)service, (void)self, (void)arena;
    response->dead_letters = 7;
}

static weir_service_spec spec = {
    .id = WEIR_SERVICE_RECONCILER,
    .tcp_apis = apis,
    .metrics = metrics,
    .start = start,
    .status = status,
};

int
main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    const char *name = slash != NULL ? slash + 1 : argv[0];

    if (strncmp(name, "weir-", 5) == 0)
        spec.id = weir_service_from_name(name + 5);
    return weir_service_main(argc, argv, &spec);
}
