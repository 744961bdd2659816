/*
 * scan.c - what the five databases of a stopped suite hold, as JSON lines.
 *
 * usage: weir-scan DATA_DIR; a database is opened, so no service may run on it
 *
 * One table names every kind of record: its database, the tag of its key, what stands in the key
 * and how the value is read.  It is written from the tables in the keys.h files alone and shares no
 * code with what writes the records, so a wrong key shows.  A tag that is in no table is counted in
 * a line of kind "unknown".  The last line is {"kind":"end"}: without it the scan is not whole.
 *
 *   {"db":"gateway","kind":"revision","collection_no":1,"document_id":"a","revision":2,
 *    "value":{..}}
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/hash.h"
#include "common/base/id.h"
#include "common/domain/links.h"
#include "common/json/json.h"
#include "common/store/store.h"
#include "common/wire/wire.h"
#include "weir/internal/v1/link.pb-c.h"
#include "weir/internal/v1/record.pb-c.h"

enum { SCHEMA_MAX = 64, PATH_BYTES = 1200, DIMENSIONS_KEPT = 4096, ROW_CRC_BYTES = 4 };

typedef enum reading { /* how a value is read */
    READ_MESSAGE,
    READ_SOURCE,
    READ_VECTORS,
    READ_OUTBOX,
    READ_U64,
    READ_HEX,
    READ_NOTHING,
} reading;

/* Parts of a key, in order: c collection_no, d document_id, r revision, e epoch, o ordinal, p part,
 * t tenant, n number, k link, s seq, a lane, m method, q the rest is a request_id, * the rest is
 * not looked at. */
typedef struct kind {
    weir_service_id db; /* NONE: in each */
    char tag;
    const char *name, *parts;
    reading reading;
    const ProtobufCMessageDescriptor *descriptor;
} kind;

#define RECORD(name_) &weir__internal__v1__##name_##__descriptor
#define DB(name_) WEIR_SERVICE_##name_

static const kind kinds[] = {
    { DB(NONE), 'a', "identity", "", READ_MESSAGE, RECORD(identity_record) },
    { DB(NONE), 'c', "link_rx", "k", READ_MESSAGE, RECORD(link_rx_record) },
    { DB(NONE), 'd', "deferred", "cdrep", READ_MESSAGE, RECORD(deferred_record) },
    { DB(NONE), 'l', "link_tx", "k", READ_MESSAGE, RECORD(link_tx_record) },
    { DB(NONE), 'm', "schema", "*", READ_HEX, NULL },
    { DB(NONE), 'o', "outbox", "ks", READ_OUTBOX, RECORD(row) },
    { DB(NONE), 's', "era", "", READ_U64, NULL },
    { DB(GATEWAY), 'A', "audit", "", READ_MESSAGE, RECORD(audit_record) },
    { DB(GATEWAY), 'C', "collection", "t*", READ_MESSAGE, RECORD(collection_record) },
    { DB(GATEWAY), 'D', "document", "cd", READ_MESSAGE, RECORD(document_record) },
    { DB(GATEWAY), 'E', "collection_name", "c", READ_NOTHING, NULL },
    { DB(GATEWAY), 'F', "backlog_position", "at", READ_MESSAGE, RECORD(backlog_position_record) },
    { DB(GATEWAY), 'G', "suite", "", READ_MESSAGE, RECORD(suite_record) },
    { DB(GATEWAY), 'I', "inconsistency", "n", READ_MESSAGE, RECORD(inconsistency_record) },
    { DB(GATEWAY), 'J', "inconsistency_of", "cdr*", READ_U64, NULL },
    { DB(GATEWAY), 'N', "counters", "c", READ_MESSAGE, RECORD(counters_record) },
    { DB(GATEWAY), 'P', "backlog", "atn", READ_MESSAGE, RECORD(backlog_page_record) },
    { DB(GATEWAY), 'Q', "request", "tmq", READ_MESSAGE, RECORD(request_record) },
    { DB(GATEWAY), 'R', "revision", "cdr", READ_MESSAGE, RECORD(revision_record) },
    { DB(GATEWAY), 'S', "source", "cdr", READ_SOURCE, NULL },
    { DB(GATEWAY), 'V', "unready", "n", READ_MESSAGE, RECORD(unready_page_record) },
    { DB(GATEWAY), 'X', "changes", "n", READ_NOTHING, NULL },
    { DB(EMBEDDER), 'v', "cache", "*", READ_NOTHING, NULL },
    { DB(EMBEDDER), 'w', "cache_turn", "*", READ_NOTHING, NULL },
    { DB(INDEXER), 'D', "register", "cd", READ_MESSAGE, RECORD(index_document_record) },
    { DB(INDEXER), 'G', "seed", "", READ_MESSAGE, RECORD(index_seed_record) },
    { DB(INDEXER), 'K', "chunk", "cdreo", READ_MESSAGE, RECORD(chunk_record) },
    { DB(INDEXER), 'M', "metadata", "cdre", READ_MESSAGE, RECORD(index_metadata_record) },
    { DB(INDEXER), 'T', "space", "c", READ_MESSAGE, RECORD(index_collection_record) },
    { DB(INDEXER), 'V', "vectors", "cdreo", READ_VECTORS, NULL },
    { DB(RECONCILER), 'E', "ending", "cdr", READ_MESSAGE, RECORD(ending_record) },
    { DB(RECONCILER), 'I', "dead_letters_indexed", "", READ_HEX, NULL },
    { DB(RECONCILER), 'J', "journal", "cdn", READ_MESSAGE, RECORD(lifecycle_event) },
    { DB(RECONCILER), 'L', "dead_letter", "tcdr", READ_MESSAGE, RECORD(ending_record) },
    { DB(RECONCILER), 'N', "next_number", "", READ_U64, NULL },
    { DB(RECONCILER), 'S', "seeds", "*", READ_HEX, NULL },
    { DB(RECONCILER), 'T', "dead_letter_by_time", "tncdr", READ_HEX, NULL },
    { DB(RECONCILER), 'U', "unfinished", "cdr", READ_HEX, NULL },
};
enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

