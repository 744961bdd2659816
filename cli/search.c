/*
 * search.c - `weir search`: passages by meaning, best first.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "weir/v1/search.pb-c.h"

enum { TITLE_MAX = 60, SNIPPET_LINES = 3, SEARCH_TIMEOUT_MS = 15000 };

static cli_exit
take_mode(const cli *self, Weir__V1__SearchMode *ret_mode)
{
    static const char *const names[] = { "", "vector", "lexical", "hybrid" };
    const char *wanted = cli_text(self, "mode", "");

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], wanted) == 0) {
            *ret_mode = (Weir__V1__SearchMode)i;
            return CLI_OK;
        }
    }
    cli_complain("--mode is vector, lexical or hybrid, not \"%s\"", wanted);
    return CLI_USAGE;
}

static cli_exit
take_min_score(const cli *self, Weir__V1__SearchRequest *request)
{
    const char *text = cli_text(self, "min-score", NULL);
    char *end = NULL;

    if (text == NULL)
        return CLI_OK;
    request->min_score = strtof(text, &end);
    request->score_bound_case = WEIR__V1__SEARCH_REQUEST__SCORE_BOUND_MIN_SCORE;
    if (end != text && *end == '\0')
        return CLI_OK;
    cli_complain("--min-score is a number, not \"%s\"", text);
    return CLI_USAGE;
}

static cli_exit
take_request(const cli *self, Weir__V1__SearchRequest *request)
{
    int64_t top_k = 0;
    int64_t per_document = 0;
    cli_exit result = cli_collection(self, &request->collection_id);

    if (result == CLI_OK)
        result = cli_number(self, "top-k", 1, 1000, 0, &top_k);
    if (result == CLI_OK)
        result = cli_number(self, "per-document", 1, 1000, 0, &per_document);
    if (result == CLI_OK)
        result = take_mode(self, &request->mode);
    if (result == CLI_OK)
        result = take_min_score(self, request);
    request->query_case = WEIR__V1__SEARCH_REQUEST__QUERY_TEXT;
    request->text = self->arguments[0];
    request->top_k = (int32_t)top_k;
    request->max_hits_per_document = (int32_t)per_document;
    request->filter = (char *)cli_text(self, "filter", "");
    request->exact = cli_has(self, "exact");
    request->allow_partial = cli_has(self, "allow-partial");
    return result;
}

/* The text in lines that fit the terminal, at most SNIPPET_LINES of them. */
static void
print_snippet(cli *self, const char *text)
{
    const size_t width = (self->terminal ? cli_width() : 100) - 4;
    const char *at = cli_plain(self->arena, text, width * SNIPPET_LINES);

    while (*at != '\0') {
        size_t size = strlen(at);
        if (size > width) {
            size = width;
            while (size > 0 && at[size] != ' ')
                size--;
            if (size == 0)
                size = strcspn(at, " ");
        }
        printf("    %.*s\n", (int)size, at);
        at += size + strspn(at + size, " ");
    }
}

static void
print_hit(cli *self, const Weir__V1__Hit *hit, size_t rank)
{
    const char *bold = self->terminal ? "\033[1m" : "";
    const char *plain = self->terminal ? "\033[0m" : "";

    printf("%s%2zu. %.3f  %s%s", bold, rank, hit->score,
        cli_plain(self->arena, hit->document_id, 0), plain);
    if (hit->title[0] != '\0')
        printf("  %s", cli_plain(self->arena, hit->title, TITLE_MAX));
    for (size_t i = 0; i < hit->n_heading_path; i++)
        if (i > 0 || strcmp(hit->heading_path[i], hit->title) != 0)
            printf(" > %s", cli_plain(self->arena, hit->heading_path[i], TITLE_MAX));
    printf("\n");
    if (cli_has(self, "explain"))
        printf("    %s  bytes %lld..%lld  vector rank %d  lexical rank %d\n",
            cli_plain(self->arena, hit->chunk_id, 0), (long long)hit->start_byte,
            (long long)hit->end_byte, hit->vector_rank, hit->lexical_rank);
    print_snippet(self, hit->text);
}

static void
print_answer(cli *self, const Weir__V1__SearchResponse *answer)
{
    for (size_t i = 0; i < answer->n_hits; i++)
        print_hit(self, answer->hits[i], i + 1);
    if (answer->n_hits == 0)
        printf("nothing found\n");
    if (answer->unready_count > 0)
        printf("(%lld accepted documents are not searchable yet; `weir pressure` shows where they "
               "are)\n",
            (long long)answer->unready_count);
    if (!answer->complete && cli_has(self, "allow-partial"))
        printf("(an index is being rebuilt: this is what is there already)\n");
}

/* A person waits for it. */
static cli_exit
call_search(cli *self, const Weir__V1__SearchRequest *request, ProtobufCMessage **ret_message)
{
    weir_error error;
    const weir_code code = cli_try(self, &weir__v1__search_service__descriptor, "Search",
        &request->base, SEARCH_TIMEOUT_MS, self->arena, ret_message, &error);

    return code == WEIR_OK ? CLI_OK : cli_explain(self, &error);
}

cli_exit
cli_search(cli *self)
{
    Weir__V1__SearchRequest request = WEIR__V1__SEARCH_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    cli_exit result = take_request(self, &request);

    if (result == CLI_OK)
        result = call_search(self, &request, &message);
    if (result != CLI_OK)
        return result;
    const Weir__V1__SearchResponse *answer = (const void *)message;
    for (size_t i = 0; self->json && i < answer->n_hits; i++)
        cli_print_json(&answer->hits[i]->base);
    if (!self->json)
        print_answer(self, answer);
    return CLI_OK;
}
