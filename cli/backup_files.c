/*
 * backup_files.c - see backup_files.h.
 */
#include "cli/backup_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/failpoint.h"
#include "common/base/hash.h"
#include "common/domain/schemas.h"
#include "common/json/json.h"

enum { FORMAT = 1, COPY_BYTES = 1 << 20, MANIFEST_BYTES_MAX = WEIR_JSON_INPUT_BYTES_MAX };

static cli_exit
complain_of(const char *path)
{
    cli_complain("%s: %s", path, strerror(errno));
    return CLI_ERROR;
}

/* ---- files ---- */

bool
file_exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

cli_exit
file_sync_folder(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool is_synced = fd >= 0 && fsync(fd) == 0;

    if (!is_synced)
        (void)complain_of(path);
    if (fd >= 0)
        close(fd);
    return is_synced ? CLI_OK : CLI_ERROR;
}

/* What is mapped, and its end.  An empty file has no map. */
static cli_exit
map_file(const char *path, weir_bytes *ret_content)
{
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *content = NULL;

    *ret_content = weir_bytes_of(NULL, 0);
    if (fd < 0)
        return complain_of(path);
    if (fstat(fd, &status) == 0 && status.st_size > 0)
        content = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (content == MAP_FAILED) {
        close(fd);
        return complain_of(path);
    }
    close(fd);
    if (content != NULL)
        *ret_content = weir_bytes_of(content, (size_t)status.st_size);
    return CLI_OK;
}

static void
unmap_file(weir_bytes content)
{
    if (content.size > 0)
        munmap((void *)(uintptr_t)content.data, content.size);
}

static bool
write_all(int fd, weir_bytes content)
{
    while (content.size > 0) {
        const ssize_t written =
            write(fd, content.data, content.size < COPY_BYTES ? content.size : COPY_BYTES);

        if (written < 0)
            return false;
        content = weir_bytes_of(content.data + written, content.size - (size_t)written);
    }
    return fsync(fd) == 0;
}

static cli_exit
write_new(const char *path, weir_bytes content)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const bool is_written = fd >= 0 && write_all(fd, content);

    if (!is_written)
        (void)complain_of(path);
    if (fd >= 0)
        close(fd);
    return is_written ? CLI_OK : CLI_ERROR;
}

cli_exit
file_write(weir_arena *arena, const char *path, weir_bytes content)
{
    const char *part = weir_arena_printf(arena, "%s.part", path);
    const char *slash = strrchr(path, '/');
    const char *folder = weir_arena_printf(arena, "%.*s",
        slash == NULL ? 1 : (int)(slash - path) + 1, slash == NULL ? "." : path);
    const cli_exit result = write_new(part, content);

    if (result != CLI_OK)
        return result;
    if (WEIR_FP_FAILS("backup.file.unfinished"))
        return CLI_ERROR;
    if (rename(part, path) != 0)
        return complain_of(path);
    return file_sync_folder(folder);
}

/* Call `visit` for each file of a folder, which may hold nothing else. */
static cli_exit
each_file(weir_arena *arena, const char *folder,
    cli_exit (*visit)(weir_arena *arena, const char *path, const char *name, void *context),
    void *context)
{
    DIR *files = opendir(folder);
    const struct dirent *file;
    cli_exit result = CLI_OK;

    if (files == NULL)
        return complain_of(folder);
    while (result == CLI_OK && (file = readdir(files)) != NULL)
        if (strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0)
            result = visit(arena, weir_arena_printf(arena, "%s/%s", folder, file->d_name),
                weir_arena_strdup(arena, file->d_name), context);
    closedir(files);
    return result;
}

static cli_exit
remove_file(weir_arena *arena, const char *path, const char *name, void *context)
{
    (void)arena, (void)name, (void)context;
    return unlink(path) == 0 ? CLI_OK : complain_of(path);
}

