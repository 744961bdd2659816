/* Goal: each request is answered once, at once or later; what is too large or malformed never
 * reaches the handler. Method: a raw socket against a server on any free port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/http.h"

enum { DEADLINE_MS = 30000 };

static weir_http_server *server;
static weir_error error;
static weir_http_request *held;
static sem_t arrived;
static sem_t gone;
static sem_t writable;
static int handled;

static void
on_gone(weir_http_request *request, void *state)
{
    sem_post(state);
}

static void
on_writable(weir_http_request *request, void *state)
{
    sem_post(&writable);
}

static void
echo(weir_http_request *request)
{
    char text[1024];
    const char *q = weir_http_query(request, "q");
    const char *header = weir_http_header(request, "x-ping");
    const weir_bytes body = weir_http_body(request);

    const char *other = weir_http_query_other(request, (const char *const[]){ "q", "x", NULL });

    snprintf(text, sizeof text, "%s %s q=%s other=%s x-ping=%s body=%.*s peer=%d",
        weir_http_method(request), weir_http_path(request), q != NULL ? q : "-",
        other != NULL ? other : "-", header != NULL ? header : "-", (int)body.size,
        body.size > 0 ? (const char *)body.data : "",
        strncmp(weir_http_peer(request), "127.0.0.1:", 10) == 0);
    const weir_http_header_line lines[] = { { "X-Pong", "yes" } };
    weir_http_respond(request,
        &(weir_http_answer){ .status = 201,
            .content_type = "text/plain",
            .body = weir_bytes_str(text),
            .headers = lines,
            .header_count = 1 });
}

static void
handler(weir_http_request *request, void *context)
{
    assert_ptr_equal(context, &handled);
    __atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
    if (strcmp(weir_http_path(request), "/hold") == 0) {
        weir_http_set_state(request, &gone, on_gone);
        held = request;
        sem_post(&arrived);
    } else if (strcmp(weir_http_path(request), "/stream") == 0) {
        weir_http_set_state(request, &gone, on_gone);
        weir_http_stream_begin(request, 200, "text/event-stream", on_writable);
        held = request;
        sem_post(&arrived);
    } else {
        echo(request);
    }
}

static void
wait_for(sem_t *semaphore)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    assert_int_equal(sem_timedwait(semaphore, &until), 0);
}

static int
make(void **state)
{
    const weir_http_options options = { .address = "127.0.0.1",
        .threads = 2,
        .body_bytes_max = 100,
        .handler = handler,
        .context = &handled };

    sem_init(&arrived, 0, 0);
    sem_init(&gone, 0, 0);
    sem_init(&writable, 0, 0);
    handled = 0;
    held = NULL;
    return weir_http_server_start(&options, &server, &error) == WEIR_OK ? 0 : -1;
}

static int
unmake(void **state)
{
    weir_http_server_stop(&server);
    return 0;
}

static int
dial(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct sockaddr_in address = { .sin_family = AF_INET,
        .sin_port = htons(weir_http_server_port(server)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void
send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Everything until the server closes, or until `until` was read. */
static const char *
read_answer(int fd, const char *until)
{
    static char answer[1 << 20];
    size_t size = 0;

    for (;;) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&ready, 1, DEADLINE_MS), 1);
        const ssize_t got = recv(fd, answer + size, sizeof answer - 1 - size, 0);
        size += got > 0 ? (size_t)got : 0;
        answer[size] = '\0';
        if (got <= 0 || (until != NULL && strstr(answer, until) != NULL))
            return answer;
    }
}

static const char *
ask(const char *request)
{
    const int fd = dial();

    send_text(fd, request);
    const char *answer = read_answer(fd, NULL);
    close(fd);
    return answer;
}

