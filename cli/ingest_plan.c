/*
 * ingest_plan.c - which files, under which ids, and which of them the server holds already.
 *
 * A file in a folder is named by its path below that folder, a file given by itself by its name;
 * hidden files and folders are left out.
 */
#include <errno.h>
#include <fnmatch.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/ingest.h"
#include "common/base/hash.h"
#include "common/base/id.h"
#include "common/base/limits.h"

#define SERVICE (&weir__v1__document_service__descriptor)

enum { ITEMS_AT_FIRST = 256, ASK_SINGLY_MAX = 50, PAGE = 1000, CALL_TIMEOUT_MS = 60000 };

/* ---- files ---- */

static bool
is_wanted(const ingest *self, const char *id)
{
    const char *slash = strrchr(id, '/');
    const char *name = slash != NULL ? slash + 1 : id;
    const char *pattern;

    for (size_t i = 0; (pattern = cli_text_at(self->cli, "glob", i)) != NULL; i++)
        if (fnmatch(pattern, name, 0) == 0 || fnmatch(pattern, id, 0) == 0)
            return true;
    return !cli_has(self->cli, "glob");
}

static void
add_file(ingest *self, const char *path, const char *id, int64_t size_bytes)
{
    if (!is_wanted(self, id))
        return;
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? ITEMS_AT_FIRST : self->capacity * 2;
        self->items = weir_realloc(self->items, self->capacity * sizeof *self->items);
    }
    self->items[self->count++] = (ingest_item){
        .path = weir_arena_strdup(self->arena, path),
        .document_id = weir_arena_strdup(self->arena, id),
        .size_bytes = size_bytes,
    };
}

static bool
is_hidden(const FTSENT *entry)
{
    return entry->fts_level > FTS_ROOTLEVEL && entry->fts_name[0] == '.';
}

static void
take_file(ingest *self, const FTSENT *entry, size_t root_size)
{
    const char *id =
        entry->fts_level == FTS_ROOTLEVEL ? entry->fts_name : entry->fts_path + root_size;
    const char *slash = strrchr(id, '/');
    struct stat state;

    while (entry->fts_level > FTS_ROOTLEVEL && *id == '/')
        id++;
    if (entry->fts_level == FTS_ROOTLEVEL && slash != NULL)
        id = slash + 1;
    /* A link to a file counts as the file; links to folders are not followed, so nothing is walked
     * twice. */
    if (stat(entry->fts_accpath, &state) != 0)
        cli_complain("%s is left out: %s", cli_plain(self->arena, entry->fts_path, 0),
            strerror(errno));
    else if (S_ISREG(state.st_mode))
        add_file(self, entry->fts_path, id, state.st_size);
}

static cli_exit
take_entry(ingest *self, FTS *walk, FTSENT *entry, size_t root_size)
{
    if (is_hidden(entry)) {
        fts_set(walk, entry, FTS_SKIP);
        return CLI_OK;
    }
    switch (entry->fts_info) {
    case FTS_F:
    case FTS_SL:
        take_file(self, entry, root_size);
        return CLI_OK;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        cli_complain("%s: %s", entry->fts_path, strerror(entry->fts_errno));
        return entry->fts_level == FTS_ROOTLEVEL ? CLI_NOT_FOUND : CLI_ERROR;
    default:
        return CLI_OK;
    }
}

static cli_exit
walk_path(ingest *self, char *path)
{
    char *paths[] = { path, NULL };
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
    cli_exit result = CLI_OK;
    FTSENT *entry;

    if (walk == NULL) {
        cli_complain("%s: %s", path, strerror(errno));
        return CLI_ERROR;
    }
    while (result == CLI_OK && (entry = fts_read(walk)) != NULL)
        result = take_entry(self, walk, entry, strlen(path));
    fts_close(walk);
    return result;
}

static int
by_id(const void *a, const void *b)
{
    return strcmp(((const ingest_item *)a)->document_id, ((const ingest_item *)b)->document_id);
}

static cli_exit
check_ids(ingest *self)
{
    for (size_t i = 0; i < self->count; i++) {
        ingest_item *it = &self->items[i];
        if (i > 0 && strcmp(it->document_id, it[-1].document_id) == 0) {
            cli_complain(
                "%s and %s would both become the document \"%s\"; ingest their folder instead",
                it[-1].path, it->path, cli_plain(self->arena, it->document_id, 0));
            return CLI_USAGE;
        }
        if (strlen(it->document_id) > WEIR_DOCUMENT_ID_BYTES_MAX)
            ingest_refuse(self, it, "its path has more than %d bytes", WEIR_DOCUMENT_ID_BYTES_MAX);
        else if (!weir_utf8_valid(weir_bytes_str(it->document_id)))
            ingest_refuse(self, it, "its name is not UTF-8");
    }
    return CLI_OK;
}

