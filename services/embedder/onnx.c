/*
 * onnx.c - sentence encoders through the ONNX Runtime C API.
 *
 * One session for all threads; each runs its own batches on its own thread: threads inside the
 * session gain less on the same cores, and a spinning one costs a core while it waits.  Texts are
 * sorted by length and padded to the longest of their run, within a budget of tokens: padding costs
 * as much as text.  The arena never gives back what the largest run took, and the budget keeps that
 * at some 10 MB a thread; without the arena a run takes 15 % longer.
 */
#include <errno.h>
#include <fcntl.h>
#include <onnxruntime/onnxruntime_c_api.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/id.h"
#include "common/text/wordpiece.h"
#include "services/embedder/embed.h"
#include "services/embedder/encoder.h"

struct embedder_onnx {
    const OrtApi *api;
    OrtEnv *environment;
    OrtSession *session;
    OrtMemoryInfo *memory;
    weir_wordpiece *wordpiece;
    uint32_t dimension;
    uint32_t max_tokens;
};

/* The texts of one call as token ids, end to end. */
typedef struct encoded {
    uint32_t *ids;
    size_t *starts;   /* by text */
    uint32_t *counts; /* by text */
    size_t *order;    /* texts by falling length */
    size_t count;
} encoded;

/* ---- the runtime's errors ---- */

static weir_code
code_of_failure(OrtErrorCode failure, const char *text, weir_code otherwise)
{
    if (strstr(text, "bad_alloc") != NULL || strstr(text, "allocate memory") != NULL)
        return WEIR_NO_MEMORY;
    return failure == ORT_NO_SUCHFILE || failure == ORT_NO_MODEL ||
            failure == ORT_INVALID_PROTOBUF || failure == ORT_INVALID_GRAPH ||
            failure == ORT_NOT_IMPLEMENTED
        ? WEIR_MODEL_UNAVAILABLE
        : otherwise;
}

/* Translate and free a status; NULL is success. */
static weir_code
check(const OrtApi *api, OrtStatus *status, weir_code otherwise, weir_error *reterr)
{
    if (status == NULL)
        return WEIR_OK;
    const char *const text = api->GetErrorMessage(status);
    const weir_code code = weir_error_set(reterr,
        code_of_failure(api->GetErrorCode(status), text, otherwise), "onnxruntime: %s", text);

    api->ReleaseStatus(status);
    return code;
}

static void ORT_API_CALL
ignore_log(void *context, OrtLoggingLevel severity, const char *category, const char *id,
    const char *location, const char *message)
{
    (void)context, (void)severity, (void)category, (void)id, (void)location, (void)message;
}

/* ---- loading ---- */

typedef struct mapping {
    void *data;
    size_t size;
} mapping;

static weir_code
map_file(const char *path, mapping *ret_mapping, weir_error *reterr)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat found;

    if (fd < 0 || fstat(fd, &found) != 0 || found.st_size <= 0) {
        if (fd >= 0)
            (void)close(fd);
        return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE, "%s cannot be read; run `make model`",
            path);
    }
    ret_mapping->size = (size_t)found.st_size;
    ret_mapping->data = mmap(NULL, ret_mapping->size, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (ret_mapping->data == MAP_FAILED)
        return weir_error_set(reterr, WEIR_NO_MEMORY, "%s: mmap: %s", path, strerror(errno));
    return WEIR_OK;
}

/* The bytes must be those of the manifest: vectors of other weights would look right and be wrong.
 */
static weir_code
check_sha256(const mapping *file, const char *path, const char *expected, weir_error *reterr)
{
    char hex[2 * WEIR_SHA256_SIZE + 1];
    const weir_sha256_sum sum = weir_sha256(weir_bytes_of(file->data, file->size));

    weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes), hex);
    if (strcmp(hex, expected) == 0)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE,
        "%s differs from its manifest; remove its folder and run `make model`", path);
}

static weir_code
make_options(embedder_onnx *self, OrtSessionOptions **ret_options, weir_error *reterr)
{
    const OrtApi *const api = self->api;
    OrtSessionOptions *options = NULL;
    OrtStatus *status = api->CreateSessionOptions(&options);

    if (status == NULL)
        status = api->SetIntraOpNumThreads(options, 1);
    if (status == NULL)
        status = api->SetInterOpNumThreads(options, 1);
    if (status == NULL)
        status = api->SetSessionExecutionMode(options, ORT_SEQUENTIAL);
    if (status == NULL)
        status = api->SetSessionGraphOptimizationLevel(options, ORT_ENABLE_ALL);
    if (status == NULL)
        status = api->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0");
    if (status == NULL)
        status = api->DisableMemPattern(options); /* one plan for each shape, and shapes vary */
    if (status == NULL)                           /* weights outside the arena: 20 MB less */
        status = api->AddSessionConfigEntry(options,
            "session.use_device_allocator_for_initializers", "1");
    const weir_code code = check(api, status, WEIR_MODEL_UNAVAILABLE, reterr);

    if (code == WEIR_OK)
        *ret_options = options;
    else if (options != NULL)
        api->ReleaseSessionOptions(options);
    return code;
}

