/*
 * Sessions of commands that were killed.
 *
 * Nobody can log out when SIGKILL or the lack of memory ends him. So the ref of a session that is not kept stands in a
 * file beside the kept ones for as long as its command lasts, and the command holds a lock on that file, which ends
 * with it in any case. A file whose lock is free is of nobody: the next command that has a session at the same pool
 * ends the one that is written there. A pid in the file was weighed: it may be another process's by then.
 */
#include "lib/client/inner.h"

#include "core/text.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define SUFFIX      ".open"
#define ORPHANS_MAX 32 /* that one command ends */

/* ---- our own ---- */

static void forget(struct client *c)
{
    if (c->mark >= 0)
        (void)close(c->mark);
    free(c->mark_path);
    c->mark = -1;
    c->mark_path = NULL;
}

static int write_mark(struct client *c, const char *stem)
{
    const struct xk_fs *const fs = c->app->fs;
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(CLIENT_KEPT_BYTES_MAX);
    int code = client_kept_text(&b, c, NULL);

    c->mark_path = xk_asprintf("%s.%d.%llx" SUFFIX, stem, getpid(),
                               (unsigned long long)c->app->clock->monotonic_ns(c->app->clock));
    if (code == 0 && !c->mark_path)
        code = -ENOMEM;
    if (code == 0) {
        client_make_folders(c->mark_path);
        c->mark = fs->ops->open(fs, c->mark_path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        code = c->mark < 0 ? c->mark : flock(c->mark, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
    }
    if (code == 0) {
        const ssize_t wrote = fs->ops->pwrite(fs, c->mark, b.data, b.len, 0);
        code = wrote < 0 ? (int)wrote : (size_t)wrote == b.len ? 0 : -ENOSPC;
    }
    if (b.data)
        explicit_bzero(b.data, b.len);
    return code;
}

void client_mark_begin(struct client *c)
{
    xk_autofree char *stem = client_kept_stem(c);

    if (!stem || c->mark >= 0)
        return;
    const int code = write_mark(c, stem);
    if (code < 0) {
        xk_log(c->app->log, XK_LOG_DEBUG, "the session is not marked as being in use: %s", strerror(-code));
        client_mark_end(c);
    }
}

void client_mark_end(struct client *c)
{
    if (c->mark >= 0)
        (void)c->app->fs->ops->unlink(c->app->fs, c->mark_path);
    forget(c);
}

/* ---- those of others ---- */

/* returns   whether the pool has answered: then the session has ended, or had before. */
static bool log_out(struct client *c, const char *ref)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(CLIENT_FAILURE_BYTES_MAX);
    const struct xapi_value session = xapi_str(ref);
    const struct client_post post = {.method = "session.logout", .params = &session, .count = 1};
    const bool cleaning = c->cleaning;
    struct xapi_reply reply = {0};
    char track[CLIENT_TRACK_BYTES];

    c->cleaning = true;
    const int code = client_post(c, &reply, &arena, &post, NULL);
    c->cleaning = cleaning;
    client_track(track, ref);
    if (code == 0 && !reply.failed)
        xk_log(c->app->log, XK_LOG_INFO, "ended the session (trackid %s) of a command that was killed", track);
    return code == 0;
}

/* returns   false: the pool does not answer. */
static bool end_orphan(struct client *c, const char *path)
{
    xk_autoclose const int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct client_kept_file f = {.url = ""};
    bool answered = true;

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return true;
    /* The master's table goes with the master: what was opened at another one is not there any more. */
    if (client_kept_read(&f, fd, path, c->app->log) && strcmp(f.url, c->named_url) == 0 &&
        strcmp(f.user, c->access.user) == 0 && strcmp(f.host, c->socket_path ? "-" : c->now.host) == 0)
        answered = log_out(c, f.session);
    explicit_bzero(&f, sizeof(f));
    if (answered)
        (void)c->app->fs->ops->unlink(c->app->fs, path);
    return answered;
}

void client_end_orphans(struct client *c)
{
    xk_autofree char *stem = client_kept_stem(c);
    char *const name = stem ? strrchr(stem, '/') : NULL;
    const struct dirent *entry;

    if (!name)
        return;
    *name = '\0';
    DIR *const dir = opendir(stem);
    for (unsigned left = ORPHANS_MAX; dir && left > 0 && (entry = readdir(dir)) != NULL;) {
        if (!xk_has_prefix(entry->d_name, name + 1) || !xk_has_suffix(entry->d_name, SUFFIX))
            continue;
        xk_autofree char *path = xk_path_join(stem, entry->d_name);
        left = path && end_orphan(c, path) ? left - 1 : 0;
    }
    if (dir)
        (void)closedir(dir);
}
