/* Goal: the real model gives good vectors, from any number of threads, and its failures have names.
 * Method: sentences with known meaning, threads that compare, files that are missing or altered. */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
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

#include "common/base/hash.h"
#include "common/base/id.h"
#include "services/embedder/embed.h"

enum { DIMENSION = 384, THREADS = 4 };

static embedder_model *shared; /* NULL: no model on this host */
static weir_model shared_facts;

static void
need_model(void)
{
    if (shared != NULL)
        return;
    print_message("[  SKIPPED ] no model here\n");
    skip();
}

static double
dot(const float *left, const float *right)
{
    double sum = 0.0;

    for (size_t i = 0; i < DIMENSION; i++)
        sum += (double)left[i] * (double)right[i];
    return sum;
}

static void
embed(const char *const *texts, size_t count, float *out, uint32_t *counts)
{
    weir_bytes bytes[64];
    weir_error error = { 0 };

    for (size_t i = 0; i < count; i++)
        bytes[i] = weir_bytes_str(texts[i]);
    if (embedder_model_embed(shared, bytes, count, out, counts, &error) != WEIR_OK)
        fail_msg("%s", error.message);
}

static void
meaning_is_near_and_vectors_have_length_one(void **state)
{
    static const char *const texts[] = { "How do I hand a package over to somebody else?",
        "Orphaning a package: transfer maintenance to another developer.",
        "The soup is made of tomatoes and basil." };
    static float vectors[3 * DIMENSION];
    uint32_t counts[3];

    need_model();
    embed(texts, 3, vectors, counts);
    for (size_t i = 0; i < 3; i++)
        assert_true(fabs(dot(vectors + i * DIMENSION, vectors + i * DIMENSION) - 1.0) < 1e-5);
    assert_true(dot(vectors, vectors + DIMENSION) > 0.4);
    assert_true(dot(vectors, vectors + 2 * DIMENSION) < 0.15);
    assert_int_equal(counts[0], 13);
}

static void
a_vector_is_the_same_alone_and_in_a_batch_of_mixed_lengths(void **state)
{
    static char longer[3000];
    static const char *const texts[] = { "short", longer, "a sentence of some more words than that",
        "x" };
    static float together[4 * DIMENSION];
    static float alone[DIMENSION];

    need_model();
    for (size_t i = 0; i + 1 < sizeof longer; i++)
        longer[i] = i % 5 == 4 ? ' ' : (char)('a' + i % 7);
    embed(texts, 4, together, NULL);
    for (size_t i = 0; i < 4; i++) {
        embed(texts + i, 1, alone, NULL);
        assert_true(dot(alone, together + i * DIMENSION) > 0.99999);
    }
}

static void
a_text_over_the_limit_is_cut_there(void **state)
{
    static char text[20000];
    static const char *const texts[] = { text };
    static float vector[DIMENSION];
    uint32_t count = 0;

    need_model();
    for (size_t i = 0; i + 1 < sizeof text; i++)
        text[i] = i % 2 == 0 ? 'a' : ' ';
    embed(texts, 1, vector, &count);
    assert_int_equal(count, shared_facts.max_tokens);
}

static void *
embed_in_thread(void *argument)
{
    static const char *const texts[] = { "one text", "another one, that is a little longer",
        "[SEP]", "\xe4\xb8\xad" };
    float *const out = argument;

    for (int round = 0; round < 8; round++)
        embed(texts, 4, out, NULL);
    return NULL;
}

static void
threads_share_one_session_and_get_the_same_vectors(void **state)
{
    static float out[THREADS][4 * DIMENSION];
    pthread_t threads[THREADS];

    need_model();
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, embed_in_thread, out[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 1; i < THREADS; i++)
        assert_memory_equal(out[i], out[0], sizeof out[0]);
}

typedef struct altered {
    char folder[64];
    char onnx[128];
    char vocab[128];
} altered;

/* A model folder of its own with this model.onnx (NULL: none) and the real vocabulary. */
static altered
make_altered(const char *onnx, weir_model *ret_model)
{
    altered made = { .folder = "/tmp/weir-embed-XXXXXX" };
    char real[WEIR_MODEL_PATH_BYTES_MAX + 16];

    assert_non_null(mkdtemp(made.folder));
    (void)snprintf(made.onnx, sizeof made.onnx, "%s/model.onnx", made.folder);
    (void)snprintf(made.vocab, sizeof made.vocab, "%s/vocab.txt", made.folder);
    assert_true(weir_model_file(&shared_facts, "vocab.txt", real, sizeof real));
    char *const absolute = realpath(real, NULL);

    assert_non_null(absolute);
    assert_int_equal(symlink(absolute, made.vocab), 0);
    free(absolute);
    if (onnx != NULL) {
        FILE *const file = fopen(made.onnx, "we");

        assert_non_null(file);
        (void)fputs(onnx, file);
        (void)fclose(file);
    }
    *ret_model = shared_facts;
    (void)snprintf(ret_model->folder, sizeof ret_model->folder, "%s", made.folder);
    return made;
}

static void
check_refused(const char *onnx, bool manifest_agrees, const char *expected_text)
{
    weir_model model;
    embedder_model *opened = NULL;
    weir_error error = { 0 };
    const altered made = make_altered(onnx, &model);

    if (manifest_agrees) {
        const weir_sha256_sum sum = weir_sha256(weir_bytes_str(onnx));

        weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes), model.onnx_sha256);
    }
    assert_int_equal(embedder_model_open(&model, &opened, &error), WEIR_MODEL_UNAVAILABLE);
    assert_null(opened);
    if (strstr(error.message, expected_text) == NULL)
        fail_msg("'%s' is not in '%s'", expected_text, error.message);
    (void)unlink(made.onnx);
    (void)unlink(made.vocab);
    (void)rmdir(made.folder);
}

static void
missing_altered_and_broken_files_are_model_unavailable(void **state)
{
    need_model();
    check_refused(NULL, false, "cannot be read");
    check_refused("", false, "cannot be read");
    check_refused("not the model", false, "differs from its manifest");
    check_refused("not the model", true, "onnxruntime: ");
}

static void
standard_error_is_open_again_after_loading(void **state)
{
    struct stat before;
    struct stat after;
    embedder_model *second = NULL;
    weir_error error = { 0 };

    need_model();
    assert_int_equal(fstat(STDERR_FILENO, &before), 0);
    assert_int_equal(embedder_model_open(&shared_facts, &second, &error), WEIR_OK);
    assert_int_equal(fstat(STDERR_FILENO, &after), 0);
    assert_true(before.st_ino == after.st_ino && before.st_dev == after.st_dev);
    embedder_model_close(&second);
    assert_null(second);
}

static int
load_once(void **state)
{
    weir_error error = { 0 };

    if (weir_model_find(WEIR_MODEL_DEFAULT, NULL, &shared_facts, &error) != WEIR_OK)
        return 0;
    return embedder_model_open(&shared_facts, &shared, &error) == WEIR_OK ? 0 : -1;
}

static int
close_once(void **state)
{
    embedder_model_close(&shared);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meaning_is_near_and_vectors_have_length_one),
        cmocka_unit_test(a_vector_is_the_same_alone_and_in_a_batch_of_mixed_lengths),
        cmocka_unit_test(a_text_over_the_limit_is_cut_there),
        cmocka_unit_test(threads_share_one_session_and_get_the_same_vectors),
        cmocka_unit_test(missing_altered_and_broken_files_are_model_unavailable),
        cmocka_unit_test(standard_error_is_open_again_after_loading),
    };

    return cmocka_run_group_tests(tests, load_once, close_once);
}
