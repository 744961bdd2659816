/*
 * tokenizers.h - the tokenizers of the models that collections use, opened once.
 *
 * Threads: any.
 */
#ifndef WEIR_INGEST_TOKENIZERS_H
#define WEIR_INGEST_TOKENIZERS_H

#include "common/text/tokens.h"

typedef struct ingest_tokenizers ingest_tokenizers;

/* model_dir: as weir_model_find; copied. */
ingest_tokenizers *ingest_tokenizers_create(const char *model_dir);
void ingest_tokenizers_destroy(ingest_tokenizers **tokenizers_p);

/*
 * The tokenizer of a model, borrowed; it lives as long as `tokenizers`.  What is missing is looked
 * for again at each call.
 *
 * MODEL_UNKNOWN      no model has this name.
 * MODEL_UNAVAILABLE  the name is known, its files are missing or wrong.
 */
weir_code ingest_tokenizers_get(ingest_tokenizers *tokenizers, const char *model,
    const weir_tokenizer **ret_tokenizer, weir_error *reterr) WEIR_MUST_CHECK;

#endif
