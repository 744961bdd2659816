/*
 * backup.c - `weir backup`: a copy of all five databases while the suite runs.
 *
 * Each service copies its own, over its Unix socket.  The gateway comes last: whatever another
 * database of the backup knows of, the gateway's knows too, so after a restore it can seed and
 * drive again all that the others miss.  The manifest is written when everything else is on disk,
 * and then the whole is compared with it.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/backup_files.h"
#include "cli/suite_lock.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/random.h"
#include "weir/internal/v1/service.pb-c.h"

enum { TIMEOUT_MS = 3600000, ID_BYTES = 16 };

typedef Weir__Internal__V1__CheckpointResponse checkpoint_response;

typedef struct backup {
    cli *self;
    const char *data_dir;
    char dir[PATH_MAX]; /* absolute: the services run in other folders */
    uint32_t timeout_ms;
    backup_manifest manifest;
    backup_database *databases[WEIR_SERVICE_COUNT];
} backup;

/* The gateway last. */
static const weir_service_id order[] = { WEIR_SERVICE_INGEST, WEIR_SERVICE_EMBEDDER,
    WEIR_SERVICE_INDEXER, WEIR_SERVICE_RECONCILER, WEIR_SERVICE_GATEWAY };

static cli_exit
refuse_used(backup *it)
{
    if (file_exists(weir_arena_printf(it->self->arena, "%s/manifest.json", it->dir)))
        cli_complain("%s is a backup already: name a new folder", it->dir);
    else
        cli_complain("%s is not empty: name a new folder, or delete that one", it->dir);
    return CLI_CONFLICT;
}

/* A backup in DATA would be lost with it. */
static bool
is_in_data(const backup *it)
{
    char data[PATH_MAX];
    const size_t size = realpath(it->data_dir, data) != NULL ? strlen(data) : 0;

    return size > 0 && strncmp(it->dir, data, size) == 0 &&
        (it->dir[size] == '/' || it->dir[size] == '\0');
}

static cli_exit
make_dir(backup *it, const char *dir)
{
    const bool made = mkdir(dir, 0700) == 0;

    if (!made && errno != EEXIST) {
        cli_complain("cannot make %s: %s", dir, strerror(errno));
        return CLI_ERROR;
    }
    if (realpath(dir, it->dir) == NULL) {
        cli_complain("%s: %s", dir, strerror(errno));
        return CLI_ERROR;
    }
    if (is_in_data(it)) {
        if (made)
            rmdir(it->dir);
        cli_complain("%s lies in %s and would be lost with it: name a folder elsewhere, best on "
                     "another disk",
            it->dir, it->data_dir);
        return CLI_CONFLICT;
    }
    /* Only an empty folder can be removed; it is made again at once. */
    if (rmdir(it->dir) != 0)
        return refuse_used(it);
    return mkdir(it->dir, 0700) == 0 ? CLI_OK : CLI_ERROR;
}

static cli_exit
call_checkpoint(backup *it, weir_service_id service, const char *folder,
    checkpoint_response **ret_response)
{
    cli *self = it->self;
    Weir__Internal__V1__CheckpointRequest request = WEIR__INTERNAL__V1__CHECKPOINT_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };
    char target[1200];

    request.folder = (char *)(uintptr_t)folder;
    suite_socket(it->data_dir, service, target, sizeof target);
    weir_code code = weir_rpc_channel_open(self->runtime, target, NULL, &self->channel, &error);
    if (code == WEIR_OK)
        code = cli_try(self, &weir__internal__v1__stage_service__descriptor, "Checkpoint",
            &request.base, it->timeout_ms, self->arena, &message, &error);
    weir_rpc_channel_close(&self->channel);
    *ret_response = (checkpoint_response *)(void *)message;
    if (code == WEIR_OK)
        return CLI_OK;
    cli_complain("the %s's database was not copied: %s", weir_service_name(service), error.message);
    if (code == WEIR_SERVICE_UNAVAILABLE)
        cli_complain("a backup is taken of a suite that runs: `weir status --data %s`",
            it->data_dir);
    return cli_exit_of(code);
}

