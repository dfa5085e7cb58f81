/*
 * libfuse's low-level interface: two inodes, a folder and the disk in it. The high-level one would look up paths, keep
 * a table of names and bring a loop of its own, which knows nothing of our way to stop.
 *
 * Some threads wait for the kernel's requests and for the end; both are file descriptors, and the kernel's is read
 * without blocking, since each request wakes them all. Signals that ask for a stop reach the first thread alone, and
 * only while it waits, so none is missed. The disk never changes, so the kernel may keep everything it was told.
 */
#define FUSE_USE_VERSION 310

#include "lib/mount/mount.h"

#include "core/clock.h"
#include "core/crew.h"
#include "core/text.h"

#include <fuse_lowlevel.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

#define DISK_INODE  2 /* FUSE_ROOT_ID is the folder */
#define FOREVER_S   86400.0
#define READ_MAX    (1u << 20) /* what the kernel asks for at most */
#define FUSE_DEVICE "/dev/fuse"

struct mount {
    struct mount_settings settings;
    struct fuse_session *session;
    bool mounted;
    int ending; /* an eventfd that stays ready once it is time */
    uint64_t data_bytes;
    sigset_t before; /* signals that the caller had blocked */
    atomic_int failed;
    _Atomic uint64_t opened, reads, read_bytes, failed_reads;
};

/* ---- what the kernel asks ---- */

static struct mount *mount_of(fuse_req_t request)
{
    return fuse_req_userdata(request);
}

static void describe(struct stat *ret, const struct mount *m, fuse_ino_t inode)
{
    const uint64_t bytes = m->settings.volume->size_bytes;

    *ret = (struct stat){.st_ino = inode,
                         .st_uid = geteuid(),
                         .st_gid = getegid(),
                         .st_blksize = 4096,
                         .st_atim = {.tv_sec = m->settings.unix_seconds},
                         .st_mtim = {.tv_sec = m->settings.unix_seconds},
                         .st_ctim = {.tv_sec = m->settings.unix_seconds}};
    if (inode == DISK_INODE) {
        ret->st_mode = S_IFREG | 0444;
        ret->st_nlink = 1;
        ret->st_size = (off_t)bytes;
        ret->st_blocks = (blkcnt_t)XK_DIV_UP(m->data_bytes, 512u);
    } else {
        ret->st_mode = S_IFDIR | 0555;
        ret->st_nlink = 2;
    }
}

static bool exists(fuse_ino_t inode)
{
    return inode == FUSE_ROOT_ID || inode == DISK_INODE;
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    const struct mount *const m = mount_of(request);
    struct fuse_entry_param entry = {.attr_timeout = FOREVER_S, .entry_timeout = FOREVER_S};

    if (parent != FUSE_ROOT_ID) {
        (void)fuse_reply_err(request, ENOTDIR);
        return;
    }
    /* Inode 0: there is none, and that may be remembered. */
    if (strcmp(name, m->settings.name) == 0) {
        entry.ino = DISK_INODE;
        describe(&entry.attr, m, entry.ino);
    }
    (void)fuse_reply_entry(request, &entry);
}

static void on_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    struct stat st;

    if (!exists(inode)) {
        (void)fuse_reply_err(request, ENOENT);
        return;
    }
    describe(&st, mount_of(request), inode);
    (void)fuse_reply_attr(request, &st, FOREVER_S);
}

static void on_readdir(fuse_req_t request, fuse_ino_t inode, size_t bytes, off_t from, struct fuse_file_info *file)
{
    const struct mount *const m = mount_of(request);
    const struct {
        const char *name;
        fuse_ino_t inode;
    } entries[] = {{".", FUSE_ROOT_ID}, {"..", FUSE_ROOT_ID}, {m->settings.name, DISK_INODE}};
    char list[1024];
    size_t used = 0;

    if (inode != FUSE_ROOT_ID) {
        (void)fuse_reply_err(request, ENOTDIR);
        return;
    }
    bytes = XK_MIN(bytes, sizeof(list));
    for (off_t i = XK_MAX(from, (off_t)0); i < (off_t)XK_COUNT(entries); i++) {
        struct stat st;
        describe(&st, m, entries[i].inode);
        const size_t more = fuse_add_direntry(request, list + used, bytes - used, entries[i].name, &st, i + 1);
        if (more > bytes - used)
            break;
        used += more;
    }
    (void)fuse_reply_buf(request, list, used);
}

static void on_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    if (inode != DISK_INODE) {
        (void)fuse_reply_err(request, EISDIR);
        return;
    }
    if ((file->flags & O_ACCMODE) != O_RDONLY) {
        (void)fuse_reply_err(request, EROFS);
        return;
    }
    file->keep_cache = 1;
    atomic_fetch_add(&mount_of(request)->opened, 1);
    (void)fuse_reply_open(request, file);
}