cli_exit
file_remove_folder(weir_arena *arena, const char *path)
{
    if (!file_exists(path))
        return CLI_OK;
    const cli_exit result = each_file(arena, path, remove_file, NULL);
    if (result != CLI_OK)
        return result;
    return rmdir(path) == 0 ? CLI_OK : complain_of(path);
}

/* ---- the manifest ---- */

typedef struct listing {
    backup_database *database;
    size_t capacity;
} listing;

static cli_exit
list_file(weir_arena *arena, const char *path, const char *name, void *context)
{
    listing *self = context;
    backup_database *database = self->database;
    backup_file *file = weir_arena_alloc(arena, sizeof *file);
    weir_bytes content;
    const cli_exit result = map_file(path, &content);

    if (result != CLI_OK)
        return result;
    if (database->n_files == self->capacity) {
        self->capacity = self->capacity == 0 ? 64 : 2 * self->capacity;
        backup_file **files = weir_arena_alloc(arena, self->capacity * sizeof(backup_file *));
        if (database->n_files > 0)
            memcpy(files, database->files, database->n_files * sizeof(backup_file *));
        database->files = files;
    }
    const weir_sha256_sum sum = weir_sha256(content);
    weir__internal__v1__backup_file__init(file);
    file->name = (char *)(uintptr_t)name;
    file->size = content.size;
    file->sha256.len = sizeof sum.bytes;
    file->sha256.data = weir_arena_memdup(arena, sum.bytes, sizeof sum.bytes);
    database->files[database->n_files++] = file;
    unmap_file(content);
    return CLI_OK;
}

cli_exit
backup_list_files(weir_arena *arena, const char *folder, backup_database *database)
{
    listing self = { .database = database };

    return each_file(arena, folder, list_file, &self);
}

static const char *
manifest_path(weir_arena *arena, const char *dir)
{
    return weir_arena_printf(arena, "%s/manifest.json", dir);
}

cli_exit
backup_write_manifest(weir_arena *arena, const char *dir, const backup_manifest *manifest)
{
    const weir_json_options options = { .pretty = true };
    weir_buffer text = { 0 };
    weir_error error = { 0 };
    cli_exit result = CLI_ERROR;

    if (weir_json_encode(&manifest->base, &options, &text, &error) != WEIR_OK)
        cli_complain("the manifest cannot be written: %s", error.message);
    else if (text.size > MANIFEST_BYTES_MAX)
        cli_complain("the manifest has %zu bytes: more files than a backup can list", text.size);
    else
        result = file_write(arena, manifest_path(arena, dir), weir_buffer_view(&text));
    weir_buffer_fini(&text);
    return result;
}

/* The names come from a file that anyone may have written: none may lead out of its folder. */
static bool
is_plain_name(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
        strcmp(name, "..") != 0;
}

static bool
is_sound(const backup_database *database)
{
    if (weir_service_from_name(database->service) == WEIR_SERVICE_NONE || database->n_files == 0)
        return false;
    for (size_t i = 0; i < database->n_files; i++)
        if (!is_plain_name(database->files[i]->name) ||
            database->files[i]->sha256.len != WEIR_SHA256_SIZE)
            return false;
    return true;
}

static cli_exit
judge_manifest(const char *dir, const backup_manifest *manifest)
{
    bool is_whole = manifest->format == FORMAT && manifest->backup_id.len == 16;

    for (size_t i = 0; is_whole && i < manifest->n_databases; i++)
        is_whole = is_sound(manifest->databases[i]);
    if (manifest->format > FORMAT) {
        cli_complain("%s was made by weir %s, in a format that this version does not know", dir,
            manifest->version);
        return CLI_ERROR;
    }
    if (is_whole && backup_find(manifest, WEIR_SERVICE_GATEWAY) != NULL)
        return CLI_OK;
    cli_complain("%s/manifest.json is damaged", dir);
    return CLI_ERROR;
}

