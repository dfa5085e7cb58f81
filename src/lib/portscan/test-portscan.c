/* Lists of ports; hosts and firewalls are in src/rooms/net/ports.t. */
#include "lib/portscan/portscan.h"

#include <stdarg.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static void lists_are_read(void **state)
{
    struct portscan_list list = {0};

    assert_int_equal(portscan_list_parse(&list, "tcp/443,udp/123,80,tcp/1-3,2,udp/443", NULL), 0);
    static const struct {
        uint16_t port;
        bool udp;
    } want[] = {{443, false}, {123, true}, {80, false}, {1, false}, {2, false}, {3, false}, {443, true}};
    assert_int_equal(list.count, XK_COUNT(want));
    for (size_t i = 0; i < XK_COUNT(want); i++) {
        assert_int_equal(list.ports[i].port, want[i].port);
        assert_int_equal(list.ports[i].udp, want[i].udp);
        assert_int_not_equal(list.ports[i].state, PORTSCAN_OPEN);
    }
    portscan_list_done(&list);
    assert_int_equal(portscan_list_parse(&list, "1-65535,udp/1-65535", NULL), 0);
    assert_int_equal(list.count, PORTSCAN_PORTS_MAX);
    portscan_list_done(&list);
}

static void what_is_no_list_is_refused(void **state)
{
    static const char *const bad[] = {"",     ",",      "80,",      ",80",         "0",      "65536",
                                      "80-",  "-80",    "90-80",    "sctp/1",      "tcp/",   "tcp",
                                      "80 ",  " 80",    "tcp/80/1", "tcp/1-udp/2", "1-2-3",  "x",
                                      "0x50", "100000", "80;81",    "udp/0-1",     "TCP/80", "1-65536"};

    for (size_t i = 0; i < XK_COUNT(bad); i++) {
        struct portscan_list list = {0};
        struct xk_err err;
        assert_int_equal(portscan_list_parse(&list, bad[i], &err), -EINVAL);
        portscan_list_done(&list);
    }
}

static void every_row_has_its_place(void **state)
{
    struct portscan_list list = {0};
    size_t rows = 0;

    for (const struct portscan_row *row = portscan_rows; row->service; row++, rows++) {
        assert_ptr_equal(portscan_find_row(row->port, row->udp), row); /* none is there twice */
        assert_true(*row->purpose && *row->roles);
    }
    assert_int_equal(portscan_list_role(&list, NULL, NULL), 0);
    assert_int_equal(list.count, rows);
    portscan_list_done(&list);
    assert_int_equal(portscan_list_role(&list, "storage", NULL), 0);
    assert_int_equal(portscan_list_role(&list, "pool", NULL), 0);
    assert_int_equal(portscan_list_role(&list, "storag", NULL), -ENOENT);
    assert_int_equal(portscan_list_role(&list, "", NULL), -ENOENT);
    assert_true(portscan_has_role(portscan_find_row(445, false), "directory"));
    assert_true(portscan_has_role(portscan_find_row(445, true), "storage"));
    portscan_list_done(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(every_row_has_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
