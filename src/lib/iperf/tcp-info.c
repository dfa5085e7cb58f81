/* The kernel's header of its own: the C library's struct tcp_info stops before the send window. */
#include <linux/tcp.h>

#include "lib/iperf/inner.h"

#include <string.h>
#include <sys/socket.h>

void iperf_tcp_info(int fd, struct iperf_count *ret)
{
    struct tcp_info info;
    socklen_t bytes = sizeof(info);

    memset(&info, 0, sizeof(info));
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) < 0)
        return;
    ret->retransmits = info.tcpi_total_retrans;
    ret->reorder = info.tcpi_reord_seen;
    ret->cwnd_bytes = (uint64_t)info.tcpi_snd_cwnd * info.tcpi_snd_mss;
    ret->wnd_bytes = info.tcpi_snd_wnd;
    ret->rtt_us = info.tcpi_rtt;
    ret->rttvar_us = info.tcpi_rttvar;
    ret->pmtu = info.tcpi_pmtu;
    ret->busy_us = info.tcpi_busy_time;
    ret->rwnd_limited_us = info.tcpi_rwnd_limited;
    ret->sndbuf_limited_us = info.tcpi_sndbuf_limited;
    ret->delivery_bps = info.tcpi_delivery_rate * 8;
    ret->pacing_bps = info.tcpi_pacing_rate == UINT64_MAX ? 0 : info.tcpi_pacing_rate * 8;
    ret->min_rtt_us = info.tcpi_min_rtt;
    ret->segments = info.tcpi_segs_out;
    ret->mss = info.tcpi_snd_mss;
    ret->backoff = info.tcpi_backoff;
}
