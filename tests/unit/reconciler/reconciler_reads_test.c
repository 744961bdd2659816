/*
 * Goal: a tenant sees its own dead letters, all of them, page by page, and nobody else's, whatever
 * it asks for.
 * Method: two tenants with names that are prefixes; filters; ids and page positions made by hand.
 */
#include "tests/unit/reconciler/world.h"

#include "common/base/limits.h"
#include "common/base/log.h"
#include "services/reconciler/reads.h"

typedef Weir__Internal__V1__ListEndedDocumentsRequest list_request;
typedef Weir__Internal__V1__ListEndedDocumentsResponse list_response;
typedef Weir__Internal__V1__GetEndedDocumentRequest get_request;
typedef Weir__Internal__V1__GetEndedDocumentResponse get_response;

static void
fail_one(world *w, const char *tenant, uint64_t collection_no, const char *document_id,
    failure_record *failure)
{
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .tenant = tenant, .collection_no = collection_no,
        .document_id = document_id, .failure = failure);
}

static list_response *
list(world *w, const list_request *request)
{
    list_response *response = weir_arena_alloc(w->arena, sizeof *response);

    weir__internal__v1__list_ended_documents_response__init(response);
    if (reconciler_list_ended(w->store, request, response, w->arena, &error) != WEIR_OK)
        fail_msg("list: %s", error.message);
    return response;
}

#define FIELD(name_) WEIR__INTERNAL__V1__ENDED_CONDITION__FIELD__FIELD_##name_
#define COMPARISON(name_) WEIR__INTERNAL__V1__ENDED_CONDITION__COMPARISON__COMPARISON_##name_
typedef Weir__Internal__V1__EndedCondition condition;

static condition
condition_of(int field, int comparison, const char *text, int64_t number)
{
    condition made = WEIR__INTERNAL__V1__ENDED_CONDITION__INIT;

    made.field = (Weir__Internal__V1__EndedCondition__Field)field;
    made.comparison = (Weir__Internal__V1__EndedCondition__Comparison)comparison;
    if (text != NULL)
        made.text = (char *)(uintptr_t)text;
    made.number = number;
    return made;
}

static list_request
request_of(const char *tenant, uint64_t collection_no, int32_t page_size)
{
    list_request request = WEIR__INTERNAL__V1__LIST_ENDED_DOCUMENTS_REQUEST__INIT;

    request.tenant = (char *)tenant;
    request.collection_no = collection_no;
    request.page_size = page_size;
    request.by_key = true;
    return request;
}

/* All pages; how many there were. */
static size_t
list_all(world *w, list_request request, size_t *ret_pages)
{
    size_t count = 0;

    *ret_pages = 0;
    for (;;) {
        const list_response *page = list(w, &request);

        count += page->n_dead_letters;
        (*ret_pages)++;
        assert_true(page->n_dead_letters <= (size_t)request.page_size);
        if (page->next.len == 0)
            return count;
        request.after = page->next;
    }
}

static size_t
count_matching(world *w, condition **conditions, size_t count)
{
    list_request request = request_of("acme", 0, 3);
    size_t pages = 0;

    request.conditions = conditions;
    request.n_conditions = count;
    return list_all(w, request, &pages);
}

/* ---- list ---- */

static void
pages_hold_every_dead_letter_once_in_order(void **state)
{
    world *w = *state;
    char name[16];
    size_t pages = 0;

    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof name, "d%02d", i);
        fail_one(w, "acme", 1 + (uint64_t)i / 10, name, NULL);
    }
    world_settle(w);
    assert_int_equal(list_all(w, request_of("acme", 0, 7), &pages), 25);
    assert_int_equal(pages, 4);
    assert_int_equal(list_all(w, request_of("acme", 0, 25), &pages), 25);
    assert_int_equal(pages, 1); /* no empty page behind a full one */
    assert_int_equal(list_all(w, request_of("acme", 2, 1), &pages), 10);
    assert_int_equal(pages, 10);
    assert_int_equal(list_all(w, request_of("acme", 3, 1000), &pages), 5);
    assert_int_equal(list_all(w, request_of("acme", 4, 10), &pages), 0);
    const list_request request = request_of("acme", 2, 3);
    const list_response *page = list(w, &request);
    assert_string_equal(page->dead_letters[0]->document_id, "d10");
    assert_string_equal(page->dead_letters[1]->document_id, "d11");
    assert_string_equal(page->dead_letters[2]->document_id, "d12");
}

