/*
 * From what was said on the command line to where calls go and who we are there. Nothing is sent here.
 *
 * What would have no effect (an authority's file without TLS, say) is refused instead of ignored.
 */
#include "lib/client/inner.h"

#include "core/secret.h"
#include "core/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define HTTPS_PORT       443
#define HTTP_PORT        80
#define PROXY_PORT       3128
#define PASSWD_BYTES_MAX (4u << 20)
#define HOST_SOCKET      "/var/lib/xcp/xapi"

const char *const client_protocols[] = {
    [CLIENT_AUTO] = "auto", [CLIENT_JSON2] = "json2", [CLIENT_JSON1] = "json1", [CLIENT_XML] = "xml", NULL};

static int usage(struct xk_err *err, const char *format, ...) XK_PRINTF(2, 3);

static int usage(struct xk_err *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)xk_vfail(err, -EINVAL, format, args);
    va_end(args);
    xk_err_exit(err, XK_EXIT_USAGE);
    return -EINVAL;
}

bool client_access_is_default(const struct client_access *a)
{
    static const struct client_access usual = CLIENT_ACCESS_DEFAULTS;

    return strcmp(a->user, usual.user) == 0 && !a->password_file && !a->ca && !a->proxy && !a->pins.count &&
           !a->insecure && !a->emergency && a->session_cache == usual.session_cache &&
           a->connect_timeout_ns == usual.connect_timeout_ns && a->timeout_ns == usual.timeout_ns &&
           a->protocol == usual.protocol;
}

/* ---- the pool ---- */

static void put_url(char ret[CLIENT_URL_BYTES], const struct client_place *place)
{
    const bool v6 = strchr(place->host, ':') != NULL, usual = place->port == (place->tls ? HTTPS_PORT : HTTP_PORT);
    char port[8] = "";

    if (!usual)
        snprintf(port, sizeof(port), ":%u", place->port);
    snprintf(ret, CLIENT_URL_BYTES, "%s://%s%s%s%s", place->tls ? "https" : "http", v6 ? "[" : "", place->host,
             v6 ? "]" : "", port);
}

static int set_socket(struct client *c, const char *path, struct xk_err *err)
{
    if (*path != '/' || strlen(path) >= CLIENT_URL_BYTES - sizeof("unix:"))
        return usage(err, "unix:%s: the socket's whole path is wanted", path);
    c->socket_path = xk_strdup(path);
    if (!c->socket_path)
        return xk_fail_memory(err);
    snprintf(c->named_url, sizeof(c->named_url), "unix:%.*s", (int)(CLIENT_URL_BYTES - sizeof("unix:")), path);
    snprintf(c->url, sizeof(c->url), "%s", c->named_url);
    return 0;
}

static int set_host(struct client *c, const char *text, bool tls, struct xk_err *err)
{
    char host[CLIENT_URL_BYTES];
    const size_t bytes = strcspn(text, "/");

    if (text[bytes] && strcmp(text + bytes, "/") != 0)
        return usage(err, "\"%.200s\": nothing comes after the host and the port of a pool", text);
    if (bytes >= sizeof(host))
        return usage(err, "\"%.200s…\" is no host", text);
    snprintf(host, sizeof(host), "%.*s", (int)bytes, text);
    if (strchr(host, '@')) {
        (void)usage(err, "a user in the name of a pool is not taken");
        xk_err_hint(err, "--user NAME says it, and --password-file FILE where the password is");
        return -EINVAL;
    }
    c->named.tls = tls;
    const int code = resolve_split(c->named.host, &c->named.port, host, tls ? HTTPS_PORT : HTTP_PORT, err);
    if (code < 0)
        return code;
    for (char *letter = c->named.host; *letter; letter++)
        *letter = (char)tolower((unsigned char)*letter);
    put_url(c->named_url, &c->named);
    return 0;
}