cli_exit
ingest_plan(ingest *self)
{
    for (int i = 0; i < self->cli->argument_count; i++) {
        const cli_exit result = walk_path(self, self->cli->arguments[i]);
        if (result != CLI_OK)
            return result;
    }
    if (self->count > 0)
        qsort(self->items, self->count, sizeof *self->items, by_id);
    return check_ids(self);
}

bool
ingest_read_file(ingest *self, ingest_item *item, size_t max, weir_buffer *out)
{
    char block[1 << 16];
    size_t size;
    FILE *file = fopen(item->path, "re");

    weir_buffer_clear(out);
    if (file == NULL) {
        ingest_refuse(self, item, "%s", strerror(errno));
        return false;
    }
    while ((size = fread(block, 1, sizeof block, file)) > 0 && out->size <= max)
        weir_buffer_append(out, block, size);
    const bool is_read = !ferror(file);
    if (!is_read)
        ingest_refuse(self, item, "it cannot be read: %s", strerror(errno));
    else if (out->size > max)
        ingest_refuse(self, item, "it has more than %zu MiB, the most that a document may have",
            max >> 20);
    fclose(file);
    return is_read && out->size <= max;
}

/* ---- what is there already ---- */

/* The same bytes that did not end badly: nothing to send. */
static void
compare_one(ingest *self, ingest_item *item, const Weir__V1__Document *known)
{
    weir_buffer bytes = { 0 };
    char hex[2 * WEIR_SHA256_SIZE + 1];

    if (item->fate != INGEST_TO_SEND || known->size_bytes != item->size_bytes ||
        known->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_DELETED)
        return;
    if (ingest_read_file(self, item, WEIR_STREAMED_DOCUMENT_BYTES_MAX, &bytes)) {
        const weir_sha256_sum sum = weir_sha256(weir_buffer_view(&bytes));
        weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes), hex);
        if (strcmp(hex, known->content_sha256) == 0) {
            item->fate = INGEST_UNCHANGED;
            item->revision = known->revision;
            item->state = known->state;
        }
    }
    weir_buffer_fini(&bytes);
}

static cli_exit
ask_singly(ingest *self, weir_arena *arena)
{
    Weir__V1__GetDocumentRequest request = WEIR__V1__GET_DOCUMENT_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    weir_error error;

    request.collection_id = self->collection;
    for (size_t i = 0; i < self->count; i++) {
        request.document_id = self->items[i].document_id;
        if (self->items[i].fate != INGEST_TO_SEND)
            continue;
        const weir_code code = cli_try(self->cli, SERVICE, "GetDocument", &request.base,
            CALL_TIMEOUT_MS, arena, &message, &error);
        if (code == WEIR_COLLECTION_NOT_FOUND)
            return CLI_OK;
        if (code == WEIR_OK)
            compare_one(self, &self->items[i],
                ((const Weir__V1__GetDocumentResponse *)(const void *)message)->document);
        else if (code != WEIR_DOCUMENT_NOT_FOUND)
            return cli_explain(self->cli, &error);
        weir_arena_reset(arena);
    }
    return CLI_OK;
}

static void
compare_page(ingest *self, const Weir__V1__ListDocumentsResponse *page)
{
    for (size_t i = 0; i < page->n_documents; i++) {
        const ingest_item key = { .document_id = page->documents[i]->document_id };
        ingest_item *item = bsearch(&key, self->items, self->count, sizeof key, by_id);
        if (item != NULL)
            compare_one(self, item, page->documents[i]);
    }
}

static cli_exit
ask_by_list(ingest *self, weir_arena *arena)
{
    Weir__V1__ListDocumentsRequest request = WEIR__V1__LIST_DOCUMENTS_REQUEST__INIT;
    char token[4096] = "";
    weir_error error;

    request.collection_id = self->collection;
    request.page_size = PAGE;
    request.page_token = token;
    do {
        ProtobufCMessage *message = NULL;
        const weir_code code = cli_try(self->cli, SERVICE, "ListDocuments", &request.base,
            CALL_TIMEOUT_MS, arena, &message, &error);
        if (code == WEIR_COLLECTION_NOT_FOUND)
            return CLI_OK;
        if (code != WEIR_OK)
            return cli_explain(self->cli, &error);
        const Weir__V1__ListDocumentsResponse *page = (const void *)message;
        compare_page(self, page);
        snprintf(token, sizeof token, "%s", page->next_page_token);
        weir_arena_reset(arena);
    } while (token[0] != '\0');
    return CLI_OK;
}

cli_exit
ingest_compare(ingest *self)
{
    if (cli_has(self->cli, "force"))
        return CLI_OK;
    weir_arena *arena = weir_arena_create(0);
    const cli_exit result =
        self->count <= ASK_SINGLY_MAX ? ask_singly(self, arena) : ask_by_list(self, arena);
    weir_arena_destroy(&arena);
    return result;
}