static void
a_tenant_whose_name_begins_like_another_sees_its_own_alone(void **state)
{
    world *w = *state;
    size_t pages = 0;

    fail_one(w, "ac", 1, "x", NULL);
    fail_one(w, "acme", 2, "y", NULL);
    fail_one(w, "acme2", 3, "z", NULL);
    world_settle(w);
    assert_int_equal(list_all(w, request_of("ac", 0, 10), &pages), 1);
    assert_int_equal(list_all(w, request_of("acme", 0, 10), &pages), 1);
    assert_int_equal(list_all(w, request_of("acme", 1, 10), &pages), 0);
    assert_int_equal(list_all(w, request_of("", 0, 10), &pages), 0);
    assert_int_equal(list_all(w, request_of("a", 0, 10), &pages), 0);
}

static void
a_page_position_of_another_tenant_opens_nothing(void **state)
{
    world *w = *state;
    weir_buffer key = { 0 };

    fail_one(w, "aaa", 1, "x", NULL);
    fail_one(w, "bbb", 2, "y", NULL);
    fail_one(w, "ccc", 3, "z", NULL);
    world_settle(w);
    list_request request = request_of("bbb", 0, 10);
    const weir_bytes before = reconciler_key_dead_letter(&key, "aaa", 1, "a", 1);
    request.after.data = (uint8_t *)before.data;
    request.after.len = before.size;
    assert_int_equal(list(w, &request)->n_dead_letters, 1);
    assert_string_equal(list(w, &request)->dead_letters[0]->document_id, "y");
    const weir_bytes behind = reconciler_key_dead_letter(&key, "ccc", 3, "a", 1);
    request.after.data = (uint8_t *)behind.data;
    request.after.len = behind.size;
    assert_int_equal(list(w, &request)->n_dead_letters, 0);
    request.after.data = (uint8_t *)"U";
    request.after.len = 1;
    assert_int_equal(list(w, &request)->n_dead_letters, 0);
    request.after.data = (uint8_t *)"\0";
    request.after.len = 1;
    assert_int_equal(list(w, &request)->n_dead_letters, 1);
    weir_buffer_fini(&key);
}

static void
reason_and_stage_choose(void **state)
{
    world *w = *state;
    char name[16];

    for (int i = 0; i < 40; i++) {
        failure_record *failure =
            a_failure(w, i % 4 == 0 ? WEIR_PARSE_FAILED : WEIR_EMBED_FAILED, "no", 1);
        failure->stage = i % 2 == 0 ? 2 : 3;
        snprintf(name, sizeof name, "d%02d", i);
        fail_one(w, "acme", 1, name, i == 39 ? NULL : failure);
    }
    world_settle(w);
    condition reason = condition_of(FIELD(REASON), COMPARISON(EQUAL), NULL, WEIR_PARSE_FAILED);
    condition stage = condition_of(FIELD(STAGE), COMPARISON(EQUAL), NULL, 3);
    assert_int_equal(count_matching(w, (condition *[]){ &reason }, 1), 10);
    assert_int_equal(count_matching(w, (condition *[]){ &reason, &stage }, 2), 0);
    assert_int_equal(count_matching(w, (condition *[]){ &stage }, 1), 19);
    stage.number = 2;
    assert_int_equal(count_matching(w, (condition *[]){ &stage }, 1), 20);
    stage.comparison = COMPARISON(NOT_EQUAL);
    assert_int_equal(count_matching(w, (condition *[]){ &stage }, 1), 20);
}

