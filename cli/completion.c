/*
 * completion.c - `weir completion`: a script by which a shell completes commands and options, made
 * from the table of commands.
 *
 * Where nothing of weir's fits, the shell completes file names.
 */
#include <string.h>

#include "cli/cli.h"

/* "dlq" of "dlq ls". */
static size_t
first_word(const cli_command *command)
{
    return strcspn(command->name, " ");
}

static const char *
second_word(const cli_command *command)
{
    const char *blank = strchr(command->name, ' ');

    return blank != NULL ? blank + 1 : NULL;
}

/* Commands with one first word stand together in the table. */
static bool
begins_group(const cli_command *command)
{
    const size_t size = first_word(command);

    return command == cli_commands || first_word(command - 1) != size ||
        strncmp(command[-1].name, command->name, size) != 0;
}

static void
for_each_option(const cli_command *command, void (*one)(const cli_command *, const cli_option *))
{
    const cli_option *lists[] = { command->options, cli_shared_options,
        command->calls_server ? cli_server_options : NULL };

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (const cli_option *it = lists[i]; it != NULL && it->name != NULL; it++)
            one(command, it);
}

/* ---- bash and zsh ---- */

static void
print_long(const cli_command *command, const cli_option *option)
{
    (void)command;
    printf(" --%s", option->name);
}

static void
print_bash_case(const cli_command *command)
{
    /* A command of one word may be followed by anything. */
    printf("    \"%s%s)\n        words=\"", command->name,
        second_word(command) != NULL ? "\"" : " \"*");
    for_each_option(command, print_long);
    printf("\" ;;\n");
}

/* The words that may follow the first one of a group. */
static void
print_bash_group(const cli_command *command)
{
    const size_t size = first_word(command);

    printf("    \"%.*s\")\n        words=\"", (int)size, command->name);
    for (const cli_command *it = command; it->name != NULL; it++)
        if (first_word(it) == size && strncmp(it->name, command->name, size) == 0)
            printf(" %s", second_word(it));
    printf("\" ;;\n");
}

static void
print_bash(void)
{
    printf("_weir() {\n"
           "    local words=\"\" first=\"${COMP_WORDS[1]}\" second=\"\"\n"
           "    [ \"$COMP_CWORD\" -gt 1 ] || first=\"\"\n"
           "    [ \"$COMP_CWORD\" -gt 2 ] && second=\"${COMP_WORDS[2]}\"\n"
           "    case \"$first\" in\n"
           "    \"\")\n        words=\"");
    for (const cli_command *it = cli_commands; it->name != NULL; it++)
        if (begins_group(it))
            printf(" %.*s", (int)first_word(it), it->name);
    printf("\" ;;\n");
    for (const cli_command *it = cli_commands; it->name != NULL; it++)
        if (begins_group(it) && second_word(it) != NULL)
            print_bash_group(it);
    printf("    esac\n    case \"$first $second\" in\n");
    for (const cli_command *it = cli_commands; it->name != NULL; it++)
        print_bash_case(it);
    printf("    esac\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
           "}\n"
           "complete -o default -F _weir weir\n");
}

/* ---- fish ---- */

/* In single quotes. */
static void
print_fish_text(const char *text)
{
    putchar('\'');
    for (; *text != '\0'; text++)
        printf(*text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
    putchar('\'');
}

/* "command -n 'the words of this command are there'" */
static void
print_fish_condition(const cli_command *command)
{
    printf("complete -c weir -n '__fish_seen_subcommand_from %.*s", (int)first_word(command),
        command->name);
    if (second_word(command) != NULL)
        printf("; and __fish_seen_subcommand_from %s", second_word(command));
    printf("'");
}

static void
print_fish_option(const cli_command *command, const cli_option *option)
{
    print_fish_condition(command);
    printf(" -l %s%s", option->name, option->value != NULL ? " -r" : "");
    if (option->letter != 0)
        printf(" -s %c", option->letter);
    printf(" -d ");
    print_fish_text(option->help);
    printf("\n");
}

static void
print_fish(void)
{
    for (const cli_command *it = cli_commands; it->name != NULL; it++) {
        const int size = (int)first_word(it);

        if (begins_group(it))
            printf("complete -c weir -n __fish_use_subcommand -a %.*s\n", size, it->name);
        if (second_word(it) != NULL) {
            printf("complete -c weir -n '__fish_seen_subcommand_from %.*s' -a %s -d ", size,
                it->name, second_word(it));
            print_fish_text(it->summary);
            printf("\n");
        }
        for_each_option(it, print_fish_option);
    }
}

cli_exit
cli_completion(cli *self)
{
    const char *shell = self->arguments[0];

    if (strcmp(shell, "zsh") == 0)
        printf("autoload -U +X compinit bashcompinit && compinit && bashcompinit\n");
    if (strcmp(shell, "bash") == 0 || strcmp(shell, "zsh") == 0) {
        print_bash();
    } else if (strcmp(shell, "fish") == 0) {
        print_fish();
    } else {
        cli_complain("there is no completion for \"%s\": give bash, zsh or fish", shell);
        return CLI_USAGE;
    }
    return CLI_OK;
}
