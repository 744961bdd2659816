/*
 * ingest_source_test.c - large bodies over a real Unix socket, from a gateway that the test plays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/rpc/client.h"
#include "common/wire/descriptors.h"
#include "services/ingest/source.h"
#include "weir/internal/v1/service.pb-c.h"

typedef Weir__Internal__V1__ReadSourceRequest read_request;
typedef Weir__Internal__V1__ReadSourceResponse read_response;

enum { PART_BYTES = 100000 };

static struct {
    unsigned parts;    /* how many are sent */
    weir_code failure; /* then */
    bool never_ends;
    char document_id[16];
    int64_t revision;
    uint64_t collection_no;
    weir_rpc_call *held;
} gateway;

static weir_rpc_runtime *runtime;
static weir_rpc_descriptors *descriptors;
static weir_rpc_server *server;
static weir_rpc_channel *channel;
static ingest_source source;
static weir_buffer body;
static weir_error error;
static char path[64];
static char folder[] = "/tmp/weir-ingest-XXXXXX";

static void
read_source(void *unused, weir_rpc_call *call, const read_request *request)
{
    static uint8_t bytes[PART_BYTES];
    read_response part = WEIR__INTERNAL__V1__READ_SOURCE_RESPONSE__INIT;

    snprintf(gateway.document_id, sizeof gateway.document_id, "%s", request->document_id);
    gateway.revision = request->revision;
    gateway.collection_no = request->collection_no;
    part.data.data = bytes;
    part.data.len = sizeof bytes;
    for (unsigned i = 0; i < gateway.parts; i++) {
        memset(bytes, 'a' + (int)i % 26, sizeof bytes);
        (void)weir_rpc_send(call, &part.base);
    }
    if (gateway.never_ends) {
        gateway.held = call;
        return;
    }
    if (gateway.failure != WEIR_OK)
        weir_rpc_fail_with(call, gateway.failure, "the gateway says so");
    else
        weir_rpc_finish(call);
}
WEIR_RPC_REQUEST(read_source, void, read_request)

static void
cancelled(weir_rpc_call *call, void *context)
{
    weir_rpc_finish(call);
}

static const weir_rpc_handler handlers[] = {
    { .method = "ReadSource", .request = read_source_rpc, .cancelled = cancelled },
};

static void
start_gateway(void)
{
    const char *const addresses[] = { path };
    const weir_rpc_server_options options = { .descriptors = descriptors,
        .addresses = addresses,
        .address_count = 1 };

    assert_int_equal(weir_rpc_server_create(runtime, &options, &server, &error), WEIR_OK);
    assert_int_equal(weir_rpc_server_add(server, &weir__internal__v1__source_service__descriptor,
                         handlers, 1, NULL, &error),
        WEIR_OK);
    assert_int_equal(weir_rpc_server_start(server, &error), WEIR_OK);
}

static int
set_up(void **state)
{
    memset(&gateway, 0, sizeof gateway);
    snprintf(path, sizeof path, "unix:%s/s", folder);
    runtime = weir_rpc_runtime_create(2);
    descriptors = weir_rpc_descriptors_create();
    assert_int_equal(weir_rpc_descriptors_add(descriptors, weir_descriptor_set(), &error), WEIR_OK);
    start_gateway();
    assert_int_equal(weir_rpc_channel_open(runtime, path, NULL, &channel, &error), WEIR_OK);
    source = (ingest_source){ .stub = weir_rpc_stub_open(channel,
                                  &weir__internal__v1__source_service__descriptor),
        .timeout_ms = 10000 };
    return 0;
}

static int
tear_down(void **state)
{
    weir_rpc_stub_close(&source.stub);
    weir_rpc_channel_close(&channel);
    weir_rpc_server_destroy(&server);
    weir_rpc_runtime_destroy(&runtime);
    weir_rpc_descriptors_destroy(&descriptors);
    weir_buffer_fini(&body);
    return 0;
}

static weir_code
read_body(void)
{
    Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;

    row.collection_no = 7;
    row.document_id = "d";
    row.revision = 3;
    error = (weir_error){ .code = WEIR_OK };
    return ingest_source_read(&source, &row, &body, &error);
}

static void
the_parts_of_a_body_are_joined(void **state)
{
    gateway.parts = 30;
    assert_int_equal(read_body(), WEIR_OK);
    assert_int_equal(body.size, 30 * PART_BYTES);
    assert_int_equal(body.data[0], 'a');
    assert_int_equal(body.data[29 * PART_BYTES], 'a' + 29 % 26);
    assert_string_equal(gateway.document_id, "d");
    assert_int_equal(gateway.revision, 3);
    assert_int_equal(gateway.collection_no, 7);
}

static void
what_the_gateway_refuses_keeps_its_name(void **state)
{
    gateway.failure = WEIR_DOCUMENT_NOT_FOUND;
    assert_int_equal(read_body(), WEIR_DOCUMENT_NOT_FOUND);
    gateway.parts = 1; /* half a body is no body */
    gateway.failure = WEIR_STORE_IO;
    assert_int_equal(read_body(), WEIR_STORE_IO);
}

static void
a_gateway_that_is_away_is_SERVICE_UNAVAILABLE(void **state)
{
    weir_rpc_server_destroy(&server);
    assert_int_equal(read_body(), WEIR_SERVICE_UNAVAILABLE);
    start_gateway();
}

static void
a_body_that_never_ends_is_given_up_in_time(void **state)
{
    gateway.parts = 1;
    gateway.never_ends = true;
    source.timeout_ms = 200;
    assert_int_equal(read_body(), WEIR_TIMEOUT);
}

static void
more_than_64_MiB_are_BODY_TOO_LARGE(void **state)
{
    gateway.parts = 700;
    assert_int_equal(read_body(), WEIR_BODY_TOO_LARGE);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
        TEST(the_parts_of_a_body_are_joined),
        TEST(what_the_gateway_refuses_keeps_its_name),
        TEST(a_gateway_that_is_away_is_SERVICE_UNAVAILABLE),
        TEST(a_body_that_never_ends_is_given_up_in_time),
        TEST(more_than_64_MiB_are_BODY_TOO_LARGE),
    };

    if (mkdtemp(folder) == NULL)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char lock[64];
    snprintf(lock, sizeof lock, "%s/s.lock", folder);
    unlink(lock);
    rmdir(folder);
    return failed;
}