/*
 * The first session of a process prints 116 KB about its operator schemas to file descriptor 2,
 * past every logger.  So that descriptor points at /dev/null while one is made.
 */
static OrtStatus *
create_session_quietly(embedder_onnx *self, const mapping *file, const OrtSessionOptions *options)
{
    static pthread_mutex_t only_one = PTHREAD_MUTEX_INITIALIZER;

    (void)pthread_mutex_lock(&only_one);
    const int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (kept >= 0 && nowhere >= 0)
        (void)dup2(nowhere, STDERR_FILENO);
    OrtStatus *const status = self->api->CreateSessionFromArray(self->environment, file->data,
        file->size, options, &self->session);

    if (kept >= 0 && nowhere >= 0)
        (void)dup2(kept, STDERR_FILENO);
    if (nowhere >= 0)
        (void)close(nowhere);
    if (kept >= 0)
        (void)close(kept);
    (void)pthread_mutex_unlock(&only_one);
    return status;
}

static weir_code
create_session(embedder_onnx *self, const mapping *file, weir_error *reterr)
{
    const OrtApi *const api = self->api;
    OrtSessionOptions *options = NULL;
    OrtStatus *status = api->CreateEnvWithCustomLogger(ignore_log, NULL, ORT_LOGGING_LEVEL_FATAL,
        "weir", &self->environment);

    if (status == NULL)
        status = api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &self->memory);
    weir_code code = check(api, status, WEIR_MODEL_UNAVAILABLE, reterr);

    if (code == WEIR_OK)
        code = make_options(self, &options, reterr);
    if (code == WEIR_OK) {
        code =
            check(api, create_session_quietly(self, file, options), WEIR_MODEL_UNAVAILABLE, reterr);
        api->ReleaseSessionOptions(options);
    }
    return code;
}

static weir_code
load_network(embedder_onnx *self, const weir_model *model, weir_error *reterr)
{
    char path[WEIR_MODEL_PATH_BYTES_MAX + 16];
    mapping file = { 0 };

    if (!weir_model_file(model, "model.onnx", path, sizeof path))
        return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE, "the path of %s is too long",
            model->name);
    weir_code code = map_file(path, &file, reterr);

    if (code != WEIR_OK)
        return code;
    code = check_sha256(&file, path, model->onnx_sha256, reterr);
    if (code == WEIR_OK)
        code = create_session(self, &file, reterr);
    (void)munmap(file.data, file.size);
    return code;
}

weir_code
embedder_onnx_open(const weir_model *model, embedder_onnx **ret_onnx, weir_error *reterr)
{
    char path[WEIR_MODEL_PATH_BYTES_MAX + 16];
    embedder_onnx *self = weir_alloc_zero(1, sizeof *self);
    weir_code code = WEIR_OK;

    self->dimension = model->dimension;
    self->max_tokens = model->max_tokens;
    self->api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (self->api == NULL)
        code = weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE,
            "the ONNX Runtime here is older than the one that weir was built with");
    if (code == WEIR_OK && !weir_model_file(model, "vocab.txt", path, sizeof path))
        code = weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE, "the path of %s is too long",
            model->name);
    if (code == WEIR_OK)
        code = weir_wordpiece_open(path, &self->wordpiece, reterr);
    if (code == WEIR_OK)
        code = load_network(self, model, reterr);
    if (code == WEIR_OK)
        *ret_onnx = self;
    else
        embedder_onnx_close(&self);
    return code;
}

void
embedder_onnx_close(embedder_onnx **onnx_p)
{
    embedder_onnx *const self = onnx_p == NULL ? NULL : *onnx_p;

    if (self == NULL)
        return;
    if (self->session != NULL)
        self->api->ReleaseSession(self->session);
    if (self->memory != NULL)
        self->api->ReleaseMemoryInfo(self->memory);
    if (self->environment != NULL)
        self->api->ReleaseEnv(self->environment);
    weir_wordpiece_destroy(&self->wordpiece);
    weir_free(self);
    *onnx_p = NULL;
}

/* ---- embedding ---- */

static int
by_falling_count(const void *left, const void *right, void *context)
{
    const encoded *const all = context;
    const size_t a = *(const size_t *)left;
    const size_t b = *(const size_t *)right;

    if (all->counts[a] != all->counts[b])
        return all->counts[a] < all->counts[b] ? 1 : -1;
    return a < b ? -1 : a > b; /* the same batches on each run */
}

