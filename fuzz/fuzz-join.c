/*
 * What a host says that joins, from anybody who has an administrator's session: documents with a zero byte between
 * them, each a request. Whatever came, the pool has its master and records that can be told.
 */
#include "lib/simpool/join.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#define REQUESTS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void loop(struct event_base *base, int fd)
{
    char reply[65536];

    for (int i = 0; i < 4; i++) {
        (void)event_base_loop(base, EVLOOP_NONBLOCK);
        while (recv(fd, reply, sizeof(reply), 0) > 0)
            (void)event_base_loop(base, EVLOOP_NONBLOCK);
    }
}

static void ask(struct event_base *base, int fd, const char *session, const uint8_t *body, size_t bytes)
{
    struct xk_buf b = XK_BUF_INIT(1u << 20);

    xk_buf_printf(&b, "POST " SIM_JOIN_PATH "?session_id=%s HTTP/1.1\r\nContent-Length: %zu\r\n\r\n", session, bytes);
    xk_buf_add(&b, body, bytes);
    for (size_t sent = 0; !b.error && sent < b.len;) {
        const ssize_t now = send(fd, b.data + sent, b.len - sent, MSG_NOSIGNAL);
        if (now <= 0)
            break;
        sent += (size_t)now;
        loop(base, fd);
    }
    xk_buf_done(&b);
}

static void run(struct simpool *p, const uint8_t *data, size_t size)
{
    const struct xapi_value args[] = {xapi_str("root"), xapi_str("xenkit"), xapi_str("1.0"), xapi_str("fuzz")};
    char session[SIM_REF_BYTES];
    int ends[2];

    assert(sim_call_inside(p, p->master, "session.login_with_password", args, XK_COUNT(args), NULL, session));
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    http_server_adopt(p->server, ends[0], 0, NULL);
    for (unsigned i = 0; i < REQUESTS_MAX && size > 0; i++) {
        const uint8_t *const end = memchr(data, '\0', size);
        const size_t bytes = end ? (size_t)(end - data) : size;
        ask(p->base, ends[1], session, data, bytes);
        data += bytes + (end != NULL);
        size -= bytes + (end != NULL);
    }
    (void)close(ends[1]);
    (void)event_base_loop(p->base, EVLOOP_NONBLOCK);
    assert(sim_master(p));
    for (unsigned i = 0; i < xapi_class_count; i++)
        for (struct sim_object *o = p->classes[i].first; o; o = o->class_next) {
            struct xapi_raw raw;
            assert(sim_record(&raw, o) == 0);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event_base *const base = event_base_new();
    struct simpool *p = NULL;
    struct xk_random random;
    const struct simpool_settings settings = {.hosts = 1,
                                              .vms = 1,
                                              .user = "root",
                                              .password = "xenkit",
                                              .gc_ns = 30 * XK_NS_PER_S,
                                              .speed = 1,
                                              .clock = xk_clock_system(),
                                              .random = &random,
                                              .era = SIMPOOL_ERA_NEWEST,
                                              .fs = xk_fs_posix()};

    xk_random_seed(&random, 1);
    assert(base && simpool_open(&p, base, &settings, NULL) == 0);
    run(p, data, size);
    simpool_close(p);
    event_base_free(base);
    return 0;
}
