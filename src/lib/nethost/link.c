/*
 * What the kernel answers to calls: offloads by the old ethtool requests, which every kernel since 2.6 knows (the newer
 * ones need tables of feature names), queue disciplines by netlink.
 */
#include "lib/nethost/nethost.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REPLY_BYTES 32768

static const struct {
    const char *name;
    uint32_t request;
} offloads[NETHOST_OFFLOADS] = {
    [NETHOST_TSO] = {"tso", ETHTOOL_GTSO},
    [NETHOST_GSO] = {"gso", ETHTOOL_GGSO},
    [NETHOST_GRO] = {"gro", ETHTOOL_GGRO},
    [NETHOST_TX_CHECKSUM] = {"tx_checksum", ETHTOOL_GTXCSUM},
    [NETHOST_RX_CHECKSUM] = {"rx_checksum", ETHTOOL_GRXCSUM},
    [NETHOST_SCATTER] = {"scatter_gather", ETHTOOL_GSG},
};

const char *nethost_offload_name(enum nethost_offload which)
{
    return offloads[which].name;
}

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
    const struct sockaddr_in6 *const six = (const struct sockaddr_in6 *)b;

    if (a->sa_family == AF_INET) {
        const struct in_addr *const have = &((const struct sockaddr_in *)a)->sin_addr;
        if (b->sa_family == AF_INET)
            return have->s_addr == ((const struct sockaddr_in *)b)->sin_addr.s_addr;
        return b->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) &&
               memcmp(&six->sin6_addr.s6_addr[12], have, sizeof(*have)) == 0;
    }
    return a->sa_family == AF_INET6 && b->sa_family == AF_INET6 &&
           IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *)a)->sin6_addr, &six->sin6_addr);
}

static bool find_name(char ret[IFNAMSIZ], const struct sockaddr *local)
{
    struct ifaddrs *all = NULL;
    bool found = false;

    if (getifaddrs(&all) < 0)
        return false;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        if (!i->ifa_addr || strlen(i->ifa_name) >= IFNAMSIZ || !same_address(i->ifa_addr, local))
            continue;
        strcpy(ret, i->ifa_name);
        found = true;
    }
    freeifaddrs(all);
    return found;
}

void nethost_link_read(struct nethost_link *ret, const struct sockaddr *local)
{
    struct nethost_qdisc qdiscs[NETHOST_QDISCS_MAX];
    struct ifreq request = {0};

    *ret = (struct nethost_link){0};
    for (int i = 0; i < NETHOST_OFFLOADS; i++)
        ret->offloads[i] = -1;
    if (!find_name(ret->name, local))
        return;
    ret->index = if_nametoindex(ret->name);
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    memcpy(request.ifr_name, ret->name, sizeof(request.ifr_name));
    if (ioctl(fd, SIOCGIFMTU, &request) == 0 && request.ifr_mtu > 0)
        ret->mtu = (uint32_t)request.ifr_mtu;
    for (int i = 0; i < NETHOST_OFFLOADS; i++) {
        struct ethtool_value value = {.cmd = offloads[i].request};
        request.ifr_data = (char *)&value;
        if (ioctl(fd, SIOCETHTOOL, &request) == 0)
            ret->offloads[i] = value.data != 0;
    }
    (void)close(fd);
    const int count = nethost_qdiscs_read(qdiscs, ret->index);
    for (int i = 0; i < count; i++) {
        if (qdiscs[i].parent == TC_H_ROOT)
            memcpy(ret->qdisc, qdiscs[i].kind, sizeof(ret->qdisc));
    }
}

/* ---- queue disciplines ---- */

/* Attributes in a run of bytes. */
struct attributes {
    const char *at;
    size_t left;
};

/* returns the next one, whole; NULL: there are no more. */
static const struct rtattr *next_attribute(struct attributes *from)
{
    const struct rtattr *const a = (const struct rtattr *)from->at;

    if (from->left < sizeof(*a) || a->rta_len < sizeof(*a) || a->rta_len > from->left)
        return NULL;
    const size_t step = XK_MIN((size_t)RTA_ALIGN(a->rta_len), from->left);
    from->at += step;
    from->left -= step;
    return a;
}

