/* Rounds, messages, plans, verdicts. Agents and coordinators are tried in src/rooms/net/mesh.t. */
#include "lib/mesh/line.h"
#include "lib/mesh/verdict.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define USUAL_BPS 1e9

/* ---- steps ---- */

static void each_pair_meets_once_in_each_direction(void **state)
{
    struct mesh_pair *const pairs = calloc((size_t)MESH_HOSTS_MAX * MESH_HOSTS_MAX, sizeof(*pairs));

    for (unsigned hosts = 2; hosts <= MESH_HOSTS_MAX; hosts++) {
        unsigned met[MESH_HOSTS_MAX][MESH_HOSTS_MAX] = {{0}}, steps = 0, count;
        for (; (count = mesh_plan_step(pairs, MESH_PAIRS, hosts, steps)) > 0; steps++) {
            unsigned busy[MESH_HOSTS_MAX] = {0};
            for (unsigned i = 0; i < count; i++) {
                met[pairs[i].from][pairs[i].to]++;
                assert_int_equal(busy[pairs[i].from]++, 0);
                assert_int_equal(busy[pairs[i].to]++, 0);
            }
        }
        assert_int_equal(steps, 2 * (hosts + hosts % 2 - 1));
        for (unsigned a = 0; a < hosts; a++)
            for (unsigned b = 0; b < hosts; b++)
                assert_int_equal(met[a][b], a != b);
    }
    free(pairs);
}

static void other_patterns(void **state)
{
    struct mesh_pair *const pairs = calloc((size_t)MESH_HOSTS_MAX * MESH_HOSTS_MAX, sizeof(*pairs));

    assert_int_equal(mesh_plan_step(pairs, MESH_ALL, 5, 0), 20);
    assert_int_equal(mesh_plan_step(pairs, MESH_ALL, 5, 1), 0);
    assert_int_equal(mesh_plan_step(pairs, MESH_INCAST, 5, 3), 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pairs[i].to, 3);
    assert_int_equal(mesh_plan_step(pairs, MESH_OUTCAST, 5, 4), 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pairs[i].from, 4);
    assert_int_equal(mesh_plan_step(pairs, MESH_OUTCAST, 5, 5), 0);
    assert_int_equal(mesh_plan_step(pairs, MESH_PAIRS, 1, 0), 0);
    free(pairs);
}

/* ---- messages ---- */

static void messages_come_back_as_they_went(void **state)
{
    const struct mesh_message sent = {
        .word = MESH_RESULT, .number = 7, .received_bps = 1.5e9, .lost_packets = 3, .udp = true, .text = "a \"b\"\n\\"};
    struct xk_buf line = XK_BUF_INIT(MESH_LINE_BYTES);
    struct mesh_message got;

    mesh_message_encode(&line, &sent);
    assert_int_equal(line.error, 0);
    assert_int_equal(line.data[line.len - 1], '\n');
    assert_int_equal(mesh_message_decode(&got, line.data, line.len - 1, NULL), 0);
    assert_memory_equal(&got, &sent, sizeof(got));
    xk_buf_done(&line);
}

static void wrong_messages_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "x",
        "[]",
        "{}",
        "{\"mesh\":1}",
        "{\"mesh\":\"sing\"}",
        "{\"mesh\":\"run\",\"port\":65536}",
        "{\"mesh\":\"run\",\"port\":-1}",
        "{\"mesh\":\"run\",\"port\":\"80\"}",
        "{\"mesh\":\"run\",\"seconds\":3601}",
        "{\"mesh\":\"run\",\"udp\":1}",
        "{\"mesh\":\"result\",\"received_bps\":1e300}",
        "{\"mesh\":\"result\",\"received_bps\":NaN}",
        "{\"mesh\":\"failed\",\"text\":[\"a\"]}",
        "{\"mesh\":\"go\",\"at_ns\":99999999999999999999}",
        "{\"mesh\":\"failed\",\"text\":{\"a\":{\"b\":{\"c\":{\"d\":1}}}}}",
    };
    struct mesh_message m;

    for (size_t i = 0; i < XK_COUNT(wrong); i++)
        assert_int_equal(mesh_message_decode(&m, wrong[i], strlen(wrong[i]), NULL), -EBADMSG);
    assert_int_equal(mesh_message_decode(&m, "{\"mesh\":\"beat\",\"newer\":[1]}", 27, NULL), 0);
}

