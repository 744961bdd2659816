/* Goal: names, folders, fingerprints and chunking.  Method: model folders made for the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/text/models.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define MANIFEST(dimension_, onnx_, licence_)                                                  \
    "{\"name\": \"all-minilm-l6-v2\", \"dimension\": " dimension_                              \
    ", \"max_tokens\": 256, \"language\": \"en\","                                             \
    "\"licence\": \"" licence_ "\", \"pooling\": \"mean\", \"normalised\": true, \"files\": {" \
    "\"model.onnx\": {\"bytes\": 1, \"sha256\": \"" onnx_                                      \
    "\"}, \"vocab.txt\": {\"sha256\": \"" SHA_B "\"}}}"

typedef struct folder {
    char root[64];
    char model[128];
    char manifest[192];
} folder;

static folder
make_folder(const char *manifest)
{
    folder made = { .root = "/tmp/weir-models-XXXXXX" };

    assert_non_null(mkdtemp(made.root));
    (void)snprintf(made.model, sizeof made.model, "%s/all-minilm-l6-v2", made.root);
    (void)snprintf(made.manifest, sizeof made.manifest, "%s/manifest.json", made.model);
    assert_int_equal(mkdir(made.model, 0700), 0);
    FILE *const file = fopen(made.manifest, "we");

    assert_non_null(file);
    (void)fputs(manifest, file);
    (void)fclose(file);
    return made;
}

static void
remove_folder(const folder *made)
{
    (void)unlink(made->manifest);
    (void)rmdir(made->model);
    (void)rmdir(made->root);
}

static void
find_in(const char *manifest, weir_model *ret_model, weir_code expected)
{
    const folder made = make_folder(manifest);
    weir_error error = { 0 };

    assert_int_equal(weir_model_find(WEIR_MODEL_DEFAULT, made.root, ret_model, &error), expected);
    remove_folder(&made);
}

static void
hash_models_are_known_by_their_dimension(void **state)
{
    weir_model model;
    weir_model other;
    weir_error error = { 0 };

    assert_int_equal(weir_model_find("hash-384", NULL, &model, &error), WEIR_OK);
    assert_int_equal(model.kind, WEIR_MODEL_HASH);
    assert_int_equal(model.dimension, 384);
    assert_int_equal(model.max_tokens, 256);
    assert_int_equal(model.overlap_tokens, 32);
    assert_string_equal(model.name, "hash-384");
    assert_string_equal(model.language, "");
    assert_int_equal(strlen(model.fingerprint), 64);
    assert_int_equal(weir_model_find("hash-385", NULL, &other, &error), WEIR_OK);
    assert_string_not_equal(model.fingerprint, other.fingerprint);
}

static void
other_names_are_model_unknown(void **state)
{
    static const char *const names[] = { "", "hash", "hash-", "hash-7", "hash-4097", "hash-08",
        "hash-0384", "hash-384x", "hash--384", "hash-99999999999999999999", "HASH-384",
        "all-minilm", "../all-minilm-l6-v2" };
    weir_model model;
    weir_error error = { 0 };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(weir_model_find(names[i], NULL, &model, &error), WEIR_MODEL_UNKNOWN);
        assert_false(weir_model_name_is_hash(names[i]));
    }
    assert_true(weir_model_name_is_hash("hash-8") && weir_model_name_is_hash("hash-4096"));
}

static void
a_manifest_gives_the_facts_of_a_model(void **state)
{
    weir_model model;

    find_in(MANIFEST("384", SHA_A, "Apache-2.0"), &model, WEIR_OK);
    assert_int_equal(model.kind, WEIR_MODEL_ONNX);
    assert_int_equal(model.dimension, 384);
    assert_int_equal(model.max_tokens, 256);
    assert_int_equal(model.overlap_tokens, 32);
    assert_string_equal(model.language, "en");
    assert_string_equal(model.metric, "cosine");
    assert_string_equal(model.onnx_sha256, SHA_A);
}

static void
the_fingerprint_names_what_decides_the_vectors_and_nothing_else(void **state)
{
    weir_model first;
    weir_model same;
    weir_model other;

    find_in(MANIFEST("384", SHA_A, "Apache-2.0"), &first, WEIR_OK);
    find_in(MANIFEST("384", SHA_A, "MIT"), &same, WEIR_OK);
    find_in(MANIFEST("384", SHA_B, "Apache-2.0"), &other, WEIR_OK);
    assert_string_equal(first.fingerprint, same.fingerprint);
    assert_string_not_equal(first.fingerprint, other.fingerprint);
}

static void
a_wrong_or_missing_manifest_is_model_unavailable(void **state)
{
    weir_model model = { .dimension = 1 };
    weir_error error = { 0 };

    find_in("", &model, WEIR_MODEL_UNAVAILABLE);
    find_in("{}", &model, WEIR_MODEL_UNAVAILABLE);
    find_in(MANIFEST("0", SHA_A, ""), &model, WEIR_MODEL_UNAVAILABLE);
    find_in(MANIFEST("5000", SHA_A, ""), &model, WEIR_MODEL_UNAVAILABLE);
    find_in(MANIFEST("\"384\"", SHA_A, ""), &model,
        WEIR_OK); /* a number in quotes is read all the same */
    assert_int_equal(weir_model_find(WEIR_MODEL_DEFAULT, "/does/not/exist", &model, &error),
        WEIR_MODEL_UNAVAILABLE);
    assert_non_null(strstr(error.message, "make model"));
}

