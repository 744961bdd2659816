/*
 * manifest.h - reads a model's manifest.json.  Private to text.
 */
#ifndef WEIR_TEXT_MANIFEST_H
#define WEIR_TEXT_MANIFEST_H

#include "common/base/bytes.h"

/*
 * The value at a path of member names in a JSON document: `{"files": {"a": {"sha256": "..."}}}`
 * with path { "files", "a", "sha256", NULL }.  A string is given without its quotes and only when
 * it has no escapes; anything else as it is written.  False: not there, or the document is not JSON
 * that far.
 */
bool weir_manifest_find(weir_bytes json, const char *const *path, weir_bytes *ret_value);
bool weir_manifest_string(weir_bytes json, const char *const *path, char *out, size_t out_size);
bool weir_manifest_u32(weir_bytes json, const char *const *path, uint32_t *ret_value);
bool weir_manifest_true(weir_bytes json, const char *const *path);

#endif
