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
}
