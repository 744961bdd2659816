/*
 * embed_bench - tokens per CPU second of the built-in model on this machine.
 *
 * usage: embed_bench [SECONDS [THREADS [FILE [BYTES]]]]
 *
 * Two figures from the same run: the bare runtime (one thread, no tokenizer, no padding, texts of
 * the mean length, as many as fit a run), and embedder_model_embed over pieces of BYTES of FILE (by
 * default a text made here) on THREADS threads.  Tokens are those of the texts; padding is not
 * counted.
 */
#include <onnxruntime/onnxruntime_c_api.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/text/tokens.h"
#include "services/embedder/embed.h"

enum { TEXTS_PER_CALL = 64, THREADS_MAX = 64, TEXT_BYTES = 500, TEXT_BYTES_MAX = 4000 };

static const OrtApi *api;

static void
must(OrtStatus *status)
{
    if (status == NULL)
        return;
    (void)fprintf(stderr, "%s\n", api->GetErrorMessage(status));
    exit(1);
}

static OrtValue *
tensor(OrtMemoryInfo *memory, void *data, size_t size, ONNXTensorElementDataType type, int64_t rows,
    int64_t width)
{
    const int64_t shape[2] = { rows, width };
    OrtValue *value = NULL;

    must(api->CreateTensorWithDataAsOrtValue(memory, data, size, shape, 2, type, &value));
    return value;
}

static OrtSession *
bare_session(const weir_model *model)
{
    char path[WEIR_MODEL_PATH_BYTES_MAX + 16];
    OrtEnv *environment = NULL;
    OrtSessionOptions *options = NULL;
    OrtSession *session = NULL;

    (void)weir_model_file(model, "model.onnx", path, sizeof path);
    must(api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "bench", &environment));
    must(api->CreateSessionOptions(&options));
    must(api->SetIntraOpNumThreads(options, 1));
    must(api->CreateSession(environment, path, options, &session));
    return session;
}

static double
bare_tokens_per_cpu_second(const weir_model *model, int64_t duration_us, int64_t rows,
    int64_t width)
{
    static int64_t ids[2048];
    static int64_t mask[2048];
    static float out[2048 * 512];
    const size_t input_size = (size_t)(rows * width) * sizeof *ids;
    const char *const inputs[] = { "input_ids", "attention_mask" };
    const char *const outputs[] = { "sentence_embedding" };
    OrtMemoryInfo *memory = NULL;
    weir_rng rng = { .state = 1 };
    int64_t runs = 0;

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        ids[i] = 1000 + (int64_t)weir_rng_below(&rng, 20000);
        mask[i] = 1;
    }
    api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    OrtSession *const session = bare_session(model);

    must(api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
    OrtValue *values[3] = {
        tensor(memory, ids, input_size, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, rows, width),
        tensor(memory, mask, input_size, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, rows, width),
        tensor(memory, out, (size_t)rows * model->dimension * sizeof *out,
            ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, rows, model->dimension),
    };
    const int64_t begin_us = weir_clock_thread_cpu_us();

    do {
        must(api->Run(session, NULL, inputs, (const OrtValue *const *)values, 2, outputs, 1,
            &values[2]));
        runs++;
    } while (weir_clock_thread_cpu_us() - begin_us < duration_us);
    return (double)(runs * rows * width) * 1e6 / (double)(weir_clock_thread_cpu_us() - begin_us);
}

typedef struct worker {
    const embedder_model *model;
    const weir_bytes *texts;
    size_t text_count;
    int64_t duration_us;
    int64_t cpu_us;
    uint64_t tokens;
} worker;

static void *
work(void *argument)
{
    worker *const self = argument;
    const uint32_t dimension = embedder_model_facts(self->model)->dimension;
    float *const out = weir_alloc(TEXTS_PER_CALL * dimension * sizeof *out);
    uint32_t counts[TEXTS_PER_CALL];
    const int64_t begin_us = weir_clock_thread_cpu_us();
    weir_error error = { 0 };
    size_t at = 0;

    do {
        const size_t left = self->text_count - at;
        const size_t count = left < TEXTS_PER_CALL ? left : TEXTS_PER_CALL;

        if (embedder_model_embed(self->model, self->texts + at, count, out, counts, &error) !=
            WEIR_OK) {
            (void)fprintf(stderr, "%s\n", error.message);
            exit(1);
        }
        for (size_t i = 0; i < count; i++)
            self->tokens += counts[i];
        at = (at + count) % self->text_count;
        self->cpu_us = weir_clock_thread_cpu_us() - begin_us;
    } while (self->cpu_us < self->duration_us);
    weir_free(out);
    return NULL;
}