static int set_pool(struct client *c, const char *pool, struct xk_err *err)
{
    if (xk_has_prefix(pool, "unix://"))
        return set_socket(c, pool + strlen("unix://"), err);
    if (xk_has_prefix(pool, "unix:"))
        return set_socket(c, pool + strlen("unix:"), err);
    if (*pool == '/')
        return set_socket(c, pool, err);
    if (strncasecmp(pool, "https://", 8) == 0)
        return set_host(c, pool + 8, true, err);
    if (strncasecmp(pool, "http://", 7) == 0)
        return set_host(c, pool + 7, false, err);
    if (strstr(pool, "://"))
        return usage(err, "\"%.200s\": a pool is reached by https, http or unix", pool);
    return set_host(c, pool, true, err);
}

/* The pool that goes without saying. */
static int set_default_pool(struct client *c, struct xk_err *err)
{
    const char *const named = xk_env(c->app, "XENKIT_POOL");
    struct client_kept *kept = NULL;
    size_t count = 0;

    if (named && *named)
        return set_pool(c, named, err);
    int code = c->access.session_cache ? client_kept_list(&kept, &count, c->app, err) : 0;
    if (code == 0 && count == 1) {
        if (strcmp(kept->user, c->access.user) == 0)
            code = set_pool(c, kept->url, err);
        free(kept);
        return code;
    }
    free(kept);
    if (code < 0)
        return code;
    if (xk_exists(c->app->root, HOST_SOCKET))
        return set_socket(c, HOST_SOCKET, err);
    (void)usage(err, count ? "several pools have a kept session: say which one is meant" : "no pool is named");
    xk_err_hint(err, "URL or HOST[:PORT], or the environment variable XENKIT_POOL");
    return -EINVAL;
}

/* ---- whom to trust ---- */

static int set_trust(struct client *c, struct xk_err *err)
{
    const struct client_access *const a = &c->access;
    const bool tls = !c->socket_path && c->named.tls;

    if ((a->insecure != 0) + (a->pins.count > 0) + (a->ca != NULL) > 1)
        return usage(err, "only one of --cert-sha256, --ca and --insecure can be given");
    if (!tls && (a->insecure || a->pins.count || a->ca))
        return usage(err, "%s is reached without TLS, so %s has no effect", c->named_url,
                     a->insecure ? "--insecure"
                     : a->ca     ? "--ca"
                                 : "--cert-sha256");
    if (a->pins.count > CLIENT_PINS_MAX)
        return usage(err, "more than %d fingerprints are given", CLIENT_PINS_MAX);
    for (; c->pin_count < a->pins.count; c->pin_count++) {
        const int code = http_pin_parse(&c->pins[c->pin_count], a->pins.items[c->pin_count], err);
        if (code < 0) {
            xk_err_exit(err, XK_EXIT_USAGE);
            return code;
        }
    }
    if (a->ca && access(a->ca, R_OK) < 0)
        return xk_fail_sys(err, -errno, "%s", a->ca);
    return 0;
}

static int set_proxy(struct client *c, struct xk_err *err)
{
    const char *text = c->access.proxy;
    char host[CLIENT_URL_BYTES];

    if (!text)
        return 0;
    if (c->socket_path)
        return usage(err, "%s is reached without a network, so --proxy has no effect", c->named_url);
    if (strncasecmp(text, "http://", 7) == 0)
        text += 7;
    else if (strstr(text, "://"))
        return usage(err, "--proxy %.200s: only proxies that speak HTTP are supported", text);
    if (strchr(text, '@'))
        return usage(err, "--proxy: proxies with a login are not supported");
    snprintf(host, sizeof(host), "%.*s", (int)strcspn(text, "/"), text);
    return resolve_split(c->proxy_host, &c->proxy_port, host, PROXY_PORT, err);
}

/* ---- our own place ---- */

