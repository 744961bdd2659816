/*
 * arguments.c - what a service's program takes on its command line.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/service/service_internal.h"

enum { OPT_CONFIG = 1, OPT_SET, OPT_DATA, OPT_PORT_BASE, OPT_PARENT, OPT_ACTION = 100 };

static const struct option options[] = {
    { "config", required_argument, NULL, OPT_CONFIG },
    { "set", required_argument, NULL, OPT_SET },
    { "data", required_argument, NULL, OPT_DATA },
    { "port-base", required_argument, NULL, OPT_PORT_BASE },
    { "die-with-parent", required_argument, NULL, OPT_PARENT },
    { "check", no_argument, NULL, OPT_ACTION + SERVICE_CHECK },
    { "print-config", no_argument, NULL, OPT_ACTION + SERVICE_PRINT_CONFIG },
    { "print-reference", no_argument, NULL, OPT_ACTION + SERVICE_PRINT_REFERENCE },
    { "version", no_argument, NULL, OPT_ACTION + SERVICE_VERSION },
    { "help", no_argument, NULL, OPT_ACTION + SERVICE_HELP },
    { NULL, 0, NULL, 0 },
};

void
service_print_help(const char *program)
{
    printf("usage: %s [--config FILE] [--set KEY=VALUE]... [--data DIR] [--port-base N]\n"
           "       %s --check | --print-config | --print-reference | --version | --help\n\n"
           "One of weir's five services; `weir up` starts and supervises all of them.\n\n"
           "  --config FILE       settings (YAML); see config/REFERENCE.md\n"
           "  --set KEY=VALUE     one setting, stronger than file and environment\n"
           "  --data DIR          as --set data_dir=DIR\n"
           "  --port-base N       as --set port_base=N\n"
           "  --check             check the settings and stop\n"
           "  --print-config      print all settings as they are in force\n"
           "  --print-reference   print what every setting means\n"
           "  --die-with-parent PID   end when the process PID, which started this one, ends\n",
        program, program);
}

static weir_code
add_assignment(service_arguments *arguments, const char *text, weir_error *reterr)
{
    if (arguments->assignment_count == SERVICE_ASSIGNMENTS_MAX)
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT, "more than %d times --set: use a file",
            SERVICE_ASSIGNMENTS_MAX);
    arguments->assignments[arguments->assignment_count++] = text;
    return WEIR_OK;
}

static weir_code
add_short(service_arguments *arguments, int slot, const char *key, weir_error *reterr)
{
    const int size =
        snprintf(arguments->owned[slot], sizeof arguments->owned[slot], "%s=%s", key, optarg);

    if (size < 0 || (size_t)size >= sizeof arguments->owned[slot])
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT, "the value of %s is too long", key);
    return add_assignment(arguments, arguments->owned[slot], reterr);
}

static weir_code
take_option(service_arguments *arguments, int option, weir_error *reterr)
{
    switch (option) {
    case OPT_CONFIG:
        arguments->config_file = optarg;
        return WEIR_OK;
    case OPT_SET:
        return add_assignment(arguments, optarg, reterr);
    case OPT_DATA:
        return add_short(arguments, 0, "data_dir", reterr);
    case OPT_PORT_BASE:
        return add_short(arguments, 1, "port_base", reterr);
    case OPT_PARENT:
        arguments->parent = strtol(optarg, NULL, 10);
        if (arguments->parent <= 1)
            return weir_error_set(reterr, WEIR_INVALID_ARGUMENT,
                "--die-with-parent wants a process id");
        return WEIR_OK;
    default:
        arguments->action = (service_action)(option - OPT_ACTION);
        return WEIR_OK;
    }
}

weir_code
service_arguments_parse(int argc, char **argv, service_arguments *ret_arguments, weir_error *reterr)
{
    weir_code code = WEIR_OK;
    int option;

    memset(ret_arguments, 0, sizeof *ret_arguments);
    optind = 0; /* parse anew, also after an earlier call */
    opterr = 0;
    while (code == WEIR_OK && (option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (option == ':')
            return weir_error_set(reterr, WEIR_INVALID_ARGUMENT, "%s wants a value",
                argv[optind - 1]);
        if (option == '?')
            return weir_error_set(reterr, WEIR_INVALID_ARGUMENT, "%s is not understood; see --help",
                argv[optind - 1]);
        code = take_option(ret_arguments, option, reterr);
    }
    if (code == WEIR_OK && optind < argc)
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT, "\"%s\" is not understood; see --help",
            argv[optind]);
    return code;
}
