/*
 * The kernel stamps datagrams with the time of day, which may jump; the stamp's age at the moment of reading is what is
 * used, taken from the clock that does not.
 */
#include "lib/iperf/native.h"

#include "core/bytes.h"
#include "core/json.h"
#include "core/text.h"
#include "lib/iperf/inner.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define ECHO_MAGIC 0x584b4531u /* "XKE1" */
#define DEPTH_MAX  4
#define STALE_NS   (10 * XK_NS_PER_S) /* a stamp older than this means that the clock jumped */

bool iperf_cookie_is_marked(const char *cookie)
{
    return xk_has_suffix(cookie, IPERF_MARK);
}

int iperf_greeting_decode(struct iperf_greeting *ret, const char *json, size_t bytes, struct xk_err *err)
{
    struct iperf_greeting g = {0};
    struct json_object *o;

    struct json_tokener *const reader = json_tokener_new_ex(DEPTH_MAX);
    if (!reader)
        return xk_fail_memory(err);
    struct json_object *const root =
        bytes <= IPERF_GREETING_BYTES ? json_tokener_parse_ex(reader, json, (int)bytes) : NULL;
    json_tokener_free(reader);
    if (json_object_object_get_ex(root, "xenkit_version", &o))
        g.version = (unsigned)XK_MIN(XK_MAX(json_object_get_int(o), 0), INT16_MAX);
    if (json_object_object_get_ex(root, "place", &o))
        g.place = (unsigned)XK_MIN(XK_MAX(json_object_get_int(o), 0), IPERF_WAITING_MAX);
    if (json_object_object_get_ex(root, "echo", &o))
        g.echo = json_object_get_boolean(o);
    if (json_object_object_get_ex(root, "program", &o) && json_object_is_type(o, json_type_string))
        snprintf(g.program, sizeof(g.program), "%s", json_object_get_string(o));
    json_object_put(root);
    if (!g.version)
        return xk_fail(err, -EBADMSG, "the server's greeting has no version");
    *ret = g;
    return 0;
}

void iperf_greeting_encode(struct xk_buf *b, const struct iperf_greeting *g)
{
    struct xk_json j;

    xk_json_init(&j, b, 0);
    xk_json_object(&j, NULL);
    xk_json_u64(&j, "xenkit_version", g->version);
    xk_json_u64(&j, "place", g->place);
    xk_json_bool(&j, "echo", g->echo);
    xk_json_str(&j, "program", g->program);
    xk_json_end(&j);
}

int iperf_echo_decode(struct iperf_echo *ret, const uint8_t *bytes, size_t count)
{
    struct xk_reader r = xk_reader(bytes, XK_MIN(count, (size_t)IPERF_ECHO_BYTES));
    struct iperf_echo e = {0};

    const uint32_t magic = xk_be32(&r);
    e.kind = (enum iperf_echo_kind)xk_be32(&r);
    xk_take_bytes(&r, e.token, sizeof(e.token));
    e.number = xk_be64(&r);
    e.asked_ns = xk_be64(&r);
    e.came_ns = xk_be64(&r);
    e.answered_ns = xk_be64(&r);
    if (r.bad || magic != ECHO_MAGIC || e.kind < IPERF_ECHO_ASK || e.kind > IPERF_ECHO_ANSWER)
        return -EBADMSG;
    *ret = e;
    return 0;
}

void iperf_echo_encode(uint8_t ret[IPERF_ECHO_BYTES], const struct iperf_echo *e)
{
    struct xk_writer w = xk_writer(ret, IPERF_ECHO_BYTES);

    xk_write_be32(&w, ECHO_MAGIC);
    xk_write_be32(&w, e->kind);
    xk_write_raw(&w, e->token, sizeof(e->token));
    xk_write_be64(&w, e->number);
    xk_write_be64(&w, e->asked_ns);
    xk_write_be64(&w, e->came_ns);
    xk_write_be64(&w, e->answered_ns);
}

void iperf_echo_prepare(int fd)
{
    const int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
}

static uint64_t stamp_of(const struct timespec *stamp)
{
    const uint64_t now = iperf_now_ns();
    struct timespec wall;

    (void)clock_gettime(CLOCK_REALTIME, &wall);
    const int64_t age = (int64_t)(wall.tv_sec - stamp->tv_sec) * (int64_t)XK_NS_PER_S + wall.tv_nsec - stamp->tv_nsec;
    return age < 0 || age > (int64_t)STALE_NS ? now : now - (uint64_t)age;
}

ssize_t iperf_echo_receive(int fd, uint8_t *bytes, size_t room, uint64_t *ret_came_ns)
{
    union {
        char bytes[CMSG_SPACE(sizeof(struct timespec)) + 64];
        struct cmsghdr align;
    } control;
    struct iovec vector = {bytes, room};
    struct msghdr m = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};

    const ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0)
        return -errno;
    *ret_came_ns = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        struct timespec stamp;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        memcpy(&stamp, CMSG_DATA(c), sizeof(stamp));
        *ret_came_ns = stamp_of(&stamp);
    }
    if (!*ret_came_ns)
        *ret_came_ns = iperf_now_ns();
    return n;
}
