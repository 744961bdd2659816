/*
 * restore.c - `weir restore`: databases out of a backup, while nothing runs on DATA.
 *
 * Everything is checked before anything is changed, and nothing is deleted: what is in the way is
 * set aside in a folder of its own.  DATA/restoring stands from the first change to the last: a
 * service that finds it refuses to start, so half a restore is never taken for a suite.
 * DATA/gateway/restored, with a new random id, makes the gateway raise the era at its next start
 * and treat the other databases as lost or rolled back, whatever they hold: it seeds them and
 * drives again under new epochs.
 *
 * All databases of a backup come back together: the gateway's was copied last, so it knows all that
 * the others know.  With --only-gateway and --in-place the others are set aside instead, and new
 * ones heal from the gateway's.  They may be newer than it: what they know of numbers that it is
 * going to give out again would be taken for the new ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/backup_files.h"
#include "cli/suite_lock.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/id.h"
#include "common/base/random.h"
#include "common/store/store.h"

enum { MARKER_BYTES = 16 };

#define NOT_FINISHED \
    "a restore was begun here and not finished: run `weir restore` again, with --replace\n"

typedef struct restore {
    cli *self;
    const char *dir; /* of the backup; NULL: --in-place */
    const char *data_dir;
    const char *aside; /* DATA/replaced-TIME: made when something goes there */
    backup_manifest *manifest;
    bool only_gateway;
    int locks[WEIR_SERVICE_COUNT];
    int suite_lock;
} restore;

static const char *
place(const restore *it, weir_service_id service, const char *name)
{
    return weir_arena_printf(it->self->arena, "%s/%s/%s", it->data_dir, weir_service_name(service),
        name);
}

static const char *
restoring_path(const restore *it)
{
    return weir_arena_printf(it->self->arena, "%s/restoring", it->data_dir);
}

/* ---- checks ---- */

static cli_exit
make_place(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return CLI_OK;
    cli_complain("cannot make %s: %s", path, strerror(errno));
    return CLI_ERROR;
}

/* The lock that the service itself holds while it runs. */
static cli_exit
lock_service(restore *it, weir_service_id service)
{
    const char *path = place(it, service, "weir.lock");
    const cli_exit result = make_place(weir_arena_printf(it->self->arena, "%s/%s", it->data_dir,
        weir_service_name(service)));

    if (result != CLI_OK)
        return result;
    it->locks[service] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (it->locks[service] >= 0 && flock(it->locks[service], LOCK_EX | LOCK_NB) == 0)
        return CLI_OK;
    cli_complain("the %s runs on %s: end it first (`weir down --data %s`)",
        weir_service_name(service), it->data_dir, it->data_dir);
    return CLI_CONFLICT;
}

static cli_exit
take_locks(restore *it)
{
    cli_exit result = suite_lock_take_any(it->data_dir, &it->suite_lock);

    for (int id = WEIR_SERVICE_GATEWAY; id < WEIR_SERVICE_COUNT && result == CLI_OK; id++)
        result = lock_service(it, (weir_service_id)id);
    return result;
}

static void
release_locks(restore *it)
{
    for (int id = WEIR_SERVICE_GATEWAY; id < WEIR_SERVICE_COUNT; id++)
        if (it->locks[id] >= 0)
            close(it->locks[id]);
    if (it->suite_lock >= 0)
        close(it->suite_lock);
}

static bool
has_data(const restore *it)
{
    for (int id = WEIR_SERVICE_GATEWAY; id < WEIR_SERVICE_COUNT; id++)
        if (file_exists(place(it, (weir_service_id)id, "db")))
            return true;
    return file_exists(restoring_path(it));
}

static cli_exit
check_target(const restore *it)
{
    if (it->dir == NULL && !file_exists(place(it, WEIR_SERVICE_GATEWAY, "db"))) {
        cli_complain("%s has no database of a gateway: there is nothing to restore from",
            it->data_dir);
        return CLI_NOT_FOUND;
    }
    if (it->dir == NULL || cli_has(it->self, "replace") || !has_data(it))
        return CLI_OK;
    cli_complain("%s holds databases: name a new folder, or say --replace to set them aside",
        it->data_dir);
    return CLI_CONFLICT;
}

static uint64_t
bytes_to_write(const restore *it)
{
    const backup_database *gateway = backup_find(it->manifest, WEIR_SERVICE_GATEWAY);
    uint64_t bytes = 0;

    if (!it->only_gateway)
        return backup_bytes(it->manifest);
    for (size_t i = 0; i < gateway->n_files; i++)
        bytes += gateway->files[i]->size;
    return bytes;
}

