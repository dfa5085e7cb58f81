/*
 * Passwords: from a file, from standard input, or typed without an echo. Never from the command line.
 */
#ifndef XK_SECRET_H
#define XK_SECRET_H

#include "core/err.h"

#define XK_SECRET_BYTES_MAX 1024

/*
 * The one line that a file holds, without its newline.
 *
 * path      "-": standard input.
 * ret       xk_secret_free() it.
 * returns   0; -EINVAL: empty, more than one line, a NUL; -EFBIG; what reading returns.
 */
int xk_secret_read(char **ret, const char *path, struct xk_err *err);
/*
 * Ask at the terminal that controls this process, whatever the standard streams are.
 *
 * returns   0; -ENOTTY: there is none; -EINTR: a stop was asked for; -EINVAL: nothing was typed.
 */
int xk_secret_ask(char **ret, const char *question, struct xk_err *err);
/* Wipes it first. NULL is fine. */
void xk_secret_free(char *secret);

#endif
