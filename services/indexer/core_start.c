/*
 * core_start.c - from the store to memory: collections, the index, what is undecided, what is
 * litter.
 *
 * Every vector of a READY or staged try goes into the index, so searches are exact as soon as the
 * gate opens.  A stored vector that fails its checksum is damage: it is set aside rather than a
 * wrong answer given.  A READY revision with fewer vectors than its register says is lost
 * (core_audit.c), and comes back with its next try; a staged try with fewer is dropped.
 *
 * A register that does not decode is set aside, and one that a handler met so is missing.  The
 * document's vectors say which tries there were: they are promised away, and the last of their
 * revisions is lost.  The tombstone and the promises that the record held come again by the audit.
 * When the record of a collection is damaged, nobody knows what its vectors are: all that is READY
 * in it is lost.
 */
#include "common/base/assert.h"
#include "common/base/log.h"
#include "common/wire/wire.h"
#include "services/indexer/core_internal.h"

enum { RUN_ROWS_MAX = 256, REGISTERS_PASSED_MAX = 16 };
_Static_assert((int)WEIR_CHUNKS_PER_ROW_MAX <= (int)RUN_ROWS_MAX, "one record fits an empty run");

/* Vectors of one try on their way into the index. */
typedef struct loader {
    indexer_core *core;
    weir_stage *stage;
    weir_arena *arena;        /* of the register in hand */
    uint64_t document_in;     /* collection_no of the document in hand; 0: none */
    weir_buffer document_id;  /* with its NUL */
    indexer_register *record; /* of that document */
    weir_iter *registers;     /* beside the vectors, in the same order */
    bool on_register;
    indexer_collection *collection;
    int64_t revision, epoch; /* of the run in hand */
    bool is_live;
    uint32_t ordinals[RUN_ROWS_MAX];
    weir_buffer vectors;
    uint32_t run_count;
} loader;

typedef weir_code visit_pair(loader *self, const indexer_key_parts *parts, weir_bytes value,
    weir_error *reterr);

