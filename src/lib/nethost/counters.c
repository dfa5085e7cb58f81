/* Three files of the kernel. Lines that cannot be understood are passed over: a newer kernel may have more. */
#include "lib/nethost/nethost.h"

#include "core/fs.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

static const char *next_line(const char *at)
{
    const char *const end = strchr(at, '\n');

    return end ? end + 1 : at + strlen(at);
}

/* Up to `room` numbers of a line. returns how many there are. */
static unsigned numbers(uint64_t *ret, unsigned room, const char *at, int base)
{
    unsigned n = 0;

    while (n < room) {
        char *end;
        while (*at == ' ' || *at == '\t')
            at++;
        if (*at == '\n' || !*at)
            break;
        ret[n] = strtoull(at, &end, base);
        if (end == at)
            break;
        n++;
        at = end;
    }
    return n;
}

void nethost_parse_dev(struct nethost_counters *ret, const char *text)
{
    for (const char *at = text; *at && ret->interface_count < NETHOST_INTERFACES_MAX; at = next_line(at)) {
        struct nethost_interface *const x = &ret->interfaces[ret->interface_count];
        const char *const line_end = next_line(at);
        const char *const colon = memchr(at, ':', (size_t)(line_end - at));
        uint64_t v[16];
        while (*at == ' ')
            at++;
        /* Names may hold colons themselves (aliases do not appear here); the first is what the kernel puts. */
        if (!colon || colon == at || (size_t)(colon - at) >= sizeof(x->name) || numbers(v, 16, colon + 1, 10) < 16)
            continue;
        *x = (struct nethost_interface){.rx_packets = v[1],
                                        .rx_errors = v[2] + v[4],
                                        .rx_dropped = v[3],
                                        .tx_packets = v[9],
                                        .tx_errors = v[10] + v[12],
                                        .tx_dropped = v[11]};
        memcpy(x->name, at, (size_t)(colon - at));
        ret->interface_count++;
        ret->has_interfaces = true;
    }
}

void nethost_parse_softnet(struct nethost_counters *ret, const char *text)
{
    for (const char *at = text; *at; at = next_line(at)) {
        uint64_t v[3];
        if (numbers(v, 3, at, 16) < 3)
            continue;
        ret->softnet_processed += v[0];
        ret->softnet_dropped += v[1];
        ret->softnet_squeezed += v[2];
        ret->has_softnet = true;
    }
}

void nethost_parse_stat(struct nethost_counters *ret, const char *text)
{
    enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, COLUMNS };

    for (const char *at = text; *at; at = next_line(at)) {
        uint64_t v[COLUMNS] = {0};
        char *end;
        if (strncmp(at, "cpu", 3) != 0 || at[3] < '0' || at[3] > '9') /* "cpu" alone is the sum */
            continue;
        const unsigned long number = strtoul(at + 3, &end, 10);
        if (number >= NETHOST_PROCESSORS_MAX || *end != ' ' || numbers(v, COLUMNS, end, 10) < IOWAIT)
            continue;
        struct nethost_processor *const p = &ret->processors[number];
        *p = (struct nethost_processor){
            .idle = v[IDLE] + v[IOWAIT], .softirq = v[SOFTIRQ], .steal = v[STEAL], .online = true};
        for (unsigned i = 0; i < COLUMNS; i++)
            p->total += v[i];
        ret->processor_count = XK_MAX(ret->processor_count, (unsigned)number + 1);
        ret->has_processors = true;
    }
}

static void mark_allowed(struct nethost_counters *c)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return;
    for (unsigned i = 0; i < c->processor_count && i < CPU_SETSIZE; i++)
        c->processors[i].allowed = CPU_ISSET(i, &set);
}

void nethost_read(struct nethost_counters *ret, const char *root)
{
    static const struct {
        const char *path;
        void (*parse)(struct nethost_counters *ret, const char *text);
    } files[] = {
        /* As this thread's namespace has them, whatever was mounted on /proc. */
        {"/proc/self/net/dev", nethost_parse_dev},
        {"/proc/self/net/softnet_stat", nethost_parse_softnet},
        {"/proc/stat", nethost_parse_stat},
    };

    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < XK_COUNT(files); i++) {
        xk_autofree char *text = NULL;
        if (xk_slurp(&text, root, files[i].path, NETHOST_FILE_BYTES_MAX, NULL) >= 0)
            files[i].parse(ret, text);
    }
    mark_allowed(ret);
}

const struct nethost_interface *nethost_find(const struct nethost_counters *c, const char *name)
{
    for (unsigned i = 0; i < c->interface_count; i++) {
        if (strcmp(c->interfaces[i].name, name) == 0)
            return &c->interfaces[i];
    }
    return NULL;
}

/* A counter that went back was reset; what it shows has happened since. */
static void less(uint64_t *now, uint64_t then)
{
    if (*now >= then)
        *now -= then;
}

void nethost_since(struct nethost_counters *now, const struct nethost_counters *then)
{
    for (unsigned i = 0; i < now->interface_count; i++) {
        struct nethost_interface *const x = &now->interfaces[i];
        const struct nethost_interface *const old = nethost_find(then, x->name);
        if (!old)
            continue;
        less(&x->rx_packets, old->rx_packets);
        less(&x->rx_errors, old->rx_errors);
        less(&x->rx_dropped, old->rx_dropped);
        less(&x->tx_packets, old->tx_packets);
        less(&x->tx_errors, old->tx_errors);
        less(&x->tx_dropped, old->tx_dropped);
    }
    for (unsigned i = 0; i < now->processor_count; i++) {
        struct nethost_processor *const p = &now->processors[i];
        less(&p->total, then->processors[i].total);
        less(&p->idle, then->processors[i].idle);
        less(&p->softirq, then->processors[i].softirq);
        less(&p->steal, then->processors[i].steal);
    }
    less(&now->softnet_processed, then->softnet_processed);
    less(&now->softnet_dropped, then->softnet_dropped);
    less(&now->softnet_squeezed, then->softnet_squeezed);
}
