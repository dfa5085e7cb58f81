/*
 * What lies between this host and another one: round trips, the largest packet that passes, the routers on the way.
 *
 * Everything is asked with ordinary packets: echoes of ICMP where the system allows them to be sent (raw sockets, or
 * those of net.ipv4.ping_group_range), else the handshake of TCP; datagrams of a short life for the routers.
 */
#ifndef NETPATH_H
#define NETPATH_H

#include "core/err.h"
#include "lib/resolve/resolve.h"

#define NETPATH_HOPS_MAX   64
#define NETPATH_HOP_TRIES  3
#define NETPATH_PACKET_MIN 576u
#define NETPATH_PACKET_MAX 65535u
#define NETPATH_LARGE_MAX  9216u /* that routers are asked with: the largest frame of Ethernet */

/* What a router said about a packet that is too large for its next link. */
struct netpath_told {
    uint32_t mtu; /* 0: nothing was said */
    struct resolve_words by;
};

struct netpath_ping;
/* returns 0; -EACCES: echoes are not allowed here; errno values. */
int netpath_ping_open(struct netpath_ping **ret, const struct resolve_address *to, struct xk_err *err);
/* Accepts NULL. */
void netpath_ping_close(struct netpath_ping *p);
/* Which socket it is: "raw" or "ping". */
const char *netpath_ping_kind(const struct netpath_ping *p);
/*
 * One echo of so many bytes, IP header included, never cut up by us or on the way.
 *
 * told      what came instead of an answer; may be NULL.
 * returns   the round trip in ns; 0: no answer in time; -EMSGSIZE: our own interface does not take it; -EINTR; others.
 */
int64_t netpath_ping_ask(struct netpath_ping *p, uint32_t packet_bytes, uint64_t timeout_ns, struct netpath_told *told);
/*
 * The largest packet that is answered, of NETPATH_PACKET_MIN … most.
 *
 * ret_told  the last thing a router said.
 * returns   its size; 0: not even the smallest; -EINTR; errno values.
 */
int64_t netpath_ping_mtu(struct netpath_ping *p, uint32_t most, uint64_t timeout_ns, struct netpath_told *ret_told);

/* The time of a TCP handshake or of its refusal. returns as netpath_ping_ask(). */
int64_t netpath_knock(const struct resolve_address *to, uint64_t timeout_ns);

struct netpath_hop {
    bool answered, is_target, is_barrier; /* barrier: it says that the way ends here */
    struct resolve_address by;
    uint32_t told;                    /* not 0: `by` says that no larger packet can go on there */
    double rtt_ms[NETPATH_HOP_TRIES]; /* of each that came; the rest is NAN */
};
/*
 * Who drops datagrams after 1, 2, … hops.
 *
 * packet_bytes   of each, IP header included, never cut up; 0: small ones.
 * returns   how many hops were asked, the last one being the target, a barrier or the last allowed; errno values.
 */
int netpath_hops(struct netpath_hop ret[NETPATH_HOPS_MAX], const struct resolve_address *to, unsigned most,
                 uint32_t packet_bytes, uint64_t timeout_ns, struct xk_err *err);

/* The source address that leads there, and the MTU that the kernel knows for the way; 0: unknown. errno values. */
int netpath_route(struct resolve_address *ret_local, uint32_t *ret_mtu, const struct resolve_address *to,
                  struct xk_err *err);

#endif
