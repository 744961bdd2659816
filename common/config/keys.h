/*
 * keys.h - how a row of a key table is written; inside common/config only.
 */
#ifndef WEIR_CONFIG_KEYS_H
#define WEIR_CONFIG_KEYS_H

#include "common/config/suite.h"

#define WEIR_CONFIG_FIELD_(field_)                 \
    .offset = offsetof(weir_suite_config, field_), \
    .size = sizeof(((weir_suite_config *)NULL)->field_)

/* KEY(U32, embedder.batch_tokens, "embedder.batch_tokens", "1024", 16, 65536, "tokens of one run")
 */
#define KEY(type_, field_, name_, default_, min_, max_, help_) \
    { .name = (name_),                                         \
        .type = WEIR_CONFIG_##type_,                           \
        WEIR_CONFIG_FIELD_(field_),                            \
        .default_text = (default_),                            \
        .min = (min_),                                         \
        .max = (max_),                                         \
        .help = (help_) }
#define KEY_BOOL(field_, name_, default_, help_) \
    { .name = (name_),                           \
        .type = WEIR_CONFIG_BOOL,                \
        WEIR_CONFIG_FIELD_(field_),              \
        .default_text = (default_),              \
        .help = (help_) }
#define KEY_ENUM(field_, name_, default_, choices_, help_) \
    { .name = (name_),                                     \
        .type = WEIR_CONFIG_ENUM,                          \
        WEIR_CONFIG_FIELD_(field_),                        \
        .default_text = (default_),                        \
        .choices = (choices_),                             \
        .help = (help_) }

#endif
