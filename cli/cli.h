/*
 * cli.h - what the commands of the program `weir` share: arguments, output, the connection, exit
 * codes.
 *
 * A command is one row of a table and one function; it returns an exit code.  Threads: one, but
 * where a command says otherwise.
 */
#ifndef WEIR_CLI_CLI_H
#define WEIR_CLI_CLI_H

#include <stdio.h>

#include "common/config/suite.h"
#include "common/domain/links.h"
#include "common/rpc/client.h"
#include "weir/v1/document.pb-c.h"
#include "weir/v1/system.pb-c.h"

/* Part of the interface. */
typedef enum cli_exit {
    CLI_OK = 0,
    CLI_ERROR = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_SOME_FAILED = 4,
    CLI_TIMED_OUT = 5,
    CLI_UNREACHABLE = 6,
    CLI_CREDENTIALS = 7,
    CLI_CONFLICT = 8,
    CLI_PRESSURE = 9,
    CLI_INTERRUPTED = 130
} cli_exit;

typedef struct cli_option {
    const char *name;  /* "collection"; NULL ends a list */
    char letter;       /* 'c', or 0 */
    const char *value; /* "NAME": takes a value; NULL: a switch */
    const char *help;
} cli_option;

typedef struct cli cli;

typedef struct cli_command {
    const char *name;  /* "ingest", "collection create"; NULL ends the table */
    const char *usage; /* positional arguments: "PATH..." */
    const char *summary;
    const char *examples; /* lines */
    const cli_option *options;
    int arguments_min;
    int arguments_max; /* -1: any number */
    bool calls_server; /* takes --address and the like */
    cli_exit (*run)(cli *self);
} cli_command;

extern const cli_command cli_commands[];
/* Options of every command, and of those that call a server (arguments.c). */
extern const cli_option cli_shared_options[];
extern const cli_option cli_server_options[];

/* The command that argv[1], or argv[1] and argv[2], name; *ret_words of them.  NULL: none. */
const cli_command *cli_find_command(int argc, char **argv, int *ret_words);
/* List the commands that begin with a word such as "dlq"; false: there are none. */
bool cli_print_group(FILE *out, const char *word);
/* Say so on standard error, with the commands that begin with the first word; CLI_USAGE.  second:
 * what stands behind it, or NULL. */
cli_exit cli_unknown_command(const char *word, const char *second);

/* ---- arguments (arguments.c) ---- */

enum { CLI_VALUES_MAX = 256 };

struct cli {
    const cli_command *command;
    int argument_count; /* positional */
    char **arguments;
    struct {
        const cli_option *option;
        const char *value; /* "" for a switch */
    } values[CLI_VALUES_MAX];
    size_t value_count;
    bool json;     /* -o json */
    bool terminal; /* standard output is one, and NO_COLOR is not set */
    /* client.c */
    weir_rpc_runtime *runtime;
    weir_rpc_channel *channel;
    weir_arena *arena;   /* of the whole command */
    char request_id[40]; /* of the last call */
};

/* CLI_USAGE after a sentence on standard error. */
cli_exit cli_parse(cli *self, int argc, char **argv);
bool cli_has(const cli *self, const char *option);
/* The last value, or fallback. */
const char *cli_text(const cli *self, const char *option, const char *fallback);
/* The index-th value of an option that may be repeated, or NULL. */
const char *cli_text_at(const cli *self, const char *option, size_t index);
/* A whole number in [min, max]; CLI_USAGE after a sentence. */
cli_exit cli_number(const cli *self, const char *option, int64_t min, int64_t max, int64_t fallback,
    int64_t *ret);
/* A duration such as 90s, 5m, 1h (a bare number: seconds) in milliseconds. */
cli_exit cli_duration(const cli *self, const char *option, int64_t fallback_ms, int64_t *ret_ms);
void cli_print_help(const cli_command *command);
void cli_print_overview(FILE *out);

/* ---- output (output.c) ---- */

/* "weir: ..." on standard error. */
void cli_complain(const char *format, ...) WEIR_PRINTF(1, 2);
/* Text of others with control characters blanked, at most max characters (0: all), in the arena. */
const char *cli_plain(weir_arena *arena, const char *text, size_t max);
/* One ProtoJSON line. */
void cli_print_json(const ProtobufCMessage *message);
/* One JSON line of texts, which are UTF-8: name, value, name, value, ..., NULL. */
void cli_print_json_texts(const char *const *pairs);

enum { CLI_COLUMNS_MAX = 10 };
typedef struct cli_table cli_table;
/* headers: NULL-ended. */
cli_table *cli_table_create(weir_arena *arena, const char *const *headers);
/* As many cells as headers, NULL-ended; kept, not copied. */
void cli_table_row(cli_table *table, const char *const *cells);
/* Columns are as wide as their widest cell; the last one is cut at the terminal's edge. */
void cli_table_print(const cli *self, const cli_table *table);

