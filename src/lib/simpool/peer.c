/*
 * A thread for each request: it waits for the far side, the pool's loop does not. It has copies of all that it needs,
 * tells through a pipe of its own that it is done, and is joined before anybody looks at what it wrote.
 */
#include "lib/simpool/peer.h"

#include "core/text.h"
#include "lib/http/client.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define PEERS_MAX       64 /* at a time */
#define REPLY_BYTES_MAX (4u << 20)
#define STACK_BYTES     (256u << 10)
#define CONNECT_NS      (5 * XK_NS_PER_S)
#define WAIT_NS         (30 * XK_NS_PER_S)

struct sim_peer {
    struct simpool *pool;
    struct sim_call *call;
    sim_peer_done *done;
    struct sim_peer *next, **link;
    struct event *event;
    int pipe[2];
    pthread_t thread;
    /* Of the thread, until it has written to the pipe. */
    struct http_target target;
    char host[RESOLVE_NAME_BYTES];
    char *path;
    struct xk_buf body, text;
    int code;
};

static void peer_free(struct sim_peer *peer)
{
    if (peer->link) {
        if (peer->next)
            peer->next->link = peer->link;
        *peer->link = peer->next;
    }
    if (peer->event)
        event_free(peer->event);
    for (size_t i = 0; i < XK_COUNT(peer->pipe); i++)
        if (peer->pipe[i] >= 0)
            (void)close(peer->pipe[i]);
    xk_buf_done(&peer->body);
    xk_buf_done(&peer->text);
    free(peer->path);
    free(peer);
}

/* ---- the thread ---- */

static int ask(struct sim_peer *peer)
{
    const struct xk_clock *const clock = peer->pool->settings.clock;
    struct http_client *client = NULL;
    struct http_reader *reply;
    const struct http_limits limits = {.connect_deadline_ns = resolve_deadline(clock, CONNECT_NS),
                                       .deadline_ns = resolve_deadline(clock, WAIT_NS)};
    const struct http_request request = {.method = "POST",
                                         .path = peer->path,
                                         .type = "application/json",
                                         .body = peer->body.data,
                                         .bytes = peer->body.len,
                                         .reply_max = REPLY_BYTES_MAX};

    int code = http_client_open(&client, &peer->target, "xapi/simulated", clock, "", NULL);
    if (code == 0)
        code = http_client_send(client, &reply, &request, &limits, NULL);
    if (code == 0 && http_reader_status(reply) != 200)
        code = -EPROTO;
    if (code == 0) {
        xk_buf_add(&peer->text, reply->body.data, reply->body.len);
        code = peer->text.error;
    }
    http_client_close(client);
    return code;
}

static void *run(void *context)
{
    struct sim_peer *const peer = context;

    peer->code = ask(peer);
    (void)!write(peer->pipe[1], "", 1); /* an empty pipe has room */
    return NULL;
}

/* ---- the loop ---- */

static void on_done(evutil_socket_t fd, short what, void *context)
{
    struct sim_peer *const peer = context;
    struct sim_call *const c = peer->call;
    struct sim_peer_reply reply = {0};

    (void)pthread_join(peer->thread, NULL);
    reply.code = peer->code;
    if (reply.code == 0)
        reply.code = xapi_reply_decode(&reply.reply, &c->arena, true, xk_buf_str(&peer->text), peer->text.len, NULL);
    sim_peer_done *const done = peer->done;
    peer_free(peer);
    c->peer = NULL;
    c->session = sim_session_find(c->pool, c->session_ref);
    const enum sim_outcome outcome = done(c, &reply);
    if (outcome != SIM_WORKING)
        sim_answer(c, outcome);
}

static int read_url(struct sim_peer *peer, const char *url)
{
    const bool tls = xk_has_prefix(url, "https://");
    const char *const at = strstr(url, "://");
    char name[RESOLVE_NAME_BYTES + 8];

    if (!at || (!tls && !xk_has_prefix(url, "http://")))
        return -EINVAL;
    const size_t len = strcspn(at + 3, "/");
    if (len == 0 || len >= sizeof(name))
        return -EINVAL;
    memcpy(name, at + 3, len);
    name[len] = '\0';
    peer->target = (struct http_target){.host = peer->host, .tls = tls, .trust.insecure = true};
    peer->path = xk_strdup(at[3 + len] ? at + 3 + len : "/");
    if (!peer->path)
        return -ENOMEM;
    return resolve_split(peer->host, &peer->target.port, name, tls ? 443 : 80, NULL);
}

static int begin(struct sim_peer *peer)
{
    struct simpool *const p = peer->pool;
    pthread_attr_t attributes;

    if (pipe2(peer->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    peer->event = event_new(p->base, peer->pipe[0], EV_READ, on_done, peer);
    if (!peer->event || event_add(peer->event, NULL) < 0 || pthread_attr_init(&attributes) != 0)
        return -ENOMEM;
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    const int code = pthread_create(&peer->thread, &attributes, run, peer);
    (void)pthread_attr_destroy(&attributes);
    return -code;
}

enum sim_outcome sim_peer_post(struct sim_call *c, const char *url, struct xk_buf *body, sim_peer_done *done)
{
    struct simpool *const p = c->pool;
    struct sim_peer *const peer = xk_zalloc(sizeof(*peer));
    size_t others = 0;

    for (const struct sim_peer *o = p->peers; o; o = o->next)
        others++;
    if (!peer || body->error || others >= PEERS_MAX) {
        xk_buf_done(body);
        free(peer);
        return sim_no_memory(c);
    }
    *peer = (struct sim_peer){.pool = p, .call = c, .done = done, .pipe = {-1, -1}, .body = *body};
    *body = XK_BUF_INIT(0);
    peer->text = XK_BUF_INIT(REPLY_BYTES_MAX);
    const int wrong = read_url(peer, url);
    const int code = wrong < 0 ? wrong : begin(peer);
    if (code < 0) {
        peer_free(peer);
        return wrong == -EINVAL ? sim_fail(c, "INVALID_VALUE", "url", url, NULL) : sim_no_memory(c);
    }
    peer->next = p->peers;
    peer->link = &p->peers;
    if (peer->next)
        peer->next->link = &peer->next;
    p->peers = c->peer = peer;
    return SIM_WORKING;
}

enum sim_outcome sim_peer_refuse(struct sim_call *c, const struct sim_peer_reply *reply, const char *url)
{
    const struct xapi_value *const texts = &reply->reply.value;

    if (reply->code == -ENOMEM)
        return sim_no_memory(c);
    if (reply->code < 0 || texts->count == 0) {
        const char *const at = strstr(url, "://"), *const name = at ? at + 3 : url;
        const char *const host = xk_arena_printf(&c->arena, "%.*s", (int)strcspn(name, ":/"), name);
        return host ? sim_fail(c, "CANNOT_CONTACT_HOST", host, NULL) : sim_no_memory(c);
    }
    c->error = *texts;
    return SIM_FAILED;
}

/* The threads see the stop that ends the pool, or their deadlines. */
void sim_peers_close(struct simpool *p)
{
    while (p->peers) {
        struct sim_peer *const peer = p->peers;
        struct sim_call *const c = peer->call;
        (void)pthread_join(peer->thread, NULL);
        peer_free(peer);
        c->peer = NULL;
        if (c->link)
            continue; /* the pool's list of working calls has it */
        if (c->exchange)
            http_on_gone(c->exchange, NULL, NULL);
        free(c->wanted);
        xk_arena_done(&c->arena);
        free(c);
    }
}
