/*
 * Processes of one's own: a function that runs beside this program, a command whose standard streams are ours.
 */
#ifndef XK_CHILD_H
#define XK_CHILD_H

#include "core/base.h"

#include <sys/types.h>

/*
 * Run a function in a process of its own. It dies by SIGKILL with the process that started it. Only for programs
 * without threads: the child has the memory of the moment, locks and all.
 *
 * run       its result is the child's status.
 * returns   the child, for waitpid(); a negative errno value.
 */
pid_t xk_child_fork(int (*run)(void *context), void *context);

/*
 * Start a command, looked for in PATH, in a process group of its own: an interrupt from the terminal is for this
 * program alone.
 *
 * argv      ends with NULL.
 * in_out    becomes its standard input and output; err_fd its standard error.
 * returns   0; a negative errno value.
 */
int xk_child_spawn(pid_t *ret, char *const argv[], int in_out, int err_fd);

/*
 * Go on in the background, without a terminal; the standard streams are /dev/null.
 *
 * returns   1 in the process that was started, which is to end; 0 in the one that goes on; a negative errno value.
 */
int xk_child_daemon(void);

/* Close every descriptor but the standard ones, `a` and `b`. */
void xk_child_keep(int a, int b);

#endif
