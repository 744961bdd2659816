/*
 * help.c - find a command by its words, and say what commands there are.
 */
#include <string.h>

#include "cli/cli.h"

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

const cli_command *
cli_find_command(int argc, char **argv, int *ret_words)
{
    for (const cli_command *it = cli_commands; it->name != NULL; it++) {
        *ret_words = matches(it, argc, argv);
        if (*ret_words > 0)
            return it;
    }
    return NULL;
}

bool
cli_print_group(FILE *out, const char *word)
{
    bool found = false;

    for (const cli_command *it = cli_commands; it->name != NULL; it++) {
        const size_t size = strlen(word);
        if (strncmp(it->name, word, size) != 0 || it->name[size] != ' ')
            continue;
        fprintf(out, "  weir %-20s %s\n", it->name, it->summary);
        found = true;
    }
    return found;
}

cli_exit
cli_unknown_command(const char *word, const char *second)
{
    const bool has_second = second != NULL && second[0] != '-';

    cli_complain("there is no command \"%s%s%s\"; see weir help", word, has_second ? " " : "",
        has_second ? second : "");
    cli_print_group(stderr, word);
    return CLI_USAGE;
}

cli_exit
cli_help(cli *self)
{
    char *argv[] = { (char *)"weir", self->argument_count > 0 ? self->arguments[0] : NULL,
        self->argument_count > 1 ? self->arguments[1] : NULL };
    int words = 0;
    const cli_command *command = cli_find_command(self->argument_count + 1, argv, &words);

    if (command != NULL)
        cli_print_help(command);
    else if (self->argument_count == 0)
        cli_print_overview(stdout);
    else if (self->argument_count > 1 || !cli_print_group(stdout, self->arguments[0]))
        return cli_unknown_command(self->arguments[0], argv[2]);
    return CLI_OK;
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
