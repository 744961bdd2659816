/*
 * arguments.c - options and positional arguments of one command, in any order; help from the same
 * tables.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

const cli_option cli_shared_options[] = {
    { "output", 'o', "FORMAT", "json: one object a line; table: for people" },
    { "help", 'h', NULL, "this text" },
    { .name = NULL },
};
const cli_option cli_server_options[] = {
    { "address", 0, "HOST:PORT", "the gateway (WEIR_ADDRESS, else 127.0.0.1:7070)" },
    { "ca", 0, "FILE", "speak TLS and trust this authority (WEIR_CA_FILE)" },
    { .name = NULL },
};

static const cli_option *
find_in(const cli_option *options, const char *name, size_t size, char letter)
{
    for (; options->name != NULL; options++) {
        if (letter != 0 ? options->letter == letter
                        : strlen(options->name) == size && strncmp(options->name, name, size) == 0)
            return options;
    }
    return NULL;
}

static const cli_option *
find_option(const cli_command *command, const char *name, size_t size, char letter)
{
    const cli_option *found = find_in(command->options, name, size, letter);

    if (found == NULL)
        found = find_in(cli_shared_options, name, size, letter);
    if (found == NULL && command->calls_server)
        found = find_in(cli_server_options, name, size, letter);
    return found;
}

static cli_exit
keep(cli *self, const cli_option *option, const char *value)
{
    if (self->value_count == CLI_VALUES_MAX) {
        cli_complain("more than %d options", CLI_VALUES_MAX);
        return CLI_USAGE;
    }
    self->values[self->value_count].option = option;
    self->values[self->value_count++].value = value;
    return CLI_OK;
}

/* One option at argv[*at]; moves *at over its value. */
static cli_exit
take_option(cli *self, int argc, char **argv, int *at)
{
    const char *word = argv[*at];
    const bool is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1);
    const size_t size = is_long ? strcspn(name, "=") : 1;
    const cli_option *option = find_option(self->command, name, size, is_long ? 0 : word[1]);
    const char *attached = name[size] == '\0' ? NULL : name + size + (is_long ? 1 : 0);

    if (option == NULL) {
        cli_complain("%s is not understood; see weir %s --help", word, self->command->name);
        return CLI_USAGE;
    }
    if (option->value == NULL && attached != NULL) {
        cli_complain("--%s takes no value", option->name);
        return CLI_USAGE;
    }
    if (option->value == NULL)
        return keep(self, option, "");
    if (attached != NULL)
        return keep(self, option, attached);
    if (*at + 1 == argc) {
        cli_complain("--%s wants %s", option->name, option->value);
        return CLI_USAGE;
    }
    return keep(self, option, argv[++*at]);
}

static cli_exit
take_output(cli *self)
{
    const char *format = cli_text(self, "output", "table");

    self->json = strcmp(format, "json") == 0;
    if (!self->json && strcmp(format, "table") != 0) {
        cli_complain("--output is json or table, not \"%s\"", format);
        return CLI_USAGE;
    }
    self->terminal = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
    return CLI_OK;
}

static cli_exit
check_count(const cli *self)
{
    const cli_command *command = self->command;
    const int count = self->argument_count;

    if (cli_has(self, "help"))
        return CLI_OK;
    if (count >= command->arguments_min &&
        (command->arguments_max < 0 || count <= command->arguments_max))
        return CLI_OK;
    cli_complain("usage: weir %s%s%s; see weir %s --help", command->name,
        command->usage[0] != '\0' ? " " : "", command->usage, command->name);
    return CLI_USAGE;
}

