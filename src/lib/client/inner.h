/* What the files of the client share; the outside is client.h. */
#ifndef LIB_CLIENT_INNER_H
#define LIB_CLIENT_INNER_H

#include "lib/client/client.h"
#include "lib/http/client.h"
#include "lib/xapi/wire.h"

#define CLIENT_FAILURE_BYTES_MAX (1u << 20) /* code and parameters of one error */
#define CLIENT_PARAMS_MAX        64
#define CLIENT_CLEANUP_NS        (10 * XK_NS_PER_S) /* for a logout, a cancel, the end of a task: the timeout up to this */
#define CLIENT_CLEANUP_NS_MIN    (2 * XK_NS_PER_S)
#define CLIENT_PATH_BYTES        4096
#define CLIENT_URL_BYTES         (RESOLVE_NAME_BYTES + 32)

/* Where calls go. */
struct client_place {
    char host[RESOLVE_NAME_BYTES];
    uint16_t port;
    bool tls;
};

struct client {
    struct xk_app *app;
    struct client_access access;
    struct client_manner manner;
    /* Whom we speak to: the host that was named, and the one that we were sent to. */
    char *socket_path; /* NULL: TCP */
    struct client_place named, now;
    char url[CLIENT_URL_BYTES], named_url[CLIENT_URL_BYTES];
    char redirect[RESOLVE_NAME_BYTES];
    char proxy_host[RESOLVE_NAME_BYTES];
    uint16_t proxy_port;
    struct http_pin pins[CLIENT_PINS_MAX], vouched;
    size_t pin_count;
    bool has_vouched;
    char *folder, *known_file; /* NULL: there is no home */
    char user_agent[64];
    struct http_client *http;
    char certificate[HTTP_PIN_TEXT];
    /* Who we are there. */
    char *password, *session;
    int mark; /* the locked file that says that the session is in use, see orphan.c; -1: none */
    char *mark_path;
    bool borrowed;     /* the session is another one for this call: nobody logs in when it has ended */
    bool beside;       /* the session is another client's: nobody logs in or out, and no master is followed */
    bool session_kept; /* it stands in a file, and stays when we go */
    bool plain_login;  /* the server knows no originator */
    /* How. */
    enum client_protocol protocol; /* CLIENT_AUTO: not known yet */
    int64_t next_id;
    bool cleaning; /* a stop is not looked at, and time is short */
    bool in_turns; /* who calls event.from calls it again, whatever comes */
    struct xk_arena failure_arena;
    struct client_failure failure;
    const char *failure_params[CLIENT_PARAMS_MAX];
    bool failed;
};

/* One call to where we are, and how it is bounded. */
struct client_post {
    const char *method;
    const struct xapi_value *params; /* with the session */
    size_t count;
    uint64_t extra_ns;   /* longer than access.timeout_ns: the server waits on purpose */
    bool finish;         /* its reply is waited for a little longer than may be: something would be left behind */
    bool ask_thumbprint; /* of the master, in case that this is a slave */
};

/* ---- access.c ---- */

int client_access_open(struct client *c, const char *pool, struct xk_err *err);
/* The same for a client beside another one; see client_open_beside(). */
int client_access_beside(struct client *c, const struct client *from, const char *host, const char *sha256,
                         struct xk_err *err);
/* Send what follows to another place. */
int client_go(struct client *c, const struct client_place *place, struct xk_err *err);
int client_password(struct client *c, struct xk_err *err);

/* ---- post.c ---- */

/*
 * One call on the wire, without any second try. returns   0 with a reply, which may be a failure; negative errno values
 * for what is not the pool's word.
 */
int client_post(struct client *c, struct xapi_reply *ret, struct xk_arena *arena, const struct client_post *post,
                struct xk_err *err);
/* Remember the pool's error and make a sentence of it. returns   -EREMOTEIO. */
int client_fail(struct client *c, const char *message, const struct xapi_value *error, struct xk_err *err);
bool client_failed_with(const struct xapi_reply *reply, const char *code);

/* ---- login.c ---- */

/* The session has ended on its own: forget it, also where it was kept. */
void client_session_lost(struct client *c);
/* We have ended it by hand. */
void client_session_over(struct client *c);
/* A slave answered: go to its master. */
int client_follow(struct client *c, const struct xapi_reply *reply, struct xk_err *err);

/* ---- kept.c ---- */

#define CLIENT_LINE_BYTES     512
#define CLIENT_KEPT_BYTES_MAX 8192 /* of a file */

struct client_kept_file {
    char url[CLIENT_LINE_BYTES], user[CLIENT_LINE_BYTES], session[CLIENT_LINE_BYTES];
    char host[CLIENT_LINE_BYTES], pin[CLIENT_LINE_BYTES], proof[CLIENT_LINE_BYTES];
    int64_t created_s;
};

/* The text of such a file. returns   whether it is whole, and of this kind. */
bool client_kept_parse(struct client_kept_file *ret, const char *text);
/* The same of an open file, which has to be ours, and nobody else's to read. */
bool client_kept_read(struct client_kept_file *ret, int fd, const char *path, struct xk_log *log);
/* Where state is kept; NULL: there is no home, or no memory. */
char *client_folder(const struct xk_app *app) XK_MUST_USE;
/* The file of the session for this pool and user. NULL: sessions are not kept. */
char *client_kept_path(const struct client *c) XK_MUST_USE;
/* Take the kept session. returns   whether there was a good one. */
bool client_kept_take(struct client *c, const char *path);
int client_kept_write(const struct client *c, const char *path, struct xk_err *err);
/* What such a file says of this client's session, to be wiped. */
int client_kept_text(struct xk_buf *ret, const struct client *c, struct xk_err *err);
/* What the names of the files for this pool and user begin with. NULL: sessions are not kept. */
char *client_kept_stem(const struct client *c) XK_MUST_USE;
/* The folders above a file, private ones. */
void client_make_folders(const char *path);
/* Remove the file if it holds this client's session. */
void client_kept_remove(const struct client *c);
/* Only one command at a time logs in where sessions are kept. returns   a descriptor to close; negative errno values.
 */
int client_kept_lock(const struct client *c, const char *path, struct xk_err *err);

/* ---- orphan.c ---- */

/* The session is in use until client_mark_end(). Sessions that are not kept at all are not written down here, either.
 */
void client_mark_begin(struct client *c);
/* It has ended. */
void client_mark_end(struct client *c);
/* End the sessions at this pool whose commands were killed. */
void client_end_orphans(struct client *c);

/* ---- call.c ---- */

/*
 * What client_call() does after the arguments were checked.
 *
 * message   NULL: the data model does not have it.
 * extra_ns  how long the server waits on purpose.
 */
int client_send(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *method,
                const struct xapi_message *message, const struct xapi_value *args, size_t count, uint64_t extra_ns,
                struct xk_err *err);

#endif
