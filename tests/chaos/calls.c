/*
 * calls.c - preloaded into a service: the Nth allocation, call of the store or send of its own
 * fails, counted from when the test says so.
 *
 * The file (WEIR_TEST_CALLS) holds a call_plan, which the test writes and reads.  One call fails,
 * then none until the next plan.  What libraries allocate is theirs: only calls that stand in the
 * program itself count, so malloc looks where it was called from.  ZeroMQ makes the frames that the
 * program asks it for: a kind of its own, since a link goes on without one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <rocksdb/c.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zmq.h>

#define EXPORT __attribute__((visibility("default")))

enum { ALLOCATION = 1, STORE, SEND, FRAME };

typedef struct call_plan {
    uint64_t kind; /* 0: nothing fails */
    uint64_t nth;
    uint64_t count;
    uint64_t failed; /* calls so far, of all plans and processes */
} call_plan;

static call_plan *plan;
static uintptr_t program_begin, program_end;

/* The first object is the program. */
static int
note_program(struct dl_phdr_info *object, size_t size, void *context)
{
    (void)size;
    (void)context;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0) {
            program_begin = object->dlpi_addr + part->p_vaddr;
            program_end = program_begin + part->p_memsz;
        }
    }
    return 1;
}

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("WEIR_TEST_CALLS");
    const int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    (void)dl_iterate_phdr(note_program, NULL);
    if (mapped != MAP_FAILED)
        plan = mapped;
}

static bool
fails(uint64_t kind)
{
    if (plan == NULL || __atomic_load_n(&plan->kind, __ATOMIC_ACQUIRE) != kind)
        return false;
    if (__atomic_add_fetch(&plan->count, 1, __ATOMIC_RELAXED) != plan->nth)
        return false;
    __atomic_store_n(&plan->kind, 0, __ATOMIC_RELAXED);
    __atomic_add_fetch(&plan->failed, 1, __ATOMIC_RELEASE);
    return true;
}

/* ---- allocations ---- */

#define REAL(name_) ((__typeof__(&(name_)))dlsym(RTLD_NEXT, #name_))

/* The next one, not glibc's by its name: the program's free() gets the block. */
#define ALLOCATE(name_, ...)                                               \
    static __typeof__(&(name_)) known;                                     \
    __typeof__(&(name_)) real = __atomic_load_n(&known, __ATOMIC_RELAXED); \
                                                                           \
    if (allocation_fails(__builtin_return_address(0)))                     \
        return NULL;                                                       \
    if (real == NULL)                                                      \
        __atomic_store_n(&known, real = REAL(name_), __ATOMIC_RELAXED);    \
    return real(__VA_ARGS__)

static bool
allocation_fails(const void *caller)
{
    return (uintptr_t)caller >= program_begin && (uintptr_t)caller < program_end &&
        fails(ALLOCATION);
}

EXPORT void *
malloc(size_t size)
{
    ALLOCATE(malloc, size);
}

EXPORT void *
calloc(size_t count, size_t size)
{
    ALLOCATE(calloc, count, size);
}

EXPORT void *
realloc(void *old, size_t size)
{
    ALLOCATE(realloc, old, size);
}

/* ---- the store and the links ---- */

#define STORE_ERROR "IO error: this call was to fail"

static bool
store_fails(char **ret_message)
{
    if (!fails(STORE))
        return false;
    *ret_message = strdup(STORE_ERROR);
    return true;
}

EXPORT rocksdb_t *
rocksdb_open(const rocksdb_options_t *options, const char *path, char **ret_message)
{
    return store_fails(ret_message) ? NULL : REAL(rocksdb_open)(options, path, ret_message);
}

EXPORT void
rocksdb_write(rocksdb_t *db, const rocksdb_writeoptions_t *options, rocksdb_writebatch_t *batch,
    char **ret_message)
{
    if (!store_fails(ret_message))
        REAL(rocksdb_write)(db, options, batch, ret_message);
}

EXPORT void
rocksdb_put(rocksdb_t *db, const rocksdb_writeoptions_t *options, const char *key, size_t key_size,
    const char *value, size_t value_size, char **ret_message)
{
    if (!store_fails(ret_message))
        REAL(rocksdb_put)(db, options, key, key_size, value, value_size, ret_message);
}