static encoded
encode_texts(const embedder_onnx *self, const weir_bytes *texts, size_t count)
{
    encoded all = { .count = count };
    weir_token *tokens = weir_alloc(self->max_tokens * sizeof *tokens);
    size_t used = 0;

    all.ids = weir_alloc(count * self->max_tokens * sizeof *all.ids);
    all.starts = weir_alloc(count * sizeof *all.starts);
    all.counts = weir_alloc(count * sizeof *all.counts);
    all.order = weir_alloc(count * sizeof *all.order);
    for (size_t i = 0; i < count; i++) {
        all.starts[i] = used;
        all.order[i] = i;
        all.counts[i] = (uint32_t)weir_wordpiece_encode(self->wordpiece, texts[i], tokens,
            self->max_tokens, NULL);
        for (uint32_t t = 0; t < all.counts[i]; t++)
            all.ids[used++] = tokens[t].id;
    }
    qsort_r(all.order, count, sizeof *all.order, by_falling_count, &all);
    weir_free(tokens);
    return all;
}

static void
free_encoded(encoded *all)
{
    weir_free(all->ids);
    weir_free(all->starts);
    weir_free(all->counts);
    weir_free(all->order);
}

/* How many texts from `first` on fit one run when padded to the first, which is the longest. */
static size_t
rows_of_run(const encoded *all, size_t first)
{
    const size_t fit = EMBEDDER_RUN_TOKENS / all->counts[all->order[first]];
    const size_t left = all->count - first;

    return fit == 0 ? 1 : fit < left ? fit : left;
}

static void
fill_rows(const embedder_onnx *self, const encoded *all, size_t first, size_t rows, int64_t *ids,
    int64_t *mask)
{
    const size_t width = all->counts[all->order[first]];

    for (size_t row = 0; row < rows; row++) {
        const size_t text = all->order[first + row];

        for (size_t t = 0; t < width; t++) {
            const bool is_token = t < all->counts[text];

            ids[row * width + t] =
                is_token ? all->ids[all->starts[text] + t] : weir_wordpiece_pad_id(self->wordpiece);
            mask[row * width + t] = is_token;
        }
    }
}

static OrtStatus *
wrap(const embedder_onnx *self, void *data, size_t size, ONNXTensorElementDataType type,
    size_t rows, size_t width, OrtValue **ret_value)
{
    const int64_t shape[2] = { (int64_t)rows, (int64_t)width };

    return self->api->CreateTensorWithDataAsOrtValue(self->memory, data, size, shape, 2, type,
        ret_value);
}

/* One run of the network over memory of ours, in and out. */
static weir_code
run_network(const embedder_onnx *self, int64_t *ids, int64_t *mask, float *out, size_t rows,
    size_t width, weir_error *reterr)
{
    static const char *const input_names[] = { "input_ids", "attention_mask" };
    static const char *const output_names[] = { "sentence_embedding" };
    const size_t input_size = rows * width * sizeof *ids;
    const size_t output_size = rows * self->dimension * sizeof *out;
    OrtValue *values[3] = { NULL, NULL, NULL };
    OrtStatus *status =
        wrap(self, ids, input_size, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, rows, width, &values[0]);

    if (status == NULL)
        status = wrap(self, mask, input_size, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, rows, width,
            &values[1]);
    if (status == NULL)
        status = wrap(self, out, output_size, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, rows,
            self->dimension, &values[2]);
    if (status == NULL)
        status = self->api->Run(self->session, NULL, input_names, (const OrtValue *const *)values,
            2, output_names, 1, &values[2]);
    for (int i = 0; i < 3; i++) {
        if (values[i] != NULL)
            self->api->ReleaseValue(values[i]);
    }
    return check(self->api, status, WEIR_EMBED_FAILED, reterr);
}

static weir_code
embed_run(const embedder_onnx *self, const encoded *all, size_t first, size_t rows, float *out,
    weir_error *reterr)
{
    const size_t width = all->counts[all->order[first]];
    int64_t *const ids = weir_alloc(2 * rows * width * sizeof *ids);
    int64_t *const mask = ids + rows * width;
    float *const vectors = weir_alloc(rows * self->dimension * sizeof *vectors);

    fill_rows(self, all, first, rows, ids, mask);
    const weir_code code = run_network(self, ids, mask, vectors, rows, width, reterr);

    for (size_t row = 0; code == WEIR_OK && row < rows; row++)
        memcpy(out + all->order[first + row] * self->dimension, vectors + row * self->dimension,
            self->dimension * sizeof *out);
    weir_free(vectors);
    weir_free(ids);
    return code;
}

weir_code
embedder_onnx_embed(const embedder_onnx *onnx, const weir_bytes *texts, size_t count, float *out,
    uint32_t *token_counts, weir_error *reterr)
{
    encoded all = encode_texts(onnx, texts, count);
    weir_code code = WEIR_OK;

    for (size_t first = 0; code == WEIR_OK && first < count;) {
        const size_t rows = rows_of_run(&all, first);

        code = embed_run(onnx, &all, first, rows, out, reterr);
        first += rows;
    }
    for (size_t i = 0; code == WEIR_OK && token_counts != NULL && i < count; i++)
        token_counts[i] = all.counts[i];
    free_encoded(&all);
    return code;
}
