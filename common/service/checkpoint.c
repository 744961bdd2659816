/*
 * checkpoint.c - StageService.Checkpoint: the service copies its own database, for `weir backup`.
 *
 * The caller is whoever may open the Unix socket, which lies in a folder of mode 0700: the user
 * that weir runs as.  The path is checked all the same, so that a slip cannot write into the
 * database or fill a disk.  Work beside the core: commits go on.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/base/failpoint.h"
#include "common/service/service_internal.h"

enum { FOLDER_BYTES_MAX = 1000 };

typedef Weir__Internal__V1__CheckpointRequest checkpoint_request;
typedef Weir__Internal__V1__CheckpointResponse checkpoint_response;

static weir_code
refuse(weir_error *reterr, const char *why)
{
    return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "folder", "%s", why);
}

/* The folder that is to hold the new one, without links in its path. */
static weir_code
resolve_parent(const char *folder, char parent[PATH_MAX], weir_error *reterr)
{
    char path[FOLDER_BYTES_MAX + 1];
    const size_t size = strlen(folder);
    struct stat status;

    if (folder[0] != '/' || size > FOLDER_BYTES_MAX || folder[size - 1] == '/')
        return refuse(reterr, "folder must be an absolute path of at most 1000 bytes");
    memcpy(path, folder, size + 1);
    char *const name = strrchr(path, '/');
    if (strcmp(name, "/.") == 0 || strcmp(name, "/..") == 0)
        return refuse(reterr, "folder must end with the name of a new folder");
    *name = '\0';
    if (realpath(path[0] == '\0' ? "/" : path, parent) == NULL || stat(parent, &status) != 0 ||
        !S_ISDIR(status.st_mode))
        return refuse(reterr, "the folder that is to hold the new one is not there");
    return WEIR_OK;
}

static bool
is_below(const char *path, const char *folder)
{
    const size_t size = strlen(folder);

    return strncmp(path, folder, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

static weir_code
check_place(const weir_service *service, const char *parent, weir_error *reterr)
{
    char own[PATH_MAX];
    char path[1100];

    snprintf(path, sizeof path, "%s/%s", service->data_dir, service->name);
    if (realpath(path, own) == NULL)
        return weir_error_set(reterr, WEIR_STORE_IO, "%s: %s", path, strerror(errno));
    return is_below(parent, own) ? refuse(reterr, "folder lies in the database itself") : WEIR_OK;
}

/* On another file system everything is copied; on the same one, what is in memory is written. */
static weir_code
check_space(const weir_service *service, const char *parent, weir_error *reterr)
{
    weir_store_stats stats;
    struct statvfs space;
    struct stat there, here;

    if (statvfs(parent, &space) != 0 || stat(parent, &there) != 0 ||
        stat(service->data_dir, &here) != 0)
        return weir_error_set(reterr, WEIR_STORE_IO, "%s: %s", parent, strerror(errno));
    weir_store_stats_read(service->store, &stats);
    const uint64_t free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    const uint64_t needed = service->config->common.store_reserve_bytes +
        (there.st_dev == here.st_dev ? 0 : stats.disk_bytes);
    if (free_bytes >= needed)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_DISK_LOW,
        "the disk of %s has %llu MiB free and the copy needs %llu: free some space, or name a "
        "folder on another disk",
        parent, (unsigned long long)(free_bytes >> 20), (unsigned long long)(needed >> 20));
}

static weir_code
copy_and_read(weir_service *service, const char *folder, weir_store_contents *ret_contents,
    weir_error *reterr)
{
    WEIR_FP_RETURN("service.checkpoint.before", reterr);
    weir_code code = weir_store_checkpoint(service->store, folder, reterr);
    if (code == WEIR_OK)
        code = WEIR_FP_CODE("service.checkpoint.copied", reterr);

    return code == WEIR_OK ? weir_store_read_through(folder, service->name, ret_contents, reterr)
                           : code;
}

static weir_code
fill(weir_service *service, const weir_store_contents *contents, checkpoint_response *response,
    weir_arena *arena, weir_error *reterr)
{
    weir_stage_status status;
    weir_shell *shell = service_shell_hold(service);

    if (shell == NULL)
        return weir_error_set(reterr, WEIR_DRAINING, "the service stops");
    weir_stage_status_read(weir_shell_stage(shell), &status);
    service_shell_release(service);
    response->service = weir_arena_strdup(arena, service->name);
    response->version = weir_arena_strdup(arena, WEIR_VERSION);
    response->schema = contents->schema;
    response->store_id.len = WEIR_STORE_ID_SIZE;
    response->store_id.data =
        weir_arena_memdup(arena, status.identity.store_id, WEIR_STORE_ID_SIZE);
    response->era = status.era;
    response->entries = contents->entries;
    response->bytes = contents->bytes;
    return WEIR_OK;
}

static weir_code
checkpoint(weir_service *service, weir_rpc_call *call, const checkpoint_request *request,
    checkpoint_response *response, weir_arena *arena, weir_error *reterr)
{
    weir_store_contents contents;
    char parent[PATH_MAX];

    (void)call;
    weir_code code = resolve_parent(request->folder, parent, reterr);
    if (code == WEIR_OK)
        code = check_place(service, parent, reterr);
    if (code == WEIR_OK)
        code = check_space(service, parent, reterr);
    if (code != WEIR_OK)
        return code;
    if (atomic_exchange(&service->private->copying, true))
        return weir_error_set(reterr, WEIR_QUEUE_FULL,
            "another backup copies this database at the moment; try again when it is done");
    code = copy_and_read(service, request->folder, &contents, reterr);
    atomic_store(&service->private->copying, false);
    return code == WEIR_OK ? fill(service, &contents, response, arena, reterr) : code;
}

WEIR_RPC_UNARY(checkpoint, weir_service, checkpoint_request, checkpoint_response,
    weir__internal__v1__checkpoint_response__init)

void
service_checkpoint_rpc(weir_rpc_call *call, const ProtobufCMessage *request, void *service)
{
    checkpoint_rpc(call, request, service);
}
