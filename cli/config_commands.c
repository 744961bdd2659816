/*
 * config_commands.c - `weir config`: check, print and explain the settings without starting
 * anything.
 */
#include <string.h>

#include "cli/cli.h"

extern char **environ;

static cli_exit
load(const cli *self, weir_config **ret_config)
{
    const char *assignments[CLI_VALUES_MAX];
    const weir_suite_config *suite = NULL;
    size_t count = 0;
    const char *value;
    weir_error error = { 0 };
    const char *file =
        self->argument_count > 0 ? self->arguments[0] : cli_text(self, "config", NULL);

    for (size_t i = 0; (value = cli_text_at(self, "set", i)) != NULL; i++)
        assignments[count++] = value;
    const weir_suite_sources sources = { .file = file,
        .environment = environ,
        .assignments = assignments,
        .assignment_count = count };
    if (weir_suite_load(&sources, ret_config, &suite, &error) == WEIR_OK)
        return CLI_OK;
    cli_complain("%s", error.message);
    return CLI_ERROR;
}

static cli_exit
print(weir_buffer *text)
{
    const bool written = fwrite(text->data, 1, text->size, stdout) == text->size;

    weir_buffer_fini(text);
    return written ? CLI_OK : CLI_ERROR;
}

cli_exit
cli_config_check(cli *self)
{
    weir_config *config = NULL;
    const cli_exit result = load(self, &config);

    if (result == CLI_OK && self->json)
        cli_print_json_texts((const char *const[]){ "message", "the settings are good", NULL });
    else if (result == CLI_OK)
        printf("the settings are good\n");
    weir_config_destroy(&config);
    return result;
}

cli_exit
cli_config_print(cli *self)
{
    weir_config *config = NULL;
    weir_buffer text = { 0 };
    cli_exit result = CLI_OK;

    if (cli_has(self, "default"))
        config = weir_config_create(weir_suite_tables, sizeof(weir_suite_config));
    else
        result = load(self, &config);
    if (result == CLI_OK) {
        weir_config_print_yaml(config, !cli_has(self, "default"), &text);
        result = print(&text);
    }
    weir_config_destroy(&config);
    return result;
}

cli_exit
cli_config_reference(cli *self)
{
    weir_config *config = weir_config_create(weir_suite_tables, sizeof(weir_suite_config));
    weir_buffer text = { 0 };

    (void)self;
    weir_config_print_reference(config, &text);
    weir_config_destroy(&config);
    return print(&text);
}
