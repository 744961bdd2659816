/*
 * wal.c - see wal.h.
 *
 * A log is blocks of 32 KiB.  A record is CRC32C u32 (masked; over type, number and data), length
 * u16, type u8, in recycled logs the log's number u32, all little-endian, then data; none crosses a
 * block, and a block's last bytes are left zero when no header fits.  A recycled log ends in
 * records of the log that it once was, with another number.
 */
#include "common/store/wal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/hash.h"

enum {
    BLOCK_BYTES = 32 << 10,
    HEADER_BYTES = 7,
    RECYCLED_HEADER_BYTES = 11,
    TYPE_AT = 6,
    FULL = 1,
    FIRST = 2,
    LAST = 4,
    RECYCLED = 4, /* added to each of these types in a recycled log */
    CRC_ROTATED = 15
};

#define CRC_MASK 0xa282ead8u

typedef struct record {
    size_t size;   /* header and data; 0: no header that fits into its block */
    bool is_whole; /* and it is of this log */
    bool is_begun; /* the first or only part of a batch */
} record;

static uint32_t
load_le(const uint8_t *at, size_t size)
{
    uint32_t value = 0;

    while (size-- > 0)
        value = value << 8 | at[size];
    return value;
}

static uint32_t
masked(uint32_t crc)
{
    return (crc >> CRC_ROTATED | crc << (32 - CRC_ROTATED)) + CRC_MASK;
}

/* `left`: bytes to the end of the block or of the log. */
static record
read_record(const uint8_t *at, size_t left, uint32_t number)
{
    const uint8_t type = left < HEADER_BYTES ? 0 : at[TYPE_AT];
    const bool is_recycled = type > RECYCLED;
    const size_t header = is_recycled ? RECYCLED_HEADER_BYTES : HEADER_BYTES;
    const int part = is_recycled ? type - RECYCLED : type;

    if (part < FULL || part > LAST || left < header)
        return (record){ 0 };
    const size_t size = header + load_le(at + 4, 2);
    if (size > left)
        return (record){ 0 };
    const uint32_t crc = weir_crc32c(0, weir_bytes_of(at + TYPE_AT, size - TYPE_AT));
    const bool is_own = !is_recycled || load_le(at + HEADER_BYTES, 4) == number;

    return (record){ .size = size,
        .is_whole = is_own && masked(crc) == load_le(at, 4),
        .is_begun = part == FULL || part == FIRST };
}

size_t
weir_wal_behind_hole(weir_bytes log, uint32_t number)
{
    bool is_behind = false;
    size_t count = 0;

    for (size_t at = 0; at < log.size;) {
        const size_t in_block = BLOCK_BYTES - at % BLOCK_BYTES;
        const size_t left = in_block < log.size - at ? in_block : log.size - at;
        const record found = read_record(log.data + at, left, number);

        if (at == 0 && !found.is_whole)
            return 0; /* it may be in use again under a new name that a power cut took back */
        count += is_behind && found.is_whole && found.is_begun;
        is_behind = is_behind || (!found.is_whole && left >= RECYCLED_HEADER_BYTES);
        at += found.size > 0 ? found.size : left;
    }
    return count;
}

static weir_code
check_log(const char *path, uint32_t number, weir_error *reterr)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about = { 0 };
    void *mapped = MAP_FAILED;

    if (fd >= 0 && fstat(fd, &about) == 0 && about.st_size > 0)
        mapped = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    const int problem = errno;
    if (fd >= 0)
        close(fd);
    if (mapped == MAP_FAILED)
        return fd >= 0 && about.st_size == 0
            ? WEIR_OK
            : weir_error_set(reterr, WEIR_STORE_IO, "cannot read %s: %s", path, strerror(problem));
    const size_t size = (size_t)about.st_size;
    const size_t behind = weir_wal_behind_hole(weir_bytes_of(mapped, size), number);
    munmap(mapped, size);
    if (behind <= WEIR_WAL_BEHIND_MAX)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_CORRUPT,
        "%s has a damaged record before %zu whole ones: opened as it is, they would be lost", path,
        behind);
}

weir_code
weir_wal_check(const char *db_path, weir_error *reterr)
{
    DIR *folder = opendir(db_path);
    weir_code code = WEIR_OK;

    if (folder == NULL)
        return weir_error_set(reterr, WEIR_STORE_IO, "cannot open %s: %s", db_path,
            strerror(errno));
    for (struct dirent *entry; code == WEIR_OK && (entry = readdir(folder)) != NULL;) {
        char path[1200];
        char *end = NULL;
        const unsigned long number = strtoul(entry->d_name, &end, 10);

        if (end == entry->d_name || strcmp(end, ".log") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", db_path, entry->d_name);
        code = check_log(path, (uint32_t)number, reterr);
    }
    closedir(folder);
    return code;
}
