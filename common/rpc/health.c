/*
 * health.c - grpc.health.v1.Health: the state of the server and of each service, asked once or
 * watched.
 *
 * Every name begins NOT_SERVING.  A stop makes all NOT_SERVING and ends the watches, since an open
 * watch would keep the server from ending.
 */
#include "common/rpc/internal.h"
#include "grpc/health/v1/health.pb-c.h"

typedef Grpc__Health__V1__HealthCheckRequest check_request;
typedef Grpc__Health__V1__HealthCheckResponse check_response;

enum {
    SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING,
    NOT_SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING,
    SERVICE_UNKNOWN = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN,
};

typedef struct health_entry {
    const char *service; /* "" is the whole server */
    bool serving;
    struct health_entry *next;
} health_entry;

typedef struct health_watch {
    weir_rpc_call *call;
    char *service;
    int last_status;
    struct health_watch *next;
} health_watch;

struct wr_health {
    weir_rpc_server *server;
    pthread_mutex_t lock; /* all below; a call's lock may be taken under it */
    bool stopped;
    health_entry *entries;
    health_watch *watches;
};

/* ---- under the lock ---- */

static health_entry *
find_entry(wr_health *health, const char *service)
{
    for (health_entry *entry = health->entries; entry != NULL; entry = entry->next)
        if (strcmp(entry->service, service) == 0)
            return entry;
    return NULL;
}

static health_entry *
need_entry(wr_health *health, const char *service)
{
    health_entry *entry = find_entry(health, service);

    if (entry != NULL)
        return entry;
    entry = weir_alloc_zero(1, sizeof *entry);
    entry->service = service;
    entry->next = health->entries;
    health->entries = entry;
    return entry;
}

static bool
is_added(const wr_health *health, const char *service)
{
    if (service[0] == '\0')
        return true;
    for (const wr_service *each = health->server->services; each != NULL; each = each->next)
        if (strcmp(each->type->name, service) == 0)
            return true;
    return false;
}

static int
status_of(wr_health *health, const char *service)
{
    const health_entry *entry = find_entry(health, service);

    if (entry != NULL)
        return entry->serving ? SERVING : NOT_SERVING;
    return is_added(health, service) ? NOT_SERVING : SERVICE_UNKNOWN;
}

static void
send_status(wr_health *health, health_watch *watch)
{
    check_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    const int status = status_of(health, watch->service);

    if (status == watch->last_status)
        return;
    watch->last_status = status;
    response.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
    weir_rpc_send(watch->call, &response.base);
}

/* ---- handlers ---- */

static weir_code
check(wr_health *health, weir_rpc_call *call, const check_request *request,
    check_response *response, weir_arena *arena, weir_error *reterr)
{
    int status;

    (void)call;
    (void)arena;
    pthread_mutex_lock(&health->lock);
    status = status_of(health, request->service);
    pthread_mutex_unlock(&health->lock);
    if (status == SERVICE_UNKNOWN)
        return weir_error_set_field(reterr, WEIR_NOT_FOUND, "service",
            "there is no service %s here", request->service);
    response->status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
    return WEIR_OK;
}
WEIR_RPC_UNARY(check, wr_health, check_request, check_response,
    grpc__health__v1__health_check_response__init)

static void
drain_watch(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_fail_with(call, WEIR_DRAINING, "the server is stopping");
}

static void
watch_service(wr_health *health, weir_rpc_call *call, const check_request *request)
{
    health_watch *added = weir_alloc_zero(1, sizeof *added);
    bool stopped;

    added->call = call;
    added->service = weir_strdup(request->service);
    added->last_status = -1;
    weir_rpc_call_set_state(call, added);
    pthread_mutex_lock(&health->lock);
    added->next = health->watches;
    health->watches = added;
    send_status(health, added);
    stopped = health->stopped;
    pthread_mutex_unlock(&health->lock);
    if (stopped) /* it came after the others were told */
        drain_watch(call, health);
}
WEIR_RPC_REQUEST(watch_service, wr_health, check_request)

static void
end_watch(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_finish(call);
}

static void
forget_watch(weir_rpc_call *call, void *context)
{
    wr_health *health = context;
    health_watch *gone = weir_rpc_call_state(call);

    pthread_mutex_lock(&health->lock);
    for (health_watch **at = &health->watches; *at != NULL; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            break;
        }
    pthread_mutex_unlock(&health->lock);
    weir_free(gone->service);
    weir_free(gone);
}

static const weir_rpc_handler handlers[] = {
    { .method = "Check", .flags = WEIR_RPC_PUBLIC, .request = check_rpc },
    { .method = "Watch",
        .flags = WEIR_RPC_PUBLIC,
        .request = watch_service_rpc,
        .cancelled = end_watch,
        .draining = drain_watch,
        .done = forget_watch },
};

/* ---- public ---- */

weir_code
weir_rpc_server_add_health(weir_rpc_server *server, weir_error *reterr)
{
    wr_health *health = weir_alloc_zero(1, sizeof *health);

    weir_assert(server->health == NULL);
    health->server = server;
    pthread_mutex_init(&health->lock, NULL);
    server->health = health;
    return weir_rpc_server_add(server, &grpc__health__v1__health__descriptor, handlers,
        sizeof handlers / sizeof handlers[0], health, reterr);
}

/* Under the lock. */
static void
set_one(wr_health *health, const char *service, bool serving)
{
    if (is_added(health, service))
        need_entry(health, service)->serving = serving;
}

/* Under the lock. */
static void
set_all(wr_health *health, bool serving)
{
    set_one(health, "", serving);
    for (wr_service *each = health->server->services; each != NULL; each = each->next)
        set_one(health, each->type->name, serving);
}

/* The descriptor's own name, which outlives the caller's string. */
static const char *
lasting_name(const wr_health *health, const char *service)
{
    for (const wr_service *each = health->server->services; each != NULL; each = each->next)
        if (strcmp(each->type->name, service) == 0)
            return each->type->name;
    return "";
}

/* Under the lock. */
static void
tell_watches(wr_health *health)
{
    for (health_watch *each = health->watches; each != NULL; each = each->next)
        send_status(health, each);
}

void
weir_rpc_server_set_health(weir_rpc_server *server, const char *service, bool serving)
{
    wr_health *health = server->health;

    weir_assert(health != NULL);
    pthread_mutex_lock(&health->lock);
    if (!health->stopped) {
        if (service == NULL)
            set_all(health, serving);
        else if (is_added(health, service))
            set_one(health, lasting_name(health, service), serving);
        tell_watches(health);
    }
    pthread_mutex_unlock(&health->lock);
}

void
wr_health_stop(weir_rpc_server *server)
{
    wr_health *health = server->health;

    if (health == NULL)
        return;
    weir_rpc_server_set_health(server, NULL, false);
    pthread_mutex_lock(&health->lock);
    health->stopped = true;
    pthread_mutex_unlock(&health->lock);
}

void
wr_health_destroy(wr_health **health_p)
{
    wr_health *health = *health_p;

    if (health == NULL)
        return;
    weir_assert(health->watches == NULL);
    while (health->entries != NULL) {
        health_entry *entry = health->entries;

        health->entries = entry->next;
        weir_free(entry);
    }
    pthread_mutex_destroy(&health->lock);
    weir_free(health);
    *health_p = NULL;
}
