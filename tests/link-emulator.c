/*
 * link-emulator: a wire between two network namespaces whose faults are counted.
 *
 *     link-emulator [OPTIONS] LEFT RIGHT          each a file like /proc/PID/ns/net
 *
 * Makes a TUN device "wire" in either namespace, says "ready", and carries packets until a stop is asked for. What goes
 * from left to right can be delayed, spread in time, lost, doubled, held back behind later packets, and squeezed
 * through a slow queue; from right to left only delayed. At the end a JSON object says what was done to the packets of
 * the way to the right: what a measuring program at both ends has to find out, counted where it was done.
 *
 * The counts are made at delivery, by the definitions of RFC 4737 (a packet is reordered when a later one was delivered
 * before it) and RFC 3550 (jitter), from the times at which the packets really came and left, so a busy machine that
 * carries them late does not make the truth wrong. The alternative, netem, is not in every kernel, and tells of losses
 * by probability only.
 *
 * Only UDP packets of at least --from-bytes suffer (with --tcp also TCP's), so that a program's own control messages
 * neither fail nor count.
 */
#include "core/base.h"
#include "core/bytes.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/opt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <math.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define PACKET_BYTES_MAX  65536
#define QUEUE_PACKETS_MAX 65536U
#define BURST_PACKETS     64 /* read from one device before the other is looked at */

enum way { RIGHTWARDS, LEFTWARDS, WAYS };

struct settings {
    uint64_t delay_ns, back_delay_ns, jitter_ns, hold_ns, queue_ns;
    double loss, duplicate, reorder; /* probabilities */
    uint64_t rate_bps;
    uint64_t from_bytes, seed;
    bool tcp;
};

struct packet {
    uint64_t due_ns, came_ns;
    uint64_t number; /* of those that may suffer, from 1; 0: not one of them */
    uint64_t order;  /* of all, so that equal times keep their order */
    uint32_t bytes;
    bool copy;
    uint8_t data[];
};

struct truth {
    uint64_t packets, lost, overflowed, duplicates, delivered, reordered, distance_max;
    uint64_t highest;
    double delay_sum_s, delay_min_s, delay_max_s, transit_s, jitter_s;
};

struct wire {
    struct settings settings;
    int fds[WAYS];                                 /* where packets of that way leave; they come in at the other one */
    struct packet *queue[WAYS][QUEUE_PACKETS_MAX]; /* a heap, the next one due at its top */
    size_t queued[WAYS];
    uint64_t order, link_free_ns;
    struct truth truth;
    struct xk_random random;
    const struct xk_clock *clock;
};

static const struct xk_opt options[] = {
    XK_OPT_DURATION(0, "delay", struct settings, delay_ns, "TIME", "from left to right"),
    XK_OPT_DURATION(0, "back-delay", struct settings, back_delay_ns, "TIME", "from right to left"),
    XK_OPT_DURATION(0, "jitter", struct settings, jitter_ns, "TIME", "up to this is added to each delay, at random"),
    XK_OPT_DOUBLE(0, "loss", struct settings, loss, "P", "probability that a packet is lost"),
    XK_OPT_DOUBLE(0, "duplicate", struct settings, duplicate, "P", "that it is delivered twice"),
    XK_OPT_DOUBLE(0, "reorder", struct settings, reorder, "P", "that it is held back"),
    XK_OPT_DURATION(0, "hold", struct settings, hold_ns, "TIME", "for how long [5ms]"),
    XK_OPT_RATE(0, "rate", struct settings, rate_bps, "RATE", "of the wire to the right"),
    XK_OPT_DURATION(0, "queue", struct settings, queue_ns, "TIME", "that a packet may wait for a slow wire [100ms]"),
    XK_OPT_SIZE(0, "from-bytes", struct settings, from_bytes, "SIZE", "smaller packets are left alone [100]"),
    XK_OPT_U64(0, "seed", struct settings, seed, "N", 0, 0, "of what happens at random [1]"),
    XK_OPT_FLAG(0, "tcp", struct settings, tcp, "TCP's packets suffer, too"),
    XK_OPT_END,
};

