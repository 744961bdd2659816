/*
 * synced.c - see synced.h.
 */
#include "common/store/synced.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/store/store.h"

enum { NUMBER_BYTES = 8, RECORD_BYTES = NUMBER_BYTES + 4 };

static int
open_file(const char *db_path, int flags)
{
    char path[1200];

    if (snprintf(path, sizeof path, "%s/SYNCED", db_path) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_CLOEXEC, 0600);
}

static uint32_t
sum_of(const uint8_t *record)
{
    return weir_crc32c(0, weir_bytes_of(record, NUMBER_BYTES));
}

static bool
write_record(int fd, uint64_t number)
{
    uint8_t record[RECORD_BYTES];

    weir_store_u64(record, number);
    weir_store_u32(record + NUMBER_BYTES, sum_of(record));
    return pwrite(fd, record, sizeof record, 0) == sizeof record;
}

uint64_t
weir_synced_read(const char *db_path)
{
    uint8_t record[RECORD_BYTES];
    const int fd = open_file(db_path, O_RDONLY);
    const bool is_whole = fd >= 0 && pread(fd, record, sizeof record, 0) == sizeof record;

    if (fd >= 0)
        close(fd);
    return is_whole && weir_load_u32(record + NUMBER_BYTES) == sum_of(record)
        ? weir_load_u64(record)
        : 0;
}

weir_code
weir_store_take_as_it_is(const char *path, weir_error *reterr)
{
    char db_path[1200];

    if (snprintf(db_path, sizeof db_path, "%s/db", path) >= (int)sizeof db_path)
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT, "the path %.60s... is too long", path);
    const int fd = open_file(db_path, O_WRONLY | O_CREAT);
    const bool is_written = fd >= 0 && write_record(fd, WEIR_SYNCED_AS_IT_IS) && fdatasync(fd) == 0;
    const int problem = errno;

    if (fd >= 0)
        close(fd);
    return is_written ? WEIR_OK
                      : weir_error_set(reterr, WEIR_STORE_IO, "cannot write %s/SYNCED: %s", db_path,
                            strerror(problem));
}

void
weir_synced_open(weir_synced *self, const char *db_path)
{
    self->fd = open_file(db_path, O_WRONLY | O_CREAT);
}

/* A write that fails, or is torn, leaves a file that says less or nothing. */
void
weir_synced_note(const weir_synced *self, uint64_t number)
{
    if (self->fd >= 0)
        (void)write_record(self->fd, number);
}

void
weir_synced_close(weir_synced *self)
{
    if (self->fd < 0)
        return;
    (void)fdatasync(self->fd);
    close(self->fd);
    self->fd = -1;
}
