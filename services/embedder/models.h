/*
 * models.h - the models that this process embeds with, loaded once and shared by document work and
 * queries.
 *
 * Threads: any.
 */
#ifndef WEIR_EMBEDDER_MODELS_H
#define WEIR_EMBEDDER_MODELS_H

#include "services/embedder/embed.h"

typedef struct embedder_models embedder_models;

/* model_dir: as weir_model_find; copied.  allow_hash: hash-D may be used; hash-384 always may,
 * since it is what collections got while the built-in model was missing. */
embedder_models *embedder_models_create(const char *model_dir, bool allow_hash);
/* Nobody uses a model any more.  Accepts NULL. */
void embedder_models_destroy(embedder_models **models_p);

/*
 * The model of that name, borrowed; it lives as long as `models`.  may_load: a built-in model that
 * is not loaded yet is (blocks for half a second when its files are there); otherwise what is not
 * loaded is unavailable.
 *
 * MODEL_UNKNOWN      no model has this name.
 * MODEL_NOT_ALLOWED  hash-D, and the configuration does not allow it.
 * MODEL_UNAVAILABLE  its files are missing or wrong, or it is not loaded.
 */
weir_code embedder_models_get(embedder_models *models, const char *name, bool may_load,
    const embedder_model **ret_model, weir_error *reterr) WEIR_MUST_CHECK;

/* The built-in model is loaded. */
bool embedder_models_has_default(embedder_models *models);
bool embedder_models_allow_hash(const embedder_models *models);

#endif
