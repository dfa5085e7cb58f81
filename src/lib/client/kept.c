/*
 * Sessions between commands: a file for each pool and user, readable by its owner only, in a folder of the same kind.
 *
 * The file has lines "KEY VALUE". It is taken only if it is ours and nobody else can read it. A lock beside it makes
 * commands that start together log in once: of two sessions one would be forgotten, and live for a day.
 */
#include "lib/client/inner.h"

#include "core/secret.h"
#include "core/text.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define FILE_MARK    "xenkit-session 1\n"
#define SUFFIX       ".session"
#define LOCK_LOOK_NS (10 * XK_NS_PER_MS)
#define KEPT_MAX     1024 /* files that are looked at */

/* FNV-1a, with the NUL: what the file says inside is what counts, so two that meet only take turns. */
static uint64_t mix(uint64_t h, const char *text)
{
    do
        h = (h ^ (uint8_t)*text) * UINT64_C(1099511628211);
    while (*text++);
    return h;
}

char *client_kept_stem(const struct client *c)
{
    if (!c->folder || !c->access.session_cache || c->access.emergency)
        return NULL;
    const uint64_t name = mix(mix(UINT64_C(14695981039346656037), c->named_url), c->access.user);
    return xk_asprintf("%s/sessions/%016llx", c->folder, (unsigned long long)name);
}

char *client_kept_path(const struct client *c)
{
    xk_autofree char *stem = client_kept_stem(c);

    return stem ? xk_asprintf("%s" SUFFIX, stem) : NULL;
}

/* ---- reading ---- */

static bool is_plain(const char *text)
{
    const char *c = text;

    while (*c > ' ' && *c < 0x7f)
        c++;
    return *text && !*c;
}

static void parse_line(struct client_kept_file *f, const char *line, size_t bytes)
{
    const struct {
        const char *key;
        char *value;
    } fields[] = {{"url ", f->url}, {"user ", f->user}, {"session ", f->session},
                  {"at ", f->host}, {"pin ", f->pin},   {"proof ", f->proof}};
    char created[CLIENT_LINE_BYTES] = "";

    for (size_t i = 0; i < XK_COUNT(fields); i++) {
        const size_t key = strlen(fields[i].key);
        if (bytes > key && bytes - key < CLIENT_LINE_BYTES && strncmp(line, fields[i].key, key) == 0)
            snprintf(fields[i].value, CLIENT_LINE_BYTES, "%.*s", (int)(bytes - key), line + key);
    }
    if (bytes > 8 && bytes < CLIENT_LINE_BYTES && strncmp(line, "created ", 8) == 0) {
        snprintf(created, sizeof(created), "%.*s", (int)(bytes - 8), line + 8);
        (void)xk_parse_i64(&f->created_s, created);
    }
}

bool client_kept_parse(struct client_kept_file *ret, const char *text)
{
    *ret = (struct client_kept_file){0};
    if (!xk_has_prefix(text, FILE_MARK))
        return false;
    for (const char *line = text + strlen(FILE_MARK); *line;) {
        const size_t bytes = strcspn(line, "\n");
        if (line[bytes] != '\n')
            return false; /* cut */
        parse_line(ret, line, bytes);
        line += bytes + 1;
    }
    return *ret->url && *ret->user && is_plain(ret->session) && is_plain(ret->host);
}

/*
 * A few bits that depend on the password: enough to see that another one was typed, too few to guess it from the file.
 */
static void proof_make(char ret[8], const char *session, const char *password)
{
    unsigned char sum[EVP_MAX_MD_SIZE] = {0};

    (void)HMAC(EVP_sha256(), session, (int)strlen(session), (const unsigned char *)password, strlen(password), sum,
               NULL);
    (void)snprintf(ret, 8, "%02x%02x", sum[0], sum[1]);
}

/* Whoever said a password has to have said the one that the session was opened with. */
static bool proof_fits(const struct client *c, const struct client_kept_file *f)
{
    char proof[8];

    if (!c->access.password || c->access.password_is_default)
        return true;
    proof_make(proof, f->session, c->access.password);
    return strcmp(proof, f->proof) == 0;
}

bool client_kept_read(struct client_kept_file *ret, int fd, const char *path, struct xk_log *log)
{
    char text[CLIENT_KEPT_BYTES_MAX + 1];
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    if (st.st_uid != geteuid() || st.st_mode & 077) {
        xk_log(log, XK_LOG_WARN, "%s is not used: others may have read or written it", path);
        return false;
    }
    const ssize_t got = pread(fd, text, CLIENT_KEPT_BYTES_MAX, 0);
    text[got > 0 ? got : 0] = '\0';
    const bool good = client_kept_parse(ret, text);
    explicit_bzero(text, sizeof(text));
    return good;
}

static bool read_file(struct client_kept_file *ret, const char *path, struct xk_log *log)
{
    xk_autoclose const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    return fd >= 0 && client_kept_read(ret, fd, path, log);
}

/* The session may be at a master that a slave told of. */
static bool go_there(struct client *c, const struct client_kept_file *f)
{
    struct client_place place = c->named;

    if (strcmp(f->host, c->now.host) == 0)
        return true;
    if (c->socket_path || strlen(f->host) >= sizeof(place.host))
        return false;
    snprintf(place.host, sizeof(place.host), "%.*s", (int)sizeof(place.host) - 1, f->host);
    if (*f->pin)
        c->has_vouched = http_pin_parse(&c->vouched, f->pin, NULL) == 0;
    return client_go(c, &place, NULL) == 0;
}

