/*
 * rpc_audit.c - RunAudit, ListInconsistencies and ResolveInconsistency.
 *
 * A run waits on a worker of the pool, one at a time; the decision about an inconsistency is one
 * step of the core.
 */
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "services/gateway/audit.h"
#include "services/gateway/check.h"
#include "services/gateway/keys.h"
#include "services/gateway/peers.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__RunAuditRequest run_request;
typedef Weir__V1__RunAuditResponse run_response;
typedef Weir__V1__ListInconsistenciesRequest list_request;
typedef Weir__V1__ListInconsistenciesResponse list_response;
typedef Weir__V1__ResolveInconsistencyRequest resolve_request;
typedef Weir__Internal__V1__InconsistencyRecord inconsistency_record;

enum {
    RUN_MS = 600000,
    RESERVE_MS = 100, /* of the deadline, for the answer */
    ID_BYTES_MAX = 40,
    LOOKED_AT_MAX = 20000,
};

/* ---- RunAudit ---- */

static weir_code
find_collection(gateway *self, weir_rpc_call *call, const char *collection_id,
    uint64_t *ret_collection_no, weir_error *reterr)
{
    collection_record *collection = NULL;
    gateway_look look;

    *ret_collection_no = 0;
    if (collection_id[0] == 0)
        return WEIR_OK;
    weir_code code = gateway_check_collection_id(collection_id, "collection_id", reterr);
    if (code != WEIR_OK)
        return code;
    gateway_look_begin(&look, self->service->store, weir_rpc_call_arena(call));
    code = gateway_look_collection(&look, gateway_tenant(call), collection_id, &collection, reterr);
    gateway_look_end(&look);
    if (code == WEIR_OK)
        *ret_collection_no = collection->collection_no;
    return code;
}

/* The answer that is kept under the request_id; *answer non-NULL: keep it if there is none. */
static weir_code
keep(gateway *self, weir_rpc_call *call, const run_request *request, run_response **answer,
    weir_arena *arena, weir_error *reterr)
{
    Weir__Internal__V1__AuditRequestCommand command =
        WEIR__INTERNAL__V1__AUDIT_REQUEST_COMMAND__INIT;
    ProtobufCMessage *message = NULL;
    run_request payload = *request;

    if (request->request_id[0] == 0)
        return WEIR_OK;
    payload.request_id = (char *)(uintptr_t)"";
    weir_sha256_sum sum = gateway_hash_message(&payload.base);
    command.request_id = request->request_id;
    command.payload_sha256.data = sum.bytes;
    command.payload_sha256.len = sizeof sum.bytes;
    command.answer = *answer;
    const weir_code code = gateway_audit_ask_core(self, gateway_tenant(call), GATEWAY_AUDIT_REQUEST,
        &command.base, arena, &message, reterr);
    if (code == WEIR_OK)
        *answer = ((Weir__Internal__V1__AuditRequestAnswer *)(void *)message)->answer;
    return code;
}

static weir_code
run_now(gateway *self, weir_rpc_call *call, const run_request *request, run_response *response,
    weir_arena *arena, weir_error *reterr)
{
    const int64_t began_ms = weir_clock_mono_ms();
    gateway_audit_run run = { .tenant = gateway_tenant(call), .dry_run = request->dry_run };
    weir_code code =
        find_collection(self, call, request->collection_id, &run.collection_no, reterr);

    if (code != WEIR_OK)
        return code;
    run.until_ms = began_ms + gateway_time_left(call, RUN_MS) - RESERVE_MS;
    code = gateway_audit_run_now(self->audit, &run, reterr);
    if (code != WEIR_OK)
        return code;
    response->checked_count = (int64_t)run.checked;
    response->inconsistency_count = (int64_t)run.found;
    response->repaired_count = (int64_t)run.repaired;
    response->audit_duration = weir_wire_duration(arena, weir_clock_mono_ms() - began_ms);
    return WEIR_OK;
}

static weir_code
run_audit(gateway *self, weir_rpc_call *call, const run_request *request, run_response *response,
    weir_arena *arena, weir_error *reterr)
{
    run_response *kept = NULL;
    weir_code code = gateway_check_request_id(request->request_id, reterr);

    if (code == WEIR_OK)
        code = keep(self, call, request, &kept, arena, reterr);
    if (code == WEIR_OK && kept == NULL) {
        code = run_now(self, call, request, response, arena, reterr);
        kept = response;
        if (code == WEIR_OK)
            code = keep(self, call, request, &kept, arena, reterr);
    }
    if (code == WEIR_OK && kept != response)
        *response = *kept;
    return code;
}

GATEWAY_UNARY(run_audit, run_request, run_response, weir__v1__run_audit_response__init)

/* ---- ListInconsistencies ---- */

typedef struct lister {
    gateway_look look;
    const list_request *request;
    list_response *response;
    const char *tenant;
    uint64_t collection_no; /* 0: all */
    uint32_t page_size;
    weir_arena *scratch;
} lister;

