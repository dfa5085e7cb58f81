/* Threads are made anew for each piece of work, which takes 20 us a thread; a pool would have to be kept by somebody.
 */
#include "core/crew.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#define CREW_MAX 64u

struct member {
    void (*work)(void *context, unsigned which);
    void *context;
    unsigned which;
    pthread_t thread;
};

static void *run(void *argument)
{
    const struct member *const m = argument;

    m->work(m->context, m->which);
    return NULL;
}

void xk_crew_run(unsigned count, size_t stack_bytes, void (*work)(void *context, unsigned which), void *context)
{
    struct member members[CREW_MAX];
    pthread_attr_t attr;
    unsigned started = 1;

    if (pthread_attr_init(&attr) == 0) {
        const bool sized = pthread_attr_setstacksize(&attr, stack_bytes) == 0;
        while (sized && started < XK_MIN(count, CREW_MAX)) {
            struct member *const m = &members[started];
            *m = (struct member){.work = work, .context = context, .which = started};
            if (pthread_create(&m->thread, &attr, run, m) != 0)
                break;
            started++;
        }
        (void)pthread_attr_destroy(&attr);
    }
    work(context, 0);
    for (unsigned i = 1; i < started; i++)
        (void)pthread_join(members[i].thread, NULL);
}

unsigned xk_processors(void)
{
    cpu_set_t mine;

    if (sched_getaffinity(0, sizeof(mine), &mine) == 0)
        return (unsigned)CPU_COUNT(&mine);
    const long online = sysconf(_SC_NPROCESSORS_ONLN); /* more than the set has room for */
    return online > 0 ? (unsigned)online : 1;
}
