/*
 * SCTP, in the style of one connection to a socket: what differs from TCP is how a socket is set up, and whom to ask
 * about its state.
 *
 * The kernel's own header and socket options are enough; libsctp, which iperf3 uses, would add calls that do just that.
 */
#include "lib/iperf/inner.h"

#include <errno.h>
#include <linux/sctp.h>
#include <string.h>
#include <sys/socket.h>

#define US_PER_MS       1000u
#define ADDRESSES_BYTES (IPERF_XBIND_MAX * RESOLVE_ADDRESSES_MAX * sizeof(struct sockaddr_in6))

int iperf_sctp_prepare(int fd, const struct iperf_test *t, struct xk_err *err)
{
    const struct iperf_params *const p = &t->params;
    const struct sctp_initmsg streams = {.sinit_num_ostreams = (uint16_t)t->settings->sctp_streams};
    const struct sctp_assoc_value most = {.assoc_value = p->mss};

    if (p->nodelay && setsockopt(fd, IPPROTO_SCTP, SCTP_NODELAY, &(int){1}, sizeof(int)) < 0)
        return iperf_fail(err, IPERF_E_SETNODELAY, errno);
    if (p->mss && setsockopt(fd, IPPROTO_SCTP, SCTP_MAXSEG, &most, sizeof(most)) < 0)
        return iperf_fail(err, IPERF_E_SETMSS, errno);
    if (streams.sinit_num_ostreams && setsockopt(fd, IPPROTO_SCTP, SCTP_INITMSG, &streams, sizeof(streams)) < 0)
        return iperf_fail(err, IPERF_E_SETSCTPNSTREAM, errno);
    return 0;
}

int iperf_sctp_bind(int fd, const struct iperf_settings *s, const struct resolve_limits *limits, int family,
                    uint16_t port, struct xk_err *err)
{
    uint8_t packed[ADDRESSES_BYTES];
    socklen_t bytes = 0;

    const int bound = iperf_socket_device(fd, s, IPERF_E_SETSCTPBINDX, err);
    if (bound < 0)
        return bound;
    /* One call with all of them, one behind the other: the port that the first one gets is everybody's. */
    for (unsigned i = 0; i < s->xbind_count; i++) {
        struct resolve_addresses own = {0};
        struct xk_err why = {0};
        const int code = resolve_name(&own, s->xbind[i], port, family, limits, &why);
        if (code < 0)
            return code == -EINTR ? code : iperf_fail_because(err, IPERF_E_SETSCTPBINDX, why.text);
        for (unsigned k = 0; k < own.count; k++) {
            memcpy(packed + bytes, &own.list[k].any, own.list[k].bytes);
            bytes += own.list[k].bytes;
        }
    }
    if (setsockopt(fd, IPPROTO_SCTP, SCTP_SOCKOPT_BINDX_ADD, packed, bytes) < 0)
        return iperf_fail(err, IPERF_E_SETSCTPBINDX, errno);
    return 0;
}

void iperf_sctp_info(int fd, struct iperf_count *ret)
{
    struct sctp_status status;
    socklen_t bytes = sizeof(status);

    memset(&status, 0, sizeof(status));
    if (getsockopt(fd, IPPROTO_SCTP, SCTP_STATUS, &status, &bytes) < 0)
        return;
    ret->cwnd_bytes = status.sstat_primary.spinfo_cwnd;
    ret->wnd_bytes = status.sstat_rwnd;
    ret->rtt_us = (uint64_t)status.sstat_primary.spinfo_srtt * US_PER_MS;
    ret->pmtu = status.sstat_primary.spinfo_mtu;
}