static void fail(const char *what)
{
    fprintf(stderr, "link-emulator: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- the queue ---- */

static bool before(const struct packet *a, const struct packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void enqueue(struct wire *w, enum way way, struct packet *p)
{
    struct packet **const q = w->queue[way];
    size_t at = w->queued[way]++;

    for (; at > 0 && before(p, q[(at - 1) / 2]); at = (at - 1) / 2)
        q[at] = q[(at - 1) / 2];
    q[at] = p;
}

static struct packet *dequeue(struct wire *w, enum way way)
{
    struct packet **const q = w->queue[way];
    struct packet *const first = q[0], *const last = q[--w->queued[way]];
    const size_t count = w->queued[way];
    size_t at = 0;

    for (size_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && before(q[child + 1], q[child]))
            child++;
        if (!before(q[child], last))
            break;
        q[at] = q[child];
        at = child;
    }
    q[at] = last;
    return first;
}

/* ---- what is done to packets ---- */

static bool may_suffer(const struct settings *s, const uint8_t *data, size_t bytes)
{
    if (bytes < s->from_bytes || bytes < 40)
        return false;
    const uint8_t protocol = data[0] >> 4 == 6 ? data[6] : data[9];
    return protocol == IPPROTO_UDP || (s->tcp && protocol == IPPROTO_TCP);
}

static bool happens(struct wire *w, double probability)
{
    return probability > 0 && xk_random_unit(&w->random) < probability;
}

static void put(struct wire *w, enum way way, const uint8_t *data, uint32_t bytes, const struct packet *like)
{
    if (w->queued[way] == QUEUE_PACKETS_MAX) {
        w->truth.overflowed += like->number > 0;
        return;
    }
    struct packet *const p = malloc(sizeof(*p) + bytes);
    if (!p)
        fail("a packet");
    *p = *like;
    p->bytes = bytes;
    p->order = w->order++;
    memcpy(p->data, data, bytes);
    enqueue(w, way, p);
}

static void take_in(struct wire *w, enum way way, const uint8_t *data, uint32_t bytes)
{
    const struct settings *const s = &w->settings;
    const uint64_t now = w->clock->monotonic_ns(w->clock);
    struct packet p = {.came_ns = now, .due_ns = now + (way == RIGHTWARDS ? s->delay_ns : s->back_delay_ns)};

    if (way == LEFTWARDS) {
        put(w, way, data, bytes, &p);
        return;
    }
    if (s->rate_bps > 0) {
        const uint64_t start = XK_MAX(now, w->link_free_ns);
        const uint64_t end = start + (uint64_t)(8e9 * bytes / (double)s->rate_bps);
        if (end - now > s->queue_ns) {
            if (may_suffer(s, data, bytes)) {
                w->truth.packets++;
                w->truth.overflowed++;
            }
            return;
        }
        w->link_free_ns = end;
        p.due_ns += end - now;
    }
    if (!may_suffer(s, data, bytes)) {
        put(w, way, data, bytes, &p);
        return;
    }
    p.number = ++w->truth.packets;
    if (happens(w, s->loss)) {
        w->truth.lost++;
        return;
    }
    if (s->jitter_ns > 0)
        p.due_ns += xk_random_below(&w->random, s->jitter_ns);
    if (happens(w, s->reorder))
        p.due_ns += s->hold_ns;
    put(w, way, data, bytes, &p);
    if (happens(w, s->duplicate)) {
        p.copy = true;
        put(w, way, data, bytes, &p);
    }
}

static void count(struct truth *t, const struct packet *p, uint64_t now_ns)
{
    const double delay_s = (double)(now_ns - p->came_ns) / 1e9;

    if (p->copy) {
        t->duplicates++;
        return;
    }
    if (p->number < t->highest) {
        t->reordered++;
        t->distance_max = XK_MAX(t->distance_max, t->highest - p->number);
    }
    t->highest = XK_MAX(t->highest, p->number);
    if (t->delivered++ > 0)
        t->jitter_s += (fabs(delay_s - t->transit_s) - t->jitter_s) / 16;
    t->transit_s = delay_s;
    t->delay_sum_s += delay_s;
    t->delay_min_s = t->delivered == 1 ? delay_s : XK_MIN(t->delay_min_s, delay_s);
    t->delay_max_s = XK_MAX(t->delay_max_s, delay_s);
}

static void deliver(struct wire *w, enum way way)
{
    uint64_t now;

    while (w->queued[way] > 0 && w->queue[way][0]->due_ns <= (now = w->clock->monotonic_ns(w->clock))) {
        struct packet *const p = dequeue(w, way);
        if (write(w->fds[way], p->data, p->bytes) < 0 && errno != EIO && errno != EINVAL)
            fail("a packet cannot be delivered");
        if (p->number > 0)
            count(&w->truth, p, now);
        free(p);
    }
}

static void read_some(struct wire *w, enum way way)
{
    uint8_t data[PACKET_BYTES_MAX];

    for (int i = 0; i < BURST_PACKETS; i++) {
        const ssize_t n = read(w->fds[!way], data, sizeof(data));
        if (n <= 0)
            return;
        take_in(w, way, data, (uint32_t)n);
    }
}

static void carry(struct wire *w)
{
    const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0)
        fail("a timer");
    while (!xk_stop_signal()) {
        struct pollfd polls[] = {{.fd = w->fds[LEFTWARDS], .events = POLLIN},
                                 {.fd = w->fds[RIGHTWARDS], .events = POLLIN},
                                 {.fd = timer, .events = POLLIN}};
        uint64_t next = UINT64_MAX, expired;

        for (enum way way = 0; way < WAYS; way++)
            if (w->queued[way] > 0)
                next = XK_MIN(next, w->queue[way][0]->due_ns);
        struct itimerspec at = {0};
        if (next != UINT64_MAX)
            at.it_value =
                (struct timespec){.tv_sec = (time_t)(next / 1000000000), .tv_nsec = (long)(next % 1000000000)};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
        if (poll(polls, XK_COUNT(polls), -1) < 0)
            continue;
        if (polls[2].revents != 0 && read(timer, &expired, sizeof(expired)) < 0 && errno != EAGAIN)
            fail("a timer");
        for (enum way way = 0; way < WAYS; way++) {
            deliver(w, way);
            read_some(w, way);
        }
    }
    close(timer);
}

/* ---- set-up and report ---- */

static int device_in(const char *namespace)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "wire"};
    const int ns = open(namespace, O_RDONLY | O_CLOEXEC);

    if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
        fail(namespace);
    close(ns);
    const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        fail("/dev/net/tun");
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        fail("TUNSETIFF");
    return fd;
}

