/*
 * embed.c - checks what goes in and what comes out, whichever model computes.
 *
 * A vector that leaves here is finite and of length 1: the index and the cache rely on it.
 */
#include "services/embedder/embed.h"

#include <math.h>

#include "common/base/assert.h"
#include "common/base/id.h"
#include "services/embedder/encoder.h"

struct embedder_model {
    weir_model facts;
    embedder_onnx *onnx; /* NULL: hash-D */
};

weir_code
embedder_model_open(const weir_model *model, embedder_model **ret_model, weir_error *reterr)
{
    embedder_onnx *onnx = NULL;

    if (model->kind == WEIR_MODEL_ONNX) {
        const weir_code code = embedder_onnx_open(model, &onnx, reterr);

        if (code != WEIR_OK)
            return code;
    }
    *ret_model = weir_alloc_zero(1, sizeof **ret_model);
    (*ret_model)->facts = *model;
    (*ret_model)->onnx = onnx;
    return WEIR_OK;
}

void
embedder_model_close(embedder_model **model_p)
{
    if (model_p == NULL || *model_p == NULL)
        return;
    embedder_onnx_close(&(*model_p)->onnx);
    weir_free(*model_p);
    *model_p = NULL;
}

const weir_model *
embedder_model_facts(const embedder_model *model)
{
    return &model->facts;
}

static weir_code
check_texts(const weir_bytes *texts, size_t count, weir_error *reterr)
{
    for (size_t i = 0; i < count; i++) {
        if (texts[i].size == 0)
            return weir_error_set(reterr, WEIR_INVALID_ARGUMENT, "text %zu is empty", i);
        if (!weir_utf8_valid(texts[i]))
            return weir_error_set(reterr, WEIR_INVALID_ARGUMENT, "text %zu is not UTF-8", i);
    }
    return WEIR_OK;
}

/* Make a vector's length 1; false: it has none, or is not finite. */
static bool
normalize(float *vector, uint32_t dimension)
{
    double sum = 0.0;

    for (uint32_t i = 0; i < dimension; i++)
        sum += (double)vector[i] * (double)vector[i];
    if (!isfinite(sum) || sum <= 0.0)
        return false;
    const float scale = (float)(1.0 / sqrt(sum));

    for (uint32_t i = 0; i < dimension; i++)
        vector[i] *= scale;
    return true;
}

static void
embed_by_hash(const weir_model *model, const weir_bytes *texts, size_t count, float *out,
    uint32_t *token_counts)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t tokens = embedder_hash_embed(texts[i], model->dimension, model->max_tokens,
            out + i * model->dimension);

        if (token_counts != NULL)
            token_counts[i] = tokens;
    }
}

weir_code
embedder_model_embed(const embedder_model *model, const weir_bytes *texts, size_t count, float *out,
    uint32_t *token_counts, weir_error *reterr)
{
    weir_assert(count > 0 && count <= EMBEDDER_TEXTS_MAX);
    const uint32_t dimension = model->facts.dimension;
    weir_code code = check_texts(texts, count, reterr);

    if (code == WEIR_OK && model->onnx != NULL)
        code = embedder_onnx_embed(model->onnx, texts, count, out, token_counts, reterr);
    else if (code == WEIR_OK)
        embed_by_hash(&model->facts, texts, count, out, token_counts);
    for (size_t i = 0; code == WEIR_OK && i < count; i++) {
        if (!normalize(out + i * dimension, dimension))
            code = weir_error_set(reterr, WEIR_EMBED_FAILED,
                "%s gave a vector that is zero or not finite for text %zu", model->facts.name, i);
    }
    return code;
}
