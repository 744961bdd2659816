/*
 * unready.c - the revisions that are PENDING or PROCESSING, in the order in which they became so.
 *
 * They give the age of the oldest, the bytes under way, and what a WaitCollection waits for.  Those
 * of one collection and one round share a page of up to 256 sizes, in memory as in the store; who
 * leaves has its size cleared, and an empty page is deleted.  Pages are written at the end of the
 * round that changed them, so in the batch that changes the states: after any crash the sizes that
 * are not 0 are the unready revisions.
 */
#include "common/base/assert.h"
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"

enum { SLOTS_MIN = 64 };

typedef Weir__Internal__V1__UnreadyPageRecord page_record;

struct unready_page {
    unready_page *next_changed;
    uint64_t first_no, collection_no;
    int64_t since_ms;
    uint32_t count, live;
    bool is_changed; /* in this round: among the changed */
    bool is_stored;
    uint32_t sizes[]; /* of the body + 1; 0: has left */
};

/* ---- pages in memory ---- */

static unready_page *
page_create(uint64_t first_no, uint64_t collection_no, int64_t since_ms, size_t capacity)
{
    unready_page *page = weir_alloc(sizeof *page + capacity * sizeof page->sizes[0]);

    *page = (unready_page){ .first_no = first_no,
        .collection_no = collection_no,
        .since_ms = since_ms };
    return page;
}

/* Pages that are gone leave a slot, so that the numbers stay in order; those at the front are given
 * up, and all when they are as many as the pages. */
static void
squeeze(unready_pages *pages)
{
    size_t kept = 0;

    for (size_t i = pages->head; i < pages->count; i++)
        if (pages->slots[i].page != NULL)
            pages->slots[kept++] = pages->slots[i];
    pages->head = 0;
    pages->count = kept;
}

static void
page_append(unready_pages *pages, unready_page *page)
{
    weir_assert(pages->count == pages->head ||
        pages->slots[pages->count - 1].first_no < page->first_no);
    if (pages->count == pages->capacity && pages->live < pages->count / 2)
        squeeze(pages);
    if (pages->count == pages->capacity) {
        pages->capacity = pages->capacity == 0 ? SLOTS_MIN : pages->capacity * 2;
        pages->slots = weir_realloc(pages->slots, pages->capacity * sizeof pages->slots[0]);
    }
    pages->slots[pages->count++] = (unready_slot){ .first_no = page->first_no, .page = page };
    pages->live++;
}

