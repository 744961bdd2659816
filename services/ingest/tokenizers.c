/*
 * tokenizers.c - see tokenizers.h.
 */
#include "services/ingest/tokenizers.h"

#include <pthread.h>
#include <stdio.h>

typedef struct opened opened;
struct opened {
    opened *next;
    char model[WEIR_MODEL_NAME_BYTES_MAX + 1];
    weir_tokenizer *tokenizer;
};

struct ingest_tokenizers {
    pthread_mutex_t lock; /* also held while one is opened: some 20 ms, once a model */
    opened *first;
    char *model_dir;
};

ingest_tokenizers *
ingest_tokenizers_create(const char *model_dir)
{
    ingest_tokenizers *tokenizers = weir_alloc_zero(1, sizeof *tokenizers);

    pthread_mutex_init(&tokenizers->lock, NULL);
    tokenizers->model_dir = weir_strdup(model_dir != NULL ? model_dir : "");
    return tokenizers;
}

void
ingest_tokenizers_destroy(ingest_tokenizers **tokenizers_p)
{
    ingest_tokenizers *tokenizers = *tokenizers_p;

    if (tokenizers == NULL)
        return;
    for (opened *at = tokenizers->first; at != NULL;) {
        opened *next = at->next;

        weir_tokenizer_destroy(&at->tokenizer);
        weir_free(at);
        at = next;
    }
    pthread_mutex_destroy(&tokenizers->lock);
    weir_free(tokenizers->model_dir);
    weir_free(tokenizers);
    *tokenizers_p = NULL;
}

/* All hash-D count tokens alike, so they share one. */
static const char *
name_of_kind(const char *model)
{
    return weir_model_name_is_hash(model) ? WEIR_MODEL_FALLBACK : model;
}

static weir_code
open_one(ingest_tokenizers *tokenizers, const char *name, opened **ret_opened, weir_error *reterr)
{
    weir_model model;
    weir_tokenizer *tokenizer = NULL;
    weir_code code = weir_model_find(name, tokenizers->model_dir, &model, reterr);

    if (code == WEIR_OK)
        code = weir_tokenizer_open(&model, &tokenizer, reterr);
    if (code != WEIR_OK)
        return code;
    opened *made = weir_alloc_zero(1, sizeof *made);
    snprintf(made->model, sizeof made->model, "%s", model.name);
    made->tokenizer = tokenizer;
    made->next = tokenizers->first;
    tokenizers->first = made;
    *ret_opened = made;
    return WEIR_OK;
}

weir_code
ingest_tokenizers_get(ingest_tokenizers *tokenizers, const char *model,
    const weir_tokenizer **ret_tokenizer, weir_error *reterr)
{
    const char *name = name_of_kind(model);
    weir_code code = WEIR_OK;

    pthread_mutex_lock(&tokenizers->lock);
    opened *found = tokenizers->first;
    while (found != NULL && strcmp(found->model, name) != 0)
        found = found->next;
    if (found == NULL)
        code = open_one(tokenizers, name, &found, reterr);
    if (code == WEIR_OK)
        *ret_tokenizer = found->tokenizer;
    pthread_mutex_unlock(&tokenizers->lock);
    return code;
}
