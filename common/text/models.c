/*
 * models.c - the catalogue.
 *
 * What decides a vector space goes into the fingerprint, and nothing else does: a changed licence
 * file or folder must not make old vectors useless.
 */
#include "common/text/models.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/text/manifest.h"

enum {
    DEFAULT_MAX_TOKENS = 256,
    OVERLAP_DIVISOR = 8,
    MANIFEST_BYTES_MAX = 64 << 10,
    TREE_LEVELS_MAX = 4, /* from a program's folder up to the source tree's top */
};

static void
set_fingerprint(weir_model *model, const char *text)
{
    const weir_sha256_sum sum = weir_sha256(weir_bytes_str(text));

    weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes), model->fingerprint);
}

/* ---- hash-D ---- */

/* D of "hash-D"; 0: not such a name, or out of range. */
static uint32_t
hash_dimension(const char *name)
{
    static const char prefix[] = "hash-";
    const char *digit = name + sizeof prefix - 1;
    uint32_t dimension = 0;

    if (strncmp(name, prefix, sizeof prefix - 1) != 0 || *digit < '1' || *digit > '9')
        return 0;
    for (; *digit >= '0' && *digit <= '9' && dimension <= WEIR_DIMENSION_MAX; digit++)
        dimension = dimension * 10 + (uint32_t)(*digit - '0');
    if (*digit != '\0' || dimension < WEIR_HASH_DIMENSION_MIN || dimension > WEIR_DIMENSION_MAX)
        return 0;
    return dimension;
}

bool
weir_model_name_is_hash(const char *name)
{
    return hash_dimension(name) != 0;
}

static void
fill_hash(uint32_t dimension, weir_model *out)
{
    char text[32];

    *out = (weir_model){
        .kind = WEIR_MODEL_HASH,
        .dimension = dimension,
        .max_tokens = DEFAULT_MAX_TOKENS,
        .overlap_tokens = DEFAULT_MAX_TOKENS / OVERLAP_DIVISOR,
        .metric = "cosine",
    };
    (void)snprintf(out->name, sizeof out->name, "hash-%u", dimension);
    (void)snprintf(text, sizeof text, "hash-v1-%u", dimension);
    set_fingerprint(out, text);
}

/* ---- the model folder ---- */

static bool
is_folder(const char *path)
{
    struct stat found;

    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

/* Cut the last component off; false: there is none. */
static bool
to_parent(char *path)
{
    char *const slash = strrchr(path, '/');

    if (slash == NULL || slash == path)
        return false;
    *slash = '\0';
    return true;
}

/* ../share/weir/models beside the running program's folder, else .model in a folder above it. */
static bool
find_near_program(char *out, size_t out_size)
{
    char folder[WEIR_MODEL_PATH_BYTES_MAX / 2];
    const ssize_t size = readlink("/proc/self/exe", folder, sizeof folder - 1);

    if (size <= 0 || (size_t)size >= sizeof folder - 1)
        return false;
    folder[size] = '\0';
    if (!to_parent(folder))
        return false;
    (void)snprintf(out, out_size, "%s/../share/weir/models", folder);
    if (is_folder(out))
        return true;
    for (int level = 0; level < TREE_LEVELS_MAX && to_parent(folder); level++) {
        (void)snprintf(out, out_size, "%s/.model", folder);
        if (is_folder(out))
            return true;
    }
    return false;
}

/* A folder that somebody named is taken as it is: falling back to another would hide the mistake.
 */
static bool
find_model_folder(const char *configured, char *out, size_t out_size)
{
    const char *const from_environment = getenv("WEIR_MODEL_DIR");
    const char *named = configured != NULL && *configured != '\0' ? configured : from_environment;

    if (named != NULL && *named != '\0')
        return snprintf(out, out_size, "%s", named) < (int)out_size;
    if (find_near_program(out, out_size))
        return true;
    (void)snprintf(out, out_size, ".model");
    return is_folder(out);
}

/* ---- models with files ---- */

bool
weir_model_file(const weir_model *model, const char *file, char *out, size_t out_size)
{
    const int size = snprintf(out, out_size, "%s/%s", model->folder, file);

    return size > 0 && (size_t)size < out_size;
}

static weir_code
read_manifest(const weir_model *model, weir_buffer *out, weir_error *reterr)
{
    char path[WEIR_MODEL_PATH_BYTES_MAX + 16];

    if (!weir_model_file(model, "manifest.json", path, sizeof path))
        return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE, "the path of %s is too long",
            model->name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE,
            "%s: %s; fetch the model with `make model`, or set WEIR_MODEL_DIR", path,
            strerror(errno));
    weir_buffer_reserve(out, MANIFEST_BYTES_MAX);
    const ssize_t size = read(fd, out->data, MANIFEST_BYTES_MAX);

    (void)close(fd);
    out->size = size > 0 ? (size_t)size : 0;
    return WEIR_OK;
}

