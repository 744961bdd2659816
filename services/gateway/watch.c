/*
 * watch.c - see watch.h.
 *
 * Change numbers are dense, so a number that is missing before the end of the log was trimmed: the
 * watch ends with RESUME_TOKEN_TOO_OLD.  An event shows the revision as the change left it, even
 * when more has happened since.
 */
#include "services/gateway/watch.h"

#include "services/gateway/keys.h"
#include "services/gateway/reads.h"

enum { CHANGES_PER_TURN = 256 };

typedef Weir__Internal__V1__ChangeRecord change_record;
typedef Weir__Internal__V1__ChangesRecord changes_record;
typedef Weir__V1__WatchDocumentsResponse watch_response;

typedef struct watcher {
    gateway_watcher base;
    gateway_watch_wish wish;
    uint64_t next_no;   /* the next change to look at; the thread's */
    size_t states_sent; /* of wish.document_ids; the thread's */
    bool waits_for_room;
} watcher;

/* One turn of one watcher. */
typedef struct turn {
    gateway *self;
    watcher *to;
    weir_arena *arena;
    gateway_look look;
} turn;

/* ---- events ---- */

static char *
resume_token(const turn *run, uint64_t change_no)
{
    uint8_t content[16];
    gateway_published published;

    gateway_core_published(run->self->core, &published);
    weir_store_u64(content, change_no);
    weir_store_u64(content + 8, published.life);
    return gateway_token_encode(run->arena, GATEWAY_TOKEN_RESUME,
        weir_bytes_of(content, sizeof content));
}

weir_code
gateway_watch_read_token(gateway *self, weir_arena *arena, const char *token,
    uint64_t *ret_change_no, weir_error *reterr)
{
    gateway_published published;
    weir_bytes content;

    gateway_core_published(self->core, &published);
    if (!gateway_token_decode(arena, GATEWAY_TOKEN_RESUME, token, &content) ||
        (content.size != 8 && content.size != 16))
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "resume_token",
            "resume_token is not one that this server gave out");
    const uint64_t change_no = weir_load_u64(content.data);
    const uint64_t life = content.size == 16 ? weir_load_u64(content.data + 8) : 0;
    if (life != published.life && change_no >= published.life_change_no)
        return weir_error_set_field(reterr, WEIR_RESUME_TOKEN_TOO_OLD, "resume_token",
            "the server was restored from a backup that was taken before this token; watch anew "
            "without a token and list the documents");
    if (change_no > published.change_no)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "resume_token",
            "resume_token is not one that this server gave out");
    *ret_change_no = change_no;
    return WEIR_OK;
}

/* The revision as this change left it. */
static void
turn_back(Weir__V1__Document *view, const change_record *change)
{
    view->run = (int32_t)change->epoch;
    if ((uint32_t)view->state == change->state)
        return;
    view->state = (Weir__V1__DocumentState)change->state;
    view->stage = (Weir__V1__Stage)change->stage;
    view->terminal = gateway_state_is_terminal(change->state);
    view->error = NULL;
    if (change->state < WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_READY)
        view->ready_time = NULL;
    if (change->state != WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_DELETED)
        view->delete_time = NULL;
}

/* False: no room for more now, or nobody listens any more. */
static bool
send_event(const turn *run, Weir__V1__Document *view, int64_t time_ms, uint64_t change_no)
{
    watch_response response = WEIR__V1__WATCH_DOCUMENTS_RESPONSE__INIT;

    response.document = view;
    response.resume_token = resume_token(run, change_no);
    response.event_time = weir_wire_time(run->arena, time_ms);
    const weir_rpc_sent sent = gateway_watcher_send(&run->to->base, &response.base);
    run->to->waits_for_room = sent == WEIR_RPC_FULL;
    return sent == WEIR_RPC_SENT;
}

static bool
is_wanted(const watcher *by, const change_record *change)
{
    if (change->collection_no != by->wish.collection_no)
        return false;
    for (size_t i = 0; i < by->wish.document_count; i++)
        if (strcmp(by->wish.document_ids[i], change->document_id) == 0)
            return true;
    return by->wish.document_count == 0;
}

/* ---- a turn of one watcher ---- */

static weir_code
find(turn *run, const char *document_id, int64_t revision, gateway_found *ret_found,
    weir_error *reterr)
{
    return gateway_look_find(&run->look, gateway_tenant(run->to->base.call),
        run->to->wish.collection_id, document_id, revision, ret_found, reterr);
}

static weir_code
send_state(turn *run, const char *document_id, bool *ret_room, weir_error *reterr)
{
    gateway_found found;
    const weir_code code = find(run, document_id, 0, &found, reterr);

    *ret_room = true;
    if (code == WEIR_DOCUMENT_NOT_FOUND)
        return WEIR_OK;
    if (code == WEIR_OK)
        *ret_room = send_event(run, gateway_found_view(run->arena, &found),
            found.revision->update_time_ms, run->to->wish.after_change_no);
    return code;
}

static weir_code
send_states(turn *run, bool *ret_room, weir_error *reterr)
{
    watcher *to = run->to;
    weir_code code = WEIR_OK;

    *ret_room = true;
    while (to->wish.wants_states && code == WEIR_OK && *ret_room &&
        to->states_sent < to->wish.document_count)
        code = send_state(run, to->wish.document_ids[to->states_sent++], ret_room, reterr);
    return code;
}

static weir_code
send_change(turn *run, uint64_t change_no, const change_record *change, bool *ret_room,
    weir_error *reterr)
{
    gateway_found found;
    const weir_code code = find(run, change->document_id, change->revision, &found, reterr);

    if (code != WEIR_OK)
        return code;
    Weir__V1__Document *view = gateway_found_view(run->arena, &found);
    turn_back(view, change);
    *ret_room = send_event(run, view, change->time_ms, change_no);
    return WEIR_OK;
}