static void
assert_in(const char *answer, const char *wanted)
{
    if (strstr(answer, wanted) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", wanted, answer);
}

static void
the_handler_sees_the_whole_request(void **state)
{
    const char *answer =
        ask("POST /a%2Fb?x=1&q=two+words%21&q=3 HTTP/1.1\r\nHost: h\r\nX-PING: p\r\n"
            "Content-Length: 5\r\nConnection: close\r\n\r\nhello");

    assert_in(answer, "HTTP/1.1 201 ");
    assert_in(answer, "X-Pong: yes");
    assert_in(answer, "Content-Type: text/plain");
    assert_in(answer, "POST /a%2Fb q=two words! other=- x-ping=p body=hello peer=1");
}

static void
a_name_that_is_not_expected_in_the_query_is_found(void **state)
{
    assert_in(ask("GET /?x=1&b%20c=2&q HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        "GET / q= other=b c");
    assert_in(ask("GET /?q=a%26b=c&x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        "GET / q=a&b=c other=-");
}

static void
a_chunked_body_is_joined(void **state)
{
    assert_in(
        ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        "body=abcde");
}

static void
a_declared_body_over_the_limit_is_413_before_it_is_read(void **state)
{
    assert_in(ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n"), "HTTP/1.1 413 ");
    assert_int_equal(handled, 0);
}

static void
a_chunked_body_over_the_limit_is_413(void **state)
{
    char request[600] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: "
                        "close\r\n\r\n80\r\n";
    const size_t size = strlen(request);

    memset(request + size, 'x', 0x80);
    strcpy(request + size + 0x80, "\r\n0\r\n\r\n");
    assert_in(ask(request), "HTTP/1.1 413 ");
    assert_int_equal(handled, 0);
}

static void
bad_escapes_and_bad_requests_are_400(void **state)
{
    assert_in(ask("GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1 400 ");
    assert_in(ask("GET /?q=%0 HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1 400 ");
    assert_in(ask("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1 400 ");
    assert_in(ask("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 ");
    assert_int_equal(handled, 0);
}

static void
an_answer_may_come_later_from_another_thread(void **state)
{
    const int fd = dial();

    send_text(fd, "GET /hold HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    wait_for(&arrived);
    weir_http_respond_text(held, 200, "text/plain", "late");
    assert_in(read_answer(fd, NULL), "late");
    close(fd);
}

static void
a_held_request_holds_up_nobody(void **state)
{
    int fds[8];

    for (int i = 0; i < 8; i++) {
        fds[i] = dial();
        send_text(fds[i], "GET /hold HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        wait_for(&arrived);
        assert_in(ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "GET / q=-");
        weir_http_respond_text(held, 200, "text/plain", "late");
    }
    for (int i = 0; i < 8; i++) {
        assert_in(read_answer(fds[i], NULL), "late");
        close(fds[i]);
    }
}

static void
a_stream_arrives_piece_by_piece(void **state)
{
    const int fd = dial();

    send_text(fd, "GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    wait_for(&arrived);
    assert_int_equal(weir_http_stream_send(held, weir_bytes_str("data: one\n\n")), WEIR_HTTP_SENT);
    assert_in(read_answer(fd, "one"), "Content-Type: text/event-stream");
    assert_int_equal(weir_http_stream_send(held, weir_bytes_str("data: two\n\n")), WEIR_HTTP_SENT);
    read_answer(fd, "two");
    weir_http_stream_end(held);
    read_answer(fd, NULL);
    close(fd);
}

static void
a_full_stream_says_so_and_says_when_there_is_room(void **state)
{
    static char block[64 << 10];
    const int fd = dial();
    weir_http_sent sent = WEIR_HTTP_SENT;

    memset(block, 'x', sizeof block);
    send_text(fd, "GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    wait_for(&arrived);
    for (int i = 0; i < 1000 && sent == WEIR_HTTP_SENT; i++)
        sent = weir_http_stream_send(held, weir_bytes_of(block, sizeof block));
    assert_int_equal(sent, WEIR_HTTP_FULL);
    for (int i = 0; i < 1000 && sem_trywait(&writable) != 0; i++) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        if (poll(&ready, 1, 20) == 1)
            assert_true(recv(fd, block, sizeof block, 0) > 0);
        assert_true(i < 999);
    }
    weir_http_stream_end(held);
    close(fd);
}

static void
a_stream_whose_client_left_is_gone(void **state)
{
    const int fd = dial();
    weir_http_sent sent = WEIR_HTTP_SENT;

    send_text(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for(&arrived);
    close(fd);
    for (int i = 0; i < 1000 && sem_trywait(&gone) != 0; i++) {
        struct pollfd nothing = { .fd = -1 };
        sent = weir_http_stream_send(held, weir_bytes_str("data: x\n\n"));
        poll(&nothing, 1, 10);
        assert_true(i < 999);
    }
    sent = weir_http_stream_send(held, weir_bytes_str("data: x\n\n"));
    assert_int_equal(sent, WEIR_HTTP_GONE);
    weir_http_stream_end(held);
}

static void *
stop_server(void *argument)
{
    weir_http_server_stop(&server);
    return argument;
}

static void
stop_tells_owners_and_waits_for_their_answers(void **state)
{
    pthread_t stopper;
    const int fd = dial();

    send_text(fd, "GET /hold HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    wait_for(&arrived);
    assert_int_equal(pthread_create(&stopper, NULL, stop_server, NULL), 0);
    wait_for(&gone);
    weir_http_respond_text(held, 200, "text/plain", "bye");
    pthread_join(stopper, NULL);
    assert_null(server);
    assert_int_not_equal(sem_trywait(&gone), 0); /* told once */
    close(fd);
}

static void
a_taken_port_is_address_in_use(void **state)
{
    weir_http_server *second = NULL;
    const weir_http_options options = { .address = "127.0.0.1",
        .port = weir_http_server_port(server),
        .handler = handler };

    assert_int_equal(weir_http_server_start(&options, &second, &error), WEIR_ADDRESS_IN_USE);
    assert_in(error.message, "127.0.0.1:");
    assert_null(second);
}

static void
an_address_that_is_none_is_config_invalid(void **state)
{
    weir_http_server *second = NULL;
    weir_http_options options = { .address = "nowhere", .handler = handler };

    assert_int_equal(weir_http_server_start(&options, &second, &error), WEIR_CONFIG_INVALID);
    options.address = "192.0.2.1"; /* not of this host */
    assert_int_equal(weir_http_server_start(&options, &second, &error), WEIR_CONFIG_INVALID);
}

static void
percent_decoding_refuses_half_escapes_and_nul(void **state)
{
    char out[32];

    assert_true(weir_http_percent_decode("a%41%62", 7, out));
    assert_string_equal(out, "aAb");
    assert_false(weir_http_percent_decode("a%4", 3, out));
    assert_false(weir_http_percent_decode("%", 1, out));
    assert_false(weir_http_percent_decode("%00", 3, out));
    assert_false(weir_http_percent_decode("%g0", 3, out));
}

#define CASE(test_) cmocka_unit_test_setup_teardown(test_, make, unmake)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_handler_sees_the_whole_request),
        CASE(a_name_that_is_not_expected_in_the_query_is_found),
        CASE(a_chunked_body_is_joined),
        CASE(a_declared_body_over_the_limit_is_413_before_it_is_read),
        CASE(a_chunked_body_over_the_limit_is_413),
        CASE(bad_escapes_and_bad_requests_are_400),
        CASE(an_answer_may_come_later_from_another_thread),
        CASE(a_held_request_holds_up_nobody),
        CASE(a_stream_arrives_piece_by_piece),
        CASE(a_full_stream_says_so_and_says_when_there_is_room),
        CASE(a_stream_whose_client_left_is_gone),
        CASE(stop_tells_owners_and_waits_for_their_answers),
        CASE(a_taken_port_is_address_in_use),
        CASE(an_address_that_is_none_is_config_invalid),
        CASE(percent_decoding_refuses_half_escapes_and_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