static void
every_field_and_comparison_chooses(void **state)
{
    world *w = *state;

    for (int64_t i = 1; i <= 5; i++) { /* revision i, run 10 i, failed at i seconds */
        failure_record *failure = a_failure(w, WEIR_EMBED_FAILED, "no", 1);

        failure->time_ms = 1000 * i;
        SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .document_id = "d", .revision = i,
            .epoch = 10 * i, .failure = failure);
    }
    fail_one(w, "acme", 7, "e", NULL);
    world_settle(w);
    static const struct {
        int field, comparison;
        int64_t number;
        size_t count;
    } all[] = { { FIELD(REVISION), COMPARISON(LESS), 3, 3 },
        { FIELD(REVISION), COMPARISON(AT_MOST), 3, 4 },
        { FIELD(REVISION), COMPARISON(EQUAL), 3, 1 }, { FIELD(RUN), COMPARISON(GREATER), 30, 2 },
        { FIELD(RUN), COMPARISON(AT_LEAST), 30, 3 },
        { FIELD(LAST_FAILURE_TIME), COMPARISON(AT_LEAST), 4000000000, 2 },
        { FIELD(LAST_FAILURE_TIME), COMPARISON(GREATER), 4000000000, 1 },
        { FIELD(LAST_FAILURE_TIME), COMPARISON(LESS), 1000000001, 2 },
        { FIELD(UNSPECIFIED), COMPARISON(EQUAL), 0, 0 },
        { FIELD(RUN), COMPARISON(UNSPECIFIED), 10, 0 }, { 99, COMPARISON(NOT_EQUAL), 0, 0 } };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        condition wanted = condition_of(all[i].field, all[i].comparison, NULL, all[i].number);

        if (count_matching(w, (condition *[]){ &wanted }, 1) != all[i].count)
            fail_msg("row %zu", i);
    }
    condition name = condition_of(FIELD(DOCUMENT_ID), COMPARISON(EQUAL), "d", 0);
    assert_int_equal(count_matching(w, (condition *[]){ &name }, 1), 5);
    name.comparison = COMPARISON(NOT_EQUAL);
    assert_int_equal(count_matching(w, (condition *[]){ &name }, 1), 1);
}

/* ---- the order of time ---- */

static void
fail_at(world *w, uint64_t collection_no, const char *document_id, int64_t epoch, int64_t time_ms)
{
    failure_record *failure = a_failure(w, WEIR_EMBED_FAILED, "no", 1);

    failure->time_ms = time_ms;
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .collection_no = collection_no,
        .document_id = document_id, .epoch = epoch, .failure = failure);
    world_settle(w);
}

/* "b a c": documents as they are listed, page by page. */
static const char *
listed(world *w, uint64_t collection_no)
{
    list_request request = request_of("acme", collection_no, 2);
    char *text = weir_arena_strdup(w->arena, "");

    request.by_key = false;
    for (;;) {
        const list_response *page = list(w, &request);

        for (size_t i = 0; i < page->n_dead_letters; i++)
            text = weir_arena_printf(w->arena, "%s%s%s", text, text[0] == 0 ? "" : " ",
                page->dead_letters[i]->document_id);
        if (page->next.len == 0)
            return text;
        request.after = page->next;
    }
}

static void
the_newest_failure_comes_first(void **state)
{
    world *w = *state;

    fail_at(w, 7, "a", 1, 2000);
    fail_at(w, 7, "b", 1, 3000);
    fail_at(w, 8, "c", 1, 1000);
    fail_at(w, 7, "e", 1, 2000);
    assert_string_equal(listed(w, 0), "b a e c");
    assert_string_equal(listed(w, 7), "b a e");
    assert_string_equal(listed(w, 9), "");
}