cli_exit
cli_parse(cli *self, int argc, char **argv)
{
    bool only_arguments = false;

    self->arguments =
        weir_arena_alloc_zero(self->arena, (size_t)(argc + 1) * sizeof *self->arguments);
    for (int i = 1; i < argc; i++) {
        if (!only_arguments && strcmp(argv[i], "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && argv[i][0] == '-' && argv[i][1] != '\0') {
            const cli_exit result = take_option(self, argc, argv, &i);
            if (result != CLI_OK)
                return result;
        } else {
            self->arguments[self->argument_count++] = argv[i];
        }
    }
    const cli_exit result = take_output(self);
    return result == CLI_OK ? check_count(self) : result;
}

const char *
cli_text_at(const cli *self, const char *option, size_t index)
{
    for (size_t i = 0; i < self->value_count; i++)
        if (strcmp(self->values[i].option->name, option) == 0 && index-- == 0)
            return self->values[i].value;
    return NULL;
}

const char *
cli_text(const cli *self, const char *option, const char *fallback)
{
    const char *found = fallback;

    for (size_t i = 0; i < self->value_count; i++)
        if (strcmp(self->values[i].option->name, option) == 0)
            found = self->values[i].value;
    return found;
}

bool
cli_has(const cli *self, const char *option)
{
    return cli_text_at(self, option, 0) != NULL;
}

cli_exit
cli_number(const cli *self, const char *option, int64_t min, int64_t max, int64_t fallback,
    int64_t *ret)
{
    const char *text = cli_text(self, option, NULL);
    char *end = NULL;

    *ret = fallback;
    if (text == NULL)
        return CLI_OK;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || value < min || value > max) {
        cli_complain("--%s is a whole number from %lld to %lld, not \"%s\"", option, (long long)min,
            (long long)max, text);
        return CLI_USAGE;
    }
    *ret = value;
    return CLI_OK;
}

cli_exit
cli_duration(const cli *self, const char *option, int64_t fallback_ms, int64_t *ret_ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    const char *text = cli_text(self, option, NULL);
    char *end = NULL;

    *ret_ms = fallback_ms;
    if (text == NULL)
        return CLI_OK;
    const long long value = strtoll(text, &end, 10);
    for (size_t i = 0; end != text && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(units[i].name, end) == 0 && value >= 0 && value <= 31536000000 / units[i].ms) {
            *ret_ms = value * units[i].ms;
            return CLI_OK;
        }
    }
    cli_complain("--%s is a time such as 90s, 5m or 1h, not \"%s\"", option, text);
    return CLI_USAGE;
}

/* ---- help ---- */

static void
print_options(const cli_option *options)
{
    for (; options->name != NULL; options++) {
        char left[64];
        snprintf(left, sizeof left, "%s%c%s--%s%s%s", options->letter != 0 ? "-" : " ",
            options->letter != 0 ? options->letter : ' ', options->letter != 0 ? ", " : "  ",
            options->name, options->value != NULL ? " " : "",
            options->value != NULL ? options->value : "");
        printf("  %-28s %s\n", left, options->help);
    }
}

void
cli_print_help(const cli_command *command)
{
    printf("weir %s - %s\n\nusage: weir %s%s%s [options]\n\n", command->name, command->summary,
        command->name, command->usage[0] != '\0' ? " " : "", command->usage);
    print_options(command->options);
    print_options(cli_shared_options);
    if (command->calls_server)
        print_options(cli_server_options);
    printf("\nexamples:\n");
    for (const char *at = command->examples; *at != '\0';) {
        const size_t size = strcspn(at, "\n");
        printf("  %.*s\n", (int)size, at);
        at += size + (at[size] == '\n');
    }
}

void
cli_print_overview(FILE *out)
{
    fprintf(out,
        "weir makes documents searchable by meaning.\n\nusage: weir COMMAND [arguments] "
        "[options]\n\n");
    for (const cli_command *it = cli_commands; it->name != NULL; it++)
        fprintf(out, "  %-18s %s\n", it->name, it->summary);
    fprintf(out,
        "\n`weir help COMMAND` has options and examples.\n"
        "Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 some documents failed, 5 wait timed "
        "out,\n"
        "6 server unreachable, 7 credentials, 8 conflict, 9 refused by pressure, 130 "
        "interrupted.\n");
}
