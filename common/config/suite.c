/*
 * suite.c - all key tables together: load every source, check the relations, settle the data
 * folder.
 *
 * The relations between two settings are all here, so that a service may rely on them.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/base/weights.h"
#include "common/config/config_internal.h"
#include "common/config/suite.h"

const weir_config_key *const weir_suite_tables[] = { weir_common_config_keys,
    weir_gateway_config_keys, weir_ingest_config_keys, weir_embedder_config_keys,
    weir_indexer_config_keys, weir_reconciler_config_keys, weir_audit_config_keys, NULL };

static weir_code
check_not_above(const char *low_key, double low, const char *high_key, double high,
    weir_error *reterr)
{
    if (low <= high)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_CONFIG_INVALID, "%s (%.15g) must not be above %s (%.15g)",
        low_key, low, high_key, high);
}

static weir_code
check_tls(const weir_common_config *common, weir_error *reterr)
{
    const bool certificate = common->tls_certificate_file[0] != '\0';

    if (certificate != (common->tls_key_file[0] != '\0'))
        return weir_error_set(reterr, WEIR_CONFIG_INVALID,
            "tls.certificate_file and tls.key_file belong together: set both or neither");
    if (common->tls_client_ca_file[0] != '\0' && !certificate)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID,
            "tls.client_ca_file needs tls.certificate_file");
    return WEIR_OK;
}

static weir_code
check_address(const weir_common_config *common, weir_error *reterr)
{
    struct in_addr v4;
    struct in6_addr v6;
    const bool is_v4 = inet_pton(AF_INET, common->listen_address, &v4) == 1;
    const bool is_v6 = !is_v4 && inet_pton(AF_INET6, common->listen_address, &v6) == 1;

    if (!is_v4 && !is_v6)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID,
            "listen_address \"%s\" is not an IP address", common->listen_address);
    const bool loopback = is_v4 ? (ntohl(v4.s_addr) >> 24) == 127 : IN6_IS_ADDR_LOOPBACK(&v6);
    if (!loopback && !common->allow_unauthenticated)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID,
            "listen_address %s is not loopback and weir asks for no credentials; set "
            "allow_unauthenticated if "
            "something else guards the ports",
            common->listen_address);
    return WEIR_OK;
}

static weir_code
check_retry(const char *section, const weir_retry_config *retry, weir_error *reterr)
{
    char low[64];
    char high[64];

    snprintf(low, sizeof low, "%s.backoff_base_ms", section);
    snprintf(high, sizeof high, "%s.backoff_max_ms", section);
    return check_not_above(low, retry->backoff_base_ms, high, retry->backoff_max_ms, reterr);
}

static weir_code
check_weights(const char *key, const char *list, weir_error *reterr)
{
    weir_error inner = { 0 };

    if (weir_weights_check(list, &inner) == WEIR_OK)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_CONFIG_INVALID, "%s: %s", key, inner.message);
}

weir_code
weir_suite_check(const weir_suite_config *suite, weir_error *reterr)
{
    const weir_common_config *common = &suite->common;
    weir_code code = check_retry("ingest", &suite->ingest.retry, reterr);

    if (code == WEIR_OK)
        code = check_retry("embedder", &suite->embedder.retry, reterr);
    if (code == WEIR_OK)
        code = check_not_above("store.reserve_bytes", (double)common->store_reserve_bytes,
            "store.low_water_bytes", (double)common->store_low_water_bytes, reterr);
    if (code == WEIR_OK)
        code = check_not_above("the largest row of a link in bytes", WEIR_FRAME_BYTES_MAX,
            "inbox.bytes_max", (double)common->inbox_bytes_max, reterr);
    if (code == WEIR_OK)
        code = check_weights("gateway.tenant_weights", suite->gateway.tenant_weights, reterr);
    if (code == WEIR_OK)
        code = check_tls(common, reterr);
    return code == WEIR_OK ? check_address(common, reterr) : code;
}

static const char *
lookup(char *const *environment, const char *name)
{
    const size_t size = strlen(name);

    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++)
        if (strncmp(environment[i], name, size) == 0 && environment[i][size] == '=')
            return environment[i] + size + 1;
    return "";
}

/* $WEIR_DATA, /var/lib/weir, ~/.local/share/weir; later ones only where an earlier one is not to be
 * had. */
static weir_code
settle_data_dir(weir_config *config, char *const *environment, weir_error *reterr)
{
    char path[1024];
    const char *from_environment = lookup(environment, "WEIR_DATA");
    config_entry *entry = config_find(config, "data_dir");

    weir_assert(entry != NULL);
    if (entry->text[0] != '\0')
        return WEIR_OK;
    if (from_environment[0] != '\0')
        snprintf(path, sizeof path, "%s", from_environment);
    else if (geteuid() == 0 || lookup(environment, "HOME")[0] == '\0')
        snprintf(path, sizeof path, "/var/lib/weir");
    else
        snprintf(path, sizeof path, "%s/.local/share/weir", lookup(environment, "HOME"));
    if (config_assign(config, entry, path, entry->source, reterr) != WEIR_OK)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "data_dir from the environment: %s",
            reterr->message);
    return WEIR_OK;
}

static weir_code
read_sources(weir_config *config, const weir_suite_sources *sources, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    if (sources->file != NULL)
        code = weir_config_read_file(config, sources->file, reterr);
    if (code == WEIR_OK && sources->environment != NULL)
        code = weir_config_read_environment(config, sources->environment, reterr);
    for (size_t i = 0; i < sources->assignment_count && code == WEIR_OK; i++)
        code = weir_config_set(config, sources->assignments[i], reterr);
    return code;
}

weir_code
weir_suite_load(const weir_suite_sources *sources, weir_config **ret_config,
    const weir_suite_config **ret_suite, weir_error *reterr)
{
    weir_error inner = { 0 };
    weir_config *config = weir_config_create(weir_suite_tables, sizeof(weir_suite_config));
    weir_code code = read_sources(config, sources, &inner);

    if (code == WEIR_OK)
        code = settle_data_dir(config, sources->environment, &inner);
    if (code == WEIR_OK)
        code = weir_suite_check(weir_config_values(config), &inner);
    if (code != WEIR_OK) {
        weir_config_destroy(&config);
        return weir_error_set(reterr, code, "%s", inner.message);
    }
    *ret_config = config;
    *ret_suite = weir_config_values(config);
    return WEIR_OK;
}