/* The home of the user that runs us, from /etc/passwd: NSS cannot be asked by a static file. */
static char *home_of_user(const struct xk_app *app)
{
    char *text = NULL, *rest = NULL, *home = NULL;

    if (xk_slurp(&text, app->root, "/etc/passwd", PASSWD_BYTES_MAX, NULL) < 0)
        return NULL;
    for (char *line = strtok_r(text, "\n", &rest); line && !home; line = strtok_r(NULL, "\n", &rest)) {
        const char *field[6] = {NULL};
        uint64_t uid = 0;
        for (size_t i = 0; i < XK_COUNT(field) && line; i++)
            field[i] = strsep(&line, ":");
        if (field[5] && xk_parse_u64(&uid, field[2]) == 0 && uid == getuid() && *field[5] == '/')
            home = xk_strdup(field[5]);
    }
    free(text);
    return home;
}

char *client_folder(const struct xk_app *app)
{
    const char *const state = xk_env(app, "XDG_STATE_HOME"), *const home = xk_env(app, "HOME");
    xk_autofree char *looked_up = NULL;

    if (state && *state == '/')
        return xk_asprintf("%s/xenkit", state);
    if (!home || *home != '/') {
        looked_up = home_of_user(app);
        return looked_up ? xk_asprintf("%s/.local/state/xenkit", looked_up) : NULL;
    }
    return xk_asprintf("%s/.local/state/xenkit", home);
}

int client_password(struct client *c, struct xk_err *err)
{
    const char *const from_env = xk_env(c->app, "XENKIT_PASSWORD_FILE");
    const char *const file = c->access.password_file ? c->access.password_file
                             : from_env && *from_env ? from_env
                                                     : NULL;
    char question[CLIENT_URL_BYTES + 128];

    if (c->password)
        return 0;
    if (c->access.password) {
        c->password = xk_strdup(c->access.password);
        return c->password ? 0 : xk_fail_memory(err);
    }
    if (file)
        return xk_secret_read(&c->password, file, err);
    if (c->socket_path) { /* whoever may open it is trusted */
        c->password = xk_strdup("");
        return c->password ? 0 : xk_fail_memory(err);
    }
    snprintf(question, sizeof(question), "Password of %.64s at %s:", c->access.user, c->named_url);
    const int code = xk_secret_ask(&c->password, question, err);
    if (code == -ENOTTY) {
        (void)usage(err, "the password of %s at %s is not known", c->access.user, c->named_url);
        xk_err_hint(err, "--password-file FILE (- is standard input), or XENKIT_PASSWORD_FILE=FILE in the environment");
        return -EINVAL;
    }
    return code;
}

/* ---- all together ---- */

static struct http_target target_of(struct client *c, const struct client_place *place)
{
    return (struct http_target){
        .host = place->host,
        .port = place->port,
        .socket_path = c->socket_path,
        .proxy_host = *c->proxy_host ? c->proxy_host : NULL,
        .proxy_port = c->proxy_port,
        .tls = place->tls && !c->socket_path,
        .trust =
            {
                .insecure = c->access.insecure,
                .pins = c->pins,
                .pin_count = c->pin_count,
                .vouched = c->has_vouched ? &c->vouched : NULL,
                .ca_file = c->access.ca,
                .known_file = c->known_file,
                .fs = c->app->fs,
                .clock = c->app->clock,
                .log = c->app->log,
            },
    };
}

int client_go(struct client *c, const struct client_place *place, struct xk_err *err)
{
    if (&c->now != place)
        c->now = *place;
    if (!c->socket_path)
        put_url(c->url, &c->now);
    http_client_close(c->http);
    c->http = NULL;
    const struct http_target target = target_of(c, &c->now);
    return http_client_open(&c->http, &target, c->user_agent, c->app->clock, c->app->root, err);
}

int client_stream(struct client *c, struct http_stream **ret, const char *host, const struct resolve_limits *limits,
                  struct xk_err *err)
{
    struct client_place place = c->now;

    if (host && strlen(host) >= sizeof(place.host))
        return xk_fail(err, -EINVAL, "\"%.200s…\" is no host", host);
    if (host)
        memcpy(place.host, host, strlen(host) + 1);
    const struct http_target target = target_of(c, &place);
    return http_stream_open(ret, &target, limits, err);
}

