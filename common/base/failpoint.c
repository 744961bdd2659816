/*
 * failpoint.c - see failpoint.h.
 *
 * A process maps its table, and reads the environment, at the first hit.  Counts are in the page
 * cache when the process is killed, so the table says after a crash which name it was.
 */
#include "common/base/failpoint.h"

#ifdef WEIR_FAILPOINTS

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"

enum { EXIT_USAGE = 2, PAUSE_MS_MAX = 60000, MILLION = 1000000 };

/* Of the linker: the section of all uses.  Weak, since a program may have none. */
extern weir_failpoint *__start_weir_failpoints[] __attribute__((weak, visibility("hidden")));
extern weir_failpoint *__stop_weir_failpoints[] __attribute__((weak, visibility("hidden")));

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- the table ---- */

static void
refuse(const char *what, const char *why)
{
    fprintf(stderr, "weir: failpoints: %s: %s\n", what, why);
    _exit(EXIT_USAGE);
}

static weir_failpoint_slot *
map_table(const char *folder, size_t *ret_count)
{
    char path[1024];
    struct stat state;

    snprintf(path, sizeof path, "%s/%s", folder, program_invocation_short_name);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &state) != 0 || state.st_size == 0)
        refuse(path, fd < 0 ? strerror(errno) : "no table");
    void *table = mmap(NULL, (size_t)state.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (table == MAP_FAILED)
        refuse(path, strerror(errno));
    *ret_count = (size_t)state.st_size / sizeof(weir_failpoint_slot);
    return table;
}

static weir_failpoint_slot *
find_slot(weir_failpoint_slot *table, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strncmp(table[i].name, name, sizeof table[i].name) == 0)
            return &table[i];
    return NULL;
}

static void
bind_sites(void)
{
    const char *folder = getenv("WEIR_FAILPOINTS_DIR");
    size_t count = 0;
    weir_failpoint_slot *table = folder != NULL ? map_table(folder, &count) : NULL;

    for (weir_failpoint **at = __start_weir_failpoints; at < __stop_weir_failpoints; at++) {
        weir_failpoint *site = *at;

        site->slot = find_slot(table, count, site->name);
        if (site->slot == NULL) /* for the life of the process */
            site->slot = weir_alloc_zero(1, sizeof *site->slot);
    }
}

/* ---- the environment ---- */

static weir_failpoint_action
action_of(const char *text, size_t size)
{
    static const char *const names[] = { "", "crash", "error", "pause" };

    for (int i = WEIR_FAILPOINT_CRASH; i <= WEIR_FAILPOINT_PAUSE; i++)
        if (strlen(names[i]) == size && memcmp(names[i], text, size) == 0)
            return (weir_failpoint_action)i;
    return WEIR_FAILPOINT_NONE;
}

static uint64_t
number_after(const char *entry, char mark, uint64_t otherwise)
{
    const char *at = strchr(entry, mark);
    char *end = NULL;
    const uint64_t number = at == NULL ? otherwise : strtoull(at + 1, &end, 10);

    if (number == 0 || (at != NULL && *end != '\0'))
        refuse(entry, "a number from 1 on is wanted");
    return number;
}

/* "error:P%", perhaps with "@SEED": how many hits of a million fail; 0: it is something else. */
static uint32_t
chance_of(const char *entry)
{
    char *end = NULL;

    if (strncmp(entry, "error:", 6) != 0)
        return 0;
    const double percent = strtod(entry + 6, &end);
    if (end == entry + 6 || *end != '%' || (end[1] != '\0' && end[1] != '@') ||
        !(percent >= 1e-4) || percent > 100)
        refuse(entry, "error:P% with P from 0.0001 to 100 is wanted");
    return (uint32_t)(percent * (MILLION / 100.0) + 0.5);
}

static weir_failpoint_slot
wish_of(const char *entry)
{
    const uint32_t chance = chance_of(entry);
    weir_failpoint_slot wish = { .at = number_after(entry, '@', 1) };

    wish.action = chance > 0 ? WEIR_FAILPOINT_CHANCE : action_of(entry, strcspn(entry, "@:"));
    const uint64_t amount = chance > 0 ? chance : number_after(entry, ':', 1);
    if (wish.action == WEIR_FAILPOINT_NONE || (chance == 0 && amount > PAUSE_MS_MAX))
        refuse(entry,
            "crash[@N], error[@N], error:P%[@SEED] or pause:MS (at most 60000) is wanted");
    wish.amount = (uint32_t)amount;
    return wish;
}