/* Visit all keys of a tag in committed state. */
static weir_code
scan(loader *self, indexer_tag tag, visit_pair *visit, weir_error *reterr)
{
    indexer_key lower, upper;
    weir_code code = WEIR_OK;

    indexer_key_range(tag, 0, &lower, &upper);
    weir_iter *iter = weir_store_iter(self->core->store, NULL, indexer_key_view(&lower),
        indexer_key_view(&upper));
    while (code == WEIR_OK && weir_iter_next(iter)) {
        indexer_key_parts parts;

        code = indexer_key_parse(tag, weir_iter_key(iter), &parts, reterr);
        if (code == WEIR_OK)
            code = visit(self, &parts, weir_iter_value(iter), reterr);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static weir_code
decode(loader *self, const ProtobufCMessageDescriptor *descriptor, weir_bytes value,
    void *ret_message, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;

    weir_arena_reset(self->arena);
    if (weir_wire_decode(descriptor, value, NULL, self->arena, &message, reterr) != WEIR_OK)
        return weir_error_set(reterr, WEIR_CORRUPT, "a stored %s does not decode",
            descriptor->name);
    memcpy(ret_message, &message, sizeof message);
    return WEIR_OK;
}

static weir_code
set_aside(loader *self, const indexer_key *key, weir_bytes value, const weir_error *why,
    weir_error *reterr)
{
    return weir_stage_set_aside(self->stage, indexer_key_view(key), value, why->message, reterr);
}

/* ---- collections ---- */

/* Whose it is and what its vectors are its next row says. */
static indexer_collection *
make_collection_anew(loader *self, uint64_t collection_no)
{
    indexer_collection *collection =
        indexer_collections_put(&self->core->collections, collection_no, "");

    weir_log(WEIR_LOG_ERROR, "collection.damaged", WEIR_INT("collection_no", collection_no),
        WEIR_STR("message", "its record is damaged or missing, so what is READY in it is lost"));
    indexer_put_collection(self->stage, collection);
    return collection;
}

static weir_code
read_collection(loader *self, weir_bytes value,
    Weir__Internal__V1__IndexCollectionRecord **ret_record, weir_error *reterr)
{
    const weir_code code = decode(self, &weir__internal__v1__index_collection_record__descriptor,
        value, ret_record, reterr);

    return code != WEIR_OK || (*ret_record)->dimension <= WEIR_DIMENSION_MAX
        ? code
        : weir_error_set(reterr, WEIR_CORRUPT, "a collection has vectors of %u components",
              (*ret_record)->dimension);
}

static weir_code
load_collection(loader *self, const indexer_key_parts *parts, weir_bytes value, weir_error *reterr)
{
    const indexer_key key = indexer_key_collection(parts->collection_no);
    Weir__Internal__V1__IndexCollectionRecord *record = NULL;
    weir_error why = { .code = WEIR_OK };

    if (read_collection(self, value, &record, &why) != WEIR_OK) {
        const weir_code code = set_aside(self, &key, value, &why, reterr);

        if (code == WEIR_OK)
            (void)make_collection_anew(self, parts->collection_no);
        return code;
    }
    indexer_collection *collection =
        indexer_collections_put(&self->core->collections, parts->collection_no, record->tenant);
    if (record->dimension > 0)
        indexer_collection_set_vectors(collection, record->dimension, record->fingerprint,
            self->core->options.segment_bytes);
    return WEIR_OK;
}

static void
find_collection(loader *self, uint64_t collection_no)
{
    self->collection = indexer_collections_find(&self->core->collections, collection_no);
    if (self->collection == NULL)
        self->collection = make_collection_anew(self, collection_no);
}

/* ---- vectors ---- */

static indexer_try
run_try(const loader *self)
{
    return (indexer_try){ (const char *)self->document_id.data, self->revision, self->epoch };
}

static weir_code
flush_run(loader *self, weir_error *reterr)
{
    const indexer_try owner = run_try(self);
    weir_code code = WEIR_OK;

    if (self->run_count > 0)
        code = indexer_index_add(self->collection->index, &owner, self->ordinals,
            (const float *)(const void *)self->vectors.data, self->run_count, reterr);
    self->run_count = 0;
    weir_buffer_clear(&self->vectors);
    return code;
}

/* Vectors come in the order of their documents, so registers are walked, not looked up: a look-up
 * for each is half the time of a start. */
static weir_code
find_register(loader *self, weir_bytes key, bool *ret_found, weir_error *reterr)
{
    for (int passed = 0;
        self->on_register && weir_bytes_compare(weir_iter_key(self->registers), key) < 0; passed++)
        self->on_register = passed < REGISTERS_PASSED_MAX ? weir_iter_next(self->registers)
                                                          : weir_iter_seek(self->registers, key);
    *ret_found = self->on_register && weir_bytes_equal(weir_iter_key(self->registers), key);
    return self->on_register ? WEIR_OK : weir_iter_status(self->registers, reterr);
}

/* Take the register of another document into hand. */
static weir_code
begin_document(loader *self, const indexer_key_parts *parts, weir_error *reterr)
{
    const indexer_key key = indexer_key_document(parts->collection_no, parts->owner.document_id);
    bool found = false;
    weir_error why = { .code = WEIR_OK };
    weir_code code = find_register(self, indexer_key_view(&key), &found, reterr);

    find_collection(self, parts->collection_no);
    self->document_in = parts->collection_no;
    self->record = NULL;
    weir_buffer_clear(&self->document_id);
    weir_buffer_append(&self->document_id, parts->owner.document_id,
        strlen(parts->owner.document_id) + 1);
    if (code == WEIR_OK && found &&
        decode(self, &weir__internal__v1__index_document_record__descriptor,
            weir_iter_value(self->registers), &self->record, &why) != WEIR_OK)
        code = set_aside(self, &key, weir_iter_value(self->registers), &why, reterr);
    return code;
}

static bool
is_same_document(const loader *self, const indexer_key_parts *parts)
{
    return self->document_in == parts->collection_no &&
        strcmp((const char *)self->document_id.data, parts->owner.document_id) == 0;
}

static bool
is_live(const indexer_register *record, const indexer_try *owner)
{
    if (record == NULL)
        return false;
    return (record->ready_revision == owner->revision && record->ready_epoch == owner->epoch) ||
        indexer_register_find(record, owner->revision, owner->epoch) != NULL;
}

/* A try of a document without a register, which is made anew: one try more of it is promised away.
 */
static weir_code
give_up_try(loader *self, const indexer_try *owner, weir_error *reterr)
{
    weir_arena *arena = weir_stage_arena(self->stage);
    indexer_left left = { 0 };
    indexer_document document;
    const weir_code code = indexer_document_load(self->stage, self->collection,
        weir_arena_strdup(arena, owner->document_id), &document, reterr);

    if (code != WEIR_OK)
        return code;
    weir_log(WEIR_LOG_ERROR, "document.damaged",
        WEIR_INT("collection_no", self->collection->collection_no),
        WEIR_STR("document_id", owner->document_id), WEIR_INT("revision", owner->revision),
        WEIR_INT("run", owner->epoch), WEIR_STR("message", "its register is damaged or missing"));
    indexer_register_revoke(document.record, arena, owner->revision, owner->epoch, &left);
    document.record->lost_revision = owner->revision;
    indexer_document_save(self->stage, &document);
    return WEIR_OK;
}

static weir_code
begin_run(loader *self, const indexer_key_parts *parts, weir_error *reterr)
{
    weir_code code = flush_run(self, reterr);

    if (code == WEIR_OK && !is_same_document(self, parts))
        code = begin_document(self, parts, reterr);
    if (code != WEIR_OK)
        return code;
    self->revision = parts->owner.revision;
    self->epoch = parts->owner.epoch;
    self->is_live = is_live(self->record, &parts->owner);
    if (!self->is_live)
        indexer_push_litter(self->core, self->collection, &parts->owner);
    else if (self->collection->index == NULL)
        self->is_live = false; /* of a damaged collection: load_register finds the try short */
    return self->record != NULL ? WEIR_OK : give_up_try(self, &parts->owner, reterr);
}

static weir_code
add_to_run(loader *self, const indexer_key_parts *parts, weir_bytes value, weir_error *reterr)
{
    const uint32_t dimension = indexer_index_dimension(self->collection->index);
    const indexer_key key =
        indexer_key_row(INDEXER_TAG_VECTOR, parts->collection_no, &parts->owner, parts->ordinal);
    weir_bytes vectors = { 0 };
    uint32_t count = 0;
    weir_error why = { .code = WEIR_OK };
    weir_code code = WEIR_OK;

    /* Its try is short of these then, which load_register finds. */
    if (indexer_vectors_check(value, dimension, &vectors, &count, &why) != WEIR_OK)
        return set_aside(self, &key, value, &why, reterr);
    if (self->run_count + count > RUN_ROWS_MAX)
        code = flush_run(self, reterr);
    if (code != WEIR_OK)
        return code;
    weir_buffer_append(&self->vectors, vectors.data, vectors.size);
    for (uint32_t i = 0; i < count; i++)
        self->ordinals[self->run_count++] = parts->ordinal + i;
    return WEIR_OK;
}

static weir_code
load_vectors(loader *self, const indexer_key_parts *parts, weir_bytes value, weir_error *reterr)
{
    const bool same_run = is_same_document(self, parts) &&
        self->revision == parts->owner.revision && self->epoch == parts->owner.epoch;
    weir_code code = WEIR_OK;

    if (!same_run)
        code = begin_run(self, parts, reterr);
    if (code != WEIR_OK || !self->is_live)
        return code;
    return add_to_run(self, parts, value, reterr);
}

/* ---- registers ---- */

static uint32_t
count_held(const loader *self, const indexer_key_parts *parts, int64_t revision, int64_t epoch)
{
    const indexer_try owner = { parts->owner.document_id, revision, epoch };
    const indexer_index *index = self->collection->index;

    return index != NULL ? indexer_index_count(index, &owner) : 0;
}

/* Its READY revision is lost, and the others of its tries with it: the gateway drives again what it
 * misses. */
static weir_code
lose_document(loader *self, const indexer_key_parts *parts, uint32_t held, weir_error *reterr)
{
    weir_arena *arena = weir_stage_arena(self->stage);
    indexer_document document;
    const weir_code code = indexer_document_load(self->stage, self->collection,
        weir_arena_strdup(arena, parts->owner.document_id), &document, reterr);

    return code != WEIR_OK ? code
                           : indexer_lose(self->core, self->stage, &document,
                                 weir_arena_printf(arena, "%u vectors are stored, %u should be",
                                     held, document.record->ready_chunk_count));
}

static weir_code
check_ready(loader *self, const indexer_key_parts *parts, const indexer_register *record,
    weir_error *reterr)
{
    const uint32_t held = count_held(self, parts, record->ready_revision, record->ready_epoch);

    __atomic_add_fetch(&self->collection->lost_count, record->lost_revision != 0, __ATOMIC_RELEASE);
    return record->ready_revision == 0 || held == record->ready_chunk_count
        ? WEIR_OK
        : lose_document(self, parts, held, reterr);
}

/* Only damage makes that.  The gateway drives again what has no try. */
static weir_code
check_staged(loader *self, const indexer_key_parts *parts, const indexer_staged *staged,
    weir_error *reterr)
{
    const uint32_t held = count_held(self, parts, staged->revision, staged->epoch);
    weir_arena *arena = weir_stage_arena(self->stage);
    indexer_document document;

    if (held == staged->staged_count)
        return WEIR_OK;
    const weir_code code = indexer_document_load(self->stage, self->collection,
        weir_arena_strdup(arena, parts->owner.document_id), &document, reterr);
    if (code == WEIR_OK)
        indexer_drop_staged(self->core, self->stage, &document, staged,
            weir_arena_printf(arena, "%u vectors are stored, %u should be", held,
                staged->staged_count));
    return code;
}

/* Unless that was done with its vectors. */
static weir_code
set_register_aside(loader *self, const indexer_key_parts *parts, weir_bytes value,
    const weir_error *why, weir_error *reterr)
{
    const indexer_key key = indexer_key_document(parts->collection_no, parts->owner.document_id);
    weir_buffer now = { 0 };
    bool found = false;
    weir_code code =
        weir_batch_get(weir_stage_batch(self->stage), indexer_key_view(&key), &now, &found, reterr);

    if (code == WEIR_OK && found && weir_bytes_equal(weir_buffer_view(&now), value))
        code = set_aside(self, &key, value, why, reterr);
    weir_buffer_fini(&now);
    return code;
}

static weir_code
load_register(loader *self, const indexer_key_parts *parts, weir_bytes value, weir_error *reterr)
{
    indexer_register *record = NULL;
    weir_error why = { .code = WEIR_OK };

    if (decode(self, &weir__internal__v1__index_document_record__descriptor, value, &record,
            &why) != WEIR_OK)
        return set_register_aside(self, parts, value, &why, reterr);
    find_collection(self, parts->collection_no);
    weir_code code = check_ready(self, parts, record, reterr);
    for (size_t i = 0; code == WEIR_OK && i < record->n_staged; i++) {
        const indexer_staged *staged = record->staged[i];
        const indexer_try owner = { parts->owner.document_id, staged->revision, staged->epoch };

        /* decide() passes over those that are dropped. */
        code = check_staged(self, parts, staged, reterr);
        if (code == WEIR_OK && indexer_staged_is_complete(staged))
            indexer_push_pending(self->core, self->collection, &owner);
    }
    return code;
}

/* One that does not decode is taken for one of the present era: the seeds of that were taken, or
 * are rows on their way, before which no gate opens. */
static weir_code
make_seed_anew(loader *self, weir_bytes value, const weir_error *why, weir_error *reterr)
{
    const indexer_key key = indexer_key_seed();
    Weir__Internal__V1__IndexSeedRecord record = WEIR__INTERNAL__V1__INDEX_SEED_RECORD__INIT;
    const weir_code code = set_aside(self, &key, value, why, reterr);

    record.seeded_era = self->core->new_seeded_era = weir_stage_era(self->stage);
    weir_stage_put(self->stage, indexer_key_view(&key), &record.base);
    return code;
}

static weir_code
load_seed(loader *self, weir_error *reterr)
{
    const indexer_key key = indexer_key_seed();
    Weir__Internal__V1__IndexSeedRecord *record = NULL;
    weir_error why = { .code = WEIR_OK };
    weir_buffer value = { 0 };
    bool found = false;
    weir_code code =
        weir_store_get(self->core->store, NULL, indexer_key_view(&key), &value, &found, reterr);

    if (code == WEIR_OK && found &&
        decode(self, &weir__internal__v1__index_seed_record__descriptor, weir_buffer_view(&value),
            &record, &why) != WEIR_OK)
        code = make_seed_anew(self, weir_buffer_view(&value), &why, reterr);
    else if (code == WEIR_OK && found)
        self->core->new_seeded_era = record->seeded_era;
    weir_buffer_fini(&value);
    return code;
}

static weir_code
load_index(loader *self, weir_error *reterr)
{
    indexer_key lower, upper;

    indexer_key_range(INDEXER_TAG_DOCUMENT, 0, &lower, &upper);
    self->registers = weir_store_iter(self->core->store, NULL, indexer_key_view(&lower),
        indexer_key_view(&upper));
    self->on_register = weir_iter_next(self->registers);
    weir_code code = self->on_register ? WEIR_OK : weir_iter_status(self->registers, reterr);
    if (code == WEIR_OK)
        code = scan(self, INDEXER_TAG_VECTOR, load_vectors, reterr);
    if (code == WEIR_OK)
        code = flush_run(self, reterr);
    weir_iter_destroy(&self->registers);
    return code;
}

weir_code
indexer_load(indexer_core *core, weir_stage *stage, weir_error *reterr)
{
    loader self = { .core = core, .stage = stage, .arena = weir_arena_create(0) };
    weir_code code = load_seed(&self, reterr);

    if (code == WEIR_OK)
        code = scan(&self, INDEXER_TAG_COLLECTION, load_collection, reterr);
    if (code == WEIR_OK)
        code = load_index(&self, reterr);
    if (code == WEIR_OK)
        code = scan(&self, INDEXER_TAG_DOCUMENT, load_register, reterr);
    weir_arena_destroy(&self.arena);
    weir_buffer_fini(&self.document_id);
    weir_buffer_fini(&self.vectors);
    return code;
}
