/*
 * rpc_list_document_events.c - ListDocumentEvents: the reconciler's journal, and what the gateway's
 * own record says and the journal does not.
 *
 * The journal lags by the time that a row takes, keeps the last 64 events, and begins anew after a
 * loss of the reconciler's volume; so the accept and the end of the revision that is asked for are
 * added from the record where they are missing: before all others, and after them.  Events come
 * to the journal over several links, so they are put in the order of their times.  Each has a name
 * that stays the same, and a page token holds that of the last one shown.
 */
#include "common/stage/retry.h"
#include "services/gateway/check.h"
#include "services/gateway/peers.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__ListDocumentEventsRequest events_request;
typedef Weir__V1__ListDocumentEventsResponse events_response;
typedef Weir__V1__DocumentEvent document_event;
typedef Weir__Internal__V1__GetJournalResponse journal_response;
typedef Weir__Internal__V1__LifecycleEvent lifecycle_event;

#define KIND(name_) WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_##name_
#define CAUSE(name_) WEIR__INTERNAL__V1__LIFECYCLE_CAUSE__LIFECYCLE_CAUSE_##name_
#define TYPE(name_) WEIR__V1__DOCUMENT_EVENT_TYPE__DOCUMENT_EVENT_TYPE_##name_
#define STATE(name_) WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_

enum { RECONCILER_MS = 5000, OWN_EVENTS_MAX = 32 };

static const uint64_t journal_from = 1000, record_from = UINT64_MAX - 1000;

typedef struct history {
    weir_arena *arena;
    const events_request *request;
    gateway_found found;
    document_event **events;
    uint64_t *names;
    size_t count;
} history;

/* ---- the journal's ---- */

static Weir__V1__DocumentEventType
type_of(const lifecycle_event *event)
{
    switch (event->kind) {
    case KIND(ACCEPTED):
        if (event->epoch <= 1)
            return TYPE(ACCEPTED);
        return event->cause == CAUSE(REDRIVE) ? TYPE(REDRIVEN) : TYPE(RETRIED);
    case KIND(CHUNKED):
        return TYPE(CHUNKED);
    case KIND(EMBEDDED):
        return TYPE(EMBEDDED);
    case KIND(READY):
        return TYPE(READY);
    case KIND(DEFERRED):
        return event->failure == NULL ? TYPE(ATTEMPT_FAILED)
                                      : weir_retry_rule_for((weir_code)event->failure->code)->event;
    case KIND(FAILED):
        return TYPE(ATTEMPT_FAILED);
    case KIND(SUPERSEDED):
        return TYPE(SUPERSEDED);
    case KIND(DELETED):
        return TYPE(DELETED);
    case KIND(GAVE_UP):
        return TYPE(FAILED);
    case KIND(REVOKED):
        return TYPE(REVOKED);
    case KIND(AUDITED):
        return TYPE(REPAIRED);
    case KIND(DROPPED): /* a step between two services, of which nothing comes */
    case KIND(UNSPECIFIED):
    case _WEIR__INTERNAL__V1__LIFECYCLE_KIND_IS_INT_SIZE:
        return TYPE(UNSPECIFIED);
    }
    return TYPE(UNSPECIFIED);
}

static char *
message_of(weir_arena *arena, const lifecycle_event *event)
{
    if (event->failure != NULL)
        return event->failure->message;
    if (event->message[0] != 0)
        return event->message;
    if (event->cause == CAUSE(DISCARD))
        return weir_arena_strdup(arena, "its dead letter was discarded");
    if (event->chunk_count != 0)
        return weir_arena_printf(arena, "%u chunk%s, %llu tokens", event->chunk_count,
            event->chunk_count == 1 ? "" : "s", (unsigned long long)event->token_count);
    if (event->size_bytes != 0)
        return weir_arena_printf(arena, "%llu bytes", (unsigned long long)event->size_bytes);
    return weir_arena_strdup(arena, "");
}

static void
append(history *self, document_event *event, uint64_t name)
{
    self->events[self->count] = event;
    self->names[self->count++] = name;
}

static document_event *
make(const history *self, Weir__V1__DocumentEventType type, int64_t revision, int64_t epoch,
    int64_t time_ms)
{
    document_event *made = weir_arena_alloc(self->arena, sizeof *made);

    weir__v1__document_event__init(made);
    made->type = type;
    made->revision = revision;
    made->run = (int32_t)epoch;
    made->time = weir_wire_time(self->arena, time_ms);
    return made;
}

static void
fill_failure(document_event *into, const failure_record *failure)
{
    into->attempt_count = (int32_t)failure->attempt_count;
    into->reason = (char *)(uintptr_t)weir_code_name((weir_code)failure->code);
    into->error_class = gateway_view_class(failure->code);
    into->message = failure->message;
    into->stage = (Weir__V1__Stage)failure->stage;
}