static cli_exit
copy_database(backup *it, weir_service_id service)
{
    const char *folder =
        weir_arena_printf(it->self->arena, "%s/%s", it->dir, weir_service_name(service));
    checkpoint_response *copied = NULL;
    cli_exit result = call_checkpoint(it, service, folder, &copied);

    if (result != CLI_OK)
        return result;
    backup_database *database = weir_arena_alloc(it->self->arena, sizeof *database);
    weir__internal__v1__backup_database__init(database);
    database->service = copied->service;
    database->version = copied->version;
    database->schema = copied->schema;
    database->store_id = copied->store_id;
    database->entries = copied->entries;
    it->manifest.era = copied->era; /* of the last one, the gateway, which gives it out */
    it->manifest.databases[it->manifest.n_databases++] = database;
    if (WEIR_FP_FAILS("backup.copied"))
        return CLI_ERROR;
    return backup_list_files(it->self->arena, folder, database);
}

static cli_exit
copy_all(backup *it)
{
    uint8_t id[ID_BYTES];
    cli_exit result = CLI_OK;

    weir_random_bytes(id, sizeof id);
    weir__internal__v1__backup_manifest__init(&it->manifest);
    it->manifest.format = 1;
    it->manifest.backup_id.len = sizeof id;
    it->manifest.backup_id.data = weir_arena_memdup(it->self->arena, id, sizeof id);
    it->manifest.version = (char *)(uintptr_t)WEIR_VERSION;
    it->manifest.created_ms = weir_clock_wall_ms();
    it->manifest.databases = it->databases;
    for (size_t i = 0; i < sizeof order / sizeof order[0] && result == CLI_OK; i++)
        result = copy_database(it, order[i]);
    if (result == CLI_OK)
        result = file_sync_folder(it->dir);
    if (WEIR_FP_FAILS("backup.manifest.before"))
        return CLI_ERROR;
    return result == CLI_OK ? backup_write_manifest(it->self->arena, it->dir, &it->manifest)
                            : result;
}

static cli_exit
verify(const backup *it)
{
    backup_manifest *manifest = NULL;
    cli_exit result = WEIR_FP_FAILS("backup.verify.before")
        ? CLI_ERROR
        : backup_read_manifest(it->self->arena, it->dir, &manifest);

    if (result == CLI_OK)
        result = backup_verify(it->self->arena, it->dir, manifest);
    return result;
}

static void
report(const backup *it)
{
    const uint64_t bytes = backup_bytes(&it->manifest);
    uint64_t entries = 0;

    for (size_t i = 0; i < it->manifest.n_databases; i++)
        entries += it->manifest.databases[i]->entries;
    if (it->self->json) {
        cli_print_json(&it->manifest.base);
        return;
    }
    printf("backed up %s to %s: five databases, %llu entries, %s, era %llu\n"
           "On the same disk it shares files with the databases: copy it to another one.\n"
           "`weir restore %s --data NEW` brings it back; `weir restore %s --verify` checks it.\n",
        it->data_dir, it->dir, (unsigned long long)entries,
        cli_format_bytes(it->self->arena, (int64_t)bytes), (unsigned long long)it->manifest.era,
        it->dir, it->dir);
}

cli_exit
cli_backup(cli *self)
{
    backup it = { .self = self };
    weir_config *config = NULL;
    const weir_suite_config *suite = NULL;
    int64_t timeout_ms = 0;
    cli_exit result = cli_duration(self, "timeout", TIMEOUT_MS, &timeout_ms);

    if (result == CLI_OK)
        result = suite_load(self, &config, &suite);
    if (result != CLI_OK)
        return result;
    it.data_dir = suite->common.data_dir;
    it.timeout_ms = timeout_ms > INT32_MAX ? INT32_MAX : (uint32_t)timeout_ms;
    self->runtime = weir_rpc_runtime_create(1);
    result = make_dir(&it, self->arguments[0]);
    if (result == CLI_OK)
        result = copy_all(&it);
    if (result == CLI_OK)
        result = verify(&it);
    if (result == CLI_OK)
        report(&it);
    else if (it.manifest.n_databases > 0)
        cli_complain("%s is not finished, and no backup: delete it", it.dir);
    weir_config_destroy(&config);
    return result;
}
