/*
 * identity.c - who this database is and which start of it this is.
 *
 * One record under 'a'.  store_id is made with the database and never changes: a database that
 * answers with another one is another volume.  A start counts boot.counter up and takes fresh
 * random bits, so two starts are never taken for one, even when a copy of the volume was put back
 * and counts the same numbers again.  The record is synced before anything of the start can leave;
 * a crash before that leaves a number that nobody saw.
 */
#include "common/link/internal.h"
#include "common/wire/wire.h"

static const uint8_t identity_key[1] = { 'a' };

weir_code
link_record_load(weir_store *store, weir_bytes key, const ProtobufCMessageDescriptor *descriptor,
    weir_arena *arena, ProtobufCMessage **ret_message, weir_error *reterr)
{
    weir_buffer value = { 0 };
    bool found = false;
    weir_code code = weir_store_get(store, NULL, key, &value, &found, reterr);

    *ret_message = NULL;
    if (code == WEIR_OK && found) {
        code = weir_wire_decode(descriptor, weir_buffer_view(&value), NULL, arena, ret_message,
            reterr);
        if (code == WEIR_MALFORMED_MESSAGE)
            code = weir_error_set(reterr, WEIR_CORRUPT,
                "the record of %s does not parse (%zu bytes)", descriptor->name, value.size);
    }
    weir_buffer_fini(&value);
    return code;
}

void
link_record_put(weir_batch *batch, weir_bytes key, const ProtobufCMessage *message)
{
    weir_buffer value = { 0 };

    weir_wire_encode(message, &value);
    weir_batch_put(batch, key, weir_buffer_view(&value));
    weir_buffer_fini(&value);
}

static weir_code
record_check(const Weir__Internal__V1__IdentityRecord *record, const char *service,
    weir_error *reterr)
{
    if (record->store_id.len != WEIR_STORE_ID_SIZE || record->boot == NULL)
        return weir_error_set(reterr, WEIR_CORRUPT,
            "the identity record lacks its store_id or boot");
    if (strcmp(record->service, service) != 0)
        return weir_error_set(reterr, WEIR_SCHEMA_UNSUPPORTED,
            "this database belongs to %s, not to %s: check the data directories", record->service,
            service);
    return WEIR_OK;
}

/* Fill *identity from the record (NULL: a new database) and the random bytes. */
static void
identity_next(weir_link_identity *identity, const Weir__Internal__V1__IdentityRecord *record,
    const uint8_t random[32])
{
    *identity =
        (weir_link_identity){ .boot_counter = record != NULL ? record->boot->counter + 1 : 1,
            .unclean = record != NULL && !record->clean };
    memcpy(identity->store_id, record != NULL ? record->store_id.data : random, WEIR_STORE_ID_SIZE);
    memcpy(identity->boot_random, random + WEIR_STORE_ID_SIZE, WEIR_BOOT_RANDOM_SIZE);
}

static weir_code
identity_commit(weir_store *store, const char *service, const weir_link_identity *identity,
    weir_error *reterr)
{
    const link_boot boot = link_boot_of(identity);
    Weir__Internal__V1__Boot boot_message = link_boot_message(&boot);
    Weir__Internal__V1__IdentityRecord record = WEIR__INTERNAL__V1__IDENTITY_RECORD__INIT;
    weir_batch *batch = weir_batch_create(store);

    record.store_id = link_borrow(identity->store_id, WEIR_STORE_ID_SIZE);
    record.boot = &boot_message;
    record.service = (char *)(uintptr_t)service;
    link_record_put(batch, weir_bytes_of(identity_key, sizeof identity_key), &record.base);
    const weir_code code = weir_store_commit(store, batch, true, reterr);
    weir_batch_destroy(&batch);
    return code;
}

weir_code
weir_link_identity_start(weir_store *store, const char *service, const uint8_t random[32],
    weir_link_identity *ret_identity, weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;
    weir_link_identity identity;
    weir_code code = link_record_load(store, weir_bytes_of(identity_key, sizeof identity_key),
        &weir__internal__v1__identity_record__descriptor, arena, &message, reterr);

    if (code == WEIR_OK && message != NULL)
        code = record_check((Weir__Internal__V1__IdentityRecord *)message, service, reterr);
    if (code == WEIR_OK) {
        identity_next(&identity, (Weir__Internal__V1__IdentityRecord *)message, random);
        code = identity_commit(store, service, &identity, reterr);
    }
    if (code == WEIR_OK)
        *ret_identity = identity;
    weir_arena_destroy(&arena);
    return code;
}

weir_code
weir_link_identity_stop(weir_batch *batch, weir_error *reterr)
{
    const weir_bytes key = weir_bytes_of(identity_key, sizeof identity_key);
    weir_arena *arena = weir_arena_create(0);
    weir_buffer value = { 0 };
    bool found = false;
    ProtobufCMessage *message = NULL;
    weir_code code = weir_batch_get(batch, key, &value, &found, reterr);

    if (code == WEIR_OK && !found)
        code = weir_error_set(reterr, WEIR_CORRUPT, "the identity record is missing");
    if (code == WEIR_OK)
        code = weir_wire_decode(&weir__internal__v1__identity_record__descriptor,
            weir_buffer_view(&value), NULL, arena, &message, reterr);
    if (code == WEIR_MALFORMED_MESSAGE)
        code = weir_error_set(reterr, WEIR_CORRUPT,
            "the identity record does not parse (%zu bytes)", value.size);
    if (code == WEIR_OK) {
        ((Weir__Internal__V1__IdentityRecord *)message)->clean = true;
        link_record_put(batch, key, message);
    }
    weir_buffer_fini(&value);
    weir_arena_destroy(&arena);
    return code;
}
