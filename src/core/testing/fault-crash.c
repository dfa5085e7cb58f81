/*
 * What a crash leaves on the disk.
 *
 * A replay keeps data and names apart, as a disk does: each file of the log is one real file under a number, names are
 * a table in memory, and at the end every name becomes a hard link to its file and the numbers go. So a rename can
 * have happened while the data of the file were lost, which is the very mistake such a test has to find.
 */
#include "core/testing/fault.h"

#include <assert.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define SECTOR_BYTES 512

struct name {
    char *path;
    const char *link_to; /* a symbolic link's text, borrowed */
    unsigned file;
};

struct replay {
    const struct xk_fault_log *log;
    const char *to;
    size_t n;
    enum xk_crash how;
    struct xk_random random;
    struct name *names;
    size_t name_count;
};

static int number_path(char ret[PATH_MAX], const struct replay *r, unsigned file)
{
    return snprintf(ret, PATH_MAX, "%s/.file-%u", r->to, file) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int open_number(const struct replay *r, unsigned file, mode_t mode)
{
    char path[PATH_MAX];
    if (number_path(path, r, file) < 0)
        return -ENAMETOOLONG;
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (mode != (mode_t)-1 && fchmod(fd, mode) < 0) {
        const int code = -errno;
        close(fd);
        return code;
    }
    return fd;
}

/* ---- names ---- */

static struct name *find_name(const struct replay *r, const char *path)
{
    for (size_t i = 0; i < r->name_count; i++)
        if (!strcmp(r->names[i].path, path))
            return &r->names[i];
    return NULL;
}

static void drop_name(struct replay *r, const char *path)
{
    struct name *name = find_name(r, path);
    if (!name)
        return;
    free(name->path);
    *name = r->names[--r->name_count];
}

static int set_name(struct replay *r, const char *path, unsigned file, const char *link_to)
{
    struct name *names = realloc(r->names, (r->name_count + 1) * sizeof(*names));
    char *copy = strdup(path);
    if (names)
        r->names = names;
    if (!names || !copy) {
        free(copy);
        return -ENOMEM;
    }
    drop_name(r, path);
    r->names[r->name_count++] = (struct name){.path = copy, .file = file, .link_to = link_to};
    return 0;
}

static int replay_name(struct replay *r, const struct xk_fault_record *record)
{
    if (record->op == XK_FAULT_OPEN)
        return set_name(r, record->path, record->file, NULL);
    const struct name *from = find_name(r, record->path);
    if (!from)
        return 0; /* unlink of what was never made */
    int code = 0;
    if (record->to)
        code = set_name(r, record->to, from->file, from->link_to);
    if (record->op != XK_FAULT_LINK)
        drop_name(r, record->path);
    return code;
}

static bool is_name_change(const struct xk_fault_record *record)
{
    return record->op == XK_FAULT_OPEN || record->op == XK_FAULT_RENAME || record->op == XK_FAULT_LINK ||
           record->op == XK_FAULT_UNLINK;
}

/* Up to which record the changes of names have reached the disk. */
static size_t names_until(struct replay *r)
{
    if (r->how == XK_CRASH_PREFIX)
        return r->n;
    size_t safe = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->log->records[i].op == XK_FAULT_SYNC_DIR)
            safe = i;
    return safe + (size_t)xk_random_below(&r->random, r->n - safe + 1);
}

/* ---- data ---- */

static bool kept(struct replay *r, bool safe)
{
    return safe || xk_random_below(&r->random, 2) == 1;
}

static int write_at(int fd, const uint8_t *data, uint64_t bytes, uint64_t offset)
{
    while (bytes > 0) {
        const ssize_t put = pwrite(fd, data, bytes, (off_t)offset);
        if (put < 0 && errno != EINTR)
            return -errno;
        if (put > 0) {
            data += put;
            offset += (uint64_t)put;
            bytes -= (uint64_t)put;
        }
    }
    return 0;
}