static void on_read(fuse_req_t request, fuse_ino_t inode, size_t bytes, off_t from, struct fuse_file_info *file)
{
    struct mount *const m = mount_of(request);
    const struct volume *const v = m->settings.volume;
    const uint64_t start = from < 0 ? UINT64_MAX : (uint64_t)from;
    const size_t part =
        start >= v->size_bytes ? 0 : (size_t)XK_MIN((uint64_t)XK_MIN(bytes, READ_MAX), v->size_bytes - start);
    xk_autofree uint8_t *buf = xk_alloc(XK_MAX(part, (size_t)1));

    int code = !exists(inode) ? -ENOENT : inode != DISK_INODE ? -EISDIR : buf ? 0 : -ENOMEM;
    if (code == 0 && part)
        code = volume_read(v, buf, part, start, NULL);
    if (code < 0) {
        atomic_fetch_add(&m->failed_reads, 1);
        /* What is damaged below is an error of reading here. */
        (void)fuse_reply_err(request, code == -ENOMEM ? ENOMEM : code == -EISDIR ? EISDIR : EIO);
        return;
    }
    atomic_fetch_add(&m->reads, 1);
    atomic_fetch_add(&m->read_bytes, part);
    (void)fuse_reply_buf(request, (const char *)buf, part);
}

struct seeking {
    bool data;
    uint64_t found;
};

static int stop_at_kind(void *context, const struct volume_extent *e)
{
    struct seeking *const s = context;

    if ((e->kind == VOLUME_DATA) != s->data)
        return 0;
    s->found = e->start;
    return 1;
}

static void on_lseek(fuse_req_t request, fuse_ino_t inode, off_t from, int whence, struct fuse_file_info *file)
{
    const struct volume *const v = mount_of(request)->settings.volume;
    struct seeking s = {.data = whence == SEEK_DATA, .found = v->size_bytes};

    if (inode != DISK_INODE || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
        (void)fuse_reply_err(request, EINVAL);
        return;
    }
    if (from < 0 || (uint64_t)from >= v->size_bytes) {
        (void)fuse_reply_err(request, ENXIO);
        return;
    }
    const int code = volume_map(v, (uint64_t)from, v->size_bytes - (uint64_t)from, stop_at_kind, &s, NULL);
    if (code < 0 || (code == 0 && s.data))
        (void)fuse_reply_err(request, code < 0 ? EIO : ENXIO);
    else
        (void)fuse_reply_lseek(request, (off_t)s.found);
}

static const struct fuse_lowlevel_ops requests = {
    .lookup = on_lookup,
    .getattr = on_getattr,
    .readdir = on_readdir,
    .open = on_open,
    .read = on_read,
    .lseek = on_lseek,
};

/* ---- the beginning ---- */

static int count_data(void *context, const struct volume_extent *e)
{
    uint64_t *const bytes = context;

    *bytes += e->kind == VOLUME_DATA ? e->bytes : 0;
    return xk_stop_signal() ? -EINTR : 0;
}

static int check_place(const struct mount_settings *s, struct xk_err *err)
{
    struct stat st;

    if (!s->name[0] || strchr(s->name, '/') || strcmp(s->name, ".") == 0 || strcmp(s->name, "..") == 0 ||
        strlen(s->name) > MOUNT_NAME_MAX)
        return xk_fail(err, -EINVAL, "'%s' cannot be the name of a file", s->name);
    if (stat(s->folder, &st) < 0)
        return xk_fail_sys(err, -errno, "%s", s->folder);
    if (!S_ISDIR(st.st_mode))
        return xk_fail(err, -ENOTDIR, "%s is no folder", s->folder);
    xk_autoclose int device = open(FUSE_DEVICE, O_RDWR | O_CLOEXEC);
    if (device < 0) {
        const int code = xk_fail(err, -ENOTSUP, "%s cannot be opened: %s", FUSE_DEVICE, strerror(errno));
        xk_err_hint(err, "`modprobe fuse` as root may bring it; `xenkit vhd serve` does without");
        return code;
    }
    return 0;
}

/* Its messages would go to standard error; what matters is in our own. */
static void drop_message(enum fuse_log_level level, const char *format, va_list args)
{
}

