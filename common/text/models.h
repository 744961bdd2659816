/*
 * models.h - the embedding models that weir brings along: their names, facts and files.
 *
 *   all-minilm-l6-v2   a real sentence encoder; its files stand in <model folder>/all-minilm-l6-v2
 *   hash-D             D = 8..4096 without leading zeros: deterministic feature hashing, no files
 *
 * A model folder is the first that there is of: the configured one, $WEIR_MODEL_DIR,
 * ../share/weir/models beside the running program's folder, .model above the program's folder (a
 * source tree), .model in the current folder.  Any thread.
 */
#ifndef WEIR_TEXT_MODELS_H
#define WEIR_TEXT_MODELS_H

#include <stddef.h>

#include "common/base/error.h"

#define WEIR_MODEL_DEFAULT "all-minilm-l6-v2"
#define WEIR_MODEL_FALLBACK "hash-384"

enum {
    WEIR_MODEL_NAME_BYTES_MAX = 64,
    WEIR_MODEL_PATH_BYTES_MAX = 1024,
    WEIR_HASH_DIMENSION_MIN = 8,
    WEIR_CHUNK_TOKENS_MIN = 16, /* smallest max_tokens that a collection may ask for */
};

typedef enum weir_model_kind { WEIR_MODEL_ONNX = 1, WEIR_MODEL_HASH } weir_model_kind;

/* Holds no pointers: copy it freely. */
typedef struct weir_model {
    weir_model_kind kind;
    char name[WEIR_MODEL_NAME_BYTES_MAX + 1];
    uint32_t dimension;
    uint32_t max_tokens;     /* of a text, special tokens included; the default chunk size too */
    uint32_t overlap_tokens; /* the default: an eighth of max_tokens */
    char language[16];       /* BCP 47; "": any */
    char metric[8];          /* "cosine" */
    /* Lower-case hex, 64 digits: SHA-256 over what decides the vectors (weights, vocabulary,
     * pooling, normalisation, limits); for hash-D over "hash-v1-D". */
    char fingerprint[65];
    char folder[WEIR_MODEL_PATH_BYTES_MAX]; /* of its files; "" for hash-D */
    char onnx_sha256[65];                   /* of model.onnx, from the manifest; "" for hash-D */
} weir_model;

/*
 * Find a model by name.  model_dir is the configured folder, or NULL or "".
 *
 * MODEL_UNKNOWN      no model has this name.
 * MODEL_UNAVAILABLE  the name is known, but its files are missing or its manifest is wrong; the
 *                    message says where was looked and what to do.
 */
weir_code weir_model_find(const char *name, const char *model_dir, weir_model *ret_model,
    weir_error *reterr) WEIR_MUST_CHECK;

/* The name is hash-D. */
bool weir_model_name_is_hash(const char *name);

/*
 * Check a collection's chunking against the model and fill in defaults: 0 max_tokens is the
 * model's, 0 overlap_tokens an eighth of max_tokens.  INVALID_ARGUMENT names chunking.max_tokens
 * or chunking.overlap_tokens.
 */
weir_code weir_model_chunking(const weir_model *model, uint32_t *max_tokens,
    uint32_t *overlap_tokens, weir_error *reterr) WEIR_MUST_CHECK;

/* Path of a file of the model; false: it does not fit out. */
bool weir_model_file(const weir_model *model, const char *file, char *out, size_t out_size);

#endif
