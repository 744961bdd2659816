/*
 * main.c - the program `weir`: find the command, take its arguments, run it.
 *
 * Interrupted by Ctrl-C it exits with 130; what was accepted by then stays accepted, and `weir
 * ingest` goes on where it stopped.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/base/log.h"

static void
interrupted(int signal_number)
{
    (void)signal_number;
    if (isatty(STDERR_FILENO) && write(STDERR_FILENO, "\n", 1) < 0)
        _exit(CLI_INTERRUPTED);
    _exit(CLI_INTERRUPTED);
}

/* Words of a command's name that argv begins with; 0: it does not. */
static int
matches(const cli_command *command, int argc, char **argv)
{
    const char *second = strchr(command->name, ' ');
    const size_t size = second != NULL ? (size_t)(second - command->name) : strlen(command->name);

    if (argc < 2 || strlen(argv[1]) != size || strncmp(argv[1], command->name, size) != 0)
        return 0;
    if (second == NULL)
        return 1;
    return argc >= 3 && strcmp(argv[2], second + 1) == 0 ? 2 : 0;
}

static const cli_command *
find(int argc, char **argv, int *ret_words)
{
    for (const cli_command *it = cli_commands; it->name != NULL; it++) {
        *ret_words = matches(it, argc, argv);
        if (*ret_words > 0)
            return it;
    }
    return NULL;
}

/* Names of the group that argv[1] begins: "dlq" alone lists its commands. */
static bool
print_group(const char *word)
{
    bool found = false;

    for (const cli_command *it = cli_commands; it->name != NULL; it++) {
        const size_t size = strlen(word);
        if (strncmp(it->name, word, size) != 0 || it->name[size] != ' ')
            continue;
        fprintf(stderr, "%s  weir %-20s %s\n", found ? "" : "weir: which one?\n", it->name,
            it->summary);
        found = true;
    }
    return found;
}

cli_exit
cli_help(cli *self)
{
    char *argv[] = { (char *)"weir", self->argument_count > 0 ? self->arguments[0] : NULL,
        self->argument_count > 1 ? self->arguments[1] : NULL };
    int words = 0;
    const cli_command *command = find(self->argument_count + 1, argv, &words);

    if (command != NULL)
        cli_print_help(command);
    else if (self->argument_count == 0)
        cli_print_overview(stdout);
    else if (!print_group(self->arguments[0]))
        cli_complain("there is no command \"%s\"; see weir help", self->arguments[0]);
    return self->argument_count == 0 || command != NULL ? CLI_OK : CLI_USAGE;
}

cli_exit
cli_version(cli *self)
{
    if (self->json)
        printf("{\"version\":\"%s\"}\n", WEIR_VERSION);
    else
        printf("weir %s\n", WEIR_VERSION);
    return CLI_OK;
}

static cli_exit
run(cli *self)
{
    cli_exit result = CLI_OK;

    if (cli_has(self, "help")) {
        cli_print_help(self->command);
        return CLI_OK;
    }
    if (self->command->calls_server)
        result = cli_connect(self);
    if (result == CLI_OK)
        result = self->command->run(self);
    cli_disconnect(self);
    if (fflush(stdout) != 0 && result == CLI_OK)
        result = CLI_ERROR;
    return result;
}

int
main(int argc, char **argv)
{
    cli self = { .arena = weir_arena_create(0) };
    int words = 0;

    weir_log_init("weir", true, WEIR_LOG_ERROR);
    signal(SIGINT, interrupted);
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cli_print_overview(argc < 2 ? stderr : stdout);
        return argc < 2 ? CLI_USAGE : CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        return (int)cli_version(&self);
    self.command = find(argc, argv, &words);
    if (self.command == NULL) {
        if (!print_group(argv[1]))
            cli_complain("there is no command \"%s\"; see weir help", argv[1]);
        return CLI_USAGE;
    }
    cli_exit result = cli_parse(&self, argc - words, argv + words);
    if (result == CLI_OK)
        result = run(&self);
    weir_arena_destroy(&self.arena);
    return (int)result;
}
