/*
 * embedder_models_test.c - which models may be used, and what is said of those that may not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/embedder/models.h"

static weir_error error;

static void
a_hash_model_is_opened_once(void **state)
{
    const embedder_model *first = NULL;
    const embedder_model *second = NULL;
    embedder_models *models = embedder_models_create("/nonexistent", true);

    assert_int_equal(embedder_models_get(models, "hash-32", false, &first, &error), WEIR_OK);
    assert_int_equal(embedder_models_get(models, "hash-32", true, &second, &error), WEIR_OK);
    assert_ptr_equal(first, second);
    assert_int_equal(embedder_model_facts(first)->dimension, 32);
    assert_true(embedder_models_allow_hash(models));
    embedder_models_destroy(&models);
    assert_null(models);
}

static void
hash_models_are_refused_unless_allowed_but_for_the_fallback(void **state)
{
    const embedder_model *model = NULL;
    embedder_models *models = embedder_models_create("/nonexistent", false);

    assert_int_equal(embedder_models_get(models, "hash-32", true, &model, &error),
        WEIR_MODEL_NOT_ALLOWED);
    assert_null(model);
    assert_int_equal(embedder_models_get(models, WEIR_MODEL_FALLBACK, true, &model, &error),
        WEIR_OK);
    assert_false(embedder_models_allow_hash(models));
    embedder_models_destroy(&models);
}

static void
a_name_that_no_model_has_is_MODEL_UNKNOWN(void **state)
{
    const embedder_model *model = NULL;
    embedder_models *models = embedder_models_create(NULL, true);

    assert_int_equal(embedder_models_get(models, "word2vec", true, &model, &error),
        WEIR_MODEL_UNKNOWN);
    assert_int_equal(embedder_models_get(models, "word2vec", false, &model, &error),
        WEIR_MODEL_UNKNOWN);
    assert_int_equal(embedder_models_get(models, "hash-0", true, &model, &error),
        WEIR_MODEL_UNKNOWN);
    embedder_models_destroy(&models);
}

static void
a_model_without_its_files_is_MODEL_UNAVAILABLE(void **state)
{
    const embedder_model *model = NULL;
    embedder_models *models = embedder_models_create("/nonexistent", true);

    assert_int_equal(embedder_models_get(models, WEIR_MODEL_DEFAULT, true, &model, &error),
        WEIR_MODEL_UNAVAILABLE);
    assert_int_equal(embedder_models_get(models, WEIR_MODEL_DEFAULT, false, &model, &error),
        WEIR_MODEL_UNAVAILABLE);
    assert_false(embedder_models_has_default(models));
    embedder_models_destroy(&models);
}

/* Where the files are. */
static void
the_built_in_model_is_loaded_only_when_asked_to(void **state)
{
    const embedder_model *model = NULL;
    weir_model facts;

    if (weir_model_find(WEIR_MODEL_DEFAULT, NULL, &facts, &error) != WEIR_OK)
        skip();
    embedder_models *models = embedder_models_create(NULL, false);
    assert_int_equal(embedder_models_get(models, WEIR_MODEL_DEFAULT, false, &model, &error),
        WEIR_MODEL_UNAVAILABLE);
    assert_int_equal(embedder_models_get(models, WEIR_MODEL_DEFAULT, true, &model, &error),
        WEIR_OK);
    assert_string_equal(embedder_model_facts(model)->fingerprint, facts.fingerprint);
    assert_true(embedder_models_has_default(models));
    assert_int_equal(embedder_models_get(models, WEIR_MODEL_DEFAULT, false, &model, &error),
        WEIR_OK);
    embedder_models_destroy(&models);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_model_is_opened_once),
        cmocka_unit_test(hash_models_are_refused_unless_allowed_but_for_the_fallback),
        cmocka_unit_test(a_name_that_no_model_has_is_MODEL_UNKNOWN),
        cmocka_unit_test(a_model_without_its_files_is_MODEL_UNAVAILABLE),
        cmocka_unit_test(the_built_in_model_is_loaded_only_when_asked_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