static void
the_environment_names_the_folder_when_the_configuration_does_not(void **state)
{
    const folder made = make_folder(MANIFEST("384", SHA_A, ""));
    weir_model model;
    weir_error error = { 0 };

    assert_int_equal(setenv("WEIR_MODEL_DIR", made.root, 1), 0);
    assert_int_equal(weir_model_find(WEIR_MODEL_DEFAULT, "", &model, &error), WEIR_OK);
    assert_string_equal(model.folder, made.model);
    assert_int_equal(setenv("WEIR_MODEL_DIR", "/does/not/exist", 1), 0);
    assert_int_equal(weir_model_find(WEIR_MODEL_DEFAULT, NULL, &model, &error),
        WEIR_MODEL_UNAVAILABLE);
    assert_int_equal(unsetenv("WEIR_MODEL_DIR"), 0);
    remove_folder(&made);
}

static void
a_folder_that_is_too_long_is_model_unavailable(void **state)
{
    char folder_name[2000];
    weir_model model;
    weir_error error = { 0 };

    memset(folder_name, 'x', sizeof folder_name - 1);
    folder_name[sizeof folder_name - 1] = '\0';
    assert_int_equal(weir_model_find(WEIR_MODEL_DEFAULT, folder_name, &model, &error),
        WEIR_MODEL_UNAVAILABLE);
}

static void
chunking_gets_its_defaults_and_its_bounds(void **state)
{
    const weir_model model = { .name = "m", .max_tokens = 256 };
    weir_error error = { 0 };
    uint32_t max = 0;
    uint32_t overlap = 0;

    assert_int_equal(weir_model_chunking(&model, &max, &overlap, &error), WEIR_OK);
    assert_int_equal(max, 256);
    assert_int_equal(overlap, 32);
    max = 257;
    assert_int_equal(weir_model_chunking(&model, &max, &overlap, &error), WEIR_INVALID_ARGUMENT);
    assert_string_equal(error.field, "collection.chunking.max_tokens");
    max = 15;
    assert_int_equal(weir_model_chunking(&model, &max, &overlap, &error), WEIR_INVALID_ARGUMENT);
    max = 64;
    assert_int_equal(weir_model_chunking(&model, &max, &overlap, &error), WEIR_INVALID_ARGUMENT);
    assert_string_equal(error.field, "collection.chunking.overlap_tokens");
    overlap = 31;
    assert_int_equal(weir_model_chunking(&model, &max, &overlap, &error), WEIR_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_models_are_known_by_their_dimension),
        cmocka_unit_test(other_names_are_model_unknown),
        cmocka_unit_test(a_manifest_gives_the_facts_of_a_model),
        cmocka_unit_test(the_fingerprint_names_what_decides_the_vectors_and_nothing_else),
        cmocka_unit_test(a_wrong_or_missing_manifest_is_model_unavailable),
        cmocka_unit_test(the_environment_names_the_folder_when_the_configuration_does_not),
        cmocka_unit_test(a_folder_that_is_too_long_is_model_unavailable),
        cmocka_unit_test(chunking_gets_its_defaults_and_its_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