static int start_session(struct mount *m, struct xk_err *err)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    xk_autofree char *options = NULL;

    /* Names with commas are taken as they are when they are escaped. */
    xk_autofree char *source = xk_asprintf("fsname=%s", volume_layer_path(m->settings.volume, 0));
    int code = source && fuse_opt_add_opt(&options, "ro,default_permissions,subtype=xenkit") == 0 &&
                       fuse_opt_add_opt_escaped(&options, source) == 0 &&
                       (!m->settings.everybody || fuse_opt_add_opt(&options, "allow_other") == 0) &&
                       fuse_opt_add_arg(&args, "xenkit") == 0 && fuse_opt_add_arg(&args, "-o") == 0 &&
                       fuse_opt_add_arg(&args, options) == 0
                   ? 0
                   : xk_fail_memory(err);
    fuse_set_log_func(drop_message);
    if (code == 0)
        m->session = fuse_session_new(&args, &requests, sizeof(requests), m);
    if (code == 0 && !m->session)
        code = xk_fail_memory(err);
    fuse_opt_free_args(&args);
    if (code == 0 && fuse_session_mount(m->session, m->settings.folder) != 0) {
        code = xk_fail(err, -EPERM, "%s: the system does not let us mount here", m->settings.folder);
        xk_err_hint(err, "users other than root need fusermount3, their own folder%s",
                    m->settings.everybody ? ", and user_allow_other in /etc/fuse.conf" : "");
    }
    m->mounted = code == 0;
    return code;
}

int mount_begin(struct mount **ret, const struct mount_settings *settings, struct xk_err *err)
{
    struct mount *const m = xk_zalloc(sizeof(*m));

    if (!m)
        return xk_fail_memory(err);
    m->settings = *settings;
    m->ending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int code = m->ending < 0 ? xk_fail_sys(err, -errno, "eventfd") : check_place(settings, err);
    if (code == 0)
        code = volume_map(settings->volume, 0, settings->volume->size_bytes, count_data, &m->data_bytes, err);
    if (code == -EINTR)
        code = xk_fail(err, code, "stopped before anything was mounted");
    if (code == 0)
        code = start_session(m, err);
    if (code == 0 && fcntl(fuse_session_fd(m->session), F_SETFL, O_NONBLOCK) < 0)
        code = xk_fail_sys(err, -errno, FUSE_DEVICE);
    if (code < 0) {
        mount_end(m);
        return code;
    }
    *ret = m;
    return 0;
}

/* ---- the work ---- */

static void end_all(struct mount *m)
{
    const uint64_t one = 1;

    (void)!write(m->ending, &one, sizeof(one));
}

static void answer(struct mount *m, struct fuse_buf *buf)
{
    int got;

    /* Until another thread was quicker, or there is nothing left. */
    while ((got = fuse_session_receive_buf(m->session, buf)) > 0)
        fuse_session_process_buf(m->session, buf);
    if (fuse_session_exited(m->session))
        end_all(m);
    else if (got < 0 && got != -EAGAIN && got != -EINTR) {
        atomic_store(&m->failed, got);
        end_all(m);
    }
}

static void work(void *context, unsigned which)
{
    struct mount *const m = context;
    struct fuse_buf buf = {0};
    struct pollfd p[] = {{.fd = fuse_session_fd(m->session), .events = POLLIN}, {.fd = m->ending, .events = POLLIN}};

    for (;;) {
        const int ready = ppoll(p, XK_COUNT(p), NULL, which == 0 ? &m->before : NULL);
        if (ready < 0 && errno != EINTR)
            atomic_store(&m->failed, -errno);
        if (xk_stop_signal() || (ready < 0 && errno != EINTR))
            end_all(m);
        if (xk_stop_signal() || atomic_load(&m->failed) || (ready > 0 && p[1].revents))
            break;
        if (ready > 0 && p[0].revents)
            answer(m, &buf);
    }
    free(buf.mem);
}

int mount_run(struct mount *m, struct xk_err *err)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    const unsigned threads = m->settings.threads ? m->settings.threads : xk_processors() + 2;
    sigset_t blocked;

    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < XK_COUNT(stops); i++)
        (void)sigaddset(&blocked, stops[i]);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, &m->before);
    xk_crew_run(XK_MIN(threads, (unsigned)MOUNT_THREADS_MAX), VOLUME_STACK_BYTES, work, m);
    (void)pthread_sigmask(SIG_SETMASK, &m->before, NULL);
    const int code = atomic_load(&m->failed);
    return code < 0 ? xk_fail_sys(err, code, "waiting for requests of %s", m->settings.folder) : 0;
}

struct mount_totals mount_totals(const struct mount *m)
{
    return (struct mount_totals){.opened = atomic_load(&m->opened),
                                 .reads = atomic_load(&m->reads),
                                 .read_bytes = atomic_load(&m->read_bytes),
                                 .failed = atomic_load(&m->failed_reads)};
}

void mount_end(struct mount *m)
{
    if (!m)
        return;
    if (m->mounted)
        fuse_session_unmount(m->session);
    if (m->session)
        fuse_session_destroy(m->session);
    if (m->ending >= 0)
        close(m->ending);
    free(m);
}
