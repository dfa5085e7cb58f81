/* Texts and replies of the kernel; the running machine's own are asked in src/rooms/net/native.t. */
#include "lib/nethost/nethost.h"

#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char dev[] = "Inter-|   Receive                                                |  Transmit\n"
                          " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs "
                          "drop fifo colls carrier compressed\n"
                          "    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0\n"
                          "vif1.0: 5 100 1 2 3 0 0 0 6 200 4 5 6 0 0 0\n"
                          "broken: 1 2 3\n";

static void interfaces_are_read(void **state)
{
    struct nethost_counters *const c = calloc(1, sizeof(*c));

    nethost_parse_dev(c, dev);
    assert_int_equal(c->interface_count, 2);
    assert_null(nethost_find(c, "broken"));
    const struct nethost_interface *const x = nethost_find(c, "vif1.0");
    assert_non_null(x);
    assert_int_equal(x->rx_packets, 100);
    assert_int_equal(x->rx_errors, 4); /* errs + fifo */
    assert_int_equal(x->rx_dropped, 2);
    assert_int_equal(x->tx_packets, 200);
    assert_int_equal(x->tx_errors, 10);
    assert_int_equal(x->tx_dropped, 5);
    free(c);
}

static void soft_interrupts_and_processors_are_read(void **state)
{
    struct nethost_counters *const c = calloc(1, sizeof(*c));

    nethost_parse_softnet(c, "00000010 00000002 00000003 0 0\n000000ff 00000000 00000001 0\n\nnonsense\n");
    assert_int_equal(c->softnet_processed, 0x10f);
    assert_int_equal(c->softnet_dropped, 2);
    assert_int_equal(c->softnet_squeezed, 4);
    nethost_parse_stat(
        c, "cpu  1 1 1 1 1 1 1 1\ncpu0 10 0 5 80 5 0 3 7 99 0\ncpu2 1 2 3 4\ncpu3 1 2 3 4 5 6 7 8\nintr 5\n");
    assert_int_equal(c->processor_count, 4);
    assert_true(c->processors[0].online);
    assert_false(c->processors[1].online);
    assert_int_equal(c->processors[0].total, 110); /* guest time is in user time already */
    assert_int_equal(c->processors[0].idle, 85);
    assert_int_equal(c->processors[0].softirq, 3);
    assert_int_equal(c->processors[0].steal, 7);
    free(c);
}

static void differences_begin_where_the_first_look_was(void **state)
{
    struct nethost_counters *const then = calloc(1, sizeof(*then));
    struct nethost_counters *const now = calloc(1, sizeof(*now));

    nethost_parse_dev(then, "eth0: 0 100 0 5 0 0 0 0 0 50 0 7 0 0 0 0\n");
    nethost_parse_dev(now, "eth0: 0 150 0 9 0 0 0 0 0 60 0 3 0 0 0 0\nnew: 0 9 0 1 0 0 0 0 0 9 0 1 0 0 0 0\n");
    nethost_since(now, then);
    assert_int_equal(nethost_find(now, "eth0")->rx_packets, 50);
    assert_int_equal(nethost_find(now, "eth0")->rx_dropped, 4);
    assert_int_equal(nethost_find(now, "eth0")->tx_dropped, 3); /* it was reset in between */
    assert_int_equal(nethost_find(now, "new")->rx_dropped, 1);
    free(then);
    free(now);
}

static void queue_disciplines_are_read(void **state)
{
    struct {
        struct nlmsghdr head;
        struct tcmsg tc;
        struct {
            struct rtattr head;
            char text[4];
        } kind;
        struct rtattr nest;
        struct {
            struct rtattr head;
            struct gnet_stats_queue queue;
        } queue;
        struct nlmsghdr done;
    } m = {
        .tc = {.tcm_ifindex = 7, .tcm_parent = TC_H_ROOT, .tcm_handle = 0x10000},
        .kind = {{sizeof(m.kind), TCA_KIND}, "tbf"},
        .nest = {sizeof(m.nest) + sizeof(m.queue), TCA_STATS2},
        .queue = {{sizeof(m.queue), TCA_STATS_QUEUE}, {.qlen = 3, .backlog = 4500, .drops = 12, .overlimits = 99}},
        .done = {.nlmsg_len = sizeof(struct nlmsghdr), .nlmsg_type = NLMSG_DONE},
    };
    struct nethost_qdisc q[2];
    bool done;

    m.head = (struct nlmsghdr){.nlmsg_len = offsetof(__typeof__(m), done), .nlmsg_type = RTM_NEWQDISC};
    assert_int_equal(nethost_qdiscs_parse(q, 2, &m, sizeof(m), &done), 1);
    assert_true(done);
    assert_string_equal(q[0].kind, "tbf");
    assert_int_equal(q[0].index, 7);
    assert_int_equal(q[0].parent, TC_H_ROOT);
    assert_int_equal(q[0].drops, 12);
    assert_int_equal(q[0].queued_bytes, 4500);
    /* However much of it there is, nothing behind it is read. */
    for (size_t bytes = 0; bytes < sizeof(m); bytes++) {
        void *const part = malloc(bytes ? bytes : 1);
        memcpy(part, &m, bytes);
        (void)nethost_qdiscs_parse(q, 2, part, bytes, &done);
        free(part);
    }
}

static void the_loopback_link_is_known(void **state)
{
    const struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201)};
    struct nethost_link link;

    nethost_link_read(&link, (const struct sockaddr *)&nobody);
    assert_string_equal(link.name, "");
    assert_int_equal(link.offloads[NETHOST_TSO], -1);
    nethost_link_read(&link, (const struct sockaddr *)&local);
    if (link.name[0])
        assert_true(link.mtu >= 1500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interfaces_are_read),
        cmocka_unit_test(soft_interrupts_and_processors_are_read),
        cmocka_unit_test(differences_begin_where_the_first_look_was),
        cmocka_unit_test(queue_disciplines_are_read),
        cmocka_unit_test(the_loopback_link_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
