/*
 * store_edit.c - read and change the keys of a database of a stopped service: damage on purpose.
 *
 * usage: store-edit FOLDER SERVICE; keys and values are hex, the schema is the one that is there
 *
 * Lines of standard input: list PREFIX | put KEY VALUE | delete PREFIX | copy PREFIX NEW_PREFIX
 * `list` answers with lines of KEY and VALUE, then an empty one.  Exit 0, or 1 with a sentence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/store/store.h"

enum { LINE_MAX_BYTES = 8 << 20, SCHEMA_MAX = 64 };

static weir_store *store;
static weir_error error;

static void
fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, error.message);
    exit(1);
}

static weir_bytes
from_hex(const char *hex)
{
    const size_t size = hex == NULL ? 0 : strlen(hex) / 2;
    uint8_t *bytes = weir_alloc(size + 1);

    if (hex == NULL || !weir_hex_decode(hex, bytes, size)) {
        fprintf(stderr, "a word is no hex\n");
        exit(1);
    }
    return weir_bytes_of(bytes, size);
}

static void
print_hex(weir_bytes bytes, const char *end)
{
    char *hex = weir_alloc(2 * bytes.size + 1);

    weir_hex_encode(bytes, hex);
    printf("%s%s", hex, end);
    weir_free(hex);
}

static bool
begins_with(weir_bytes key, weir_bytes prefix)
{
    return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

typedef void visit(weir_batch *batch, weir_bytes key, weir_bytes value, weir_bytes prefix,
    weir_bytes argument);

static void
list(weir_batch *batch, weir_bytes key, weir_bytes value, weir_bytes prefix, weir_bytes argument)
{
    (void)batch, (void)prefix, (void)argument;
    print_hex(key, " ");
    print_hex(value, "\n");
}

static void delete(weir_batch *batch, weir_bytes key, weir_bytes value, weir_bytes prefix,
    weir_bytes argument)
{
    (void)value, (void)prefix, (void)argument;
    weir_batch_delete(batch, key);
}

static void
copy(weir_batch *batch, weir_bytes key, weir_bytes value, weir_bytes prefix, weir_bytes argument)
{
    weir_buffer made = { 0 };

    weir_buffer_append(&made, argument.data, argument.size);
    weir_buffer_append(&made, key.data + prefix.size, key.size - prefix.size);
    weir_batch_put(batch, weir_buffer_view(&made), value);
    weir_buffer_fini(&made);
}

static void
for_each(weir_batch *batch, weir_bytes prefix, weir_bytes argument, visit *what)
{
    weir_iter *iter = weir_store_iter(store, NULL, prefix, weir_bytes_of(NULL, 0));

    while (weir_iter_next(iter) && begins_with(weir_iter_key(iter), prefix))
        what(batch, weir_iter_key(iter), weir_iter_value(iter), prefix, argument);
    if (weir_iter_status(iter, &error) != WEIR_OK)
        fail("reading");
    weir_iter_destroy(&iter);
}

static void
run_line(weir_batch *batch, char *line)
{
    const char *verb = strtok(line, " \n");
    const char *first = strtok(NULL, " \n");
    const char *second = strtok(NULL, " \n");

    if (verb == NULL)
        return;
    if (strcmp(verb, "list") == 0) {
        for_each(batch, from_hex(first), weir_bytes_of(NULL, 0), list);
        printf("\n");
    } else if (strcmp(verb, "put") == 0) {
        weir_batch_put(batch, from_hex(first), from_hex(second));
    } else if (strcmp(verb, "delete") == 0) {
        for_each(batch, from_hex(first), weir_bytes_of(NULL, 0), delete);
    } else if (strcmp(verb, "copy") == 0) {
        for_each(batch, from_hex(first), from_hex(second), copy);
    } else {
        fprintf(stderr, "\"%s\" is no verb\n", verb);
        exit(1);
    }
    if (weir_store_commit(store, batch, true, &error) != WEIR_OK)
        fail("writing");
}

static weir_code
open_as_it_is(const char *path, const char *service)
{
    weir_code code = WEIR_SCHEMA_UNSUPPORTED;

    for (uint32_t schema = 1; schema <= SCHEMA_MAX && code == WEIR_SCHEMA_UNSUPPORTED; schema++) {
        const weir_store_options options = { .path = path,
            .service = service,
            .schema = schema,
            .schema_oldest = schema };
        code = weir_store_open(&options, &store, &error);
    }
    return code;
}

int
main(int argc, char **argv)
{
    static char line[LINE_MAX_BYTES];

    if (argc != 3) {
        fprintf(stderr, "usage: %s FOLDER SERVICE\n", argv[0]);
        return 2;
    }
    if (open_as_it_is(argv[1], argv[2]) != WEIR_OK)
        fail("opening");
    weir_batch *batch = weir_batch_create(store);
    while (fgets(line, sizeof line, stdin) != NULL)
        run_line(batch, line);
    weir_batch_destroy(&batch);
    weir_store_close(&store);
    return 0;
}