static int replay_write(struct replay *r, int fd, const struct xk_fault_record *record, bool safe)
{
    if (safe)
        return write_at(fd, record->data, record->bytes, record->offset);
    /* All, nothing, or any of its sectors. */
    const uint64_t fate = xk_random_below(&r->random, 3);
    for (uint64_t at = 0; fate > 0 && at < record->bytes;) {
        const uint64_t count = XK_MIN(SECTOR_BYTES - (record->offset + at) % SECTOR_BYTES, record->bytes - at);
        if (fate == 1 || kept(r, false)) {
            const int code = write_at(fd, record->data + at, count, record->offset + at);
            if (code < 0)
                return code;
        }
        at += count;
    }
    return 0;
}

/* Whether file data of record i were made safe before the crash. */
static bool is_safe(const struct replay *r, size_t i)
{
    if (r->how == XK_CRASH_PREFIX)
        return true;
    for (size_t j = i + 1; j < r->n; j++)
        if (r->log->records[j].op == XK_FAULT_SYNC && r->log->records[j].file == r->log->records[i].file)
            return true;
    return false;
}

static int replay_data(struct replay *r, size_t i)
{
    const struct xk_fault_record *record = &r->log->records[i];
    /* The file itself comes and goes with its names. */
    const bool created = record->op == XK_FAULT_OPEN;
    const int fd = open_number(r, record->file, created ? (mode_t)record->mode : (mode_t)-1);
    if (fd < 0)
        return fd;
    const bool safe = is_safe(r, i);
    int code = 0;
    if (record->op == XK_FAULT_WRITE)
        code = replay_write(r, fd, record, safe);
    else if (record->op == XK_FAULT_TRUNCATE && kept(r, safe))
        code = ftruncate(fd, (off_t)record->bytes) < 0 ? -errno : 0;
    else if (record->op == XK_FAULT_ALLOCATE && kept(r, safe))
        code = fallocate(fd, record->mode, (off_t)record->offset, (off_t)record->bytes) < 0 ? -errno : 0;
    else if (record->op == XK_FAULT_OWNER && kept(r, safe))
        code = fchmod(fd, (mode_t)record->mode) < 0 ? -errno : 0;
    close(fd);
    return code;
}

/* ---- the folder ---- */

static int replay_start(struct replay *r)
{
    for (size_t i = 0; i < r->log->start_count; i++) {
        const struct xk_fault_start *start = &r->log->start[i];
        int code = set_name(r, start->path, start->file, start->link_to);
        if (code == 0 && !start->link_to) {
            const int fd = open_number(r, start->file, start->mode);
            if (fd < 0)
                return fd;
            code = write_at(fd, start->data, start->bytes, 0);
            close(fd);
        }
        if (code < 0)
            return code;
    }
    return 0;
}