static void
arm(const char *name, const char *entry)
{
    const weir_failpoint_slot wish = wish_of(entry);

    for (weir_failpoint **at = __start_weir_failpoints; at < __stop_weir_failpoints; at++) {
        weir_failpoint *site = *at;

        if (strcmp(site->name, name) != 0)
            continue;
        site->slot->amount = wish.amount;
        site->slot->at = wish.at + (wish.action == WEIR_FAILPOINT_CHANCE ? 0 : site->slot->hits);
        site->slot->action = wish.action;
    }
}

static void
arm_all(const char *wanted)
{
    char *copy = weir_strdup(wanted);
    char *state = NULL;

    for (char *entry = strtok_r(copy, ",", &state); entry != NULL;
        entry = strtok_r(NULL, ",", &state)) {
        char *equals = strchr(entry, '=');

        if (equals == NULL)
            refuse(entry, "NAME=ACTION is wanted");
        *equals = '\0';
        arm(entry, equals + 1);
    }
    weir_free(copy);
}

static void
begin(void)
{
    const char *wanted = getenv("WEIR_FAILPOINTS");

    bind_sites();
    if (wanted != NULL)
        arm_all(wanted);
}

/* ---- a hit ---- */

static _Noreturn void
crash(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

/* One hit's luck, always the same. */
static bool
is_struck(const weir_failpoint *site, uint64_t hit)
{
    const uint64_t drawn[] = { site->slot->at, hit };
    const weir_bytes name = weir_bytes_str(site->name);

    return weir_hash64(weir_bytes_of(drawn, sizeof drawn), weir_hash64(name, 0)) % MILLION <
        site->slot->amount;
}

static weir_failpoint_action
take_chance(const weir_failpoint *site, uint64_t hit)
{
    if (!is_struck(site, hit))
        return WEIR_FAILPOINT_NONE;
    __atomic_fetch_add(&site->slot->fired, 1, __ATOMIC_RELAXED);
    return WEIR_FAILPOINT_ERROR;
}

/* Armed and due.  A crash and an error are taken by one thread alone, and then no more. */
static weir_failpoint_action
take(const weir_failpoint *site, uint64_t hit)
{
    weir_failpoint_slot *slot = site->slot;
    uint32_t action = __atomic_load_n(&slot->action, __ATOMIC_ACQUIRE);

    if (action == WEIR_FAILPOINT_CHANCE)
        return take_chance(site, hit);
    if (action == WEIR_FAILPOINT_NONE || hit < __atomic_load_n(&slot->at, __ATOMIC_RELAXED))
        return WEIR_FAILPOINT_NONE;
    if (action != WEIR_FAILPOINT_PAUSE &&
        !__atomic_compare_exchange_n(&slot->action, &action, WEIR_FAILPOINT_NONE, false,
            __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return WEIR_FAILPOINT_NONE;
    __atomic_fetch_add(&slot->fired, 1, __ATOMIC_RELAXED);
    return (weir_failpoint_action)action;
}

bool
weir_failpoint_hit(const weir_failpoint *site)
{
    pthread_once(&once, begin);
    weir_failpoint_slot *slot = site->slot;
    const uint64_t hit = __atomic_add_fetch(&slot->hits, 1, __ATOMIC_RELAXED);
    const weir_failpoint_action action = take(site, hit);

    if (action == WEIR_FAILPOINT_CRASH)
        crash();
    if (action == WEIR_FAILPOINT_PAUSE)
        (void)poll(NULL, 0, (int)slot->amount);
    return action == WEIR_FAILPOINT_ERROR;
}

weir_code
weir_failpoint_code(const weir_failpoint *site, weir_error *reterr)
{
    if (!weir_failpoint_hit(site))
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_INJECTED, "the failpoint %s was armed with an error",
        site->name);
}

bool
weir_failpoints_listed(int argc, char **argv)
{
    if (argc != 2 || strcmp(argv[1], "--list-failpoints") != 0)
        return false;
    for (weir_failpoint **at = __start_weir_failpoints; at < __stop_weir_failpoints; at++)
        printf("%s %d\n", (*at)->name, (*at)->can_fail);
    return fflush(stdout) == 0;
}

#endif
