/* Looking things up in the generated tables: those sorted by name by a binary search, the short ones one by one. */
#include "lib/xe/model.h"

#include <string.h>

const struct xe_command *xe_command_find(const char *name)
{
    size_t low = 0, high = xe_command_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(name, xe_text(xe_commands[middle].name));
        if (order == 0)
            return &xe_commands[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *xe_error_text(const char *code)
{
    size_t low = 0, high = xe_error_text_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(code, xe_text(xe_error_texts[middle].code));
        if (order == 0)
            return xe_text(xe_error_texts[middle].text);
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct xe_listing *xe_listing_find(const char *name)
{
    for (size_t i = 0; *name && i < xe_listing_count; i++)
        if (strcmp(name, xe_text(xe_listings[i].name)) == 0)
            return &xe_listings[i];
    return NULL;
}

const struct xe_record *xe_record_find(const char *name)
{
    for (size_t i = 0; i < xe_record_count; i++)
        if (strcmp(name, xe_text(xe_records[i].name)) == 0)
            return &xe_records[i];
    return NULL;
}

const struct xe_field *xe_field_find(const struct xe_record *record, const char *name)
{
    for (size_t i = 0; i < record->fields; i++) {
        const struct xe_field *const field = &xe_fields[record->first_field + i];
        if (strcmp(name, xe_text(field->name)) == 0)
            return field;
    }
    return NULL;
}

const char *xe_enum_show(const char *table, const char *value)
{
    for (size_t i = 0; *table && i < xe_enum_word_count; i++)
        if (strcmp(table, xe_text(xe_enum_words[i].table)) == 0 && strcmp(value, xe_text(xe_enum_words[i].value)) == 0)
            return xe_text(xe_enum_words[i].text);
    return NULL;
}
