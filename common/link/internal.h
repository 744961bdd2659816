/*
 * internal.h - what the files of common/link share: boots, lists of databases, keys, stored rows,
 * frames.
 */
#ifndef WEIR_LINK_INTERNAL_H
#define WEIR_LINK_INTERNAL_H

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/link/link.h"
#include "common/link/mutant.h"

enum {
    LINK_ROW_CRC_BYTES = 4,
    LINK_OUTBOX_KEY_BYTES = 1 + 4 + 8,
    LINK_RECORD_KEY_BYTES = 1 + 4,
    LINK_STARTS_MAX = 1024,         /* of the list in a HELLO; see link_starts_add */
    LINK_WINDOW_ROWS_MAX = 1 << 20, /* accepted and not settled, whatever the credit says */
    LINK_HELLO_MS = 3000,
    LINK_HELLO_FAST_MS = 100, /* while no answer came; doubles up to LINK_HELLO_MS */
    LINK_RTO_MIN_MS = 2000,
    LINK_RTO_MAX_MS = 30000,
    LINK_NAK_REPEAT_MS = LINK_RTO_MIN_MS / 4,
    LINK_RETRY_MIN_MS = 5, /* after a send that found no room; doubles */
    LINK_RETRY_MAX_MS = 200,
    LINK_RESOLVE_RETRY_MS = 100,
    /* Acknowledged rows that are worth a trim: what is deleted before the write buffer is full
     * costs no file, and a trim costs no sync. */
    LINK_TRIM_ROWS = 64,
    LINK_TRIM_BATCH_ROWS = 4096,
};

#define LINK_NEVER INT64_MAX /* a wake time that does not come */

/* ---- boots and databases ---- */

typedef struct link_boot {
    uint64_t counter;
    uint8_t random[WEIR_BOOT_RANDOM_SIZE];
} link_boot;

link_boot link_boot_of(const weir_link_identity *identity);
bool link_boot_equal(const link_boot *a, const link_boot *b);
bool link_boot_is(const link_boot *boot, const Weir__Internal__V1__Boot *message);
/* False when the message is absent or its random part has another size. */
bool link_boot_read(const Weir__Internal__V1__Boot *message, link_boot *ret_boot);
/* A message that borrows `boot`. */
Weir__Internal__V1__Boot link_boot_message(const link_boot *boot);
ProtobufCBinaryData link_borrow(const void *data, size_t size);

/* Databases that were replaced, refused for ever; grows by one per lost volume. */
typedef struct link_peers {
    uint8_t (*ids)[WEIR_STORE_ID_SIZE];
    size_t count;
} link_peers;

bool link_peers_has(const link_peers *peers, const uint8_t id[WEIR_STORE_ID_SIZE]);
void link_peers_add(link_peers *peers, const uint8_t id[WEIR_STORE_ID_SIZE]);
/* Off the list: a RESET of a later era names it again. */
void link_peers_remove(link_peers *peers, const uint8_t id[WEIR_STORE_ID_SIZE]);
/* False when an entry has another size. */
bool link_peers_read(link_peers *peers, const ProtobufCBinaryData *entries, size_t count);
/* As repeated field: the array from the arena, the bytes borrowed. */
ProtobufCBinaryData *link_peers_message(const link_peers *peers, weir_arena *arena);
void link_peers_fini(link_peers *peers);

static inline bool
link_id_equal(const uint8_t a[WEIR_STORE_ID_SIZE], const uint8_t b[WEIR_STORE_ID_SIZE])
{
    return memcmp(a, b, WEIR_STORE_ID_SIZE) == 0;
}

static inline bool
link_id_is(const uint8_t id[WEIR_STORE_ID_SIZE], ProtobufCBinaryData data)
{
    return data.len == WEIR_STORE_ID_SIZE && memcmp(id, data.data, WEIR_STORE_ID_SIZE) == 0;
}

/* ---- rows as they are stored and sent (row.c) ---- */

typedef struct link_outbox_key {
    uint8_t bytes[LINK_OUTBOX_KEY_BYTES];
} link_outbox_key;

link_outbox_key link_outbox_key_of(uint32_t link, uint64_t seq);
bool link_outbox_key_parse(weir_bytes key, uint32_t link, uint64_t *ret_seq);
/* CRC32C over link, seq and the packed row. */
uint32_t link_row_crc(uint32_t link, uint64_t seq, weir_bytes packed);
/* Pack the row and its CRC into memory of its own (weir_free).  WEIR_BODY_TOO_LARGE above
 * WEIR_ROW_BYTES_MAX, WEIR_MALFORMED_MESSAGE for a row that no receiver would take. */
weir_code link_row_pack(uint32_t link, uint64_t seq, const Weir__Internal__V1__Row *row,
    uint8_t **ret_data, size_t *ret_size, weir_error *reterr) WEIR_MUST_CHECK;
/* The packed row in `stored`; WEIR_CORRUPT when the CRC does not match. */
weir_code link_row_check(uint32_t link, uint64_t seq, weir_bytes stored, weir_bytes *ret_packed,
    weir_error *reterr) WEIR_MUST_CHECK;

/* ---- records (tx_record.c, rx_record.c, identity.c) ---- */

/* 'c' or 'l' and the link. */
typedef struct link_record_key {
    uint8_t bytes[LINK_RECORD_KEY_BYTES];
} link_record_key;

link_record_key link_record_key_of(uint8_t tag, uint32_t link);
/* Read and decode one record; *ret_message NULL when there is none.  WEIR_CORRUPT when it does not
 * parse. */
weir_code link_record_load(weir_store *store, weir_bytes key,
    const ProtobufCMessageDescriptor *descriptor, weir_arena *arena, ProtobufCMessage **ret_message,
    weir_error *reterr) WEIR_MUST_CHECK;
void link_record_put(weir_batch *batch, weir_bytes key, const ProtobufCMessage *message);

/* ---- frames (frame.c) ---- */

/* What every frame of one link and one start begins with, packed once. */
void link_envelope_init(weir_buffer *envelope, uint32_t link, const weir_link_identity *identity);
/* envelope + one field of the oneof. */
void link_frame_build(weir_buffer *out, const weir_buffer *envelope, uint32_t field,
    const ProtobufCMessage *body);
/* envelope + Rows of `count` stored rows; bytes are copied once. */
void link_frame_build_rows(weir_buffer *out, const weir_buffer *envelope, uint64_t first_seq,
    const weir_bytes *rows, size_t count);
/* Sizes and presence of all fields that the two ends rely on. */
bool link_frame_is_whole(const Weir__Internal__V1__Frame *frame);

enum { LINK_FIELD_ROWS = 4, LINK_FIELD_HELLO, LINK_FIELD_ANSWER, LINK_FIELD_ACK, LINK_FIELD_NAK };

#endif