cli_exit
backup_read_manifest(weir_arena *arena, const char *dir, backup_manifest **ret_manifest)
{
    const char *path = manifest_path(arena, dir);
    ProtobufCMessage *message = NULL;
    weir_bytes text;
    weir_error error = { 0 };

    if (!file_exists(path)) {
        cli_complain("%s is no backup, or one that was not finished: there is no manifest.json",
            dir);
        return CLI_NOT_FOUND;
    }
    if (map_file(path, &text) != CLI_OK)
        return CLI_ERROR;
    const weir_code code = weir_json_decode(&weir__internal__v1__backup_manifest__descriptor, text,
        arena, &message, &error);
    unmap_file(text);
    if (code != WEIR_OK) {
        cli_complain("%s is damaged: %s", path, error.message);
        return CLI_ERROR;
    }
    *ret_manifest = (backup_manifest *)(void *)message;
    return judge_manifest(dir, *ret_manifest);
}

const backup_database *
backup_find(const backup_manifest *manifest, weir_service_id service)
{
    for (size_t i = 0; i < manifest->n_databases; i++)
        if (weir_service_from_name(manifest->databases[i]->service) == service)
            return manifest->databases[i];
    return NULL;
}

uint64_t
backup_bytes(const backup_manifest *manifest)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < manifest->n_databases; i++)
        for (size_t j = 0; j < manifest->databases[i]->n_files; j++)
            bytes += manifest->databases[i]->files[j]->size;
    return bytes;
}

/* ---- what it says, and what is there ---- */

static cli_exit
verify_file(const char *path, const backup_file *file)
{
    weir_bytes content;

    if (map_file(path, &content) != CLI_OK)
        return CLI_ERROR;
    const weir_sha256_sum sum = weir_sha256(content);
    const bool is_same =
        content.size == file->size && memcmp(sum.bytes, file->sha256.data, sizeof sum.bytes) == 0;
    unmap_file(content);
    if (is_same)
        return CLI_OK;
    cli_complain("%s is damaged: its content is not what was backed up", path);
    return CLI_ERROR;
}

static cli_exit
verify_schema(const backup_database *database)
{
    const weir_schemas known = weir_schemas_of(weir_service_from_name(database->service));

    if (database->schema >= known.oldest && database->schema <= known.newest)
        return CLI_OK;
    cli_complain("the %s's database has schema %u, and this weir reads %u to %u: restore it with "
                 "weir %s, and upgrade from there",
        database->service, database->schema, known.oldest, known.newest, database->version);
    return CLI_CONFLICT;
}

cli_exit
backup_verify(weir_arena *arena, const char *dir, const backup_manifest *manifest)
{
    for (size_t i = 0; i < manifest->n_databases; i++) {
        const backup_database *database = manifest->databases[i];
        cli_exit result = verify_schema(database);

        for (size_t j = 0; j < database->n_files && result == CLI_OK; j++)
            result = verify_file(weir_arena_printf(arena, "%s/%s/%s", dir, database->service,
                                     database->files[j]->name),
                database->files[j]);
        if (result != CLI_OK)
            return result;
    }
    return CLI_OK;
}

static cli_exit
copy_file(const char *from, const char *to, const backup_file *file)
{
    weir_bytes content;
    cli_exit result = map_file(from, &content);

    if (result != CLI_OK)
        return result;
    result = write_new(to, content);
    unmap_file(content);
    if (WEIR_FP_FAILS("restore.file.copied"))
        return CLI_ERROR;
    return result == CLI_OK ? verify_file(to, file) : result;
}

cli_exit
backup_copy(weir_arena *arena, const char *dir, const backup_database *database, const char *to)
{
    cli_exit result = mkdir(to, 0700) == 0 ? CLI_OK : complain_of(to);

    for (size_t i = 0; i < database->n_files && result == CLI_OK; i++) {
        const char *name = database->files[i]->name;

        result = copy_file(weir_arena_printf(arena, "%s/%s/%s", dir, database->service, name),
            weir_arena_printf(arena, "%s/%s", to, name), database->files[i]);
    }
    return result == CLI_OK ? file_sync_folder(to) : result;
}