typedef struct scan {
    weir_service_id db;
    weir_arena *arena; /* of one record */
    weir_buffer line;
    uint64_t unknown[256];                /* records by a tag that is in no table */
    uint32_t dimensions[DIMENSIONS_KEPT]; /* by collection_no */
    uint64_t collection_no, seq;          /* of the key in hand */
    uint32_t link;
} scan;

/* ---- printing ---- */

static void
append_text(weir_buffer *line, const char *text)
{
    weir_buffer_append(line, text, strlen(text));
}

static void
append_number(weir_buffer *line, const char *name, uint64_t value)
{
    char text[96];

    snprintf(text, sizeof text, ",\"%s\":%" PRIu64, name, value);
    append_text(line, text);
}

static void
append_string(weir_buffer *line, const char *name, weir_bytes value)
{
    append_text(line, ",\"");
    append_text(line, name);
    append_text(line, "\":");
    weir_json_append_string(line, value);
}

static void
append_hex(weir_buffer *line, const char *name, weir_bytes value)
{
    char *text = weir_alloc(2 * value.size + 1);

    weir_hex_encode(value, text);
    append_string(line, name, weir_bytes_str(text));
    weir_free(text);
}

static void
append_problem(weir_buffer *line, const char *text)
{
    append_string(line, "problem", weir_bytes_str(text));
}

/* ---- keys ---- */

typedef struct part {
    char letter;
    const char *name;
    size_t size; /* 0: text to a NUL; SIZE_MAX: the rest */
} part;

static const part parts[] = {
    { 'c', "collection_no", 8 },
    { 'd', "document_id", 0 },
    { 'r', "revision", 8 },
    { 'e', "epoch", 8 },
    { 'o', "ordinal", 4 },
    { 'p', "part", 8 },
    { 't', "tenant", 0 },
    { 'n', "number", 8 },
    { 'k', "link", 4 },
    { 's', "seq", 8 },
    { 'a', "lane", 1 },
    { 'm', "method", 1 },
    { 'q', "request_id", SIZE_MAX },
    { '*', "rest", SIZE_MAX },
};

static const part *
part_of(char letter)
{
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].letter == letter)
            return &parts[i];
    abort();
}

static void
keep(scan *self, char letter, uint64_t value)
{
    if (letter == 'c')
        self->collection_no = value;
    else if (letter == 's')
        self->seq = value;
    else if (letter == 'k')
        self->link = (uint32_t)value;
}

static uint64_t
load(const uint8_t *data, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | data[i];
    return value;
}

/* Takes one part off the front of *key. */
static bool
append_part(scan *self, const part *wanted, weir_bytes *key)
{
    size_t size = wanted->size;

    if (size == SIZE_MAX) {
        if (wanted->letter == 'q')
            append_string(&self->line, wanted->name, *key);
        *key = weir_bytes_of(key->data, 0);
        return true;
    }
    if (size == 0) {
        const uint8_t *end = key->size > 0 ? memchr(key->data, 0, key->size) : NULL;
        if (end == NULL)
            return false;
        size = (size_t)(end - key->data) + 1;
        append_string(&self->line, wanted->name, weir_bytes_of(key->data, size - 1));
    } else {
        if (key->size < size)
            return false;
        keep(self, wanted->letter, load(key->data, size));
        append_number(&self->line, wanted->name, load(key->data, size));
    }
    *key = weir_bytes_of(key->data + size, key->size - size);
    return true;
}

