/* What hosts measure, from exports as releases write them, and from what is none. */
#include "lib/poolview/inner.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEAD  "<xport><meta><legend>"
#define NAMED "<entry>AVERAGE:host:11aa:"

static const char whole[] = HEAD NAMED "cpu_avg</entry>" NAMED "memory_free_kib</entry>" NAMED
                                       "latency_3f1c0a2b</entry>" NAMED "iops_total_3f1c0a2b</entry>"
                                       "<entry>AVERAGE:vm:22bb:cpu0</entry><entry>AVERAGE:host:33cc:cpu_avg</entry>"
                                       "</legend></meta><data>"
                                       "<row><t>180</t><v>0.9</v><v>300</v><v>NaN</v><v>4</v><v>1</v><v>1</v></row>"
                                       "<row><t>120</t><v>0.5</v><v>100</v><v>70000</v><v>6</v><v>1</v><v>1</v></row>"
                                       "<row><t>60</t><v>NaN</v><v>200</v><v>50000</v><v>NaN</v><v>1</v><v>1</v></row>"
                                       "</data></xport>";

static int decode(struct poolview_load *ret, const char *xml)
{
    struct xk_err err = {0};

    return poolview_load_decode(ret, xml, strlen(xml), "11aa", &err);
}

static void test_columns_of_the_host(void **state)
{
    struct poolview_load load;

    assert_int_equal(decode(&load, whole), 0);
    assert_true(load.known && load.from_s == 60 && load.until_s == 180);
    assert_int_equal(load.cpu.rows, 2); /* NaN is not known */
    assert_true(fabs(load.cpu.mean - 0.7) < 1e-9 && fabs(load.cpu.min - 0.5) < 1e-9 && fabs(load.cpu.max - 0.9) < 1e-9);
    assert_int_equal(load.memory_free_kib.rows, 3);
    assert_true(fabs(load.memory_free_kib.mean - 200) < 1e-9);
    assert_int_equal(load.disk_count, 1);
    assert_string_equal(load.disks[0].sr, "3f1c0a2b");
    assert_true(fabs(load.disks[0].latency_us.mean - 60000) < 1e-9 && fabs(load.disks[0].iops.mean - 5) < 1e-9);
}

/* Releases without cpu_avg have the processors alone; "cpu_avg" of another host is not ours. */
static void test_processors_alone(void **state)
{
    struct poolview_load load;

    assert_int_equal(decode(&load, HEAD NAMED "cpu0</entry>" NAMED "cpu1</entry>" NAMED
                                              "cpufan</entry></legend></meta><data><row><t>60</t><v>0.2</v><v>0.6</v>"
                                              "<v>9</v></row></data></xport>"),
                     0);
    assert_true(load.cpu.rows == 1 && fabs(load.cpu.mean - 0.4) < 1e-9);
}

static void test_what_is_no_export(void **state)
{
    static const char *const wrong[] = {"",
                                        "<rrd/>",
                                        "<xport>",
                                        "{\"meta\":{}}",
                                        "<!DOCTYPE x [<!ENTITY a 'b'>]><xport>&a;</xport>",
                                        HEAD "</legend></meta><data><row><v>1</v></row></data></xport>"};
    struct poolview_load load;

    for (size_t i = 0; i < XK_COUNT(wrong); i++) {
        assert_int_equal(decode(&load, wrong[i]), -EBADMSG);
        assert_false(load.known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_of_the_host),
        cmocka_unit_test(test_processors_alone),
        cmocka_unit_test(test_what_is_no_export),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