/* Of the same millisecond: the runs in order, and what begins one before what comes of it. */
static int
rank_of(const document_event *event)
{
    const bool begins = event->type == TYPE(RETRIED) || event->type == TYPE(REDRIVEN);

    return event->run * 64 + (begins ? 0 : (int)event->type);
}

static bool
is_later(const document_event *a, const document_event *b)
{
    const int64_t a_ms = a->time == NULL ? 0 : a->time->seconds * 1000 + a->time->nanos / 1000000;
    const int64_t b_ms = b->time == NULL ? 0 : b->time->seconds * 1000 + b->time->nanos / 1000000;

    if (a_ms != b_ms)
        return a_ms > b_ms;
    return a->revision != b->revision ? a->revision > b->revision : rank_of(a) > rank_of(b);
}

/* They are nearly in order, and few. */
static void
sort(history *self, size_t from)
{
    for (size_t i = from + 1; i < self->count; i++) {
        document_event *event = self->events[i];
        const uint64_t name = self->names[i];
        size_t at = i;

        for (; at > from && is_later(self->events[at - 1], event); at--) {
            self->events[at] = self->events[at - 1];
            self->names[at] = self->names[at - 1];
        }
        self->events[at] = event;
        self->names[at] = name;
    }
}

/* The gateway says READY once more where the indexer's word may have been lost. */
static bool
is_said_before(const journal_response *journal, size_t index)
{
    const lifecycle_event *event = journal->events[index];
    bool is_said = false;

    if (event->kind != KIND(READY) || event->stage != WEIR__V1__STAGE__STAGE_ACCEPT)
        return false;
    for (size_t i = 0; i < journal->n_events; i++)
        is_said = is_said ||
            (journal->events[i]->kind == KIND(READY) && i != index &&
                journal->events[i]->revision == event->revision &&
                (i < index || journal->events[i]->stage != event->stage));
    return is_said;
}

static void
append_journal(history *self, const journal_response *journal)
{
    const size_t from = self->count;

    for (size_t i = 0; i < journal->n_events && i < journal->n_numbers; i++) {
        const lifecycle_event *event = journal->events[i];
        const Weir__V1__DocumentEventType type = type_of(event);

        if (type == TYPE(UNSPECIFIED) || is_said_before(journal, i) ||
            (self->request->revision != 0 && event->revision != self->request->revision))
            continue;
        document_event *made = make(self, type, event->revision, event->epoch, event->time_ms);
        made->stage = (Weir__V1__Stage)event->stage;
        made->message = message_of(self->arena, event);
        if (event->failure != NULL)
            fill_failure(made, event->failure);
        made->next_attempt_time = weir_wire_time(self->arena, event->due_ms);
        append(self, made, journal_from + journal->numbers[i]);
    }
    sort(self, from);
}

/* ---- the record's ---- */

static bool
journal_has(const journal_response *journal, int64_t revision, int64_t epoch, int kind)
{
    for (size_t i = 0; i < journal->n_events; i++)
        if (journal->events[i]->kind == (Weir__Internal__V1__LifecycleKind)kind &&
            journal->events[i]->revision == revision &&
            (epoch == 0 || journal->events[i]->epoch == epoch))
            return true;
    return false;
}

static void
append_beginning(history *self, const journal_response *journal)
{
    const revision_record *revision = self->found.revision;

    if (revision->is_delete || journal_has(journal, self->found.number, 0, KIND(ACCEPTED)))
        return;
    document_event *made =
        make(self, TYPE(ACCEPTED), self->found.number, 1, revision->create_time_ms);
    made->stage = WEIR__V1__STAGE__STAGE_ACCEPT;
    made->message =
        weir_arena_printf(self->arena, "%llu bytes", (unsigned long long)revision->size_bytes);
    append(self, made, 1);
}

static void
append_failed(history *self)
{
    const failure_record *failure = self->found.revision->failure;
    uint64_t name = record_from;

    for (size_t i = 0; failure != NULL && i < failure->n_attempts && i < OWN_EVENTS_MAX - 2; i++) {
        const Weir__Internal__V1__Attempt *attempt = failure->attempts[i];
        document_event *made = make(self, TYPE(ATTEMPT_FAILED), self->found.number,
            self->found.revision->epoch, attempt->time_ms);

        made->stage = (Weir__V1__Stage)attempt->stage;
        made->reason = (char *)(uintptr_t)weir_code_name((weir_code)attempt->code);
        made->error_class = gateway_view_class(attempt->code);
        made->message = attempt->message;
        append(self, made, name++);
    }
    document_event *made = make(self, TYPE(FAILED), self->found.number, self->found.revision->epoch,
        self->found.revision->update_time_ms);
    if (failure != NULL)
        fill_failure(made, failure);
    append(self, made, name);
}