static void
append_key(scan *self, const kind *found, weir_bytes key)
{
    weir_bytes rest = weir_bytes_of(key.data + 1, key.size - 1);

    for (const char *letter = found->parts; *letter != '\0'; letter++)
        if (!append_part(self, part_of(*letter), &rest)) {
            append_problem(&self->line, "the key is cut");
            return;
        }
    if (rest.size > 0)
        append_problem(&self->line, "the key goes on");
}

/* ---- values ---- */

/* Bodies and vectors are told by size and hash, not printed. */
static void
make_short(ProtobufCMessage *message)
{
    if (message->descriptor == RECORD(deferred_record))
        ((Weir__Internal__V1__DeferredRecord *)message)->row.len = 0;
}

static void
read_message(scan *self, const ProtobufCMessageDescriptor *descriptor, weir_bytes value)
{
    ProtobufCMessage *message = NULL;
    weir_error error = { .code = WEIR_OK };
    weir_code code = weir_wire_decode(descriptor, value, NULL, self->arena, &message, &error);

    if (code == WEIR_OK) {
        make_short(message);
        append_text(&self->line, ",\"value\":");
        const size_t size = self->line.size;
        code = weir_json_encode(message, NULL, &self->line, &error);
        if (code != WEIR_OK) {
            self->line.size = size;
            append_text(&self->line, "{}");
        }
    }
    if (code != WEIR_OK)
        append_problem(&self->line, error.message);
    else if (descriptor == RECORD(index_collection_record) && self->collection_no < DIMENSIONS_KEPT)
        self->dimensions[self->collection_no] =
            ((const Weir__Internal__V1__IndexCollectionRecord *)message)->dimension;
}

static void
read_source(scan *self, weir_bytes value)
{
    const weir_sha256_sum sum = weir_sha256(value);

    append_number(&self->line, "size", value.size);
    append_hex(&self->line, "sha256", weir_bytes_of(sum.bytes, sizeof sum.bytes));
}

static bool
all_finite(weir_bytes vectors)
{
    bool finite = true;

    for (size_t at = 0; at + sizeof(float) <= vectors.size; at += sizeof(float)) {
        float number;
        memcpy(&number, vectors.data + at, sizeof number);
        finite = finite && isfinite(number);
    }
    return finite;
}

/* Vectors of this chunk and those behind it, then their CRC. */
static void
read_vectors(scan *self, weir_bytes value)
{
    const uint32_t dimension =
        self->collection_no < DIMENSIONS_KEPT ? self->dimensions[self->collection_no] : 0;
    const size_t one = (size_t)dimension * sizeof(float);

    if (one == 0 || value.size < sizeof(uint32_t) + one ||
        (value.size - sizeof(uint32_t)) % one != 0) {
        append_problem(&self->line, "the size of the vectors is not that of their collection");
        return;
    }
    const weir_bytes vectors = weir_bytes_of(value.data, value.size - sizeof(uint32_t));
    if (weir_crc32c(0, vectors) != weir_load_u32(value.data + vectors.size))
        append_problem(&self->line, "the vectors do not match their CRC");
    if (!all_finite(vectors))
        append_problem(&self->line, "a vector is not finite");
    append_number(&self->line, "count", vectors.size / one);
}

static bool
row_matches(const scan *self, weir_bytes value)
{
    uint8_t place[12];

    if (value.size < ROW_CRC_BYTES)
        return false;
    weir_store_u32(place, self->link);
    weir_store_u64(place + 4, self->seq);
    const uint32_t crc = weir_crc32c(weir_crc32c(0, weir_bytes_of(place, sizeof place)),
        weir_bytes_of(value.data, value.size - ROW_CRC_BYTES));
    return crc == weir_load_u32(value.data + value.size - ROW_CRC_BYTES);
}

/* What a row is about, without what it carries. */
static void
read_outbox(scan *self, weir_bytes value)
{
    ProtobufCMessage *message = NULL;
    weir_error error = { .code = WEIR_OK };

    if (!row_matches(self, value)) {
        append_problem(&self->line, "the row does not match its CRC");
        return;
    }
    if (weir_wire_decode(RECORD(row), weir_bytes_of(value.data, value.size - ROW_CRC_BYTES), NULL,
            self->arena, &message, &error) != WEIR_OK) {
        append_problem(&self->line, error.message);
        return;
    }
    const Weir__Internal__V1__Row *row = (const Weir__Internal__V1__Row *)message;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(RECORD(row), (unsigned)row->payload_case);
    append_string(&self->line, "payload", weir_bytes_str(field == NULL ? "" : field->name));
    append_number(&self->line, "era", row->era);
    append_number(&self->line, "collection_no", row->collection_no);
    append_string(&self->line, "document_id", weir_bytes_str(row->document_id));
    append_number(&self->line, "revision", (uint64_t)row->revision);
    append_number(&self->line, "epoch", (uint64_t)row->epoch);
}

