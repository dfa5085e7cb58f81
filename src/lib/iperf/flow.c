/*
 * A stream: a thread that sends or receives until it is told to stop.
 *
 * Sockets block, with a short timeout: one system call for each block, where waiting for readiness first would make it
 * two. All streams write from one block, which stays in the cache.
 */
#include "lib/iperf/inner.h"

#include "core/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#define READ_BYTES  (256u << 10)
#define TRUNC_BYTES (4u << 20)  /* asked for at once when nothing is copied */
#define SMALL_BYTES (16u << 10) /* blocks below that go to the kernel several at once */
#define SMALL_BATCH 32u
#define SLEEP_NS    (50 * XK_NS_PER_MS)
#define QUIET_NS    (40 * XK_NS_PER_MS) /* and two round trips without a byte: nothing is under way any more */

uint64_t iperf_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * XK_NS_PER_S + (uint64_t)now.tv_nsec;
}

void iperf_flow_wake(struct iperf_flow *f)
{
    const uint64_t one = 1;

    if (write(f->test->wake_fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: it is awake */
}

void iperf_flow_fail(struct iperf_flow *f, int error)
{
    atomic_store(&f->failed, error);
    iperf_flow_wake(f);
}

static bool may_send(const struct iperf_flow *f)
{
    return !atomic_load_explicit(&f->test->stop, memory_order_relaxed) &&
           !atomic_load_explicit(&f->test->drain, memory_order_relaxed);
}

bool iperf_flow_sleep_until(const struct iperf_flow *f, uint64_t ns, uint64_t spin_ns)
{
    for (;;) {
        const uint64_t now = iperf_now_ns();
        if (!may_send(f))
            return false;
        if (now >= ns)
            return true;
        if (now + spin_ns >= ns)
            continue;
        const uint64_t until = XK_MIN(ns - spin_ns, now + SLEEP_NS);
        const struct timespec at = {.tv_sec = (time_t)(until / XK_NS_PER_S), .tv_nsec = (long)(until % XK_NS_PER_S)};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
}

bool iperf_flow_sent(struct iperf_flow *f, uint64_t bytes, uint64_t blocks)
{
    struct iperf_test *const t = f->test;
    bool enough = false;

    atomic_store_explicit(&f->bytes, f->bytes + bytes, memory_order_relaxed);
    if (t->params.bytes)
        enough = atomic_fetch_add(&t->sent_bytes, bytes) + bytes >= t->params.bytes;
    if (t->params.blocks)
        enough = atomic_fetch_add(&t->sent_blocks, blocks) + blocks >= t->params.blocks;
    /* A client that asked for so many datagrams wants to receive them, and some are lost: it says when it has them. */
    if (t->server && t->params.protocol == IPERF_UDP)
        enough = false;
    /* While the beginning is left out the amount does not count. */
    if (enough && t->phase == IPERF_MEASURING) {
        iperf_flow_wake(f);
        return false;
    }
    return may_send(f);
}

static void look_at_connection(const struct iperf_flow *f, struct iperf_count *ret)
{
    (f->test->params.protocol == IPERF_SCTP ? iperf_sctp_info : iperf_tcp_info)(f->fd, ret);
}

bool iperf_flow_quiet(const struct iperf_flow *f)
{
    const struct iperf_test *const t = f->test;
    struct iperf_count state = {0};

    if (!atomic_load(&t->drain) || atomic_load(&t->far_sends))
        return false;
    /* One of ours closes a stream when it has sent everything; that is what is waited for then. */
    if (t->params.xenkit && t->params.protocol != IPERF_UDP)
        return false;
    look_at_connection(f, &state);
    return iperf_now_ns() >= f->last_ns + QUIET_NS + 2 * state.rtt_us * 1000;
}

/* ---- sending ---- */

int iperf_flow_make_block(struct iperf_test *t)
{
    const size_t bytes = t->block_bytes;

    t->block = xk_alloc(bytes);
    if (!t->block)
        return -ENOMEM;
    for (size_t i = 0; i < bytes; i++)
        t->block[i] = t->params.repeating_payload ? (uint8_t)('0' + i % 10) : (uint8_t)(i * 167 >> 3);
    if (!t->params.zerocopy || t->settings->file || t->params.protocol == IPERF_SCTP)
        return 0;
    /* A file in memory for sendfile(): the kernel takes its pages without copying. */
    t->block_fd = memfd_create("iperf", MFD_CLOEXEC);
    return t->block_fd >= 0 && write(t->block_fd, t->block, bytes) == (ssize_t)bytes ? 0 : -errno;
}

/* returns bytes; 0 at the end of the file; -1 with errno. */
static ssize_t send_from_file(const struct iperf_flow *f, uint8_t *block)
{
    const ssize_t got = read(f->file_fd, block, f->test->block_bytes);
    ssize_t done = 0;

    while (done < got) {
        const ssize_t n = send(f->fd, block + done, (size_t)(got - done), MSG_NOSIGNAL);
        if (n < 0 && (errno != EAGAIN || !may_send(f)))
            return n;
        done += XK_MAX(n, (ssize_t)0);
    }
    return got;
}

static uint64_t left(uint64_t all, uint64_t done)
{
    return all > done ? all - done : 0;
}

/* Blocks that may go at once: each is a send() of its own for TCP, and what a system call costs is shared by them. */
static unsigned batch_of(const struct iperf_flow *f)
{
    const struct iperf_test *const t = f->test;
    const struct iperf_params *const p = &t->params;
    uint64_t most = SMALL_BATCH;

    if (t->block_bytes >= SMALL_BYTES || p->rate_bps)
        return 1;
    if (p->bytes)
        most = XK_MIN(most, XK_DIV_UP(left(p->bytes, atomic_load(&t->sent_bytes)), (uint64_t)t->block_bytes));
    if (p->blocks)
        most = XK_MIN(most, left(p->blocks, atomic_load(&t->sent_blocks)));
    return (unsigned)XK_MAX(most, UINT64_C(1));
}

static ssize_t send_batch(const struct iperf_flow *f, unsigned count, uint64_t *ret_blocks)
{
    struct iovec block = {f->test->block, f->test->block_bytes};
    struct mmsghdr messages[SMALL_BATCH];
    ssize_t bytes = 0;

    for (unsigned i = 0; i < count; i++)
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &block, .msg_iovlen = 1}};
    const int sent = sendmmsg(f->fd, messages, count, MSG_NOSIGNAL);
    if (sent < 0)
        return sent;
    for (int i = 0; i < sent; i++)
        bytes += messages[i].msg_len;
    *ret_blocks = (uint64_t)sent;
    return bytes;
}

static ssize_t send_some(const struct iperf_flow *f, uint8_t *file_block, uint64_t *ret_blocks)
{
    const struct iperf_test *const t = f->test;
    off_t from = 0;

    *ret_blocks = 1;
    if (file_block)
        return send_from_file(f, file_block);
    if (t->block_fd >= 0)
        return sendfile(f->fd, t->block_fd, &from, t->block_bytes);
    const unsigned count = batch_of(f);
    return count > 1 ? send_batch(f, count, ret_blocks) : send(f->fd, t->block, t->block_bytes, MSG_NOSIGNAL);
}

static void send_tcp(struct iperf_flow *f)
{
    const struct iperf_params *const p = &f->test->params;
    xk_autofree uint8_t *file_block = f->file_fd >= 0 ? xk_alloc(f->test->block_bytes) : NULL;
    const uint64_t begin = iperf_now_ns();
    uint64_t sent = 0, blocks;
    uint32_t in_burst = 0;

    if (f->file_fd >= 0 && !file_block)
        return iperf_flow_fail(f, ENOMEM);
    iperf_place_sender(f);
    for (bool more = true; more;) {
        if (p->rate_bps && in_burst++ % XK_MAX(p->burst, 1u) == 0 &&
            !iperf_flow_sleep_until(f, begin + (uint64_t)((double)sent * 8e9 / (double)p->rate_bps), 0))
            return;
        const ssize_t n = send_some(f, file_block, &blocks);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            if (may_send(f))
                iperf_flow_fail(f, errno);
            return;
        }
        if (n == 0) {
            atomic_store(&f->ended, true);
            return iperf_flow_wake(f);
        }
        sent += n > 0 ? (uint64_t)n : 0;
        more = iperf_flow_sent(f, n > 0 ? (uint64_t)n : 0, n > 0 ? blocks : 0);
    }
}