int client_look_at_certificate(struct client *c, int64_t *ret_from_s, int64_t *ret_until_s, struct xk_err *err)
{
    struct resolve_limits limits = {.clock = c->app->clock,
                                    .deadline_ns = resolve_deadline(c->app->clock, c->access.connect_timeout_ns),
                                    .root = c->app->root};
    struct http_target target = target_of(c, &c->now);
    struct http_stream *stream = NULL;

    if (!target.tls)
        return xk_fail(err, -ENOTSUP, "%s is reached without TLS", c->url);
    if (c->manner.deadline_ns)
        limits.deadline_ns = XK_MIN(limits.deadline_ns, c->manner.deadline_ns);
    target.trust.insecure = true; /* it is only looked at */
    const int code = http_stream_open(&stream, &target, &limits, err);
    if (code < 0)
        return code;
    const bool known = http_stream_validity(stream, ret_from_s, ret_until_s);
    http_stream_close(stream);
    return known ? 0 : xk_fail_memory(err);
}

/* What client_access_open() finds out from words, taken from a client that has done so. */
static int access_copy(struct client *c, const struct client *from, struct xk_err *err)
{
    c->folder = from->folder ? xk_strdup(from->folder) : NULL;
    c->known_file = from->known_file ? xk_strdup(from->known_file) : NULL;
    c->socket_path = from->socket_path ? xk_strdup(from->socket_path) : NULL;
    c->session = from->session ? xk_strdup(from->session) : NULL;
    if ((from->folder && !c->folder) || (from->known_file && !c->known_file) ||
        (from->socket_path && !c->socket_path) || (from->session && !c->session))
        return xk_fail_memory(err);
    memcpy(c->user_agent, from->user_agent, sizeof(c->user_agent));
    memcpy(c->proxy_host, from->proxy_host, sizeof(c->proxy_host));
    memcpy(c->url, from->url, sizeof(c->url));
    c->proxy_port = from->proxy_port;
    memcpy(c->pins, from->pins, sizeof(c->pins));
    c->pin_count = from->pin_count;
    c->protocol = from->protocol;
    c->now = c->named = from->now;
    return 0;
}

static int access_move(struct client *c, const char *host, const char *sha256, struct xk_err *err)
{
    if (!*host || strlen(host) >= sizeof(c->now.host))
        return xk_fail(err, -EINVAL, "\"%.200s\" is no host", host);
    memcpy(c->now.host, host, strlen(host) + 1);
    if (c->socket_path) {
        free(c->socket_path);
        c->socket_path = NULL;
        c->now.port = HTTPS_PORT;
        c->now.tls = true;
    }
    c->has_vouched = sha256 && *sha256 && http_pin_parse(&c->vouched, sha256, NULL) == 0;
    return 0;
}

int client_access_beside(struct client *c, const struct client *from, const char *host, const char *sha256,
                         struct xk_err *err)
{
    int code = access_copy(c, from, err);

    if (code == 0 && host)
        code = access_move(c, host, sha256, err);
    if (code < 0)
        return code;
    if (!host) {
        c->has_vouched = from->has_vouched;
        c->vouched = from->vouched;
    }
    c->named = c->now;
    return client_go(c, &c->now, err);
}

int client_access_open(struct client *c, const char *pool, struct xk_err *err)
{
    snprintf(c->user_agent, sizeof(c->user_agent), "xenkit/%s", XK_VERSION);
    c->folder = client_folder(c->app);
    c->known_file = c->folder ? xk_asprintf("%s/certificates", c->folder) : NULL;
    c->protocol = (enum client_protocol)c->access.protocol;
    int code = pool ? set_pool(c, pool, err) : set_default_pool(c, err);
    if (code == 0)
        code = set_trust(c, err);
    if (code == 0)
        code = set_proxy(c, err);
    return code == 0 ? client_go(c, &c->named, err) : code;
}