/* The last slot whose number is not above `no`, or the first of all. */
static size_t
find_slot(const unready_pages *pages, uint64_t no)
{
    size_t low = pages->head;
    size_t high = pages->count;

    while (low + 1 < high) {
        const size_t middle = low + (high - low) / 2;

        if (pages->slots[middle].first_no <= no)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* NULL: the page did not decode and was set aside. */
static unready_page *
find_page(const unready_pages *pages, uint64_t no)
{
    const size_t slot = find_slot(pages, no);
    unready_page *page = slot < pages->count ? pages->slots[slot].page : NULL;

    return page != NULL && no >= page->first_no && no - page->first_no < page->count ? page : NULL;
}

static void
mark_changed(unready_pages *pages, unready_page *page)
{
    if (page->is_changed)
        return;
    page->is_changed = true;
    page->next_changed = pages->changed;
    pages->changed = page;
}

static void
find_oldest(gateway_core *core)
{
    unready_pages *pages = &core->unready;

    while (pages->head < pages->count && pages->slots[pages->head].page == NULL)
        pages->head++;
    core->load.oldest_since_ms =
        pages->head < pages->count ? pages->slots[pages->head].page->since_ms : 0;
}

void
gateway_unready_destroy(gateway_core *core)
{
    for (size_t i = core->unready.head; i < core->unready.count; i++)
        weir_free(core->unready.slots[i].page);
    weir_free(core->unready.slots);
    core->unready = (unready_pages){ 0 };
}

/* ---- entering and leaving ---- */

/* The page of this round and collection that has room. */
static unready_page *
open_page(gateway_core *core, weir_stage *stage, collection_entry *collection)
{
    unready_pages *pages = &core->unready;

    if (collection->unready_no >= pages->open_from_no && collection->unready_page != NULL &&
        collection->unready_page->count < ENTRIES_PER_PAGE)
        return collection->unready_page;
    unready_page *page = page_create(core->suite.next_unready_no, collection->record->collection_no,
        weir_stage_now_ms(stage), ENTRIES_PER_PAGE);
    core->suite.next_unready_no += ENTRIES_PER_PAGE;
    core->suite_changed = true;
    page_append(pages, page);
    collection->unready_no = page->first_no;
    collection->unready_page = page;
    return page;
}

void
gateway_unready_enter(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record *revision)
{
    unready_page *page = open_page(core, stage, id->collection);

    weir_assert(revision->size_bytes < UINT32_MAX);
    revision->unready_no = page->first_no + page->count;
    page->sizes[page->count++] = (uint32_t)revision->size_bytes + 1;
    page->live++;
    mark_changed(&core->unready, page);
    if (core->load.documents++ == 0)
        core->load.oldest_since_ms = page->since_ms;
    core->load.bytes += revision->size_bytes;
}

void
gateway_unready_leave(gateway_core *core, const revision_record *revision)
{
    unready_page *page = find_page(&core->unready, revision->unready_no);

    if (page == NULL)
        return;
    uint32_t *size = &page->sizes[revision->unready_no - page->first_no];
    weir_assert(*size == revision->size_bytes + 1);
    weir_assert(core->load.documents > 0 && core->load.bytes >= revision->size_bytes);
    *size = 0;
    page->live--;
    mark_changed(&core->unready, page);
    core->load.documents--;
    core->load.bytes -= revision->size_bytes;
}

uint64_t
gateway_unready_mark(gateway_core *core)
{
    core->unready.open_from_no = core->suite.next_unready_no;
    return core->suite.next_unready_no;
}

/* ---- the end of a round ---- */

static void
put_page(gateway_core *core, weir_stage *stage, const unready_page *page)
{
    page_record record = WEIR__INTERNAL__V1__UNREADY_PAGE_RECORD__INIT;
    uint64_t sizes[ENTRIES_PER_PAGE];

    for (uint32_t i = 0; i < page->count; i++)
        sizes[i] = page->sizes[i];
    record.collection_no = page->collection_no;
    record.since_ms = page->since_ms;
    record.n_sizes = page->count;
    record.sizes = sizes;
    weir_stage_put(stage, gateway_key_unready(&core->key, page->first_no), &record.base);
}

/* An open page has room for 256; it keeps what it needs. */
static void
keep_page(unready_pages *pages, unready_page *page)
{
    unready_slot *slot = &pages->slots[find_slot(pages, page->first_no)];

    page->is_changed = false;
    if (!page->is_stored)
        slot->page = weir_realloc(page, sizeof *page + page->count * sizeof page->sizes[0]);
    slot->page->is_stored = true;
}

static void
drop_page(gateway_core *core, weir_stage *stage, unready_page *page)
{
    unready_pages *pages = &core->unready;

    if (page->is_stored)
        weir_batch_delete(weir_stage_batch(stage), gateway_key_unready(&core->key, page->first_no));
    pages->slots[find_slot(pages, page->first_no)].page = NULL;
    pages->live--;
    weir_free(page);
}

void
gateway_put_unready(gateway_core *core, weir_stage *stage)
{
    unready_pages *pages = &core->unready;

    if (pages->changed == NULL)
        return;
    while (pages->changed != NULL) {
        unready_page *page = pages->changed;

        pages->changed = page->next_changed;
        if (page->live == 0) {
            drop_page(core, stage, page);
            continue;
        }
        put_page(core, stage, page);
        keep_page(pages, page);
    }
    pages->open_from_no = core->suite.next_unready_no; /* no page goes on in another round */
    find_oldest(core);
}

/* ---- the start ---- */

static weir_code
load_page(gateway_core *core, weir_stage *stage, const weir_iter *iter, weir_arena *arena,
    weir_error *reterr)
{
    const weir_bytes key = weir_iter_key(iter);
    ProtobufCMessage *message = NULL;
    const weir_code code = weir_wire_decode(&weir__internal__v1__unready_page_record__descriptor,
        weir_iter_value(iter), NULL, arena, &message, reterr);
    const page_record *record = (const page_record *)message;

    if (code != WEIR_OK || record->n_sizes > ENTRIES_PER_PAGE)
        return weir_stage_damaged(stage, key, "UnreadyPageRecord", reterr);
    unready_page *page = page_create(weir_load_u64(key.data + 1), record->collection_no,
        record->since_ms, record->n_sizes);
    page->is_stored = true;
    page->count = (uint32_t)record->n_sizes;
    for (size_t i = 0; i < record->n_sizes; i++) {
        page->sizes[i] = (uint32_t)record->sizes[i];
        page->live += record->sizes[i] != 0;
        core->load.bytes += record->sizes[i] != 0 ? record->sizes[i] - 1 : 0;
    }
    core->load.documents += page->live;
    page_append(&core->unready, page);
    return WEIR_OK;
}

weir_code
gateway_load_unready(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    const weir_code code = gateway_load_each(core, stage, gateway_key_unready(&core->key, 0),
        gateway_key_unready_end(&core->range_end), load_page, reterr);

    core->unready.open_from_no = core->suite.next_unready_no;
    find_oldest(core);
    return code;
}

/* ---- waiting ---- */

/* The first number of the page in [from_no, until_no) that is unready; until_no: none is. */
static uint64_t
first_in(const unready_page *page, uint64_t from_no, uint64_t until_no)
{
    for (uint32_t i = 0; i < page->count; i++) {
        const uint64_t no = page->first_no + i;

        if (no >= from_no && no < until_no && page->sizes[i] != 0)
            return no;
    }
    return until_no;
}

bool
gateway_unready_before(const gateway_core *core, uint64_t collection_no, uint64_t *from_no,
    uint64_t until_no)
{
    const unready_pages *pages = &core->unready;

    for (size_t i = find_slot(pages, *from_no); i < pages->count; i++) {
        const unready_page *page = pages->slots[i].page;

        if (pages->slots[i].first_no >= until_no)
            break;
        if (page == NULL || page->collection_no != collection_no || page->live == 0)
            continue;
        const uint64_t no = first_in(page, *from_no, until_no);
        if (no < until_no) {
            *from_no = no;
            return true;
        }
    }
    return false;
}
