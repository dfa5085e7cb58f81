/*
 * Looking things up in the generated table.
 *
 * Messages are found through a perfect hash (hash, displace): two probes and one comparison, whatever the table's size.
 * The other tables are sorted by name as the tables are, and small: a binary search does.
 */
#include "lib/xapi/model.h"

#include <string.h>
#include <strings.h>

const struct xapi_class *xapi_class_find(const char *name)
{
    size_t low = 0, high = xapi_class_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(name, xapi_text(xapi_classes[middle].name));
        if (order == 0)
            return &xapi_classes[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct xapi_class *xapi_class_find_any_case(const char *name)
{
    for (size_t i = 0; i < xapi_class_count; i++)
        if (strcasecmp(name, xapi_text(xapi_classes[i].name)) == 0)
            return &xapi_classes[i];
    return NULL;
}

const struct xapi_field *xapi_field_find(const struct xapi_class *class_row, const char *name)
{
    for (size_t i = 0; i < class_row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[class_row->first_field + i];
        if (strcmp(name, xapi_text(field->name)) == 0)
            return field;
    }
    return NULL;
}

unsigned xapi_field_place(const struct xapi_class *class_row, const char *name)
{
    const struct xapi_field *const field = xapi_field_find(class_row, name);

    return field ? (unsigned)(field - xapi_fields) - class_row->first_field : XAPI_NONE;
}

/* '.' and '_' are one when hashed, so "VM_start" comes out at "VM.start"; a '.' elsewhere is another name. */
static bool is_same_name(const char *asked, const char *name)
{
    for (; *asked && *name; asked++, name++)
        if (*asked != *name && !(*asked == '_' && *name == '.'))
            return false;
    return *asked == *name;
}

const struct xapi_message *xapi_message_find(const char *name)
{
    const uint32_t shift = xapi_hash_shifts[xapi_hash(0, name) % xapi_hash_buckets];
    const uint16_t slot = xapi_hash_slots[xapi_hash(shift, name) % xapi_hash_size];

    if (slot == XAPI_NONE || !is_same_name(name, xapi_text(xapi_messages[slot].name)))
        return NULL;
    return &xapi_messages[slot];
}

bool xapi_enum_has(uint16_t enum_index, const char *word)
{
    const struct xapi_enum *const row = &xapi_enums[enum_index];

    for (size_t i = 0; i < row->values; i++)
        if (strcmp(word, xapi_text(xapi_enum_values[row->first_value + i])) == 0)
            return true;
    return false;
}

const struct xapi_error *xapi_error_find(const char *code)
{
    for (size_t i = 0; i < xapi_error_count; i++)
        if (strcmp(code, xapi_text(xapi_errors[i].code)) == 0)
            return &xapi_errors[i];
    return NULL;
}