static void
through_library(const embedder_model *model, const weir_bytes *texts, size_t count,
    int64_t duration_us, size_t threads, double bare)
{
    pthread_t ids[THREADS_MAX];
    worker workers[THREADS_MAX];
    const int64_t begin_us = weir_clock_mono_us();
    uint64_t tokens = 0;
    int64_t cpu_us = 0;

    for (size_t i = 0; i < threads; i++) {
        workers[i] = (worker){ .model = model,
            .texts = texts,
            .text_count = count,
            .duration_us = duration_us };
        (void)pthread_create(&ids[i], NULL, work, &workers[i]);
    }
    for (size_t i = 0; i < threads; i++) {
        (void)pthread_join(ids[i], NULL);
        tokens += workers[i].tokens;
        cpu_us += workers[i].cpu_us;
    }
    const double wall = (double)(weir_clock_mono_us() - begin_us) / 1e6;
    const double rate = (double)tokens * 1e6 / (double)cpu_us;

    (void)printf("embedder_model_embed on %zu threads: %.0f tokens per CPU second (%.3f of bare), "
                 "%.0f per second\n",
        threads, rate, rate / bare, (double)tokens / wall);
}

/* Pieces of a file, or of words made up. */
static size_t
make_texts(const char *path, size_t piece, char *memory, size_t size, weir_bytes *texts, size_t max)
{
    FILE *const file = path == NULL ? NULL : fopen(path, "re");
    weir_rng rng = { .state = 2 };
    size_t used = 0;
    size_t count = 0;

    if (file != NULL) {
        used = fread(memory, 1, size, file);
        (void)fclose(file);
    }
    while (file == NULL && used + 16 < size) {
        for (uint64_t letters = 2 + weir_rng_below(&rng, 7); letters > 0; letters--)
            memory[used++] = (char)('a' + weir_rng_below(&rng, 26));
        memory[used++] = ' ';
    }
    for (size_t at = 0; at + piece <= used && count < max; at += piece) {
        for (size_t i = at; i < at + piece; i++)
            memory[i] = (memory[i] & 0x80) != 0 ? '?' : memory[i]; /* no character is cut */
        texts[count++] = weir_bytes_of(memory + at, piece);
    }
    return count;
}

static int64_t
mean_tokens(const weir_model *model, const weir_bytes *texts, size_t count)
{
    weir_tokenizer *tokenizer = NULL;
    uint64_t total = 0;

    if (weir_tokenizer_open(model, &tokenizer, NULL) != WEIR_OK)
        exit(1);
    for (size_t i = 0; i < count; i++) {
        const uint64_t tokens = weir_tokenizer_count(tokenizer, texts[i]);

        total += tokens < model->max_tokens ? tokens : model->max_tokens;
    }
    weir_tokenizer_destroy(&tokenizer);
    return (int64_t)(total / count);
}

int
main(int argc, char **argv)
{
    static char memory[1 << 18];
    static weir_bytes texts[256];
    const int64_t duration_us = (argc > 1 ? atoi(argv[1]) : 3) * INT64_C(1000000);
    const size_t threads = argc > 2 ? (size_t)atoi(argv[2]) : 1;
    const int piece = argc > 4 ? atoi(argv[4]) : TEXT_BYTES;
    weir_error error = { 0 };
    weir_model facts;
    embedder_model *model = NULL;

    if (threads < 1 || threads > THREADS_MAX || piece < 1 || piece > TEXT_BYTES_MAX ||
        weir_model_find(WEIR_MODEL_DEFAULT, NULL, &facts, &error) != WEIR_OK ||
        embedder_model_open(&facts, &model, &error) != WEIR_OK) {
        (void)fprintf(stderr, "embed_bench: %s\n", error.message);
        return 1;
    }
    const size_t count =
        make_texts(argc > 3 ? argv[3] : NULL, (size_t)piece, memory, sizeof memory, texts, 256);
    const int64_t width = mean_tokens(&facts, texts, count);
    const int64_t rows = width < EMBEDDER_RUN_TOKENS ? EMBEDDER_RUN_TOKENS / width : 1;
    const double bare = bare_tokens_per_cpu_second(&facts, duration_us, rows, width);

    (void)printf("bare runtime, %d x %d tokens: %.0f tokens per CPU second\n", (int)rows,
        (int)width, bare);
    through_library(model, texts, count, duration_us, threads, bare);
    embedder_model_close(&model);
    return 0;
}
