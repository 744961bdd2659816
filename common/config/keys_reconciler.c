/*
 * keys_reconciler.c - settings of the reconciler.
 */
#include "common/config/keys.h"

/* Alphabetical. */
const weir_config_key weir_reconciler_config_keys[] = { KEY(U32, reconciler.journal_events_max,
                                                            "reconciler.journal_events_max", "64",
                                                            8, 64, "Events kept of each document"),
    KEY(DURATION, reconciler.linger_ms, "reconciler.linger_ms", "20", 0, 1000,
        "Time that events gather before they are written together"),
    KEY(DURATION, reconciler.stuck_after_ms, "reconciler.stuck_after_ms", "1h", 0, 31536000000.0,
        "Time without any event after which a document counts as stuck; 0: never"),
    WEIR_CONFIG_END };