/* ---- receiving ---- */

static bool keep(struct iperf_flow *f, const uint8_t *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = write(f->file_fd, data + done, bytes - done);
        if (n < 0 && errno != EINTR) {
            iperf_flow_fail(f, errno);
            return false;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/*
 * block     NULL: nothing is copied; with MSG_TRUNC Linux takes a TCP stream's bytes off and leaves the buffer alone.
 * The system call itself, since a sanitizer takes the C library's for one that writes.
 */
static ssize_t receive(int fd, uint8_t *block, size_t room)
{
    return block ? recv(fd, block, room, 0) : syscall(SYS_recvfrom, fd, NULL, room, MSG_TRUNC, NULL, NULL);
}

static void receive_tcp(struct iperf_flow *f)
{
    struct iperf_test *const t = f->test;
    /* SCTP has no way to take messages off without copying them. */
    const bool drop =
        (t->settings->fast || t->params.skip_rx_copy) && f->file_fd < 0 && t->params.protocol == IPERF_TCP;
    const size_t room = drop ? TRUNC_BYTES : READ_BYTES;
    xk_autofree uint8_t *block = drop ? NULL : xk_alloc(room);

    if (!drop && !block)
        return iperf_flow_fail(f, ENOMEM);
    struct iperf_place place = iperf_place_receiver(f);
    while (!atomic_load_explicit(&t->stop, memory_order_relaxed)) {
        iperf_place_follow(&place);
        const ssize_t n = receive(f->fd, block, room);
        if (n > 0) {
            atomic_store_explicit(&f->last_ns, iperf_now_ns(), memory_order_relaxed);
            atomic_store_explicit(&f->bytes, f->bytes + (uint64_t)n, memory_order_relaxed);
            if (f->file_fd >= 0 && !keep(f, block, (size_t)n))
                return;
            const uint64_t got =
                atomic_fetch_add_explicit(&t->got_bytes, (uint64_t)n, memory_order_relaxed) + (uint64_t)n;
            if ((t->params.bytes && got >= t->params.bytes) ||
                (t->params.blocks && got / t->block_bytes >= t->params.blocks))
                iperf_flow_wake(f);
        } else if (n == 0 || (errno == ECONNRESET && atomic_load(&t->drain))) {
            atomic_store(&f->ended, true);
            return iperf_flow_wake(f);
        } else if (errno == EAGAIN || errno == EINTR) {
            if (iperf_flow_quiet(f))
                return;
        } else {
            return iperf_flow_fail(f, errno);
        }
    }
}

/* ---- the thread ---- */

/* Second of the numbers that the scheduler keeps of a thread: the time for which it was ready and did not run. */
static int64_t waited_ns(void)
{
    xk_autofree char *line = xk_slurp_line("", "/proc/thread-self/schedstat");
    unsigned long long ran, waited;

    return line && sscanf(line, "%llu %llu", &ran, &waited) == 2 && waited <= INT64_MAX ? (int64_t)waited : -1;
}

static void *run(void *context)
{
    struct iperf_flow *const f = context;

    if (f->test->params.protocol == IPERF_UDP)
        (f->sending ? iperf_flow_udp_send : iperf_flow_udp_receive)(f);
    else
        (f->sending ? send_tcp : receive_tcp)(f);
    struct timespec used = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) == 0) {
        f->slept = (uint64_t)usage.ru_nvcsw;
        f->preempted = (uint64_t)usage.ru_nivcsw;
    }
    f->cpu_ns = (uint64_t)used.tv_sec * XK_NS_PER_S + (uint64_t)used.tv_nsec;
    f->waited_ns = waited_ns();
    return NULL;
}

