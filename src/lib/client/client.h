/*
 * A XenServer pool, spoken to: one connection, one session, calls.
 *
 *     static const struct xk_opt opts[] = {CLIENT_ACCESS_OPTS(struct mine, access), …, XK_OPT_END};
 *     static const struct mine defaults = {.access = CLIENT_ACCESS_DEFAULTS};
 *     …
 *     xk_auto(client_closep) struct client *c = NULL;
 *     int code = client_open(&c, app, url, &opts->access, &(struct client_manner){.originator = "xenkit-pool"}, err);
 *     if (code == 0)
 *         code = client_ask(c, &vms, &arena, err, "VM.get_all_records", "");
 *     …
 *     if (code == 0)
 *         code = client_ask(c, NULL, NULL, err, "VM.set_name_label", "ss", ref, "new");
 *
 * The session is opened by the first call that needs one and ended by client_close(), also after a stop was asked for;
 * client_close() therefore has to be reached on every way out. Passwords and session refs never appear in a message.
 * A client belongs to one thread; several clients may be used side by side.
 *
 * Calls return 0 or a negative errno value with a sentence and a hint:
 *     -EREMOTEIO   the pool said no: client_failure() has its code and parameters
 *     -EINVAL      the arguments do not fit the data model (nothing was sent), or the access is not said right
 *     -ETIMEDOUT, -ECONNREFUSED, -ECONNRESET …   not reached, or lost
 *     -EKEYREJECTED the far side's certificate is not to be trusted
 *     -EPROTO      the far side speaks something else
 *     -EINTR       a stop was asked for
 */
#ifndef LIB_CLIENT_H
#define LIB_CLIENT_H

#include "core/room.h"
#include "lib/xapi/value.h"

#define CLIENT_REPLY_BYTES_MAX   (512u << 20) /* of one reply */
#define CLIENT_REQUEST_BYTES_MAX (300u << 10) /* pools refuse larger ones */
#define CLIENT_PINS_MAX          16           /* fingerprints given with --cert-sha256 */
#define CLIENT_TRACK_BYTES       33           /* an MD5 in hexadecimal, and a NUL */
#define CLIENT_TOKEN_BYTES       128

struct client;

/* ---- how a pool is accessed: said the same way by every command ---- */

enum client_protocol { CLIENT_AUTO, CLIENT_JSON2, CLIENT_JSON1, CLIENT_XML };
extern const char *const client_protocols[]; /* their names, NULL-ended */

struct client_access {
    const char *user, *password_file, *ca, *proxy;
    struct xk_words pins;
    bool insecure, emergency, session_cache;
    uint64_t connect_timeout_ns, timeout_ns;
    int protocol; /* enum client_protocol */
    /* Of commands whose dialect has the password itself; NULL: as said above. */
    const char *password;
    bool password_is_default; /* nobody said it: a session that was kept with another one is as good */
};

#define CLIENT_ACCESS_DEFAULTS                                                                                         \
    {                                                                                                                  \
        .user = "root", .session_cache = true, .connect_timeout_ns = 10 * XK_NS_PER_S, .timeout_ns = 120 * XK_NS_PER_S \
    }

/* The rows for a command's table; `m` is the struct client_access in its struct `t`. */
#define CLIENT_ACCESS_OPTS(t, m)                                                                                       \
    XK_OPT_TEXT('u', "user", t, m.user, "NAME", "log in as NAME [root]"),                                              \
        XK_OPT_TEXT(0, "password-file", t, m.password_file, "FILE",                                                    \
                    "the password is the first line of FILE, - is standard input [XENKIT_PASSWORD_FILE, or asked]"),   \
        XK_OPT_LIST(0, "cert-sha256", t, m.pins, "HEX",                                                                \
                    "trust the certificate with this SHA-256 fingerprint only; may be given again"),                   \
        XK_OPT_TEXT(0, "ca", t, m.ca, "FILE", "trust certificates of the authorities in FILE (PEM) only"),             \
        XK_OPT_FLAG(0, "insecure", t, m.insecure, "trust any certificate: whoever is in between can read all"),        \
        XK_OPT_FLAG(0, "emergency", t, m.emergency, "log in at this host itself, when its master is gone"),            \
        XK_OPT_ON(0, "session-cache", t, m.session_cache, "neither use a kept session nor keep one"),                  \
        XK_OPT_CHOICE(0, "protocol", t, m.protocol, "NAME", client_protocols,                                          \
                      "auto, json2 (JSON-RPC 2.0), json1, xml (XML-RPC) [auto]"),                                      \
        XK_OPT_DURATION(0, "connect-timeout", t, m.connect_timeout_ns, "TIME",                                         \
                        "until the connection stands, names and TLS included; 0: no limit [10s]"),                     \
        XK_OPT_DURATION(0, "timeout", t, m.timeout_ns, "TIME",                                                         \
                        "for each call until its whole reply is there; 0: no limit [2m]"),                             \
        XK_OPT_TEXT(0, "proxy", t, m.proxy, "URL", "go through this HTTP proxy (CONNECT)")