static void
append_value(scan *self, const kind *found, weir_bytes value)
{
    switch (found->reading) {
    case READ_MESSAGE:
        read_message(self, found->descriptor, value);
        return;
    case READ_SOURCE:
        read_source(self, value);
        return;
    case READ_VECTORS:
        read_vectors(self, value);
        return;
    case READ_OUTBOX:
        read_outbox(self, value);
        return;
    case READ_U64:
        if (value.size == sizeof(uint64_t))
            append_number(&self->line, "number", weir_load_u64(value.data));
        else
            append_problem(&self->line, "the value is no u64");
        return;
    case READ_HEX:
        append_hex(&self->line, "hex", value);
        return;
    case READ_NOTHING:
        return;
    }
}

/* ---- one database ---- */

static const kind *
find_kind(weir_service_id db, uint8_t tag)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if ((kinds[i].db == db || kinds[i].db == WEIR_SERVICE_NONE) && (uint8_t)kinds[i].tag == tag)
            return &kinds[i];
    return NULL;
}

static void
print_record(scan *self, weir_bytes key, weir_bytes value)
{
    const kind *found = key.size > 0 ? find_kind(self->db, key.data[0]) : NULL;

    if (found == NULL) {
        self->unknown[key.size > 0 ? key.data[0] : 0]++;
        return;
    }
    if (found->reading == READ_NOTHING)
        return;
    weir_arena_reset(self->arena);
    weir_buffer_clear(&self->line);
    append_text(&self->line, "{\"db\":");
    weir_json_append_string(&self->line, weir_bytes_str(weir_service_name(self->db)));
    append_string(&self->line, "kind", weir_bytes_str(found->name));
    append_key(self, found, key);
    append_value(self, found, value);
    append_text(&self->line, "}\n");
    fwrite(self->line.data, 1, self->line.size, stdout);
}

static void
print_unknown(const scan *self)
{
    for (unsigned tag = 0; tag < 256; tag++)
        if (self->unknown[tag] > 0)
            printf("{\"db\":\"%s\",\"kind\":\"unknown\",\"tag\":%u,\"count\":%" PRIu64 "}\n",
                weir_service_name(self->db), tag, self->unknown[tag]);
}

/* As the schema that it has: it is not raised. */
static weir_code
open_as_it_is(const char *path, const char *service, weir_store **ret_store, weir_error *reterr)
{
    weir_code code = WEIR_SCHEMA_UNSUPPORTED;

    for (uint32_t schema = 1; schema <= SCHEMA_MAX && code == WEIR_SCHEMA_UNSUPPORTED; schema++) {
        const weir_store_options options = { .path = path,
            .service = service,
            .schema = schema,
            .schema_oldest = schema };
        code = weir_store_open(&options, ret_store, reterr);
    }
    return code;
}

static bool
scan_database(const char *data_dir, weir_service_id db)
{
    scan self = { .db = db, .arena = weir_arena_create(0) };
    char path[PATH_BYTES];
    weir_store *store = NULL;
    weir_error error = { .code = WEIR_OK };

    snprintf(path, sizeof path, "%s/%s/db", data_dir, weir_service_name(db));
    weir_code code = access(path, R_OK) == 0
        ? WEIR_OK
        : weir_error_set(&error, WEIR_STORE_IO, "there is no database");
    path[strlen(path) - strlen("/db")] = '\0';
    if (code == WEIR_OK)
        code = open_as_it_is(path, weir_service_name(db), &store, &error);
    if (code == WEIR_OK) {
        weir_iter *iter =
            weir_store_iter(store, NULL, weir_bytes_of(NULL, 0), weir_bytes_of(NULL, 0));
        while (weir_iter_next(iter))
            print_record(&self, weir_iter_key(iter), weir_iter_value(iter));
        code = weir_iter_status(iter, &error);
        weir_iter_destroy(&iter);
        print_unknown(&self);
    }
    if (code != WEIR_OK)
        fprintf(stderr, "weir-scan: %s: %s\n", path, error.message);
    weir_store_close(&store);
    weir_buffer_fini(&self.line);
    weir_arena_destroy(&self.arena);
    return code == WEIR_OK;
}

int
main(int argc, char **argv)
{
    bool good = argc == 2;

    if (!good)
        fprintf(stderr, "usage: %s DATA_DIR\n", argv[0]);
    for (int db = WEIR_SERVICE_GATEWAY; good && db < WEIR_SERVICE_COUNT; db++)
        good = scan_database(argv[1], (weir_service_id)db);
    if (good)
        printf("{\"kind\":\"end\"}\n");
    return good && fflush(stdout) == 0 ? 0 : argc == 2 ? 1 : 2;
}