EXPORT char *
rocksdb_get(rocksdb_t *db, const rocksdb_readoptions_t *options, const char *key, size_t key_size,
    size_t *ret_size, char **ret_message)
{
    return store_fails(ret_message)
        ? NULL
        : REAL(rocksdb_get)(db, options, key, key_size, ret_size, ret_message);
}

EXPORT rocksdb_pinnableslice_t *
rocksdb_get_pinned(rocksdb_t *db, const rocksdb_readoptions_t *options, const char *key,
    size_t key_size, char **ret_message)
{
    return store_fails(ret_message)
        ? NULL
        : REAL(rocksdb_get_pinned)(db, options, key, key_size, ret_message);
}

/* A step that fails: the iterator is at no key, and says why when it is asked. */
static const rocksdb_iterator_t *broken;

static bool
step_fails(const rocksdb_iterator_t *iterator)
{
    if (!fails(STORE))
        return false;
    __atomic_store_n(&broken, iterator, __ATOMIC_RELAXED);
    return true;
}

static bool
is_broken(const rocksdb_iterator_t *iterator)
{
    return __atomic_load_n(&broken, __ATOMIC_RELAXED) == iterator;
}

#define STEP(name_)                                                \
    EXPORT void rocksdb_iter_##name_(rocksdb_iterator_t *iterator) \
    {                                                              \
        if (!step_fails(iterator))                                 \
            REAL(rocksdb_iter_##name_)(iterator);                  \
    }

STEP(next)
STEP(prev)
STEP(seek_to_first)
STEP(seek_to_last)

EXPORT void
rocksdb_iter_seek(rocksdb_iterator_t *iterator, const char *key, size_t key_size)
{
    if (!step_fails(iterator))
        REAL(rocksdb_iter_seek)(iterator, key, key_size);
}

EXPORT void
rocksdb_iter_seek_for_prev(rocksdb_iterator_t *iterator, const char *key, size_t key_size)
{
    if (!step_fails(iterator))
        REAL(rocksdb_iter_seek_for_prev)(iterator, key, key_size);
}

EXPORT unsigned char
rocksdb_iter_valid(const rocksdb_iterator_t *iterator)
{
    return is_broken(iterator) ? 0 : REAL(rocksdb_iter_valid)(iterator);
}

EXPORT void
rocksdb_iter_get_error(const rocksdb_iterator_t *iterator, char **ret_message)
{
    if (is_broken(iterator))
        *ret_message = strdup(STORE_ERROR);
    else
        REAL(rocksdb_iter_get_error)(iterator, ret_message);
}

EXPORT void
rocksdb_iter_destroy(rocksdb_iterator_t *iterator)
{
    if (is_broken(iterator))
        __atomic_store_n(&broken, NULL, __ATOMIC_RELAXED);
    REAL(rocksdb_iter_destroy)(iterator);
}

EXPORT void
rocksdb_flush_wal(rocksdb_t *db, unsigned char is_synced, char **ret_message)
{
    if (!store_fails(ret_message))
        REAL(rocksdb_flush_wal)(db, is_synced, ret_message);
}

EXPORT rocksdb_t *
rocksdb_open_for_read_only(const rocksdb_options_t *options, const char *path,
    unsigned char fails_on_log, char **ret_message)
{
    return store_fails(ret_message)
        ? NULL
        : REAL(rocksdb_open_for_read_only)(options, path, fails_on_log, ret_message);
}

EXPORT rocksdb_checkpoint_t *
rocksdb_checkpoint_object_create(rocksdb_t *db, char **ret_message)
{
    return store_fails(ret_message) ? NULL
                                    : REAL(rocksdb_checkpoint_object_create)(db, ret_message);
}

EXPORT void
rocksdb_checkpoint_create(rocksdb_checkpoint_t *checkpoint, const char *path, uint64_t flush_bytes,
    char **ret_message)
{
    if (!store_fails(ret_message))
        REAL(rocksdb_checkpoint_create)(checkpoint, path, flush_bytes, ret_message);
}

EXPORT int
zmq_msg_init_size(zmq_msg_t *message, size_t size)
{
    if (!fails(FRAME))
        return REAL(zmq_msg_init_size)(message, size);
    errno = ENOMEM;
    return -1;
}

EXPORT int
zmq_msg_send(zmq_msg_t *message, void *socket, int flags)
{
    if (!fails(SEND))
        return REAL(zmq_msg_send)(message, socket, flags);
    errno = EAGAIN;
    return -1;
}
