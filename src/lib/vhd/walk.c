/*
 * From targets to files. Folders are read one after the other from a list, not by recursion: their depth is foreign.
 * Links to folders are not followed (a link to a file is); a file reached twice is sorted out later by its inode.
 */
#include "lib/vhd/survey-parts.h"

#include "core/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

struct folder {
    struct folder *next;
    unsigned level;
    char *path;
};

struct walk {
    struct survey_work *w;
    struct folder *waiting;
    uint64_t entries;
};

static bool is_called_vhd(const char *name)
{
    const size_t length = strlen(name);
    return length > 4 && strcasecmp(name + length - 4, ".vhd") == 0;
}

static int push(struct walk *walk, const char *path, unsigned level, struct xk_err *err)
{
    struct folder *const f = xk_arena_alloc(&walk->w->s->arena, sizeof(*f));
    if (f)
        f->path = survey_keep(walk->w, path);
    if (!f || !f->path)
        return xk_fail_memory(err);
    f->level = level;
    f->next = walk->waiting;
    walk->waiting = f;
    return 0;
}

/* What an entry is, links to files followed; 0 when that cannot be told. */
static mode_t kind_of(int dir_fd, const struct dirent *entry, bool *ret_symlink)
{
    struct stat st;

    *ret_symlink = entry->d_type == DT_LNK;
    if (entry->d_type == DT_REG)
        return S_IFREG;
    if (entry->d_type == DT_DIR)
        return S_IFDIR;
    if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN)
        return 0;
    if (fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (!S_ISLNK(st.st_mode))
        return st.st_mode & S_IFMT;
    *ret_symlink = true;
    if (fstatat(dir_fd, entry->d_name, &st, 0) < 0 || S_ISDIR(st.st_mode))
        return 0;
    return st.st_mode & S_IFMT;
}

static int take_entry(struct walk *walk, const struct folder *folder, int dir_fd, const struct dirent *entry,
                      struct xk_err *err)
{
    bool symlink = false;

    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
        return 0;
    const mode_t kind = kind_of(dir_fd, entry, &symlink);
    if (kind != S_IFREG && kind != S_IFDIR)
        return 0;
    xk_autofree char *path = xk_path_join(folder->path, entry->d_name);
    if (!path)
        return xk_fail_memory(err);
    if (kind == S_IFDIR) {
        if (!walk->w->options->recurse || folder->level >= VHD_SURVEY_LEVELS_MAX)
            return 0;
        return push(walk, path, folder->level + 1, err);
    }
    const char *const kept = survey_keep(walk->w, path);
    if (!kept)
        return xk_fail_memory(err);
    const struct survey_link link = {.probe = !is_called_vhd(entry->d_name), .symlink = symlink};
    return survey_add(walk->w, kept, &link, err);
}

/* A folder that cannot be listed stands as an image that cannot be read: the examination will say why. */
static int add_unreadable(struct walk *walk, const struct folder *folder, struct xk_err *err)
{
    const struct survey_link link = {.named = true};
    return survey_add(walk->w, folder->path, &link, err);
}

static int list_folder(struct walk *walk, const struct folder *folder, struct xk_err *err)
{
    /* Only the target itself may be a link. */
    const int fd =
        openat(AT_FDCWD, folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (folder->level ? O_NOFOLLOW : 0));
    DIR *const dir = fd >= 0 ? fdopendir(fd) : NULL;
    int code = 0;

    if (!dir) {
        if (fd >= 0)
            (void)close(fd);
        return add_unreadable(walk, folder, err);
    }
    const struct dirent *entry;
    while (code == 0 && (entry = readdir(dir)) != NULL) {
        if (++walk->entries > VHD_SURVEY_ENTRIES_MAX)
            code = xk_fail(err, -E2BIG, "%s: more than %d directory entries", folder->path, VHD_SURVEY_ENTRIES_MAX);
        else if (xk_stop_signal())
            code = xk_fail(err, -EINTR, "%s: stopped", folder->path);
        else
            code = take_entry(walk, folder, fd, entry, err);
    }
    (void)closedir(dir);
    return code;
}

int survey_walk(struct survey_work *w, const char *target, struct xk_err *err)
{
    struct walk walk = {.w = w};
    struct stat st;

    int code = xk_path_check_empty(target, err);
    if (code < 0)
        return code;
    if (!w->options->missing_stands && stat(target, &st) < 0 && errno == ENOENT)
        return xk_fail_sys(err, -ENOENT, "%s", target);
    const char *const kept = survey_keep(w, target);
    if (!kept)
        return xk_fail_memory(err);
    if (stat(target, &st) < 0 || !S_ISDIR(st.st_mode)) {
        const struct survey_link link = {.named = true};
        return survey_add(w, kept, &link, err);
    }
    code = push(&walk, target, 0, err);
    while (code == 0 && walk.waiting) {
        const struct folder *const folder = walk.waiting;
        walk.waiting = folder->next;
        code = list_folder(&walk, folder, err);
    }
    return code;
}