static void
one_that_fails_again_or_ends_leaves_no_place_behind(void **state)
{
    world *w = *state;

    fail_at(w, 7, "a", 1, 1000);
    fail_at(w, 7, "b", 1, 2000);
    fail_at(w, 7, "a", 2, 3000); /* its retry was not heard of: the gateway was wiped and seeded */
    assert_string_equal(listed(w, 0), "a b");
    assert_int_equal(count_keys(w, 'T'), 2);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "a", .epoch = 3);
    SAY(w, GATEWAY, .kind = LIFECYCLE(DELETED), .document_id = "b");
    world_settle(w);
    assert_int_equal(count_keys(w, 'T'), 0);
    assert_int_equal(count_keys(w, 'L'), 0);
}

static void
a_database_of_schema_1_gets_its_order_at_the_next_start(void **state)
{
    world *w = *state;

    fail_at(w, 7, "a", 1, 1000);
    fail_at(w, 7, "b", 1, 2000);
    assert_int_equal(weir_store_delete_range(w->store, weir_bytes_str("I"), weir_bytes_str("J"),
                         &error),
        WEIR_OK);
    assert_int_equal(weir_store_delete_range(w->store, weir_bytes_str("T"), weir_bytes_str("U"),
                         &error),
        WEIR_OK);
    assert_int_equal(weir_store_sync(w->store, &error), WEIR_OK);
    assert_string_equal(listed(w, 0), "");
    world_crash(w);
    world_start(w);
    world_settle(w);
    assert_string_equal(listed(w, 0), "b a");
}

/* ---- summary ---- */

static void
a_summary_has_a_group_for_each_stage_and_reason(void **state)
{
    world *w = *state;
    Weir__Internal__V1__SummarizeEndedDocumentsRequest request =
        WEIR__INTERNAL__V1__SUMMARIZE_ENDED_DOCUMENTS_REQUEST__INIT;
    Weir__Internal__V1__SummarizeEndedDocumentsResponse response =
        WEIR__INTERNAL__V1__SUMMARIZE_ENDED_DOCUMENTS_RESPONSE__INIT;
    condition run = condition_of(FIELD(RUN), COMPARISON(EQUAL), NULL, 1);

    fail_at(w, 7, "a", 1, 3000);
    fail_at(w, 7, "b", 1, 1000);
    fail_at(w, 8, "c", 2, 500);
    fail_one(w, "acme", 7, "e", a_failure(w, WEIR_PARSE_FAILED, "no", 1));
    fail_one(w, "other", 9, "f", NULL);
    world_settle(w);
    request.tenant = (char *)"acme";
    assert_int_equal(reconciler_summarize_ended(w->store, &request, &response, w->arena, &error),
        WEIR_OK);
    assert_int_equal(response.n_groups, 2);
    assert_int_equal(response.next.len, 0);
    assert_int_equal(response.groups[0]->code, WEIR_EMBED_FAILED);
    assert_int_equal(response.groups[0]->stage, 3);
    assert_int_equal(response.groups[0]->count, 3);
    assert_int_equal(response.groups[0]->oldest_ms, 500);
    assert_string_equal(response.groups[0]->dead_letter_id, "8.1.2.c");
    assert_int_equal(response.groups[1]->count, 1);
    request.conditions = (condition *[]){ &run };
    request.n_conditions = 1;
    response.n_groups = 0;
    assert_int_equal(reconciler_summarize_ended(w->store, &request, &response, w->arena, &error),
        WEIR_OK);
    assert_int_equal(response.groups[0]->count, 2);
    assert_string_equal(response.groups[0]->dead_letter_id, "7.1.1.b");
}

