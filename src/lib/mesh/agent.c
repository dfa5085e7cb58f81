/*
 * The agent: one loop over the coordinator's stream and the pipes of its tasks.
 *
 * A task is a process and not a thread: the engine stops at a signal that is asked for once in a process, the processor
 * time of a test is that of its process, and a task that is wanted no more is killed without a trace. What a task says
 * is handed on as it is once it has been read as a message of that task.
 */
#include "lib/mesh/agent.h"

#include "core/child.h"
#include "lib/mesh/line.h"
#include "lib/mesh/task.h"
#include "lib/nethost/nethost.h"
#include "lib/resolve/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define BEAT_NS XK_NS_PER_S

struct task {
    pid_t pid;
    uint64_t number;
    int go, from; /* when to begin goes in; messages come out */
    bool told;    /* its result */
    struct mesh_reader reader;
};

struct agent {
    const struct mesh_agent_settings *settings;
    int in, out;
    struct mesh_reader reader;
    struct task *tasks;
    unsigned count;
    uint64_t beat_ns;
};

static int tell_failed(struct agent *a, uint64_t number, const char *text)
{
    struct mesh_message m = {.word = MESH_FAILED, .number = number};

    snprintf(m.text, sizeof(m.text), "%s", text);
    return mesh_write(a->out, &m);
}

/* ---- tasks ---- */

static void end_task(struct agent *a, unsigned i)
{
    struct task *const t = &a->tasks[i];

    kill(t->pid, SIGKILL);
    while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(t->go);
    close(t->from);
    a->tasks[i] = a->tasks[--a->count];
}

/* Of a new process: what it does, its ends of the pipes, and those that are its agent's. */
struct beginning {
    const struct agent *agent;
    const struct mesh_message *ask;
    int go, out, agents_go, agents_from;
};

/* In that process. The pipes of the others go too: the end of one is known by its last writer. */
static int perform(void *context)
{
    const struct beginning *const b = context;
    const struct agent *const a = b->agent;
    struct xk_err err = {0};

    close(b->agents_go);
    close(b->agents_from);
    for (unsigned i = 0; i < a->count; i++) {
        close(a->tasks[i].go);
        close(a->tasks[i].from);
    }
    const int code = b->ask->word == MESH_SERVE ? mesh_task_serve(b->ask, b->out, a->settings, &err)
                                                : mesh_task_run(b->ask, b->go, b->out, a->settings, &err);
    if (code < 0) {
        struct mesh_message m = {.word = MESH_FAILED, .number = b->ask->number};
        snprintf(m.text, sizeof(m.text), "%.255s", err.text);
        (void)mesh_write(b->out, &m);
    }
    return code < 0;
}

static int begin_task(struct agent *a, const struct mesh_message *ask)
{
    int go[2], from[2];

    if (a->count == MESH_TASKS_MAX)
        return tell_failed(a, ask->number, "too many tests at the same time");
    if (pipe2(go, O_CLOEXEC) < 0)
        return tell_failed(a, ask->number, strerror(errno));
    if (pipe2(from, O_CLOEXEC) < 0) {
        const int error = errno;
        close(go[0]);
        close(go[1]);
        return tell_failed(a, ask->number, strerror(error));
    }
    struct beginning b = {
        .agent = a, .ask = ask, .go = go[0], .out = from[1], .agents_go = go[1], .agents_from = from[0]};
    const pid_t pid = xk_child_fork(perform, &b);
    close(go[0]);
    close(from[1]);
    if (pid < 0) {
        close(go[1]);
        close(from[0]);
        return tell_failed(a, ask->number, strerror((int)-pid));
    }
    a->tasks[a->count++] = (struct task){.pid = pid, .number = ask->number, .go = go[1], .from = from[0]};
    return 0;
}

/* What a task says. returns whether it goes on; *ret_code: of the stream to the coordinator. */
static bool hear_task(struct agent *a, struct task *t, int *ret_code)
{
    struct mesh_message m;
    int code = mesh_reader_fill(&t->reader, t->from);

    while (mesh_reader_take(&t->reader, &m, NULL) > 0) {
        t->told = t->told || m.word == MESH_RESULT || m.word == MESH_FAILED;
        if (m.number == t->number && *ret_code == 0)
            *ret_code = mesh_write(a->out, &m);
    }
    if (code > 0 || code == -EAGAIN)
        return true;
    if (!t->told && *ret_code == 0)
        *ret_code = tell_failed(a, t->number, "the test's process has ended");
    return false;
}

/* ---- what is asked for ---- */

static int look(struct agent *a, const struct mesh_message *ask)
{
    struct mesh_message m = {.word = MESH_LOOK, .number = ask->number};
    struct resolve_addresses addresses;
    const struct resolve_limits limits = {
        .clock = a->settings->clock, .deadline_ns = resolve_deadline(a->settings->clock, XK_NS_PER_S), .root = ""};
    struct nethost_link link = {0};
    size_t length = 0;

    if (resolve_name(&addresses, ask->host, 0, AF_UNSPEC, &limits, NULL) == 0)
        nethost_link_read(&link, &addresses.list[0].any);
    if (!link.name[0])
        return tell_failed(a, ask->number, "no interface has this address");
    m.mtu = link.mtu;
    snprintf(m.interface, sizeof(m.interface), "%s", link.name);
    snprintf(m.qdisc, sizeof(m.qdisc), "%s", link.qdisc);
    for (enum nethost_offload o = 0; o < NETHOST_OFFLOADS; o++)
        if (link.offloads[o] > 0 && length < sizeof(m.offloads))
            length += (size_t)snprintf(m.offloads + length, sizeof(m.offloads) - length, "%s%s", length > 0 ? "," : "",
                                       nethost_offload_name(o));
    return mesh_write(a->out, &m);
}

