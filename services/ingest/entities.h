/*
 * entities.h - character references such as &eacute; and &#233;.  Private to the library `parse`.
 */
#ifndef WEIR_INGEST_ENTITIES_H
#define WEIR_INGEST_ENTITIES_H

#include "common/base/bytes.h"

/* Append what the reference ("&...;" with both ends) stands for; an unknown one is appended as it
 * is. */
void ingest_entity_append(weir_bytes reference, weir_buffer *out);

#endif
