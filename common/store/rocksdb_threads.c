/*
 * rocksdb_threads.c - RocksDB's own threads yield to those that answer.
 *
 * A flush computes for some fifty milliseconds and nobody waits for it, but with an equal share it
 * kept the thread that commits off the processor for a time slice whenever a sync had let it sleep:
 * accepts that took 1 ms took 10 until the flush was through.  Not the least share either: writers
 * stop when flushes fall behind, and are slowed down when twenty tables wait for a merge.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/store/rocks.h"

enum { OWN_NICE = 5, NICE_MAX = 19 };

/* Of a thread by its name; 0: not one of RocksDB's. */
static int
nice_of(const char *name)
{
    return strncmp(name, "rocksdb:", 8) == 0 ? OWN_NICE : 0;
}

static void
read_name(const char *thread, char *name, int size)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", thread);
    FILE *const file = fopen(path, "re");

    if (file == NULL || fgets(name, size, file) == NULL)
        name[0] = '\0';
    if (file != NULL)
        fclose(file);
}

void
weir_rocks_lower_threads(void)
{
    const int own = getpriority(PRIO_PROCESS, 0);
    DIR *const threads = opendir("/proc/self/task");

    if (threads == NULL) /* no such folder here: they keep their share */
        return;
    for (const struct dirent *each = readdir(threads); each != NULL; each = readdir(threads)) {
        char name[32];

        read_name(each->d_name, name, sizeof name);
        const int wanted = own + nice_of(name);

        if (wanted != own)
            (void)setpriority(PRIO_PROCESS, (id_t)strtoul(each->d_name, NULL, 10),
                wanted < NICE_MAX ? wanted : NICE_MAX);
    }
    closedir(threads);
}
