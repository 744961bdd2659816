/*
 * weights.c - shares by name: the check and the look-up take the same steps through the list.
 */
#include "common/base/weights.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    const char *text; /* up to the next comma */
    size_t size;
    size_t name_size; /* up to the first '='; size when there is none */
} entry;

/* The entry at *at_p, which is moved behind it and its comma; false at the end. */
static bool
next_entry(const char **at_p, entry *ret_entry)
{
    const char *text = *at_p;

    if (*text == '\0')
        return false;
    *ret_entry =
        (entry){ .text = text, .size = strcspn(text, ","), .name_size = strcspn(text, "=,") };
    *at_p = text + ret_entry->size + (text[ret_entry->size] == ',');
    return true;
}

static bool
has_name(const entry *self, const char *name, size_t size)
{
    return self->name_size == size && memcmp(self->text, name, size) == 0;
}

/* 0: none, or none that is allowed. */
static uint32_t
weight_of(const entry *self)
{
    const char *digits = self->text + self->name_size + 1;
    const size_t count = self->size > self->name_size ? self->size - self->name_size - 1 : 0;

    if (count < 1 || count > 3 || strspn(digits, "0123456789") != count)
        return 0;
    const unsigned long weight = strtoul(digits, NULL, 10);
    return weight <= WEIR_WEIGHT_MAX ? (uint32_t)weight : 0;
}

static bool
name_is_good(const entry *self)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

    return self->name_size >= 1 && self->name_size <= WEIR_WEIGHT_NAME_BYTES_MAX &&
        strspn(self->text, allowed) == self->name_size;
}

static bool
is_named_before(const char *list, const entry *self)
{
    entry other;

    while (next_entry(&list, &other) && other.text != self->text)
        if (has_name(&other, self->text, self->name_size))
            return true;
    return false;
}

weir_code
weir_weights_check(const char *list, weir_error *reterr)
{
    const char *at = list;
    entry self;

    while (next_entry(&at, &self)) {
        const int shown = self.size < 80 ? (int)self.size : 80;

        if (!name_is_good(&self) || weight_of(&self) == 0)
            return weir_error_set(reterr, WEIR_CONFIG_INVALID,
                "\"%.*s\" is not NAME=WEIGHT, with a name of 1 to %d letters, digits, '.', '_' or "
                "'-' and a whole number from 1 to %d",
                shown, self.text, WEIR_WEIGHT_NAME_BYTES_MAX, WEIR_WEIGHT_MAX);
        if (is_named_before(list, &self))
            return weir_error_set(reterr, WEIR_CONFIG_INVALID, "\"%.*s\" names it a second time",
                shown, self.text);
    }
    return WEIR_OK;
}

uint32_t
weir_weights_of(const char *list, const char *name)
{
    const size_t size = strlen(name);
    entry self;

    while (next_entry(&list, &self))
        if (has_name(&self, name, size))
            return weight_of(&self);
    return 1;
}