static void parse_stats2(struct nethost_qdisc *q, const struct rtattr *nest)
{
    struct attributes inside = {RTA_DATA(nest), RTA_PAYLOAD(nest)};
    const struct rtattr *a;

    while ((a = next_attribute(&inside))) {
        if (a->rta_type == TCA_STATS_BASIC && RTA_PAYLOAD(a) >= sizeof(uint64_t) + sizeof(uint32_t)) {
            struct gnet_stats_basic basic = {0};
            memcpy(&basic, RTA_DATA(a), XK_MIN(sizeof(basic), (size_t)RTA_PAYLOAD(a)));
            q->bytes = basic.bytes;
            q->packets = basic.packets;
        } else if (a->rta_type == TCA_STATS_QUEUE && RTA_PAYLOAD(a) >= sizeof(struct gnet_stats_queue)) {
            struct gnet_stats_queue queue;
            memcpy(&queue, RTA_DATA(a), sizeof(queue));
            q->queued_packets = queue.qlen;
            q->queued_bytes = queue.backlog;
            q->drops = queue.drops;
            q->requeues = queue.requeues;
            q->overlimits = queue.overlimits;
        }
    }
}

static void parse_one(struct nethost_qdisc *q, const struct nlmsghdr *m)
{
    const struct tcmsg *const tc = NLMSG_DATA(m);
    const size_t head = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(*tc)));
    struct attributes inside = {(const char *)m + head, m->nlmsg_len > head ? m->nlmsg_len - head : 0};
    const struct rtattr *a;

    *q = (struct nethost_qdisc){.index = (unsigned)tc->tcm_ifindex, .handle = tc->tcm_handle, .parent = tc->tcm_parent};
    while ((a = next_attribute(&inside))) {
        if (a->rta_type == TCA_KIND)
            memcpy(q->kind, RTA_DATA(a), XK_MIN(sizeof(q->kind) - 1, (size_t)RTA_PAYLOAD(a)));
        else if (a->rta_type == TCA_STATS2)
            parse_stats2(q, a);
    }
}

unsigned nethost_qdiscs_parse(struct nethost_qdisc *ret, unsigned room, const void *reply, size_t bytes, bool *ret_done)
{
    unsigned n = 0;

    *ret_done = false;
    for (size_t at = 0; at < bytes;) {
        const struct nlmsghdr *const m = (const struct nlmsghdr *)((const char *)reply + at);
        if (bytes - at < sizeof(*m) || m->nlmsg_len < sizeof(*m) || m->nlmsg_len > bytes - at)
            break;
        at += NLMSG_ALIGN(m->nlmsg_len);
        if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR)
            *ret_done = true;
        else if (m->nlmsg_type == RTM_NEWQDISC && m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct tcmsg)) && n < room)
            parse_one(&ret[n++], m);
    }
    return n;
}

int nethost_qdiscs_read(struct nethost_qdisc ret[NETHOST_QDISCS_MAX], unsigned index)
{
    struct {
        struct nlmsghdr head;
        struct tcmsg tc;
    } request = {
        .head = {.nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETQDISC, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .tc = {.tcm_family = AF_UNSPEC, .tcm_ifindex = (int)index},
    };
    _Alignas(struct nlmsghdr) char reply[REPLY_BYTES];
    const struct timeval patience = {.tv_sec = 1};
    unsigned n = 0;
    int code = 0;
    bool done = false;

    const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (send(fd, &request, sizeof(request), 0) < 0)
        code = -errno;
    while (code == 0 && !done) {
        const ssize_t got = recv(fd, reply, sizeof(reply), 0);
        if (got <= 0) {
            code = got < 0 ? -errno : -EPIPE;
            break;
        }
        const unsigned first = n;
        n += nethost_qdiscs_parse(ret + n, NETHOST_QDISCS_MAX - n, reply, (size_t)got, &done);
        /* Older kernels answer for all interfaces. */
        unsigned kept = first;
        for (unsigned i = first; i < n; i++) {
            if (!index || ret[i].index == index)
                ret[kept++] = ret[i];
        }
        n = kept;
    }
    (void)close(fd);
    return code < 0 && n == 0 ? code : (int)n;
}
