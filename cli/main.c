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
#include "common/base/failpoint.h"
#include "common/base/log.h"

static void
interrupted(int signal_number)
{
    (void)signal_number;
    if (isatty(STDERR_FILENO) && write(STDERR_FILENO, "\n", 1) < 0)
        _exit(CLI_INTERRUPTED);
    _exit(CLI_INTERRUPTED);
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

static cli_exit
dispatch(cli *self, int argc, char **argv)
{
    int words = 0;

    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cli_print_overview(argc < 2 ? stderr : stdout);
        return argc < 2 ? CLI_USAGE : CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        return cli_version(self);
    self->command = cli_find_command(argc, argv, &words);
    if (self->command == NULL)
        return cli_unknown_command(argv[1], argc > 2 ? argv[2] : NULL);
    const cli_exit result = cli_parse(self, argc - words, argv + words);
    return result == CLI_OK ? run(self) : result;
}

int
main(int argc, char **argv)
{
    cli self = { .arena = NULL };

    if (weir_failpoints_listed(argc, argv))
        return CLI_OK;
    self.arena = weir_arena_create(0);
    weir_log_init("weir", true, WEIR_LOG_ERROR);
    signal(SIGINT, interrupted);
    signal(SIGPIPE, SIG_IGN);
    const cli_exit result = dispatch(&self, argc, argv);
    weir_arena_destroy(&self.arena);
    return (int)result;
}