const char *cli_format_time(weir_arena *arena,
    const Google__Protobuf__Timestamp *time); /* "-" for NULL */
const char *cli_format_bytes(weir_arena *arena, int64_t bytes);
const char *cli_format_seconds(weir_arena *arena,
    double seconds);                                       /* "3.2 s", "4 m 10 s", "2 h 5 m" */
const char *cli_state_name(Weir__V1__DocumentState state); /* "READY" */
const char *cli_stage_name(Weir__V1__Stage stage);         /* "embed" */
/* Counts, admission and the table of stages, as `weir pressure` and `weir top` show them. */
void cli_print_pressure(cli *self, const Weir__V1__Pressure *pressure);
/* Columns of the terminal, 80 where that is not known. */
size_t cli_width(void);

/* ---- the connection (client.c) ---- */

/* Open the channel to --address (or WEIR_ADDRESS). */
cli_exit cli_connect(cli *self);
void cli_disconnect(cli *self);
/* Options of one call: a new x-request-id, the time. */
weir_rpc_call_options cli_call_options(cli *self, weir_rpc_metadata storage[1],
    uint32_t timeout_ms);
/* One unary call; prints and translates a failure.  The answer lives in the command's arena. */
cli_exit cli_call(cli *self, const ProtobufCServiceDescriptor *service, const char *method,
    const ProtobufCMessage *request, ProtobufCMessage **ret_response);
/* Call a method that lists in pages, for `limit` items at most (0: all), and print each: a
 * ProtoJSON line, or what `show` does with it.  The table, unless NULL, is printed behind the last.
 * request: with page_size and page_token, which are written here. */
typedef void cli_show(cli *self, cli_table *table, const ProtobufCMessage *item);
cli_exit cli_list(cli *self, const ProtobufCServiceDescriptor *service, const char *method,
    ProtobufCMessage *request, int64_t limit, cli_table *table, cli_show *show);
/* The same without a word: for callers that know what to do. */
weir_code cli_try(cli *self, const ProtobufCServiceDescriptor *service, const char *method,
    const ProtobufCMessage *request, uint32_t timeout_ms, weir_arena *arena,
    ProtobufCMessage **ret_response, weir_error *reterr);
/* Say what happened and what to do next; the exit code of the failure. */
cli_exit cli_explain(const cli *self, const weir_error *error);
cli_exit cli_exit_of(weir_code code);
/* --collection, or a sentence. */
cli_exit cli_collection(const cli *self, char **ret_collection);
/* SERVING at a gRPC target by grpc.health.v1, at most timeout_ms. */
bool cli_is_serving(weir_rpc_runtime *runtime, const char *address, uint32_t timeout_ms);

/* ---- commands ---- */

cli_exit cli_up(cli *self);
cli_exit cli_down(cli *self);
cli_exit cli_status(cli *self);
cli_exit cli_backup(cli *self);
cli_exit cli_restore(cli *self);
cli_exit cli_config_check(cli *self);
cli_exit cli_config_print(cli *self);
cli_exit cli_config_reference(cli *self);
cli_exit cli_ingest(cli *self);
cli_exit cli_search(cli *self);
cli_exit cli_get(cli *self);
cli_exit cli_ls(cli *self);
cli_exit cli_rm(cli *self);
cli_exit cli_retry(cli *self);
cli_exit cli_wait(cli *self);
cli_exit cli_watch(cli *self);
cli_exit cli_chunks(cli *self);
cli_exit cli_cat(cli *self);
cli_exit cli_events(cli *self);
cli_exit cli_explain_document(cli *self);
cli_exit cli_pressure(cli *self);
cli_exit cli_top(cli *self);
cli_exit cli_doctor(cli *self);
cli_exit cli_dlq_ls(cli *self);
cli_exit cli_dlq_get(cli *self);
cli_exit cli_dlq_summary(cli *self);
cli_exit cli_dlq_requeue(cli *self);
cli_exit cli_dlq_discard(cli *self);
cli_exit cli_audit_run(cli *self);
cli_exit cli_audit_ls(cli *self);
cli_exit cli_audit_resolve(cli *self);
cli_exit cli_collection_create(cli *self);
cli_exit cli_collection_ls(cli *self);
cli_exit cli_collection_get(cli *self);
cli_exit cli_model_ls(cli *self);
cli_exit cli_call_method(cli *self);
cli_exit cli_completion(cli *self);
cli_exit cli_version(cli *self);
cli_exit cli_help(cli *self);

#endif
