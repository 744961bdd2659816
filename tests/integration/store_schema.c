/*
 * store_schema.c - make or raise a store to a schema, as another version of weir would leave it.
 *
 * usage: store-schema FOLDER SERVICE SCHEMA; exit 0, or 1 with a sentence
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/store/store.h"

int
main(int argc, char **argv)
{
    weir_store *store = NULL;
    weir_error error = { .code = WEIR_OK };

    if (argc != 4) {
        fprintf(stderr, "usage: %s FOLDER SERVICE SCHEMA\n", argv[0]);
        return 2;
    }
    const weir_store_options options = {
        .path = argv[1],
        .service = argv[2],
        .schema = (uint32_t)strtoul(argv[3], NULL, 10),
        .schema_oldest = 0,
    };
    if (weir_store_open(&options, &store, &error) != WEIR_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    weir_store_close(&store);
    return 0;
}
