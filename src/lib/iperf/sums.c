/* What several streams did together. Jitter is their mean; times are those of the first. */
#include "lib/iperf/iperf.h"

struct iperf_count iperf_interval_sum(const struct iperf_interval *v, bool sending)
{
    struct iperf_count sum = {0};
    unsigned streams = 0;

    for (unsigned i = 0; i < v->count; i++) {
        const struct iperf_count *const c = &v->rows[i].count;
        if (v->rows[i].flow->sending != sending)
            continue;
        sum.bytes += c->bytes;
        sum.packets += c->packets;
        sum.errors += c->errors;
        sum.retransmits += c->retransmits;
        sum.jitter_s += c->jitter_s;
        streams++;
    }
    sum.jitter_s /= XK_MAX(streams, 1u);
    return sum;
}

struct iperf_total iperf_total_sum(const struct iperf_total *totals, unsigned count, bool sending)
{
    struct iperf_total sum = {.retransmits = -1};
    unsigned streams = 0;

    for (unsigned i = 0; i < count; i++) {
        const struct iperf_total *const x = &totals[i];
        if (x->flow->sending != sending)
            continue;
        if (streams++ == 0) {
            sum.flow = x->flow;
            sum.sender_s = x->sender_s;
            sum.receiver_s = x->receiver_s;
        }
        if (x->retransmits >= 0)
            sum.retransmits = XK_MAX(sum.retransmits, (int64_t)0) + x->retransmits;
        sum.sent_bytes += x->sent_bytes;
        sum.received_bytes += x->received_bytes;
        sum.sender_packets += x->sender_packets;
        sum.receiver_packets += x->receiver_packets;
        sum.errors += x->errors;
        sum.out_of_order += x->out_of_order;
        sum.jitter_s += x->jitter_s;
    }
    sum.jitter_s /= XK_MAX(streams, 1u);
    return sum;
}
