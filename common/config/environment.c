/*
 * environment.c - WEIR_<SECTION>_<KEY> in the environment sets <section>.<key>.
 *
 * A name that begins with a known section but is no key is taken for a typing error and refused,
 * but for the names that a cluster puts into every container for a service called weir-<section>.
 */
#include <ctype.h>
#include <stdio.h>

#include "common/config/config_internal.h"

void
config_environment_name(const char *key, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "WEIR_");

    for (; *key != '\0' && at + 1 < size; key++)
        out[at++] = *key == '.' ? '_' : (char)toupper((unsigned char)*key);
    out[at] = '\0';
}

static config_entry *
find_by_environment(const weir_config *config, const char *name)
{
    char candidate[WEIR_CONFIG_KEY_BYTES_MAX + 8];

    for (size_t i = 0; i < config->entry_count; i++) {
        config_environment_name(config->entries[i].key->name, candidate, sizeof candidate);
        if (strcmp(candidate, name) == 0)
            return &config->entries[i];
    }
    return NULL;
}

/* Kubernetes: WEIR_GATEWAY_SERVICE_HOST, WEIR_GATEWAY_PORT, WEIR_GATEWAY_PORT_7070_TCP_ADDR, ... */
static bool
is_service_link(const char *name)
{
    const char *port = strstr(name, "_PORT");

    if (strstr(name, "_SERVICE_HOST") != NULL || strstr(name, "_SERVICE_PORT") != NULL)
        return true;
    return port != NULL && (port[5] == '\0' || (port[5] == '_' && isdigit((unsigned char)port[6])));
}

static bool
names_a_section(const weir_config *config, const char *name)
{
    char section[WEIR_CONFIG_KEY_BYTES_MAX];
    size_t size = 0;

    for (const char *at = name + 5; *at != '\0' && *at != '_' && size + 1 < sizeof section; at++)
        section[size++] = (char)tolower((unsigned char)*at);
    return name[5 + size] == '_' && config_is_section(config, section, size) &&
        !is_service_link(name);
}

static weir_code
unknown_name(const weir_config *config, const char *name, weir_error *reterr)
{
    char key[WEIR_CONFIG_KEY_BYTES_MAX];
    char better[WEIR_CONFIG_KEY_BYTES_MAX + 8] = "";
    size_t size = 0;

    for (const char *at = name + 5; *at != '\0' && size + 1 < sizeof key; at++)
        key[size++] = (char)tolower((unsigned char)*at);
    key[size] = '\0';
    char *underscore = strchr(key, '_');
    if (underscore != NULL)
        *underscore = '.';
    const char *nearest = config_nearest(config, key);
    if (nearest != NULL)
        config_environment_name(nearest, better, sizeof better);
    return weir_error_set(reterr, WEIR_CONFIG_INVALID, "environment: unknown setting %.80s%s%s%s",
        name, nearest != NULL ? "; did you mean " : "", better, nearest != NULL ? "?" : "");
}

static weir_code
read_variable(weir_config *config, const char *variable, weir_error *reterr)
{
    char name[WEIR_CONFIG_KEY_BYTES_MAX + 8];
    weir_error inner = { 0 };
    const char *equals = strchr(variable, '=');

    if (strncmp(variable, "WEIR_", 5) != 0 || equals == NULL ||
        (size_t)(equals - variable) >= sizeof name)
        return WEIR_OK;
    snprintf(name, sizeof name, "%.*s", (int)(equals - variable), variable);
    config_entry *entry = find_by_environment(config, name);
    if (entry == NULL)
        return names_a_section(config, name) ? unknown_name(config, name, reterr) : WEIR_OK;
    if (config_assign(config, entry, equals + 1, WEIR_CONFIG_FROM_ENVIRONMENT, &inner) != WEIR_OK)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "environment: %s: %s", name,
            inner.message);
    return WEIR_OK;
}

weir_code
weir_config_read_environment(weir_config *config, char *const *environment, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (size_t i = 0; environment[i] != NULL && code == WEIR_OK; i++)
        code = read_variable(config, environment[i], reterr);
    return code;
}
