/*
 * models.c - see models.h.
 */
#include "services/embedder/models.h"

#include <pthread.h>

typedef struct entry entry;
struct entry {
    entry *next;
    embedder_model *model;
};

struct embedder_models {
    pthread_mutex_t lock;         /* of the list */
    pthread_mutex_t loading_lock; /* one load at a time, and nobody who has a model waits for it */
    entry *first;
    char *model_dir;
    bool allow_hash;
};

embedder_models *
embedder_models_create(const char *model_dir, bool allow_hash)
{
    embedder_models *models = weir_alloc_zero(1, sizeof *models);

    pthread_mutex_init(&models->lock, NULL);
    pthread_mutex_init(&models->loading_lock, NULL);
    models->model_dir = weir_strdup(model_dir != NULL ? model_dir : "");
    models->allow_hash = allow_hash;
    return models;
}

void
embedder_models_destroy(embedder_models **models_p)
{
    embedder_models *models = *models_p;

    if (models == NULL)
        return;
    for (entry *at = models->first; at != NULL;) {
        entry *next = at->next;

        embedder_model_close(&at->model);
        weir_free(at);
        at = next;
    }
    pthread_mutex_destroy(&models->lock);
    pthread_mutex_destroy(&models->loading_lock);
    weir_free(models->model_dir);
    weir_free(models);
    *models_p = NULL;
}

static const embedder_model *
find(embedder_models *models, const char *name)
{
    const embedder_model *found = NULL;

    pthread_mutex_lock(&models->lock);
    for (const entry *at = models->first; at != NULL && found == NULL; at = at->next)
        if (strcmp(embedder_model_facts(at->model)->name, name) == 0)
            found = at->model;
    pthread_mutex_unlock(&models->lock);
    return found;
}

static const embedder_model *
add(embedder_models *models, embedder_model *model)
{
    entry *made = weir_alloc(sizeof *made);

    pthread_mutex_lock(&models->lock);
    *made = (entry){ .next = models->first, .model = model };
    models->first = made;
    pthread_mutex_unlock(&models->lock);
    return model;
}

static weir_code
load(embedder_models *models, const char *name, const embedder_model **ret_model,
    weir_error *reterr)
{
    weir_model facts;
    embedder_model *model = NULL;
    weir_code code = WEIR_OK;

    pthread_mutex_lock(&models->loading_lock);
    *ret_model = find(models, name); /* somebody else may have been faster */
    if (*ret_model == NULL) {
        code = weir_model_find(name, models->model_dir, &facts, reterr);
        if (code == WEIR_OK)
            code = embedder_model_open(&facts, &model, reterr);
        if (code == WEIR_OK)
            *ret_model = add(models, model);
    }
    pthread_mutex_unlock(&models->loading_lock);
    return code;
}

static weir_code
refuse_hash(const embedder_models *models, const char *name, weir_error *reterr)
{
    if (models->allow_hash || strcmp(name, WEIR_MODEL_FALLBACK) == 0)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_MODEL_NOT_ALLOWED,
        "%s makes vectors without meaning, for tests; set embedder.allow_hash_models to use it",
        name);
}

weir_code
embedder_models_get(embedder_models *models, const char *name, bool may_load,
    const embedder_model **ret_model, weir_error *reterr)
{
    const bool is_hash = weir_model_name_is_hash(name);
    const weir_code code = is_hash ? refuse_hash(models, name, reterr) : WEIR_OK;

    if (code != WEIR_OK)
        return code;
    *ret_model = find(models, name);
    if (*ret_model != NULL)
        return WEIR_OK;
    if (may_load || is_hash ||
        strcmp(name, WEIR_MODEL_DEFAULT) != 0) /* no load, or an unknown name */
        return load(models, name, ret_model, reterr);
    return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE, "%s is not loaded", name);
}

bool
embedder_models_has_default(embedder_models *models)
{
    return find(models, WEIR_MODEL_DEFAULT) != NULL;
}

bool
embedder_models_allow_hash(const embedder_models *models)
{
    return models->allow_hash;
}
