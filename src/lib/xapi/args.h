/*
 * The client's side of the data model's types: arguments are checked before they are sent, results get the shapes that
 * their types say whatever the wire made of them, words of a command line become values.
 */
#ifndef LIB_XAPI_ARGS_H
#define LIB_XAPI_ARGS_H

#include "lib/xapi/value.h"

/* "string", "ref VM", "set of ref VDI", "map of string to int": for messages. */
void xapi_type_text(struct xk_buf *b, uint16_t type);

/*
 * Check the arguments of a message, without its session: their number, types, words of enums, fields of records.
 *
 * ret       message->params of them at most, in their types' shapes; *ret_count as many as were given.
 * returns   0; -EINVAL (exit class usage): which argument is wrong, and what would be right; -ENOMEM.
 */
int xapi_args_check(struct xapi_value *ret, struct xk_arena *arena, const struct xapi_message *message,
                    const struct xapi_value *args, size_t count, struct xk_err *err);

/*
 * A word of a command line as a value of a type. Anything may be JSON; besides, text is text, a set is a,b,c and a
 * map or record is a=b,c=d. Types are checked later.
 */
int xapi_word_parse(struct xapi_value *ret, struct xk_arena *arena, uint16_t type, const char *word,
                    struct xk_err *err);

/*
 * Bring a result into the shapes of its type, in place: numbers and times that came as text, for example. What does
 * not fit stays as it came; servers of other releases have fields and words that the model does not know.
 */
void xapi_settle(struct xapi_value *v, uint16_t type);
void xapi_settle_record(struct xapi_value *v, const struct xapi_class *class_row);

#endif
