/* Names of the data model for the shells' completion. */
#include "rooms/api/api.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES 256

void api_offer_classes(const struct xk_offer *offer, const char *word)
{
    for (size_t i = 0; i < xapi_class_count; i++)
        offer->take(offer, xapi_text(xapi_classes[i].name));
}

static bool is_offered(const struct xapi_message *m)
{
    return m->state != XAPI_REMOVED && !(m->flags & XAPI_MESSAGE_HIDDEN);
}

/* Until the dot is written there are too many messages to choose from, and each class stands for its own. */
void api_offer_messages(const struct xk_offer *offer, const char *word)
{
    char class_dot[NAME_BYTES];

    for (size_t i = 0; i < xapi_class_count && !strchr(word, '.'); i++) {
        snprintf(class_dot, sizeof(class_dot), "%s.", xapi_text(xapi_classes[i].name));
        offer->take(offer, class_dot);
    }
    for (size_t i = 0; i < xapi_message_count && strchr(word, '.'); i++)
        if (is_offered(&xapi_messages[i]))
            offer->take(offer, xapi_text(xapi_messages[i].name));
}

void api_offer_names(const struct xk_offer *offer, const char *word)
{
    char name[NAME_BYTES];

    if (!strchr(word, '.'))
        return api_offer_classes(offer, word);
    for (size_t i = 0; i < xapi_field_count; i++) {
        const struct xapi_field *const f = &xapi_fields[i];
        snprintf(name, sizeof(name), "%s.%s", xapi_text(xapi_classes[f->class_index].name), xapi_text(f->name));
        if (!f->internal)
            offer->take(offer, name);
    }
    api_offer_messages(offer, word);
}
