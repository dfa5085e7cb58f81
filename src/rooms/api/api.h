/* What the files of the room share. */
#ifndef ROOMS_API_API_H
#define ROOMS_API_API_H

#include "core/room.h"
#include "lib/client/client.h"

#define API_ORIGINATOR       "xenkit-api"
#define API_RESULT_BYTES_MAX (UINT64_C(4) << 30) /* of decoded replies */

extern const struct xk_command api_cmd_call, api_cmd_describe, api_cmd_watch, api_cmd_dump, api_cmd_get, api_cmd_login,
    api_cmd_logout, api_cmd_sessions;

/* Whether an operand names a pool: a URL, a socket's path, or what `otherwise` says of a bare HOST[:PORT]. */
bool api_is_pool(const char *word, bool otherwise);

/* Completion from the model: messages; classes; classes, and after a dot fields and messages. */
void api_offer_messages(const struct xk_offer *offer, const char *word);
void api_offer_classes(const struct xk_offer *offer, const char *word);
void api_offer_names(const struct xk_offer *offer, const char *word);

/* A value as the result of a command: JSON as the XenAPI has it, tables of records, lines of text. */
void api_show(struct xk_out *out, const struct xapi_value *v);
/* A value as a cell. */
void api_put(struct xk_out *out, const char *key, const struct xapi_value *v);

/*
 * Empty what is or looks like a secret in a map of records, in place. Too much is taken rather than too little: what
 * is left has to be fit for strangers.
 *
 * returns   how many values were emptied.
 */
unsigned api_remove_secrets(struct xapi_value *records, const struct xapi_class *class_row);

#endif