static void
a_count_stops_where_it_is_told(void **state)
{
    world *w = *state;
    Weir__Internal__V1__CountEndedDocumentsRequest request =
        WEIR__INTERNAL__V1__COUNT_ENDED_DOCUMENTS_REQUEST__INIT;
    Weir__Internal__V1__CountEndedDocumentsResponse response =
        WEIR__INTERNAL__V1__COUNT_ENDED_DOCUMENTS_RESPONSE__INIT;

    fail_at(w, 7, "a", 1, 3000);
    fail_at(w, 7, "b", 1, 1000);
    fail_at(w, 8, "c", 2, 500);
    request.tenant = (char *)"acme";
    request.count_max = 10;
    assert_int_equal(reconciler_count_ended(w->store, &request, &response, &error), WEIR_OK);
    assert_int_equal(response.count, 3);
    request.collection_no = 7;
    response.count = 0;
    assert_int_equal(reconciler_count_ended(w->store, &request, &response, &error), WEIR_OK);
    assert_int_equal(response.count, 2);
    request.count_max = 1;
    response.count = 0;
    assert_int_equal(reconciler_count_ended(w->store, &request, &response, &error), WEIR_OK);
    assert_int_equal(response.count, 1);
}

static void
a_page_is_short_before_its_answer_is_too_large(void **state)
{
    world *w = *state;
    char name[16];
    char message[201];
    size_t pages = 0;

    memset(message, 'x', 200);
    message[200] = '\0';
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "d%03d", i);
        fail_one(w, "acme", 1, name, a_failure(w, WEIR_EMBED_FAILED, message, 16));
    }
    world_settle(w);
    const list_request request = request_of("acme", 0, 1000);
    const list_response *page = list(w, &request);
    assert_true(page->n_dead_letters < 1000 && page->n_dead_letters > 100);
    assert_true(protobuf_c_message_get_packed_size(&page->base) < WEIR_ANSWER_BYTES_MAX);
    assert_int_equal(list_all(w, request, &pages), 1000);
}

static void
a_page_size_outside_its_bounds_is_refused(void **state)
{
    static const int32_t sizes[] = { 0, -1, INT32_MIN, 1001 };
    world *w = *state;
    list_response response = WEIR__INTERNAL__V1__LIST_ENDED_DOCUMENTS_RESPONSE__INIT;

    for (size_t i = 0; i < 4; i++) {
        const list_request request = request_of("acme", 0, sizes[i]);

        assert_int_equal(reconciler_list_ended(w->store, &request, &response, w->arena, &error),
            WEIR_INVALID_ARGUMENT);
        assert_string_equal(error.field, "page_size");
    }
}

static void
a_damaged_record_is_said_and_not_left_out(void **state)
{
    world *w = *state;
    list_response response = WEIR__INTERNAL__V1__LIST_ENDED_DOCUMENTS_RESPONSE__INIT;
    get_response got = WEIR__INTERNAL__V1__GET_ENDED_DOCUMENT_RESPONSE__INIT;
    get_request wanted = WEIR__INTERNAL__V1__GET_ENDED_DOCUMENT_REQUEST__INIT;
    weir_buffer key = { 0 };
    weir_batch *batch = weir_batch_create(w->store);
    const list_request request = request_of("acme", 0, 10);

    weir_batch_put(batch, reconciler_key_dead_letter(&key, "acme", 7, "d", 1),
        weir_bytes_of("\xff\xff", 2));
    assert_int_equal(weir_store_commit(w->store, batch, true, &error), WEIR_OK);
    assert_int_equal(reconciler_list_ended(w->store, &request, &response, w->arena, &error),
        WEIR_CORRUPT);
    wanted.tenant = (char *)"acme";
    wanted.dead_letter_id = (char *)"7.1.1.d";
    assert_int_equal(reconciler_get_ended(w->store, &wanted, &got, w->arena, &error), WEIR_CORRUPT);
    weir_batch_destroy(&batch);
    weir_buffer_fini(&key);
}

