/*
 * Which processor a stream's thread runs on, when both ends of the stream are on this machine.
 *
 * What a sender writes to a connection of its own machine is carried all the way to the receiver's queue on the
 * sender's processor. A receiver elsewhere is woken by an interrupt for every few blocks and fetches each byte out of
 * the other one's cache; on the same processor it takes turns with the sender and finds the bytes in its own. Measured
 * on two otherwise idle processors: two to three times the throughput for a quarter of the processor time. The
 * scheduler prefers an idle processor for whoever wakes up, so it is told: each sender stays where it is, and its
 * receiver follows the packets. A small SO_RCVBUF to keep the bytes in the cache was weighed: it costs more wake-ups
 * than it saves.
 *
 * Over a network the interrupts of the card are work enough for one processor, so there nothing is placed; nor where
 * the user names processors or a rate.
 */
#include "lib/iperf/inner.h"

#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#define LOOK_READS 64 /* of a receiver, between two looks at where its packets come in */

static bool is_ours_to_place(const struct iperf_flow *f)
{
    const struct iperf_test *const t = f->test;

    if (t->settings->affinity >= 0 || (t->server && t->params.affinity >= 0))
        return false;
    return t->params.protocol == IPERF_TCP && t->params.rate_bps == 0 && strcmp(f->local.host, f->remote.host) == 0;
}

static bool stay_on(const cpu_set_t *allowed, int processor)
{
    cpu_set_t one;

    if (processor < 0 || processor >= CPU_SETSIZE || !CPU_ISSET((size_t)processor, allowed))
        return false;
    CPU_ZERO(&one);
    CPU_SET((size_t)processor, &one);
    return sched_setaffinity(0, sizeof(one), &one) == 0;
}

/* Several streams share all the processors that there are. */
static int share(const cpu_set_t *allowed, unsigned i)
{
    unsigned left = i % (unsigned)CPU_COUNT(allowed);
    int processor = 0;

    while (!CPU_ISSET((size_t)processor, allowed) || left-- > 0)
        processor++;
    return processor;
}

/* Whoever wakes up waits until the other one has nothing left to do, instead of interrupting it at each block. */
static void take_turns(void)
{
    const struct sched_param none = {0};

    if (sched_getscheduler(0) == SCHED_OTHER)
        (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

void iperf_place_sender(const struct iperf_flow *f)
{
    const struct iperf_test *const t = f->test;
    cpu_set_t allowed;

    if (!is_ours_to_place(f) || sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
        return;
    take_turns();
    (void)stay_on(&allowed, t->flow_count == 1 ? sched_getcpu() : share(&allowed, (unsigned)(f - t->flows)));
}

struct iperf_place iperf_place_receiver(const struct iperf_flow *f)
{
    struct iperf_place p = {.fd = f->fd, .processor = -1};

    p.follows = is_ours_to_place(f) && sched_getaffinity(0, sizeof(p.allowed), &p.allowed) == 0;
    if (p.follows)
        take_turns();
    return p;
}

void iperf_place_follow(struct iperf_place *p)
{
    int processor = -1;
    socklen_t bytes = sizeof(processor);

    if (!p->follows || p->reads++ % LOOK_READS != 0)
        return;
    if (getsockopt(p->fd, SOL_SOCKET, SO_INCOMING_CPU, &processor, &bytes) == 0 && processor != p->processor &&
        stay_on(&p->allowed, processor))
        p->processor = processor;
}