int iperf_flow_start(struct iperf_flow *f)
{
    const int error = pthread_create(&f->thread, NULL, run, f);

    f->started = error == 0;
    return -error;
}

void iperf_flow_join(struct iperf_flow *f)
{
    if (f->started && !f->joined)
        (void)pthread_join(f->thread, NULL);
    f->joined = true;
}

void iperf_flow_count(struct iperf_flow *f, struct iperf_count *ret)
{
    *ret = (struct iperf_count){.at_ns = iperf_now_ns(), .bytes = f->bytes, .packets = f->packets};
    if (f->test->params.protocol != IPERF_UDP) {
        if (f->sending)
            look_at_connection(f, ret);
        ret->waiting_bytes = iperf_socket_waiting(f->fd, f->sending);
        return;
    }
    if (f->sending)
        return;
    const int64_t drops = iperf_socket_drops(f->fd);
    pthread_mutex_lock(&f->lock);
    ret->packets = (int64_t)f->loss.highest;
    ret->errors = (int64_t)iperf_loss_lost(&f->loss);
    ret->out_of_order = (int64_t)f->loss.reordered;
    ret->duplicates = (int64_t)f->loss.duplicates;
    ret->late = (int64_t)f->loss.late;
    ret->distance = (int64_t)f->loss.distance_max;
    ret->jitter_s = f->jitter_s;
    ret->bytes = f->bytes;
    /* Datagrams that the kernel had put together are dropped as one, presumably full like the largest that came. */
    ret->overflow = XK_MIN(drops * (int64_t)XK_MAX(f->segments_max, 1u), ret->errors);
    pthread_mutex_unlock(&f->lock);
}