static void report(const struct truth *t)
{
    struct xk_buf text = XK_BUF_INIT(4096);
    struct xk_json j;

    xk_json_init(&j, &text, 0);
    xk_json_object(&j, NULL);
    xk_json_u64(&j, "packets", t->packets);
    xk_json_u64(&j, "lost", t->lost);
    xk_json_u64(&j, "overflowed", t->overflowed);
    xk_json_u64(&j, "delivered", t->delivered);
    xk_json_u64(&j, "duplicates", t->duplicates);
    xk_json_u64(&j, "reordered", t->reordered);
    xk_json_u64(&j, "distance_max", t->distance_max);
    xk_json_double(&j, "delay_ms", t->delivered > 0 ? t->delay_sum_s / (double)t->delivered * 1e3 : 0);
    xk_json_double(&j, "delay_min_ms", t->delay_min_s * 1e3);
    xk_json_double(&j, "delay_max_ms", t->delay_max_s * 1e3);
    xk_json_double(&j, "jitter_ms", t->jitter_s * 1e3);
    xk_json_end(&j);
    puts(xk_buf_str(&text));
    xk_buf_done(&text);
}

int main(int argc, char **argv)
{
    struct wire *const w = calloc(1, sizeof(*w));
    const char *ends[64];
    int end_count = 0;
    struct xk_opt_memory memory = {0};
    struct xk_err err = {0};

    if (!w || argc > (int)XK_COUNT(ends))
        fail("too many words");
    w->settings = (struct settings){.hold_ns = 5000000, .queue_ns = 100000000, .from_bytes = 100, .seed = 1};
    const struct xk_opt_set sets[] = {{.opts = options, .into = &w->settings}};
    if (xk_opt_parse(sets, 1, argc - 1, argv + 1, ends, &end_count, &memory, &err) < 0 || end_count != 2) {
        fprintf(stderr, "link-emulator: %s\n", end_count == 2 || *err.text ? err.text : "it takes two namespaces");
        return 2;
    }
    w->clock = xk_clock_system();
    xk_random_seed(&w->random, w->settings.seed);
    prctl(PR_SET_TIMERSLACK, 1UL);
    w->fds[LEFTWARDS] = device_in(ends[0]);
    w->fds[RIGHTWARDS] = device_in(ends[1]);
    xk_stop_install();
    puts("ready");
    fflush(stdout);
    carry(w);
    report(&w->truth);
    for (enum way way = 0; way < WAYS; way++) {
        while (w->queued[way] > 0)
            free(dequeue(w, way));
        close(w->fds[way]);
    }
    xk_opt_done(&memory);
    free(w);
    return 0;
}