/* Whether nothing was said: for commands that may do without a pool, and then refuse what has no effect. */
bool client_access_is_default(const struct client_access *access);

#define CLIENT_TRACE_BYTES_MAX 256

/* How a command behaves towards the pool. */
struct client_manner {
    const char *originator; /* who we are, for the pool's session table and logs; sessions are limited by it */
    bool keep;              /* keep the session in a file for the next command instead of logging out */
    /* Headers of every call, traceparent and baggage, printable; borrowed; NULL: none. */
    const char *trace, *baggage;
    uint64_t deadline_ns; /* on the clock's monotonic time: no call lasts longer; 0: none. Logging out may, a little */
};

/*
 * Take the words of the access apart; nothing is sent yet.
 *
 * pool      https://HOST[:PORT], http://HOST[:PORT], unix:PATH or HOST[:PORT] (https). NULL: the value of XENKIT_POOL,
 *           else the one pool with a kept session, else this host's own socket when this is a pool's host.
 * app       borrowed until client_close().
 */
int client_open(struct client **ret, struct xk_app *app, const char *pool, const struct client_access *access,
                const struct client_manner *manner, struct xk_err *err);
/*
 * Another client in the same session, for another thread or another host of the pool: it neither logs in nor out, nor
 * does it go on to a master. `c` has to be logged in, may be used meanwhile, and has to be closed later.
 *
 * host      the address of another host of the pool, at the same port, or at 443 when c goes through a socket; NULL:
 *           where c's calls go.
 * sha256    the fingerprint of that host's certificate as the pool tells it, which is to be trusted; NULL: not known.
 */
int client_open_beside(struct client **ret, const struct client *c, const char *host, const char *sha256,
                       const struct client_manner *manner, struct xk_err *err);
/* Ends the session unless it is kept, and the connection. NULL is fine. */
void client_close(struct client *c);
static inline void client_closep(struct client *const *c)
{
    client_close(*c);
}
/* Log in now, or find the kept session. Calls do that by themselves. */
int client_login(struct client *c, struct xk_err *err);
/* End the session now, a kept one, too. */
int client_logout(struct client *c, struct xk_err *err);

/* ---- calls ---- */

/*
 * Call a message of the pool: "VM.start", also "Async.VM.start" and "system.listMethods".
 *
 * args      without the session, which is added when the message takes one. Checked against the data model first;
 *           messages that the model does not have are sent as they are.
 * ret       its parts lie in `arena`; both NULL: the result is not wanted.
 * A lost connection is made again, and the call repeated when it only asks or sets; a session that has ended is opened
 * again. A slave's "the master is there" is followed once, with a word to the log.
 */
int client_call(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *message,
                const struct xapi_value *args, size_t count, struct xk_err *err);
/* The same in the name of another session, which stays as it is: one that the pool gave for another database. */
int client_call_as(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *session,
                   const char *message, const struct xapi_value *args, size_t count, struct xk_err *err);
/*
 * The same with the arguments in the line, one for each letter of `types`: s const char *, b int (a truth),
 * i int64_t, d double, v const struct xapi_value *.
 */
int client_ask(struct client *c, struct xapi_value *ret, struct xk_arena *arena, struct xk_err *err,
               const char *message, const char *types, ...);

/* How a long message is watched. */
struct client_watch {
    void (*progress)(void *context, double done); /* 0 … 1, when it changes; NULL: not wanted */
    void *context;
    uint64_t deadline_ns; /* from now on; then the task is cancelled, its end awaited, and -ETIMEDOUT is returned */
    uint64_t grace_ns;    /* how long the end of a cancelled task is awaited; 0: a minute */
};

/*
 * The same for what may take long: the message is called as a task, which is watched by events until it ends, and
 * removed then. A message without that form is called as it is. A stop or the deadline cancels the task.
 *
 * watch     may be NULL.
 */
int client_run(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *message,
               const struct xapi_value *args, size_t count, const struct client_watch *watch, struct xk_err *err);