static int make_folders_of(char *path, size_t from)
{
    for (char *slash = strchr(path + from, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const bool failed = mkdir(path, 0755) < 0 && errno != EEXIST;
        *slash = '/';
        if (failed)
            return -errno;
    }
    return 0;
}

static int place_names(const struct replay *r)
{
    for (size_t i = 0; i < r->name_count; i++) {
        const struct name *name = &r->names[i];
        char path[PATH_MAX], number[PATH_MAX];
        if (snprintf(path, sizeof(path), "%s/%s", r->to, name->path) >= (int)sizeof(path))
            return -ENAMETOOLONG;
        int code = make_folders_of(path, strlen(r->to) + 1);
        if (code == 0 && name->link_to)
            code = symlink(name->link_to, path) < 0 ? -errno : 0;
        else if (code == 0 && (code = number_path(number, r, name->file)) == 0)
            code = link(number, path) < 0 ? -errno : 0;
        if (code < 0)
            return code;
    }
    for (unsigned file = 0; file < r->log->file_count; file++) {
        char number[PATH_MAX];
        if (number_path(number, r, file) == 0)
            (void)unlink(number);
    }
    return 0;
}

static int replay_all(struct replay *r)
{
    int code = replay_start(r);
    const size_t names_end = code == 0 ? names_until(r) : 0;
    for (size_t i = 0; code == 0 && i < r->n; i++) {
        const struct xk_fault_record *record = &r->log->records[i];
        if (is_name_change(record) && i < names_end)
            code = replay_name(r, record);
        if (code == 0 && record->file != UINT_MAX)
            code = replay_data(r, i);
    }
    return code < 0 ? code : place_names(r);
}

int xk_fault_replay(const struct xk_fault_log *log, size_t n, const char *to, enum xk_crash how, uint64_t seed,
                    struct xk_err *err)
{
    assert(n <= log->count);
    if (log->error < 0)
        return xk_fail_sys(err, log->error, "the record is not whole");
    struct replay r = {.log = log, .to = to, .n = n, .how = how};
    xk_random_seed(&r.random, seed);
    const int code = replay_all(&r);
    for (size_t i = 0; i < r.name_count; i++)
        free(r.names[i].path);
    free(r.names);
    return code < 0 ? xk_fail_sys(err, code, "cannot replay %zu operations into %s", n, to) : 0;
}

static int one_crash(const struct xk_fault_log *log, size_t n, enum xk_crash how, uint64_t seed, const char *folder,
                     int (*verify)(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX]), void *state,
                     char why[XK_FAULT_WHY_MAX])
{
    xk_fault_folder_clear(folder, false);
    struct xk_err err;
    const int r = xk_fault_replay(log, n, folder, how, seed, &err);
    if (r < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
        return r;
    }
    char reason[XK_FAULT_WHY_MAX] = "no reason given";
    if (verify(state, folder, n, reason) == 0)
        return 0;
    snprintf(why, XK_FAULT_WHY_MAX, "crash after %zu of %zu records (last: %s), %s seed %llu: %.*s", n, log->count,
             n > 0 ? xk_fault_op_name(log->records[n - 1].op) : "none",
             how == XK_CRASH_LOSE ? "unsafe data lost," : "in order,", (unsigned long long)seed, XK_FAULT_WHY_MAX / 2,
             reason);
    return -EPROTO;
}

int xk_crash_loop(const struct xk_fault_log *log, unsigned seeds,
                  int (*verify)(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX]), void *state,
                  char why[XK_FAULT_WHY_MAX])
{
    char folder[XK_FAULT_PATH_MAX];
    int r = xk_fault_folder_make(folder);
    if (r < 0)
        return r;
    for (size_t n = 0; r == 0 && n <= log->count; n++) {
        r = one_crash(log, n, XK_CRASH_PREFIX, 0, folder, verify, state, why);
        for (unsigned seed = 1; r == 0 && seed <= seeds; seed++)
            r = one_crash(log, n, XK_CRASH_LOSE, seed, folder, verify, state, why);
    }
    xk_fault_folder_clear(folder, true);
    return r;
}

/* ---- folders for tests ---- */

int xk_fault_folder_make(char ret_path[XK_FAULT_PATH_MAX])
{
    const char *where = getenv("TMPDIR");
    if (snprintf(ret_path, XK_FAULT_PATH_MAX, "%s/xk-fault-XXXXXX", where && *where ? where : "/tmp") >=
        XK_FAULT_PATH_MAX)
        return -ENAMETOOLONG;
    return mkdtemp(ret_path) ? 0 : -errno;
}

static int remove_below(const char *path, const struct stat *st, int type, struct FTW *at)
{
    if (at->level > 0)
        (void)remove(path);
    return 0;
}

void xk_fault_folder_clear(const char *path, bool itself)
{
    (void)nftw(path, remove_below, 16, FTW_DEPTH | FTW_PHYS);
    if (itself)
        (void)rmdir(path);
}