static void lines_are_bounded(void **state)
{
    struct mesh_reader *const r = calloc(1, sizeof(*r));
    struct mesh_message m;
    char bytes[MESH_LINE_BYTES];
    int fds[2];

    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(mesh_write(fds[0], &(struct mesh_message){.word = MESH_BEAT}), 0);
    assert_int_equal(mesh_write(fds[0], &(struct mesh_message){.word = MESH_CLOCK, .number = 2}), 0);
    assert_int_equal(mesh_reader_fill(r, fds[1]), 1);
    assert_int_equal(mesh_reader_take(r, &m, NULL), 1);
    assert_int_equal(m.word, MESH_BEAT);
    assert_int_equal(mesh_reader_take(r, &m, NULL), 1);
    assert_int_equal(m.number, 2);
    assert_int_equal(mesh_reader_take(r, &m, NULL), 0);
    assert_int_equal(write(fds[0], bytes, sizeof(bytes)), sizeof(bytes));
    assert_int_equal(mesh_reader_fill(r, fds[1]), 1);
    assert_int_equal(mesh_reader_take(r, &m, NULL), 0);
    assert_int_equal(mesh_reader_fill(r, fds[1]), -EMSGSIZE);
    close(fds[0]);
    close(fds[1]);
    free(r);
}

/* ---- verdicts ---- */

struct world {
    struct mesh_plan plan;
    struct mesh_result result;
    struct mesh_verdict verdict;
};

/* All links alike, but for a noise of `noise` to either side. */
static void set_up(struct world *w, unsigned hosts, double noise)
{
    static const char *const command[] = {"x", NULL};
    struct mesh_pair *const pairs = calloc((size_t)MESH_HOSTS_MAX * MESH_HOSTS_MAX, sizeof(*pairs));
    struct xk_random random;

    memset(w, 0, sizeof(*w));
    xk_random_seed(&random, 5);
    w->plan.patterns[MESH_PAIRS] = true;
    w->result.hosts = hosts;
    w->result.flows = calloc((size_t)hosts * hosts, sizeof(*w->result.flows));
    for (unsigned i = 0; i < hosts; i++) {
        char name[8];
        snprintf(name, sizeof(name), "h%u", i);
        assert_int_equal(mesh_plan_add(&w->plan, name, "192.0.2.1", command, NULL, NULL), 0);
        w->result.agents[i] = (struct mesh_agent){.alive = true, .look = {.mtu = 1500}};
    }
    unsigned count;
    for (unsigned step = 0; (count = mesh_plan_step(pairs, MESH_PAIRS, hosts, step)) > 0; step++)
        for (unsigned i = 0; i < count; i++)
            w->result.flows[w->result.count++] =
                (struct mesh_flow){.pair = pairs[i],
                                   .step = step,
                                   .done = true,
                                   .probed = true,
                                   .rtt_p50_ms = 1,
                                   .received_bps = USUAL_BPS * (1 + noise * (2 * xk_random_unit(&random) - 1))};
    free(pairs);
}

static struct mesh_flow *link_of(struct world *w, unsigned from, unsigned to)
{
    for (size_t i = 0; i < w->result.count; i++)
        if (w->result.flows[i].pair.from == from && w->result.flows[i].pair.to == to)
            return &w->result.flows[i];
    return NULL;
}

/* The findings as "check object", one a line; the world is gone afterwards. */
static const char *judge(struct world *w)
{
    static char text[4096];
    size_t length = 0;

    text[0] = '\0';
    assert_int_equal(mesh_verdict_find(&w->verdict, &w->plan, &w->result), 0);
    for (size_t i = 0; i < w->verdict.findings.count; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s %s\n",
                                   w->verdict.findings.items[i].check->id, w->verdict.findings.items[i].object);
    mesh_verdict_done(&w->verdict);
    mesh_plan_done(&w->plan);
    mesh_result_done(&w->result);
    return text;
}

