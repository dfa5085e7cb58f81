/*
 * xenkit install-links: the classic names as symbolic links to the running program.
 *
 * All names are looked at before the first link is made, so a refusal leaves the folder as it was. A link is made
 * under a temporary name and renamed over the old one: at no moment is a name missing that was there before.
 */
#include "core/door.h"

#include "core/text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMP_TRIES 16

struct links {
    bool yes, dry_run;
};

static const struct xk_opt links_opts[] = {
    XK_OPT_FLAG('y', "yes", struct links, yes, "replace also what is not a link to this program"),
    XK_OPT_FLAG('n', "dry-run", struct links, dry_run, "only say what would be done"),
    XK_OPT_END,
};

enum action { KEEP, MAKE, REPLACE };

struct program {
    char path[PATH_MAX];
    struct stat st;
};

static int find_program(struct program *ret, struct xk_err *err)
{
    const ssize_t bytes = readlink("/proc/self/exe", ret->path, sizeof(ret->path) - 1);

    if (bytes < 0)
        return xk_fail_sys(err, -errno, "cannot find the running program through /proc/self/exe");
    ret->path[bytes] = '\0';
    if (stat(ret->path, &ret->st) < 0)
        return xk_fail_sys(err, -errno, "cannot find the running program %s", ret->path);
    return 0;
}

/* What the link should say: just the name when the program lies in the same folder, so that the folder can move. */
static const char *target_in(const struct program *program, const char *dir)
{
    xk_autofree char *own = xk_dir_name(program->path);
    struct stat a, b;

    if (own && stat(own, &a) == 0 && stat(dir, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return xk_base_name(program->path);
    return program->path;
}

static int look(enum action *ret, const struct program *program, const char *path, const char *target, bool yes,
                struct xk_err *err)
{
    struct stat at, behind;
    char now[PATH_MAX];

    if (lstat(path, &at) < 0) {
        *ret = MAKE;
        return errno == ENOENT ? 0 : xk_fail_sys(err, -errno, "cannot look at %s", path);
    }
    if (S_ISLNK(at.st_mode)) {
        const ssize_t bytes = readlink(path, now, sizeof(now) - 1);
        now[XK_MAX(bytes, 0)] = '\0';
        *ret = strcmp(now, target) == 0 ? KEEP : REPLACE;
        if (*ret == KEEP ||
            (stat(path, &behind) == 0 && behind.st_dev == program->st.st_dev && behind.st_ino == program->st.st_ino))
            return 0;
    }
    *ret = REPLACE;
    if (S_ISDIR(at.st_mode))
        return xk_fail(err, -EEXIST, "%s is a folder and is never replaced", path);
    if (yes)
        return 0;
    (void)xk_fail(err, -EEXIST, "%s is there already and is not a link to this program; nothing was changed", path);
    xk_err_hint(err, "--yes replaces it");
    xk_err_exit(err, XK_EXIT_CANNOT);
    return -EEXIST;
}

static int make_link(struct xk_app *app, const char *path, const char *target, struct xk_err *err)
{
    for (int i = 0; i < TEMP_TRIES; i++) {
        xk_autofree char *temp = xk_asprintf("%s.%08x", path, (unsigned)xk_random_u64(app->random));
        if (!temp)
            return xk_fail_memory(err);
        if (symlink(target, temp) < 0) {
            if (errno == EEXIST)
                continue;
            return xk_fail_sys(err, -errno, "cannot make a link in %s", path);
        }
        const int r = app->fs->ops->rename(app->fs, temp, path);
        if (r < 0) {
            (void)unlink(temp);
            return xk_fail_sys(err, r, "cannot name the link %s", path);
        }
        return 0;
    }
    return xk_fail(err, -EEXIST, "no temporary name is free beside %s", path);
}

static const char *done_word(enum action action, bool dry_run)
{
    if (action == KEEP)
        return "kept";
    if (dry_run)
        return action == MAKE ? "would make" : "would replace";
    return action == MAKE ? "made" : "replaced";
}

/* One pass over all classic names: the first only looks, the second acts. */
static int pass(struct xk_app *app, const struct links *opts, const struct program *program, const char *dir, bool act,
                struct xk_err *err)
{
    const char *const target = target_in(program, dir);

    for (const struct xk_room *const *room = app->rooms; *room; room++) {
        for (const struct xk_classic *const *c = (*room)->classics; c && *c; c++) {
            xk_autofree char *path = xk_path_join(dir, (*c)->name);
            enum action action;
            if (!path)
                return xk_fail_memory(err);
            int r = look(&action, program, path, target, opts->yes, err);
            if (r == 0 && act && action != KEEP && !opts->dry_run)
                r = make_link(app, path, target, err);
            if (r < 0)
                return r;
            if (!act)
                continue;
            xk_row(app->out);
            xk_put_str(app->out, "name", (*c)->name);
            xk_put_str(app->out, "action", done_word(action, opts->dry_run));
            xk_put_str(app->out, "link", path);
            xk_put_str(app->out, "target", target);
        }
    }
    return 0;
}

static int run_links(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const char *const dir = args->operands[0];
    struct program program;
    struct stat st;

    if (stat(dir, &st) < 0)
        return xk_fail_sys(err, -errno, "cannot use the folder %s", dir);
    if (!S_ISDIR(st.st_mode))
        return xk_fail(err, -ENOTDIR, "%s is not a folder", dir);
    int r = find_program(&program, err);
    if (r == 0)
        r = pass(app, args->opts, &program, dir, false, err);
    if (r < 0)
        return r;
    xk_out_rows(app->out, "links");
    r = pass(app, args->opts, &program, dir, true, err);
    xk_out_end(app->out);
    return r;
}

const struct xk_command xk_links_verb = {
    .name = "install-links",
    .summary = "make links of the classic names to this program",
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .opts = links_opts,
    .opts_bytes = sizeof(struct links),
    .run = run_links,
    .help =
        "The links are symbolic. Nothing is changed when one of the names is taken by something else, unless --yes\n"
        "is given. A link in the program's own folder is relative, so that the folder can be moved.\n",
    .example = (const char *const[]){"--dry-run", ".", NULL},
};