bool client_kept_take(struct client *c, const char *path)
{
    struct client_kept_file f;
    bool taken = false;

    if (read_file(&f, path, c->app->log) && strcmp(f.url, c->named_url) == 0 && strcmp(f.user, c->access.user) == 0 &&
        proof_fits(c, &f) && go_there(c, &f)) {
        c->session = xk_strdup(f.session);
        taken = c->session_kept = c->session != NULL;
    }
    explicit_bzero(&f, sizeof(f));
    return taken;
}

/* ---- writing ---- */

void client_make_folders(const char *path)
{
    char part[CLIENT_PATH_BYTES];

    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        (void)mkdir(part, 0700);
    }
}

int client_kept_lock(const struct client *c, const char *path, struct xk_err *err)
{
    const struct xk_clock *const clock = c->app->clock;
    const uint64_t deadline_ns = resolve_deadline(clock, c->access.connect_timeout_ns + c->access.timeout_ns);
    xk_autofree char *name = xk_asprintf("%s.lock", path);

    if (!name)
        return xk_fail_memory(err);
    client_make_folders(path);
    const int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return xk_fail_sys(err, -errno, "%s", name);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        const bool stop = xk_stop_signal() != 0, late = clock->monotonic_ns(clock) >= deadline_ns;
        if (stop || late || (errno != EWOULDBLOCK && errno != EINTR)) {
            const int code = stop ? -EINTR : late ? -ETIMEDOUT : -errno;
            (void)close(fd);
            return xk_fail_sys(err, code, "%s", name);
        }
        clock->sleep_ns(clock, LOCK_LOOK_NS);
    }
    return fd;
}

int client_kept_text(struct xk_buf *ret, const struct client *c, struct xk_err *err)
{
    char pin[HTTP_PIN_TEXT] = "", proof[8] = "";

    if (c->has_vouched)
        http_pin_text(pin, &c->vouched);
    if (c->password)
        proof_make(proof, c->session, c->password);
    xk_buf_printf(ret, FILE_MARK "url %s\nuser %s\nsession %s\nat %s\ncreated %lld\n%s%s%s%s%s%s", c->named_url,
                  c->access.user, c->session, c->socket_path ? "-" : c->now.host,
                  (long long)(c->app->clock->utc_ns(c->app->clock) / (int64_t)XK_NS_PER_S), *pin ? "pin " : "", pin,
                  *pin ? "\n" : "", *proof ? "proof " : "", proof, *proof ? "\n" : "");
    if (ret->error == -ENOMEM)
        return xk_fail_memory(err);
    if (ret->error || !is_plain(c->session) || strchr(c->access.user, '\n'))
        return xk_fail(err, -EINVAL, "the session cannot be written down");
    return 0;
}

int client_kept_write(const struct client *c, const char *path, struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(CLIENT_KEPT_BYTES_MAX);
    struct stat st;

    int code = client_kept_text(&b, c, err);
    if (code == 0 && lstat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077))
        (void)c->app->fs->ops->unlink(c->app->fs, path);
    if (code == 0)
        code = xk_file_replace(c->app->fs, path, b.data, b.len, 0600, err);
    if (b.data)
        explicit_bzero(b.data, b.len);
    return code;
}

void client_kept_remove(const struct client *c)
{
    xk_autofree char *path = client_kept_path(c);
    struct client_kept_file f;

    if (path && c->session && read_file(&f, path, c->app->log) && strcmp(f.session, c->session) == 0)
        (void)c->app->fs->ops->unlink(c->app->fs, path);
}

/* ---- listing ---- */

static int by_url(const void *a, const void *b)
{
    const struct client_kept *const x = a, *const y = b;
    const int order = strcmp(x->url, y->url);

    return order ? order : strcmp(x->user, y->user);
}

static int list_folder(struct client_kept **list, size_t *count, const char *folder, const struct xk_app *app, DIR *dir)
{
    const struct dirent *entry;

    while ((entry = readdir(dir)) != NULL && *count < KEPT_MAX) {
        struct client_kept_file f;
        xk_autofree char *path = xk_path_join(folder, entry->d_name);
        if (!path)
            return -ENOMEM;
        if (!xk_has_suffix(entry->d_name, SUFFIX) || !read_file(&f, path, app->log))
            continue;
        struct client_kept *const more = xk_realloc(*list, (*count + 1) * sizeof(**list));
        if (!more)
            return -ENOMEM;
        *list = more;
        struct client_kept *const k = &more[(*count)++];
        *k = (struct client_kept){.created_s = f.created_s};
        snprintf(k->url, sizeof(k->url), "%.*s", (int)sizeof(k->url) - 1, f.url);
        snprintf(k->user, sizeof(k->user), "%.*s", (int)sizeof(k->user) - 1, f.user);
        client_track(k->track, f.session);
        explicit_bzero(&f, sizeof(f));
    }
    return 0;
}

int client_kept_list(struct client_kept **ret, size_t *ret_count, const struct xk_app *app, struct xk_err *err)
{
    xk_autofree char *state = client_folder(app);
    xk_autofree char *folder = state ? xk_asprintf("%s/sessions", state) : NULL;
    struct client_kept *list = NULL;
    size_t count = 0;

    DIR *const dir = folder ? opendir(folder) : NULL;
    const int code = dir ? list_folder(&list, &count, folder, app, dir) : 0;
    if (dir)
        (void)closedir(dir);
    if (code < 0) {
        free(list);
        return xk_fail_memory(err);
    }
    if (count)
        qsort(list, count, sizeof(*list), by_url);
    *ret = list;
    *ret_count = count;
    return 0;
}
