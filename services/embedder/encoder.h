/*
 * encoder.h - what the two kinds of models do for embed.c.  Private to the library `embed`.
 */
#ifndef WEIR_EMBEDDER_ENCODER_H
#define WEIR_EMBEDDER_ENCODER_H

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/text/models.h"

typedef struct embedder_onnx embedder_onnx;

weir_code embedder_onnx_open(const weir_model *model, embedder_onnx **ret_onnx,
    weir_error *reterr) WEIR_MUST_CHECK;
void embedder_onnx_close(embedder_onnx **onnx_p);
/* As embedder_model_embed, of texts that have been checked; the vectors are as the network gave
 * them. */
weir_code embedder_onnx_embed(const embedder_onnx *onnx, const weir_bytes *texts, size_t count,
    float *out, uint32_t *token_counts, weir_error *reterr) WEIR_MUST_CHECK;

/* Write the vector of one text, not zero and not yet of length 1; returns its tokens, of which at
 * most max_tokens count. */
uint32_t embedder_hash_embed(weir_bytes text, uint32_t dimension, uint32_t max_tokens, float *out);

#endif