static void
a_store_that_fails_is_said(void **state)
{
    world *w = *state;
    list_response response = WEIR__INTERNAL__V1__LIST_ENDED_DOCUMENTS_RESPONSE__INIT;
    get_response got = WEIR__INTERNAL__V1__GET_ENDED_DOCUMENT_RESPONSE__INIT;
    get_request wanted = WEIR__INTERNAL__V1__GET_ENDED_DOCUMENT_REQUEST__INIT;
    Weir__Internal__V1__GetJournalRequest journal = WEIR__INTERNAL__V1__GET_JOURNAL_REQUEST__INIT;
    Weir__Internal__V1__GetJournalResponse events = WEIR__INTERNAL__V1__GET_JOURNAL_RESPONSE__INIT;
    const list_request request = request_of("acme", 0, 10);

    weir_store_mem_fail_after(w->store, 1);
    assert_int_equal(reconciler_list_ended(w->store, &request, &response, w->arena, &error),
        WEIR_STORE_IO);
    wanted.tenant = (char *)"acme";
    wanted.dead_letter_id = (char *)"7.1.1.d";
    weir_store_mem_fail_after(w->store, 1);
    assert_int_equal(reconciler_get_ended(w->store, &wanted, &got, w->arena, &error),
        WEIR_STORE_IO);
    weir_store_mem_fail_after(w->store, 1);
    assert_int_equal(reconciler_get_journal(w->store, &journal, &events, w->arena, &error),
        WEIR_STORE_IO);
    weir_store_mem_fail_after(w->store, 0);
}

/* ---- get ---- */

static weir_code
get_as(world *w, const char *tenant, const char *dead_letter_id, get_response *response)
{
    get_request request = WEIR__INTERNAL__V1__GET_ENDED_DOCUMENT_REQUEST__INIT;

    weir__internal__v1__get_ended_document_response__init(response);
    request.tenant = (char *)tenant;
    request.dead_letter_id = (char *)dead_letter_id;
    return reconciler_get_ended(w->store, &request, response, w->arena, &error);
}

static void
what_is_listed_is_got_by_its_id_with_every_field(void **state)
{
    world *w = *state;
    get_response got;
    const list_request request = request_of("acme", 0, 10);

    fail_one(w, "acme", 7, "reports/2024.final.txt",
        a_failure(w, WEIR_EMBED_FAILED, "the provider said no", 2));
    world_settle(w);
    const Weir__V1__DeadLetter *listed = list(w, &request)->dead_letters[0];
    assert_int_equal(get_as(w, "acme", listed->dead_letter_id, &got), WEIR_OK);
    const Weir__V1__DeadLetter *view = got.dead_letter;
    assert_int_equal(got.collection_no, 7);
    assert_string_equal(view->dead_letter_id, "7.1.1.reports/2024.final.txt");
    assert_string_equal(view->collection_id, "papers");
    assert_string_equal(view->document_id, "reports/2024.final.txt");
    assert_int_equal(view->revision, 1);
    assert_int_equal(view->run, 1);
    assert_int_equal(view->size_bytes, 123);
    assert_int_equal(strlen(view->content_sha256), 64);
    assert_memory_equal(view->content_sha256, "abcd00", 6);
    assert_int_equal(view->failure->stage, 3);
    assert_string_equal(view->failure->reason, "EMBED_FAILED");
    assert_string_equal(view->failure->message, "the provider said no");
    assert_int_equal(view->failure->attempt_count, 2);
    assert_int_equal(view->n_attempts, 2);
    assert_string_equal(view->attempts[1]->reason, "EMBED_FAILED");
    assert_int_equal(view->attempts[1]->stage, 3);
    assert_int_equal(view->first_failure_time->seconds, view->attempts[0]->time->seconds);
    assert_int_equal(view->last_failure_time->seconds, view->attempts[1]->time->seconds);
}

static void
a_dead_letter_of_another_tenant_is_not_found(void **state)
{
    world *w = *state;
    get_response got;

    fail_one(w, "acme", 7, "d", NULL);
    world_settle(w);
    assert_int_equal(get_as(w, "acme", "7.1.1.d", &got), WEIR_OK);
    assert_int_equal(get_as(w, "other", "7.1.1.d", &got), WEIR_DEAD_LETTER_NOT_FOUND);
    assert_int_equal(get_as(w, "acm", "7.1.1.d", &got), WEIR_DEAD_LETTER_NOT_FOUND);
    assert_int_equal(get_as(w, "", "7.1.1.d", &got), WEIR_DEAD_LETTER_NOT_FOUND);
    assert_string_equal(error.field, "dead_letter_id");
}

