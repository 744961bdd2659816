/*
 * keys_audit.c - settings of the audit that the gateway runs.
 */
#include "common/config/keys.h"

/* Alphabetical. */
const weir_config_key weir_audit_config_keys[] = {
    KEY(U32, audit.documents_per_second, "audit.documents_per_second", "25", 0, 100000,
        "Documents that the audit compares in a second; 0: none by itself, only what RunAudit asks "
        "for"),
    KEY(DURATION, audit.interval_ms, "audit.interval", "10m", 1000, 31536000000.0,
        "Time between the starts of two passes over all documents; a pass that takes longer is "
        "followed at once"),
    WEIR_CONFIG_END
};
