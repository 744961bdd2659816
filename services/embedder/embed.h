/*
 * embed.h - texts to unit vectors with a built-in model, in this process.
 *
 * One embedder_model per model and process, loaded once; any number of threads may embed with it
 * at the same time, each running on its own thread alone (the ONNX session has no threads of its
 * own).  The same text gives the same vector on the same machine, whatever it is batched with, up
 * to rounding (cosine > 0.99999).
 */
#ifndef WEIR_EMBEDDER_EMBED_H
#define WEIR_EMBEDDER_EMBED_H

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/text/models.h"

enum {
    /* Padded tokens of one run of the network: one full chunk of the default model.  256 is the
     * best of 64 to 2,048 as measured (20 % faster than 1,024, whose activations leave the
     * processor's cache). */
    EMBEDDER_RUN_TOKENS = 256,
    /* Texts of one embedder_model_embed call, at most. */
    EMBEDDER_TEXTS_MAX = 2048,
};

typedef struct embedder_model embedder_model;

/*
 * Load a model.  For ONNX models file descriptor 2 points at /dev/null for a fraction of a second
 * (the runtime prints its schema table there), so load before other threads have something to say.
 *
 * MODEL_UNAVAILABLE  a file is missing, differs from its manifest, or the runtime refuses it.
 * NO_MEMORY          not enough memory.
 */
weir_code embedder_model_open(const weir_model *model, embedder_model **ret_model,
    weir_error *reterr) WEIR_MUST_CHECK;
void embedder_model_close(embedder_model **model_p);
const weir_model *embedder_model_facts(const embedder_model *model);

/*
 * Embed `count` texts (1..EMBEDDER_TEXTS_MAX) into out[count * dimension], each vector of length 1.
 * token_counts (count entries, may be NULL) gets the tokens of each text as embedded, special ones
 * included; a text over the model's max_tokens is cut off there.  Texts of like length are run
 * together, so callers need not sort.  Blocks for the whole computation (about 0.2 ms a token on
 * one core for all-minilm-l6-v2).
 *
 * INVALID_ARGUMENT  a text is empty or not UTF-8 (the message gives its index).
 * EMBED_FAILED      the runtime failed or gave numbers that are not finite.
 * NO_MEMORY         not enough memory.
 */
weir_code embedder_model_embed(const embedder_model *model, const weir_bytes *texts, size_t count,
    float *out, uint32_t *token_counts, weir_error *reterr) WEIR_MUST_CHECK;

#endif