static cli_exit
check_space(const restore *it, uint64_t reserve_bytes)
{
    struct statvfs space;
    const uint64_t needed = it->dir == NULL ? 0 : bytes_to_write(it) + reserve_bytes;

    if (statvfs(it->data_dir, &space) != 0) {
        cli_complain("%s: %s", it->data_dir, strerror(errno));
        return CLI_ERROR;
    }
    if ((uint64_t)space.f_bavail * space.f_frsize >= needed)
        return CLI_OK;
    cli_complain("the disk of %s has %s free, and the restore needs %s", it->data_dir,
        cli_format_bytes(it->self->arena, (int64_t)(space.f_bavail * space.f_frsize)),
        cli_format_bytes(it->self->arena, (int64_t)needed));
    return CLI_PRESSURE;
}

/* ---- changes ---- */

static cli_exit
move_aside(restore *it, weir_service_id service)
{
    const char *db = place(it, service, "db");
    char stamp[25];

    if (!file_exists(db))
        return CLI_OK;
    if (it->aside == NULL) {
        weir_clock_format(weir_clock_wall_ms(), stamp);
        it->aside = weir_arena_printf(it->self->arena, "%s/replaced-%s", it->data_dir, stamp);
        if (make_place(it->aside) != CLI_OK)
            return CLI_ERROR;
    }
    const char *to =
        weir_arena_printf(it->self->arena, "%s/%s", it->aside, weir_service_name(service));
    if (rename(db, to) != 0) {
        cli_complain("cannot move %s to %s: %s", db, to, strerror(errno));
        return CLI_ERROR;
    }
    return file_sync_folder(it->aside);
}

static bool
is_restored(const restore *it, weir_service_id service)
{
    return it->dir != NULL && (service == WEIR_SERVICE_GATEWAY || !it->only_gateway) &&
        backup_find(it->manifest, service) != NULL;
}

static cli_exit
stage(restore *it, weir_service_id service)
{
    const char *to = place(it, service, "db.restored");
    const cli_exit result = file_remove_folder(it->self->arena, to);

    if (WEIR_FP_FAILS("restore.stage.before"))
        return CLI_ERROR;
    if (result != CLI_OK || !is_restored(it, service))
        return result;
    return backup_copy(it->self->arena, it->dir, backup_find(it->manifest, service), to);
}

/* Damage in its log, too, is then what there is. */
static cli_exit
keep_in_place(const restore *it)
{
    const char *path = weir_arena_printf(it->self->arena, "%s/%s", it->data_dir,
        weir_service_name(WEIR_SERVICE_GATEWAY));
    weir_error error = { .code = WEIR_OK };

    if (weir_store_take_as_it_is(path, &error) == WEIR_OK)
        return CLI_OK;
    cli_complain("%s", error.message);
    return CLI_ERROR;
}

/* The gateway's own database stays where it is when there is no other. */
static cli_exit
put_in_place(restore *it, weir_service_id service)
{
    const char *from = place(it, service, "db.restored");
    const char *to = place(it, service, "db");
    cli_exit result = CLI_OK;

    if (it->dir == NULL && service == WEIR_SERVICE_GATEWAY)
        return keep_in_place(it);
    result = move_aside(it, service);
    if (WEIR_FP_FAILS("restore.aside"))
        return CLI_ERROR;
    if (result == CLI_OK && is_restored(it, service) && rename(from, to) != 0) {
        cli_complain("cannot move %s to %s: %s", from, to, strerror(errno));
        result = CLI_ERROR;
    }
    if (WEIR_FP_FAILS("restore.placed"))
        return CLI_ERROR;
    return result == CLI_OK ? file_sync_folder(weir_arena_printf(it->self->arena, "%s/%s",
                                  it->data_dir, weir_service_name(service)))
                            : result;
}

static cli_exit
mark(const restore *it)
{
    uint8_t id[MARKER_BYTES];
    char text[2 * MARKER_BYTES + 1];

    if (WEIR_FP_FAILS("restore.mark.before"))
        return CLI_ERROR;
    weir_random_bytes(id, sizeof id);
    weir_hex_encode(weir_bytes_of(id, sizeof id), text);
    return file_write(it->self->arena, place(it, WEIR_SERVICE_GATEWAY, "restored"),
        weir_bytes_str(text));
}

static cli_exit
each_service(restore *it, cli_exit (*step)(restore *it, weir_service_id service))
{
    cli_exit result = CLI_OK;

    for (int id = WEIR_SERVICE_GATEWAY; id < WEIR_SERVICE_COUNT && result == CLI_OK; id++)
        result = step(it, (weir_service_id)id);
    return result;
}