static bool
is_wanted(const lister *self, const inconsistency_record *record)
{
    return strcmp(record->tenant, self->tenant) == 0 &&
        (self->collection_no == 0 || record->collection_no == self->collection_no) &&
        (self->request->show_resolved || record->resolution == 0);
}

static weir_code
add(lister *self, const weir_iter *iter, weir_error *reterr)
{
    weir_arena *arena = self->look.arena;
    inconsistency_record *record = NULL;

    weir_arena_reset(self->scratch);
    self->look.arena = self->scratch;
    weir_code code =
        gateway_look_decode(&self->look, &weir__internal__v1__inconsistency_record__descriptor,
            weir_iter_value(iter), &record, reterr);
    self->look.arena = arena;
    if (code != WEIR_OK || !is_wanted(self, record))
        return code;
    code = gateway_look_decode(&self->look, &weir__internal__v1__inconsistency_record__descriptor,
        weir_iter_value(iter), &record, reterr); /* to keep */
    if (code == WEIR_OK)
        self->response->inconsistencies[self->response->n_inconsistencies++] =
            gateway_view_inconsistency(arena, weir_load_u64(weir_iter_key(iter).data + 1), record);
    return code;
}

static weir_code
fill_page(lister *self, uint64_t from_no, weir_bytes scope, weir_error *reterr)
{
    weir_iter *iter = weir_store_iter(self->look.store, self->look.snapshot,
        gateway_key_inconsistency(&self->look.key, from_no),
        gateway_key_inconsistency_end(&self->look.end));
    size_t looked_at = 0;
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && weir_iter_next(iter)) {
        if (self->response->n_inconsistencies == self->page_size || looked_at++ == LOOKED_AT_MAX) {
            const weir_bytes key = weir_iter_key(iter);

            self->response->next_page_token =
                gateway_page_next(self->look.arena, scope, weir_bytes_of(key.data + 1, 8));
            break;
        }
        code = add(self, iter, reterr);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static weir_bytes
scope_of(weir_arena *arena, const list_request *request)
{
    return weir_bytes_str(weir_arena_printf(arena, "ListInconsistencies\n%s\n%d",
        request->collection_id, request->show_resolved ? 1 : 0));
}

static weir_code
list_inconsistencies(gateway *self, weir_rpc_call *call, const list_request *request,
    list_response *response, weir_arena *arena, weir_error *reterr)
{
    const weir_bytes scope = scope_of(arena, request);
    lister list = { .request = request, .response = response, .tenant = gateway_tenant(call) };
    weir_bytes from;
    weir_code code = gateway_check_page_size(request->page_size, &list.page_size, reterr);

    if (code == WEIR_OK)
        code = gateway_page_begin(arena, request->page_token, scope, &from, reterr);
    if (code == WEIR_OK)
        code = find_collection(self, call, request->collection_id, &list.collection_no, reterr);
    if (code != WEIR_OK)
        return code;
    response->inconsistencies =
        weir_arena_alloc(arena, list.page_size * sizeof *response->inconsistencies);
    gateway_look_begin(&list.look, self->service->store, arena);
    list.scratch = weir_arena_create(0);
    code = fill_page(&list, from.size == 8 ? weir_load_u64(from.data) : 0, scope, reterr);
    weir_arena_destroy(&list.scratch);
    gateway_look_end(&list.look);
    return code;
}

GATEWAY_UNARY(list_inconsistencies, list_request, list_response,
    weir__v1__list_inconsistencies_response__init)

/* ---- ResolveInconsistency ---- */

static weir_code
check_resolution(const resolve_request *request, weir_error *reterr)
{
    const size_t size = strlen(request->inconsistency_id);

    if (size == 0 || size > ID_BYTES_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "inconsistency_id",
            "inconsistency_id must be an id from ListInconsistencies");
    if (request->resolution <
            WEIR__V1__INCONSISTENCY_RESOLUTION__INCONSISTENCY_RESOLUTION_ADVANCE ||
        request->resolution > WEIR__V1__INCONSISTENCY_RESOLUTION__INCONSISTENCY_RESOLUTION_DISMISS)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "resolution",
            "resolution must be ADVANCE, REDRIVE or DISMISS");
    return gateway_check_request_id(request->request_id, reterr);
}

static void
resolve_inconsistency(gateway *self, weir_rpc_call *call, const resolve_request *request)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    Weir__Internal__V1__ResolveCommand *command = weir_arena_alloc(arena, sizeof *command);
    resolve_request payload = *request;
    weir_error error = { .code = WEIR_OK };

    if (check_resolution(request, &error) != WEIR_OK) {
        weir_rpc_fail(call, &error);
        return;
    }
    payload.request_id = (char *)(uintptr_t)"";
    const weir_sha256_sum sum = gateway_hash_message(&payload.base);
    weir__internal__v1__resolve_command__init(command);
    command->request = (resolve_request *)(uintptr_t)request;
    command->payload_sha256.data = weir_arena_memdup(arena, sum.bytes, sizeof sum.bytes);
    command->payload_sha256.len = sizeof sum.bytes;
    gateway_submit(self, call, GATEWAY_RESOLVE, &command->base);
}

GATEWAY_REQUEST(resolve_inconsistency, resolve_request)