static void
append_end(history *self, const journal_response *journal)
{
    const revision_record *revision = self->found.revision;
    const int64_t number = self->found.number;

    if (revision->state == STATE(READY) && !journal_has(journal, number, 0, KIND(READY)))
        append(self, make(self, TYPE(READY), number, revision->epoch, revision->ready_time_ms),
            record_from);
    else if (revision->state == STATE(FAILED) &&
        !journal_has(journal, number, revision->epoch, KIND(GAVE_UP)))
        append_failed(self);
    else if (revision->state == STATE(SUPERSEDED) &&
        !journal_has(journal, number, 0, KIND(SUPERSEDED)))
        append(self,
            make(self, TYPE(SUPERSEDED), number, revision->epoch, revision->update_time_ms),
            record_from);
    else if (revision->state == STATE(DELETED) && !journal_has(journal, number, 0, KIND(DELETED)))
        append(self, make(self, TYPE(DELETED), number, revision->epoch, revision->delete_time_ms),
            record_from);
}

/* ---- the call ---- */

static weir_code
find(gateway *self, weir_rpc_call *call, history *all, weir_error *reterr)
{
    const events_request *request = all->request;
    gateway_look look;
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);

    if (code == WEIR_OK)
        code = gateway_check_document_id(request->document_id, "document_id", reterr);
    if (code == WEIR_OK)
        code = gateway_check_revision(request->revision, reterr);
    if (code != WEIR_OK)
        return code;
    gateway_look_begin(&look, self->service->store, all->arena);
    code = gateway_look_find(&look, gateway_tenant(call), request->collection_id,
        request->document_id, request->revision, &all->found, reterr);
    gateway_look_end(&look);
    return code;
}

static weir_code
collect(gateway *self, weir_rpc_call *call, history *all, weir_error *reterr)
{
    Weir__Internal__V1__GetJournalRequest wanted = WEIR__INTERNAL__V1__GET_JOURNAL_REQUEST__INIT;
    journal_response *journal = NULL;

    wanted.tenant = (char *)(uintptr_t)gateway_tenant(call);
    wanted.collection_no = all->found.collection->collection_no;
    wanted.document_id = all->request->document_id;
    const weir_code code = gateway_peer_ask(self->reconciler, WEIR_SERVICE_RECONCILER, "GetJournal",
        &wanted.base, gateway_time_left(call, RECONCILER_MS), all->arena, &journal, reterr);
    if (code != WEIR_OK)
        return code;
    const size_t most = journal->n_events + OWN_EVENTS_MAX;
    all->events = weir_arena_alloc(all->arena, most * sizeof all->events[0]);
    all->names = weir_arena_alloc(all->arena, most * sizeof all->names[0]);
    append_beginning(all, journal);
    append_journal(all, journal);
    append_end(all, journal);
    return WEIR_OK;
}

static void
fill_page(const history *all, weir_bytes scope, uint64_t after, uint32_t page_size,
    events_response *response)
{
    size_t first = 0;
    uint8_t place[8];

    while (first < all->count && after != 0 && all->names[first] != after)
        first++;
    if (first == all->count) /* that one is not kept any more, so nothing older is */
        first = 0;
    else if (after != 0)
        first++;
    response->events = all->events + first;
    response->n_events = all->count - first < page_size ? all->count - first : page_size;
    if (first + response->n_events == all->count)
        return;
    weir_store_u64(place, all->names[first + response->n_events - 1]);
    response->next_page_token =
        gateway_page_next(all->arena, scope, weir_bytes_of(place, sizeof place));
}

static weir_code
list_document_events(gateway *self, weir_rpc_call *call, const events_request *request,
    events_response *response, weir_arena *arena, weir_error *reterr)
{
    history all = { .arena = arena, .request = request };
    const weir_bytes scope =
        weir_bytes_str(weir_arena_printf(arena, "ListDocumentEvents\n%s\n%s\n%lld",
            request->collection_id, request->document_id, (long long)request->revision));
    uint32_t page_size = 0;
    weir_bytes after;
    weir_code code = gateway_check_page_size(request->page_size, &page_size, reterr);

    if (code == WEIR_OK)
        code = gateway_page_begin(arena, request->page_token, scope, &after, reterr);
    if (code == WEIR_OK)
        code = find(self, call, &all, reterr);
    if (code == WEIR_OK)
        code = collect(self, call, &all, reterr);
    if (code != WEIR_OK)
        return code;
    fill_page(&all, scope, after.size == 8 ? weir_load_u64(after.data) : 0, page_size, response);
    return WEIR_OK;
}

GATEWAY_UNARY(list_document_events, events_request, events_response,
    weir__v1__list_document_events_response__init)