static bool
parse_manifest(weir_bytes json, weir_model *model, char pooling[16], char vocab_sha256[65])
{
#define PATH(...)         \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }
    char name[WEIR_MODEL_NAME_BYTES_MAX + 1];

    return weir_manifest_string(json, PATH("name"), name, sizeof name) &&
        strcmp(name, model->name) == 0 &&
        weir_manifest_u32(json, PATH("dimension"), &model->dimension) &&
        weir_manifest_u32(json, PATH("max_tokens"), &model->max_tokens) &&
        weir_manifest_string(json, PATH("language"), model->language, sizeof model->language) &&
        weir_manifest_string(json, PATH("pooling"), pooling, 16) &&
        weir_manifest_true(json, PATH("normalised")) &&
        weir_manifest_string(json, PATH("files", "model.onnx", "sha256"), model->onnx_sha256, 65) &&
        weir_manifest_string(json, PATH("files", "vocab.txt", "sha256"), vocab_sha256, 65);
#undef PATH
}

static weir_code
fill_from_manifest(weir_bytes json, weir_model *model, weir_error *reterr)
{
    char pooling[16];
    char vocab_sha256[65];
    char text[512];

    if (!parse_manifest(json, model, pooling, vocab_sha256))
        return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE,
            "%s/manifest.json does not describe %s; remove the folder and run `make model`",
            model->folder, model->name);
    if (model->dimension == 0 || model->dimension > WEIR_DIMENSION_MAX ||
        model->max_tokens < WEIR_CHUNK_TOKENS_MIN)
        return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE,
            "%s/manifest.json: dimension %u or max_tokens %u is out of range", model->folder,
            model->dimension, model->max_tokens);
    model->overlap_tokens = model->max_tokens / OVERLAP_DIVISOR;
    (void)snprintf(text, sizeof text,
        "weir-model-v1\nname=%s\ndimension=%u\nmax_tokens=%u\npooling=%s\nnormalised=true\n"
        "model.onnx=%s\nvocab.txt=%s\n",
        model->name, model->dimension, model->max_tokens, pooling, model->onnx_sha256,
        vocab_sha256);
    set_fingerprint(model, text);
    return WEIR_OK;
}

static weir_code
find_onnx(const char *name, const char *model_dir, weir_model *ret_model, weir_error *reterr)
{
    weir_model model = { .kind = WEIR_MODEL_ONNX, .metric = "cosine" };
    char root[WEIR_MODEL_PATH_BYTES_MAX - WEIR_MODEL_NAME_BYTES_MAX - 1];
    weir_buffer manifest = { 0 };

    (void)snprintf(model.name, sizeof model.name, "%s", name);
    if (!find_model_folder(model_dir, root, sizeof root))
        return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE,
            "no model folder: fetch the model with `make model`, or set WEIR_MODEL_DIR");
    (void)snprintf(model.folder, sizeof model.folder, "%s/%s", root, name);
    weir_code code = read_manifest(&model, &manifest, reterr);

    if (code == WEIR_OK)
        code = fill_from_manifest(weir_buffer_view(&manifest), &model, reterr);
    if (code == WEIR_OK)
        *ret_model = model;
    weir_buffer_fini(&manifest);
    return code;
}

weir_code
weir_model_find(const char *name, const char *model_dir, weir_model *ret_model, weir_error *reterr)
{
    const uint32_t dimension = hash_dimension(name);

    if (dimension != 0) {
        fill_hash(dimension, ret_model);
        return WEIR_OK;
    }
    if (strcmp(name, WEIR_MODEL_DEFAULT) == 0)
        return find_onnx(name, model_dir, ret_model, reterr);
    return weir_error_set(reterr, WEIR_MODEL_UNKNOWN,
        "no embedding model is named '%.64s': there are %s and hash-%d to hash-%d", name,
        WEIR_MODEL_DEFAULT, WEIR_HASH_DIMENSION_MIN, WEIR_DIMENSION_MAX);
}

weir_code
weir_model_chunking(const weir_model *model, uint32_t *max_tokens, uint32_t *overlap_tokens,
    weir_error *reterr)
{
    const uint32_t max = *max_tokens == 0 ? model->max_tokens : *max_tokens;
    const uint32_t overlap = *overlap_tokens == 0 ? max / OVERLAP_DIVISOR : *overlap_tokens;

    if (max < WEIR_CHUNK_TOKENS_MIN || max > model->max_tokens)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "collection.chunking.max_tokens",
            "max_tokens is %u; %s takes %d to %u", max, model->name, WEIR_CHUNK_TOKENS_MIN,
            model->max_tokens);
    if (overlap > (max - 1) / 2)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT,
            "collection.chunking.overlap_tokens",
            "overlap_tokens is %u; it must be less than half of max_tokens (%u)", overlap, max);
    *max_tokens = max;
    *overlap_tokens = overlap;
    return WEIR_OK;
}