static weir_code
too_old(weir_error *reterr)
{
    return weir_error_set_field(reterr, WEIR_RESUME_TOKEN_TOO_OLD, "resume_token",
        "the changes after this token are no longer kept; watch anew without a token and list "
        "the documents for what was missed");
}

/* The first turn of a watch that begins with states: they stand for all changes that this look can
 * see, which would take documents back if they were told after them. */
static weir_code
skip_seen(turn *run, weir_error *reterr)
{
    watcher *to = run->to;
    gateway_look *look = &run->look;
    weir_iter *iter = weir_store_iter(look->store, look->snapshot,
        gateway_key_change(&look->key, 0), gateway_key_change_end(&look->end));
    changes_record *last = NULL;
    const bool is_there = weir_iter_last(iter);
    weir_code code = is_there
        ? gateway_look_decode(look, &weir__internal__v1__changes_record__descriptor,
              weir_iter_value(iter), &last, reterr)
        : weir_iter_status(iter, reterr);

    if (code == WEIR_OK && is_there) {
        const uint64_t end_no = weir_load_u64(weir_iter_key(iter).data + 1) + last->n_changes;

        if (to->next_no < end_no)
            to->next_no = end_no;
    }
    to->wish.after_change_no = to->next_no - 1;
    weir_iter_destroy(&iter);
    return code;
}

/* The first number of the record that holds change `no`, or would: a watch may begin in the middle.
 */
static weir_code
find_record(gateway_look *look, uint64_t no, uint64_t *ret_first_no, weir_error *reterr)
{
    weir_iter *iter = weir_store_iter(look->store, look->snapshot,
        gateway_key_change(&look->key, 0), gateway_key_change(&look->end, no + 1));

    *ret_first_no = weir_iter_last(iter) ? weir_load_u64(weir_iter_key(iter).data + 1) : no;
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

typedef struct turn_bounds {
    size_t left; /* changes to look at */
    bool has_room;
} turn_bounds;

/* Changes of one record from to->next_no on. */
static weir_code
send_record(turn *run, uint64_t first_no, weir_bytes value, turn_bounds *bounds, weir_error *reterr)
{
    watcher *to = run->to;
    changes_record *record = NULL;
    weir_code code = gateway_look_decode(&run->look,
        &weir__internal__v1__changes_record__descriptor, value, &record, reterr);

    if (code == WEIR_OK && first_no > to->next_no)
        return too_old(reterr);
    while (code == WEIR_OK && to->next_no - first_no < record->n_changes && bounds->left > 0 &&
        bounds->has_room) {
        const uint64_t change_no = to->next_no++;
        const change_record *change = record->changes[change_no - first_no];

        bounds->left--;
        if (is_wanted(to, change))
            code = send_change(run, change_no, change, &bounds->has_room, reterr);
    }
    return code;
}

/* newest_no: a change that the look can see, unless it was trimmed. */
static weir_code
send_changes(turn *run, uint64_t newest_no, bool *ret_more, weir_error *reterr)
{
    gateway_look *look = &run->look;
    turn_bounds bounds = { .left = CHANGES_PER_TURN, .has_room = true };
    uint64_t first_no = 0;
    weir_code code = WEIR_OK;

    *ret_more = false;
    if (run->to->next_no > newest_no)
        return WEIR_OK;
    code = find_record(look, run->to->next_no, &first_no, reterr);
    if (code != WEIR_OK)
        return code;
    weir_iter *iter = weir_store_iter(look->store, look->snapshot,
        gateway_key_change(&look->key, first_no), gateway_key_change_end(&look->end));
    while (code == WEIR_OK && bounds.has_room && bounds.left > 0 && weir_iter_next(iter))
        code = send_record(run, weir_load_u64(weir_iter_key(iter).data + 1), weir_iter_value(iter),
            &bounds, reterr);
    *ret_more = bounds.left == 0 && bounds.has_room;
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    if (code == WEIR_OK && bounds.left == CHANGES_PER_TURN)
        return too_old(reterr);
    return code;
}

static weir_code
send_due(turn *run, int64_t *due_ms, weir_error *reterr)
{
    const watcher *to = run->to;
    gateway_published published;
    bool has_room = true;
    bool more = false;
    weir_code code = WEIR_OK;

    gateway_core_published(run->self->core, &published);
    gateway_look_begin(&run->look, run->self->service->store, run->arena);
    if (to->wish.wants_states && to->wish.document_count > 0 && to->states_sent == 0)
        code = skip_seen(run, reterr);
    if (code == WEIR_OK)
        code = send_states(run, &has_room, reterr);
    if (code == WEIR_OK && has_room)
        code = send_changes(run, published.change_no, &more, reterr);
    gateway_look_end(&run->look);
    if (more || to->waits_for_room)
        *due_ms = 0;
    return code;
}

static weir_code
take_turn(gateway *self, gateway_watcher *one, weir_arena *arena, int64_t *due_ms,
    weir_error *reterr)
{
    turn run = { .self = self, .to = (watcher *)one, .arena = arena };

    run.to->waits_for_room = false;
    return send_due(&run, due_ms, reterr);
}

const gateway_watchers_kind gateway_change_watchers = {
    .turn = take_turn,
    .verb = "watch",
    .again = "watch again with the last resume_token",
};

weir_code
gateway_watch_begin(gateway *self, weir_rpc_call *call, const gateway_watch_wish *wish,
    weir_error *reterr)
{
    watcher *made = weir_alloc_zero(1, sizeof *made);

    made->wish = *wish;
    made->next_no = wish->after_change_no + 1;
    return gateway_watchers_begin(self->watch, call, &made->base, reterr);
}