static int obey(struct agent *a, const struct mesh_message *m, struct xk_err *err)
{
    struct mesh_message reply = {.word = m->word, .number = m->number};
    const struct mesh_go go = {.at_ns = m->at_ns};

    switch (m->word) {
    case MESH_CLOCK:
        reply.at_ns = a->settings->clock->monotonic_ns(a->settings->clock);
        return mesh_write(a->out, &reply);
    case MESH_LOOK:
        return look(a, m);
    case MESH_RUN:
        if (!*m->host || m->port == 0 || m->seconds == 0 || m->streams == 0)
            return tell_failed(a, m->number, "an order without a host, a port, a time or streams");
        /* fall through */
    case MESH_SERVE:
        if (strlen(m->secret) != IPERF_SECRET_BYTES - 1)
            return tell_failed(a, m->number, "an order without a secret: its server would be open to anybody");
        return begin_task(a, m);
    case MESH_GO:
        for (unsigned i = 0; i < a->count; i++)
            if (a->tasks[i].number == m->number && write(a->tasks[i].go, &go, sizeof(go)) < 0 && errno != EPIPE)
                return -errno;
        return 0;
    case MESH_END:
        for (unsigned i = a->count; i-- > 0;)
            if (a->tasks[i].number == m->number)
                end_task(a, i);
        return 0;
    case MESH_HELLO:
    case MESH_BEAT:
        return 0;
    case MESH_SERVING:
    case MESH_READY:
    case MESH_STARTED:
    case MESH_RESULT:
    case MESH_FAILED:
    case MESH_WORDS:
        break;
    }
    return xk_fail(err, -EBADMSG, "the coordinator says what only agents say");
}

static int say_hello(struct agent *a)
{
    struct mesh_message m = {.word = MESH_HELLO, .version = MESH_VERSION};
    struct utsname u;

    snprintf(m.program, sizeof(m.program), "%s", a->settings->program);
    if (uname(&u) == 0)
        snprintf(m.kernel, sizeof(m.kernel), "%.63s", u.release);
    return mesh_write(a->out, &m);
}

/* returns 1; 0: the coordinator is gone; a negative errno value. */
static int turn(struct agent *a, struct xk_err *err)
{
    const struct xk_clock *const clock = a->settings->clock;
    struct pollfd polls[MESH_TASKS_MAX + 1];
    const unsigned count = a->count;
    uint64_t now = clock->monotonic_ns(clock);
    struct mesh_message m;
    int code = 0;

    if (now >= a->beat_ns) {
        const struct mesh_message beat = {.word = MESH_BEAT};
        a->beat_ns = now + BEAT_NS;
        code = mesh_write(a->out, &beat);
    }
    polls[0] = (struct pollfd){.fd = a->in, .events = POLLIN};
    for (unsigned i = 0; i < count; i++)
        polls[i + 1] = (struct pollfd){.fd = a->tasks[i].from, .events = POLLIN};
    if (code < 0 || poll(polls, count + 1, (int)((a->beat_ns - now) / XK_NS_PER_MS) + 1) < 0)
        return code < 0 ? code : errno == EINTR ? 1 : -errno;
    /* From behind, since one that ends is replaced by the last. */
    for (unsigned i = count; i-- > 0;)
        if (polls[i + 1].revents != 0 && !hear_task(a, &a->tasks[i], &code))
            end_task(a, i);
    if (code < 0 || polls[0].revents == 0)
        return code < 0 ? code : 1;
    const int filled = mesh_reader_fill(&a->reader, a->in);
    if (filled == -EMSGSIZE)
        return xk_fail(err, -EBADMSG, "the coordinator says what is no message");
    if (filled <= 0)
        return filled == -EAGAIN ? 1 : filled;
    while (code == 0 && (code = mesh_reader_take(&a->reader, &m, err)) > 0)
        code = obey(a, &m, err);
    return code < 0 ? code : 1;
}

int mesh_agent_serve(int in, int out, const struct mesh_agent_settings *s, struct xk_err *err)
{
    xk_autofree struct task *tasks = xk_array_alloc(MESH_TASKS_MAX, sizeof(*tasks));
    xk_autofree struct agent *a = xk_zalloc(sizeof(*a));

    if (!a || !tasks)
        return xk_fail_memory(err);
    *a = (struct agent){.settings = s, .in = in, .out = out, .tasks = tasks};
    int code = say_hello(a);
    for (code = code < 0 ? code : 1; code > 0 && !xk_stop_signal();)
        code = turn(a, err);
    while (a->count > 0)
        end_task(a, 0);
    if (code == -EPIPE || code == -ECONNRESET || code > 0)
        return 0;
    return code < 0 && (!err || err->code == 0) ? xk_fail_sys(err, code, "the stream of the coordinator") : code;
}