/* Watch a task that was begun by Async.*; as client_run() from there on. */
int client_await(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *task,
                 const struct client_watch *watch, struct xk_err *err);

/*
 * The events since the last call, at most one for each object (event.from).
 *
 * classes   "*", "VM", "VM/OpaqueRef:…".
 * token     begin with ""; each call leaves here where it came to.
 * ret       a list of maps: class (lower case), operation (add, mod, del), ref, snapshot (a record; not for del).
 *           Empty when nothing happened within wait_ns.
 */
int client_events(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *const *classes,
                  size_t count, char token[CLIENT_TOKEN_BYTES], uint64_t wait_ns, struct xk_err *err);

/*
 * GET a path such as "/rrd_updates?start=…" with the session. The body is appended to `ret`, whose limit bounds it.
 * returns   0; -EREMOTEIO: another status than 200.
 */
int client_get(struct client *c, struct xk_buf *ret, const char *path, struct xk_err *err);

struct client_download;
/*
 * The same for what is too large for memory, on a connection of its own: read it piece by piece until 0 comes. The
 * access's timeout is that of each piece, the manner's deadline that of all.
 *
 * returns   0 when the server gives it; -EREMOTEIO: another status than 200.
 */
int client_download_open(struct client_download **ret, struct client *c, const char *path, struct xk_err *err);
/* returns   the bytes; 0 at the end; a negative errno value, also when the connection was cut. */
ssize_t client_download_read(struct client_download *d, void *bytes, size_t count, struct xk_err *err);
void client_download_close(struct client_download *d); /* NULL is fine */

/*
 * What the host shows when TLS begins: from when until when its certificate is valid, in seconds since 1970. Nothing is
 * sent, and nobody is trusted. returns   0; -ENOTSUP: calls go without TLS; as http_stream_open().
 */
int client_look_at_certificate(struct client *c, int64_t *ret_from_s, int64_t *ret_until_s, struct xk_err *err);

/* The session's ref, for addresses of files: a secret like the password. "" before the first call. */
const char *client_session(const struct client *c);

struct http_stream;
struct resolve_limits;
/*
 * A connection of its own to the pool, for what is too large for a reply: the caller speaks HTTP on it.
 *
 * host      another host of the pool, at the same port; NULL: where calls go.
 */
int client_stream(struct client *c, struct http_stream **ret, const char *host, const struct resolve_limits *limits,
                  struct xk_err *err);

/* ---- sessions that are kept for the next command ---- */

struct client_kept {
    char url[288], user[256], track[CLIENT_TRACK_BYTES];
    int64_t created_s;
};

/* Those of this user, in the order of their urls; free() the array. No session is asked whether it still lives. */
int client_kept_list(struct client_kept **ret, size_t *ret_count, const struct xk_app *app, struct xk_err *err);
/* Whether the session of this client is one of them. */
bool client_is_kept(const struct client *c);
/* Take the kept session and no other: nobody logs in. returns   whether there is one. */
bool client_take_kept(struct client *c);
/* Ask the pool whether it lives. returns   0; -ESTALE: it has ended (and is not kept any more); as a call. */
int client_check_kept(struct client *c, struct xk_err *err);

/* ---- what it knows ---- */

/* An error of the pool: "VM_BAD_POWER_STATE" and its parameters. */
struct client_failure {
    const char *code;
    const char *const *params;
    unsigned count;
};
/* Of the last call; NULL when that did not end with -EREMOTEIO by the pool's own word. Lives until the next call. */
const struct client_failure *client_failure(const struct client *c);

const char *client_url(const struct client *c); /* where calls go now; the master's after a redirect */
uint16_t client_port(const struct client *c);   /* the same; 0: through a socket */
const char *client_user(const struct client *c);
/* The address that a slave told instead of answering; NULL: the host that was named is the master. */
const char *client_redirect(const struct client *c);
/* "" without TLS, and before the first call; else lower-case hexadecimal. */
const char *client_certificate_sha256(const struct client *c);
/* What the pool's logs call the session; "" when there is none. */
void client_session_track(const struct client *c, char ret[CLIENT_TRACK_BYTES]);
/* The same for any ref. */
void client_track(char ret[CLIENT_TRACK_BYTES], const char *ref);

/* The sentence and the hint of an error code, with its parameters filled in; the hint may be "". */
void client_explain(char *ret_text, size_t text_bytes, char *ret_hint, size_t hint_bytes, const char *code,
                    const char *const *params, unsigned count);

#endif
