/*
 * A crew: some threads that run the same function until it returns.
 */
#ifndef XK_CREW_H
#define XK_CREW_H

#include "core/base.h"

/* Enough for work that is not recursive; the C library's 8 MiB would all count as address space. */
#define XK_CREW_STACK_BYTES XK_MIB

/*
 * Call work(context, 0), work(context, 1) and so on, each in a thread of its own, the first one in the caller's; return
 * when all have. Fewer are called when there is no room for so many threads, so each takes what is left to do.
 */
void xk_crew_run(unsigned count, size_t stack_bytes, void (*work)(void *context, unsigned which), void *context);

/* Processors that this process may run on; at least 1. */
unsigned xk_processors(void);

#endif