static void links_out_of_line_are_named(void **state)
{
    struct world *const w = malloc(sizeof(*w));

    set_up(w, 8, 0.1);
    assert_string_equal(judge(w), "");
    set_up(w, 8, 0.1);
    link_of(w, 2, 5)->received_bps = 0.6 * USUAL_BPS;
    link_of(w, 5, 2)->received_bps = 0.6 * USUAL_BPS;
    assert_string_equal(judge(w), "mesh.link-bad h2 to h5\nmesh.link-bad h5 to h2\n");
    /* In a noise of a half, that is nothing; nor is a difference of a fifth where all else is alike. */
    set_up(w, 8, 0.5);
    link_of(w, 2, 5)->received_bps = 0.5 * USUAL_BPS;
    link_of(w, 5, 2)->received_bps = 0.5 * USUAL_BPS;
    assert_null(strstr(judge(w), "h2 to h5"));
    set_up(w, 8, 0);
    link_of(w, 2, 5)->received_bps = 0.8 * USUAL_BPS;
    assert_string_equal(judge(w), "");
    set_up(w, 8, 0);
    link_of(w, 1, 0)->loss_percent = 0.5;
    link_of(w, 3, 0)->loss_percent = 0.09;
    link_of(w, 4, 6)->rtt_p50_ms = 9;
    link_of(w, 6, 4)->rtt_p50_ms = 9; /* the same round trip */
    link_of(w, 7, 4)->rtt_p50_ms = 5.5;
    assert_string_equal(judge(w), "mesh.link-bad h1 to h0\nmesh.link-bad h6 to h4\n");
    free(w);
}

static void a_host_is_named_instead_of_its_links(void **state)
{
    struct world *const w = malloc(sizeof(*w));

    set_up(w, 8, 0.05);
    for (unsigned i = 0; i < 8; i++)
        if (i != 3)
            link_of(w, 3, i)->received_bps = link_of(w, i, 3)->received_bps = 0.3 * USUAL_BPS;
    assert_string_equal(judge(w), "mesh.host-bad h3\n");
    /* Most of them are enough; half of them are not. */
    set_up(w, 8, 0.05);
    for (unsigned i = 4; i < 8; i++)
        link_of(w, 3, i)->received_bps = link_of(w, i, 3)->received_bps = 0.3 * USUAL_BPS;
    assert_null(strstr(judge(w), "host-bad"));
    free(w);
}

static void two_directions_are_compared(void **state)
{
    struct world *const w = malloc(sizeof(*w));

    set_up(w, 3, 0);
    link_of(w, 0, 1)->received_bps = 0.72 * USUAL_BPS;
    link_of(w, 1, 0)->received_bps = 1.3 * USUAL_BPS;
    link_of(w, 1, 2)->received_bps = 0.85 * USUAL_BPS;
    assert_string_equal(judge(w), "mesh.asymmetric h0 to h1\n");
    set_up(w, 8, 0);
    link_of(w, 0, 1)->received_bps = 0.78 * USUAL_BPS;
    link_of(w, 1, 0)->received_bps = 1.4 * USUAL_BPS;
    assert_string_equal(judge(w), "mesh.asymmetric h0 to h1\n");
    set_up(w, 8, 0);
    link_of(w, 0, 1)->received_bps = 0.8 * USUAL_BPS;
    link_of(w, 1, 0)->received_bps = 1.2 * USUAL_BPS;
    assert_string_equal(judge(w), "");
    free(w);
}

static void what_failed_and_what_differs_is_named(void **state)
{
    struct world *const w = malloc(sizeof(*w));

    set_up(w, 4, 0);
    link_of(w, 0, 1)->done = false;
    w->result.agents[2].look.mtu = 9000;
    w->result.agents[3].alive = false;
    link_of(w, 3, 1)->done = false;
    w->result.spread_ns = 70 * XK_NS_PER_MS;
    w->result.load_spread_ns = 49 * XK_NS_PER_MS;
    assert_null(strstr(judge(w), "mesh.spread"));
    set_up(w, 4, 0);
    link_of(w, 0, 1)->done = false;
    w->result.agents[2].look.mtu = 9000;
    w->result.agents[3].alive = false;
    link_of(w, 3, 1)->done = false;
    mesh_result_spread(&w->result, MESH_INCAST, 60 * XK_NS_PER_MS);
    assert_string_equal(judge(w), "mesh.failed h0 to h1\nmesh.host-gone h3\nmesh.different MTU\nmesh.spread start\n");
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_pair_meets_once_in_each_direction),
        cmocka_unit_test(other_patterns),
        cmocka_unit_test(messages_come_back_as_they_went),
        cmocka_unit_test(wrong_messages_are_refused),
        cmocka_unit_test(lines_are_bounded),
        cmocka_unit_test(links_out_of_line_are_named),
        cmocka_unit_test(a_host_is_named_instead_of_its_links),
        cmocka_unit_test(two_directions_are_compared),
        cmocka_unit_test(what_failed_and_what_differs_is_named),
    };
    return cmocka_run_group_tests_name("mesh", tests, NULL, NULL);
}
