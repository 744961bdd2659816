/*
 * watch.c - see watch.h.
 *
 * Change numbers are dense, so a number that is missing before the end of the log was trimmed: the
 * watch ends with RESUME_TOKEN_TOO_OLD.  An event shows the revision as the change left it, even
 * when more has happened since.
 */
#include "services/gateway/watch.h"

#include <pthread.h>

#include "common/base/assert.h"
#include "services/gateway/keys.h"
#include "services/gateway/reads.h"

enum { CHANGES_PER_TURN = 256 };

typedef Weir__Internal__V1__ChangeRecord change_record;
typedef Weir__V1__WatchDocumentsResponse watch_response;

typedef struct watcher watcher;
struct watcher {
    watcher *next;
    weir_rpc_call *call;
    gateway_watch_wish wish;
    uint64_t next_no;                        /* the next change to look at; the thread's */
    size_t states_sent;                      /* of wish.document_ids; the thread's */
    bool is_full, is_cancelled, is_draining; /* under the lock */
};

struct gateway_watch {
    gateway *self;
    pthread_t thread;
    weir_arena *arena; /* of one turn; the thread's */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    watcher *watchers;
    size_t count;
    bool has_news; /* something happened since the thread last looked */
    bool stopping;
};

/* ---- events ---- */

static char *
resume_token(gateway_watch *watch, uint64_t change_no)
{
    uint8_t content[16];
    gateway_published published;

    gateway_core_published(watch->self->core, &published);
    weir_store_u64(content, change_no);
    weir_store_u64(content + 8, published.life);
    return gateway_token_encode(watch->arena, GATEWAY_TOKEN_RESUME,
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
send_event(gateway_watch *watch, watcher *to, Weir__V1__Document *view, int64_t time_ms,
    uint64_t change_no)
{
    watch_response response = WEIR__V1__WATCH_DOCUMENTS_RESPONSE__INIT;

    response.document = view;
    response.resume_token = resume_token(watch, change_no);
    response.event_time = weir_wire_time(watch->arena, time_ms);
    /* Said before the send: room may be told of before it returns. */
    pthread_mutex_lock(&watch->lock);
    to->is_full = true;
    pthread_mutex_unlock(&watch->lock);
    const weir_rpc_sent sent = weir_rpc_send(to->call, &response.base);
    if (sent == WEIR_RPC_FULL)
        return false;
    pthread_mutex_lock(&watch->lock);
    to->is_full = false;
    pthread_mutex_unlock(&watch->lock);
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

typedef enum turn_end { TURN_MORE = 1, TURN_IDLE, TURN_FAILED } turn_end;

static weir_code
send_state(gateway_watch *watch, watcher *to, gateway_look *look, const char *document_id,
    bool *ret_room, weir_error *reterr)
{
    gateway_found found;
    const weir_code code = gateway_look_find(look, gateway_tenant(to->call), to->wish.collection_id,
        document_id, 0, &found, reterr);

    *ret_room = true;
    if (code == WEIR_DOCUMENT_NOT_FOUND)
        return WEIR_OK;
    if (code == WEIR_OK)
        *ret_room = send_event(watch, to, gateway_found_view(watch->arena, &found),
            found.revision->update_time_ms, to->wish.after_change_no);
    return code;
}

static weir_code
send_states(gateway_watch *watch, watcher *to, gateway_look *look, bool *ret_room,
    weir_error *reterr)
{
    weir_code code = WEIR_OK;

    *ret_room = true;
    while (to->wish.wants_states && code == WEIR_OK && *ret_room &&
        to->states_sent < to->wish.document_count)
        code =
            send_state(watch, to, look, to->wish.document_ids[to->states_sent++], ret_room, reterr);
    return code;
}

static weir_code
send_change(gateway_watch *watch, watcher *to, gateway_look *look, uint64_t change_no,
    const change_record *change, bool *ret_room, weir_error *reterr)
{
    gateway_found found;
    const weir_code code = gateway_look_find(look, gateway_tenant(to->call), to->wish.collection_id,
        change->document_id, change->revision, &found, reterr);

    if (code != WEIR_OK)
        return code;
    Weir__V1__Document *view = gateway_found_view(watch->arena, &found);
    turn_back(view, change);
    *ret_room = send_event(watch, to, view, change->time_ms, change_no);
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
skip_to(watcher *to, gateway_look *look, weir_error *reterr)
{
    weir_iter *iter = weir_store_iter(look->store, look->snapshot,
        gateway_key_change(&look->key, to->next_no), gateway_key_change_end(&look->end));

    while (weir_iter_next(iter))
        to->next_no = weir_load_u64(weir_iter_key(iter).data + 1) + 1;
    to->wish.after_change_no = to->next_no - 1;
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

/* newest_no: a change that the look can see, unless it was trimmed. */
static weir_code
send_changes(gateway_watch *watch, watcher *to, gateway_look *look, uint64_t newest_no,
    bool *ret_more, weir_error *reterr)
{
    weir_iter *iter = weir_store_iter(look->store, look->snapshot,
        gateway_key_change(&look->key, to->next_no), gateway_key_change_end(&look->end));
    size_t left = CHANGES_PER_TURN;
    bool has_room = true;
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && has_room && left > 0 && weir_iter_next(iter)) {
        const uint64_t change_no = weir_load_u64(weir_iter_key(iter).data + 1);
        change_record *change = NULL;

        if (change_no != to->next_no)
            code = too_old(reterr);
        else
            code = gateway_look_decode(look, &weir__internal__v1__change_record__descriptor,
                weir_iter_value(iter), &change, reterr);
        if (code == WEIR_OK && is_wanted(to, change))
            code = send_change(watch, to, look, change_no, change, &has_room, reterr);
        to->next_no = change_no + 1;
        left--;
    }
    *ret_more = left == 0 && has_room;
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    if (code == WEIR_OK && left == CHANGES_PER_TURN && to->next_no <= newest_no)
        return too_old(reterr);
    return code;
}

static turn_end
take_turn(gateway_watch *watch, watcher *to, weir_error *reterr)
{
    gateway_published published;
    gateway_look look;
    bool has_room = true;
    bool more = false;

    gateway_core_published(watch->self->core, &published);
    weir_arena_reset(watch->arena);
    gateway_look_begin(&look, watch->self->service->store, watch->arena);
    weir_code code = WEIR_OK;
    if (to->wish.wants_states && to->wish.document_count > 0 && to->states_sent == 0)
        code = skip_to(to, &look, reterr);
    if (code == WEIR_OK)
        code = send_states(watch, to, &look, &has_room, reterr);
    if (code == WEIR_OK && has_room)
        code = send_changes(watch, to, &look, published.change_no, &more, reterr);
    gateway_look_end(&look);
    if (code != WEIR_OK)
        return TURN_FAILED;
    return more ? TURN_MORE : TURN_IDLE;
}

/* ---- the thread ---- */

/* Under the lock. */
static void
forget(gateway_watch *watch, watcher *gone)
{
    watcher **at = &watch->watchers;

    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    watch->count--;
}

/* The watcher is gone afterwards. */
static void
end(gateway_watch *watch, watcher *over, const weir_error *error)
{
    weir_rpc_call *call = over->call;

    pthread_mutex_lock(&watch->lock);
    forget(watch, over);
    pthread_mutex_unlock(&watch->lock);
    if (error->code == WEIR_OK)
        weir_rpc_finish(call);
    else
        weir_rpc_fail(call, error);
}

/* True: it wants another turn soon. */
static bool
serve(gateway_watch *watch, watcher *one)
{
    weir_error error = { .code = WEIR_OK };

    pthread_mutex_lock(&watch->lock);
    const bool is_cancelled = one->is_cancelled;
    const bool is_draining = one->is_draining;
    const bool is_full = one->is_full;
    pthread_mutex_unlock(&watch->lock);
    if (is_draining)
        (void)weir_error_set(&error, WEIR_DRAINING,
            "the service is about to stop; watch again with the last resume_token");
    if (is_cancelled || is_draining) {
        end(watch, one, &error);
        return false;
    }
    if (is_full)
        return false;
    const turn_end ended = take_turn(watch, one, &error);
    if (ended == TURN_FAILED)
        end(watch, one, &error);
    return ended == TURN_MORE;
}

static bool
serve_all(gateway_watch *watch)
{
    bool more = false;

    pthread_mutex_lock(&watch->lock);
    watcher *one = watch->watchers;
    pthread_mutex_unlock(&watch->lock);
    while (one != NULL) {
        watcher *next =
            one->next; /* new ones come in at the front; only this thread takes any out */

        more = serve(watch, one) || more;
        one = next;
    }
    return more;
}

static void *
watch_main(void *arg)
{
    gateway_watch *watch = arg;
    bool more = false;

    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        if (!watch->has_news && !more) {
            pthread_cond_wait(&watch->wake, &watch->lock);
            continue;
        }
        watch->has_news = false;
        pthread_mutex_unlock(&watch->lock);
        more = serve_all(watch);
        pthread_mutex_lock(&watch->lock);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

/* ---- life ---- */

gateway_watch *
gateway_watch_create(gateway *self)
{
    gateway_watch *watch = weir_alloc_zero(1, sizeof *watch);

    watch->self = self;
    watch->arena = weir_arena_create(0);
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->wake, NULL);
    if (pthread_create(&watch->thread, NULL, watch_main, watch) != 0)
        weir_assert(!"the thread of the watches can be started");
    return watch;
}

void
gateway_watch_destroy(gateway_watch **watch_p)
{
    gateway_watch *watch = *watch_p;

    if (watch == NULL)
        return;
    weir_assert(watch->watchers == NULL);
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_mutex_destroy(&watch->lock);
    pthread_cond_destroy(&watch->wake);
    weir_arena_destroy(&watch->arena);
    weir_free(watch);
    *watch_p = NULL;
}

weir_code
gateway_watch_begin(gateway_watch *watch, weir_rpc_call *call, const gateway_watch_wish *wish,
    weir_error *reterr)
{
    const uint32_t max = watch->self->config->gateway.watchers_max;
    watcher *made = weir_alloc_zero(1, sizeof *made);

    made->call = call;
    made->wish = *wish;
    made->next_no = wish->after_change_no + 1;
    pthread_mutex_lock(&watch->lock);
    const bool is_full = watch->count >= max;
    if (!is_full) {
        weir_rpc_call_set_state(call, made);
        made->next = watch->watchers;
        watch->watchers = made;
        watch->count++;
        watch->has_news = true;
        pthread_cond_signal(&watch->wake);
    }
    pthread_mutex_unlock(&watch->lock);
    if (!is_full)
        return WEIR_OK;
    weir_free(made);
    return weir_error_set(reterr, WEIR_QUEUE_FULL,
        "%u calls watch already (gateway.watchers_max); try again later", max);
}

void
gateway_watch_changed(void *context)
{
    gateway_watch *watch = context;

    pthread_mutex_lock(&watch->lock);
    if (watch->watchers != NULL && !watch->has_news) {
        watch->has_news = true;
        pthread_cond_signal(&watch->wake);
    }
    pthread_mutex_unlock(&watch->lock);
}

void
gateway_watch_tell(gateway_watch *watch, weir_rpc_call *call, gateway_watch_event event)
{
    watcher *one = weir_rpc_call_state(call);

    if (one == NULL)
        return;
    pthread_mutex_lock(&watch->lock);
    if (event == GATEWAY_WATCH_WRITABLE)
        one->is_full = false;
    else if (event == GATEWAY_WATCH_CANCELLED)
        one->is_cancelled = true;
    else
        one->is_draining = true;
    watch->has_news = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
}

void
gateway_watch_done(weir_rpc_call *call)
{
    weir_free(weir_rpc_call_state(call));
    weir_rpc_call_set_state(call, NULL);
}