static void
an_id_that_is_not_exactly_one_is_not_found(void **state)
{
    static const char *const ids[] = { "", ".", "..", "7", "7.", "7.1", "7.1.", "7.1.1", "7.1.1.",
        "7..1.d", ".1.1.d", "7.1..d", "07.1.1.d", "7.01.1.d", "7.1.01.d", "+7.1.1.d", "-7.1.1.d",
        " 7.1.1.d", "7 .1.1.d", "7. 1.1.d", "7.+1.1.d", "7.-1.1.d", "0.1.1.d", "7.0.1.d", "7.1.0.d",
        "0x7.1.1.d", "7.1.1.d ", "7.1.1.D", "7.2.1.d", "7.1.2.d", "8.1.1.d", "7.1.d",
        "18446744073709551623.1.1.d", "7.18446744073709551617.1.d", "7.9223372036854775808.1.d",
        "7.1.9223372036854775808.d", "99999999999999999999999999999999.1.1.d", "7.1.1.d\xff",
        "%37.1.1.d" };
    world *w = *state;
    char longest[WEIR_DOCUMENT_ID_BYTES_MAX + 10];
    get_response got;

    fail_one(w, "acme", 7, "d", NULL);
    world_settle(w);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        if (get_as(w, "acme", ids[i], &got) != WEIR_DEAD_LETTER_NOT_FOUND)
            fail_msg("\"%s\" was found", ids[i]);
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "7.1.1.", 6);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(get_as(w, "acme", longest, &got), WEIR_DEAD_LETTER_NOT_FOUND);
}

static void
the_longest_document_id_and_the_greatest_numbers_are_found(void **state)
{
    world *w = *state;
    char name[WEIR_DOCUMENT_ID_BYTES_MAX + 1];
    get_response got;
    const list_request request = request_of("acme", 0, 10);

    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .document_id = name, .collection_no = UINT64_MAX,
        .revision = INT64_MAX);
    world_settle(w);
    assert_int_equal(get_as(w, "acme", list(w, &request)->dead_letters[0]->dead_letter_id, &got),
        WEIR_OK);
    assert_int_equal(got.dead_letter->revision, INT64_MAX);
}

int
main(void)
{
#define IN_WORLD(test_) cmocka_unit_test_setup_teardown(test_, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(pages_hold_every_dead_letter_once_in_order),
        IN_WORLD(a_tenant_whose_name_begins_like_another_sees_its_own_alone),
        IN_WORLD(a_page_position_of_another_tenant_opens_nothing),
        IN_WORLD(reason_and_stage_choose),
        IN_WORLD(every_field_and_comparison_chooses),
        IN_WORLD(the_newest_failure_comes_first),
        IN_WORLD(one_that_fails_again_or_ends_leaves_no_place_behind),
        IN_WORLD(a_database_of_schema_1_gets_its_order_at_the_next_start),
        IN_WORLD(a_summary_has_a_group_for_each_stage_and_reason),
        IN_WORLD(a_count_stops_where_it_is_told),
        IN_WORLD(a_page_is_short_before_its_answer_is_too_large),
        IN_WORLD(a_page_size_outside_its_bounds_is_refused),
        IN_WORLD(a_damaged_record_is_said_and_not_left_out),
        IN_WORLD(a_store_that_fails_is_said),
        IN_WORLD(what_is_listed_is_got_by_its_id_with_every_field),
        IN_WORLD(a_dead_letter_of_another_tenant_is_not_found),
        IN_WORLD(an_id_that_is_not_exactly_one_is_not_found),
        IN_WORLD(the_longest_document_id_and_the_greatest_numbers_are_found),
    };

    weir_log_init("test", true, WEIR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