/* The copies first, beside what is there; then everything changes place between two lines. */
static cli_exit
change(restore *it)
{
    const suite_ids nobody = { .supervisor = 0 };
    cli_exit result = file_write(it->self->arena, restoring_path(it), weir_bytes_str(NOT_FINISHED));

    if (result == CLI_OK)
        result = each_service(it, stage);
    if (result == CLI_OK)
        result = each_service(it, put_in_place);
    if (result == CLI_OK)
        result = mark(it);
    if (WEIR_FP_FAILS("restore.marked"))
        result = CLI_ERROR;
    if (result != CLI_OK) {
        cli_complain("%s holds half a restore, and weir will not start on it: run this again",
            it->data_dir);
        return result;
    }
    suite_lock_write(it->suite_lock, &nobody);
    if (unlink(restoring_path(it)) != 0) {
        cli_complain("%s: %s", restoring_path(it), strerror(errno));
        return CLI_ERROR;
    }
    return file_sync_folder(it->data_dir);
}

static void
report_json(const restore *it)
{
    cli_print_json_texts((const char *const[]){ "data", it->data_dir, "backup",
        it->dir != NULL ? it->dir : "", "aside", it->aside != NULL ? it->aside : "", NULL });
}

static void
report(const restore *it)
{
    char when[25];

    if (it->dir == NULL) {
        printf("the gateway's database in %s stays; the others are to heal from it\n",
            it->data_dir);
    } else {
        weir_clock_format(it->manifest->created_ms, when);
        printf("restored %s from %s, taken %s by weir %s; what was accepted later is not in it\n",
            it->only_gateway ? "the gateway's database" : "all databases", it->dir, when,
            it->manifest->version);
    }
    if (it->aside != NULL)
        printf("what was there before is in %s: delete it when all is well\n", it->aside);
    printf("`weir up --data %s` starts it.  Documents that were READY are processed again; until "
           "then\nsearches answer INDEX_REBUILDING.\n",
        it->data_dir);
}

/* ---- the command ---- */

static cli_exit
read_backup(restore *it)
{
    cli_exit result = backup_read_manifest(it->self->arena, it->dir, &it->manifest);

    if (result == CLI_OK)
        result = backup_verify(it->self->arena, it->dir, it->manifest);
    return result;
}

static cli_exit
verify_only(restore *it)
{
    const cli_exit result = it->dir == NULL ? CLI_USAGE : read_backup(it);

    if (it->dir == NULL)
        cli_complain("--verify needs the folder of a backup");
    else if (result == CLI_OK && it->self->json)
        cli_print_json(&it->manifest->base);
    else if (result == CLI_OK)
        printf("%s is whole: %zu databases, %s, era %llu\n", it->dir, it->manifest->n_databases,
            cli_format_bytes(it->self->arena, (int64_t)backup_bytes(it->manifest)),
            (unsigned long long)it->manifest->era);
    return result;
}

static cli_exit
restore_into(restore *it, const weir_suite_config *suite)
{
    cli_exit result = it->dir == NULL ? CLI_OK : read_backup(it);

    if (result == CLI_OK)
        result = suite_make_folders(suite);
    if (result == CLI_OK)
        result = take_locks(it);
    if (result == CLI_OK)
        result = check_target(it);
    if (result == CLI_OK)
        result = check_space(it, suite->common.store_reserve_bytes);
    if (result == CLI_OK)
        result = change(it);
    if (result == CLI_OK && it->self->json)
        report_json(it);
    else if (result == CLI_OK)
        report(it);
    release_locks(it);
    return result;
}

static cli_exit
check_usage(const cli *self)
{
    const bool in_place = cli_has(self, "in-place");

    if ((self->argument_count == 1) == in_place) {
        cli_complain(in_place ? "--in-place keeps the gateway's database that is there: name no "
                                "folder of a backup"
                              : "name the folder of a backup, or say --in-place");
        return CLI_USAGE;
    }
    if (in_place && (cli_has(self, "only-gateway") || cli_has(self, "verify"))) {
        cli_complain("--in-place stands alone");
        return CLI_USAGE;
    }
    return CLI_OK;
}

cli_exit
cli_restore(cli *self)
{
    restore it = { .self = self,
        .only_gateway = cli_has(self, "only-gateway"),
        .locks = { -1, -1, -1, -1, -1, -1 },
        .suite_lock = -1 };
    weir_config *config = NULL;
    const weir_suite_config *suite = NULL;
    cli_exit result = check_usage(self);

    if (result != CLI_OK)
        return result;
    it.dir = self->argument_count == 1 ? self->arguments[0] : NULL;
    if (cli_has(self, "verify"))
        return verify_only(&it);
    result = suite_load(self, &config, &suite);
    if (result != CLI_OK)
        return result;
    it.data_dir = suite->common.data_dir;
    result = restore_into(&it, suite);
    weir_config_destroy(&config);
    return result;
}
