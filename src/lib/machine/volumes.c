/*
 * How full the file systems are.
 *
 * statfs(2) on a network file system whose server is gone does not return, and a check-up must. So those are asked in
 * threads of their own, all at once, with one deadline; a thread that is late is left behind and frees what it shares
 * when it ends. A child process for each was weighed: it costs more and is no easier to get rid of.
 */
#include "lib/machine/volumes.h"

#include "core/text.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define STACK_BYTES ((size_t)256 * 1024) /* there can be hundreds of mounts */

/* What an asking thread shares with the one that waits. The last of the two to let go frees it. */
struct question {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    unsigned holders;
    bool done;
    int answer;
    struct statfs sizes;
    const struct environment_system *system;
    char path[];
};

static void let_go(struct question *q)
{
    (void)pthread_mutex_lock(&q->lock);
    const bool last = --q->holders == 0;
    (void)pthread_mutex_unlock(&q->lock);
    if (!last)
        return;
    (void)pthread_cond_destroy(&q->answered);
    (void)pthread_mutex_destroy(&q->lock);
    free(q);
}

static void *ask_thread(void *argument)
{
    struct question *q = argument;
    struct statfs sizes;
    const int answer = q->system->statfs(q->system, q->path, &sizes);
    (void)pthread_mutex_lock(&q->lock);
    q->done = true;
    q->answer = answer;
    if (answer == 0)
        q->sizes = sizes;
    (void)pthread_cond_signal(&q->answered);
    (void)pthread_mutex_unlock(&q->lock);
    let_go(q);
    return NULL;
}

/* NULL: no memory, or no thread to be had. */
static struct question *ask(const struct environment_system *system, const char *path)
{
    struct question *q = xk_zalloc(sizeof(*q) + strlen(path) + 1);
    if (!q)
        return NULL;
    strcpy(q->path, path);
    q->system = system;
    q->holders = 2;
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->answered, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);

    pthread_t thread;
    pthread_attr_t small;
    (void)pthread_attr_init(&small);
    (void)pthread_attr_setstacksize(&small, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    const int rc = pthread_create(&thread, &small, ask_thread, q);
    (void)pthread_attr_destroy(&small);
    if (rc == 0)
        return q;
    q->holders = 1;
    let_go(q);
    return NULL;
}

/* Ends the question. */
static int wait_for_answer(struct question *q, const struct timespec *deadline, struct statfs *ret)
{
    int late = 0;
    (void)pthread_mutex_lock(&q->lock);
    while (!q->done && late == 0)
        late = pthread_cond_timedwait(&q->answered, &q->lock, deadline);
    const int answer = q->done ? q->answer : -ETIMEDOUT;
    if (answer == 0)
        *ret = q->sizes;
    (void)pthread_mutex_unlock(&q->lock);
    let_go(q);
    return answer;
}

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

/* Kernel interfaces, file systems that are full by nature, and one that mounts something when it is asked. */
static bool cannot_fill_up(const struct environment_mount *mount)
{
    static const char *const types[] = {
        "autofs",     "binfmt_misc", "bpf",           "cgroup",    "cgroup2", "configfs", "cramfs",
        "debugfs",    "devpts",      "devtmpfs",      "efivarfs",  "erofs",   "fusectl",  "fuse.gvfsd-fuse",
        "fuse.lxcfs", "fuse.portal", "fuse.snapfuse", "hugetlbfs", "iso9660", "mqueue",   "nsfs",
        "proc",       "pstore",      "ramfs",         "resctrl",   "romfs",   "rootfs",   "rpc_pipefs",
        "securityfs", "selinuxfs",   "squashfs",      "sysfs",     "tracefs", "udf",      "xenfs",
    };
    if (strcmp(mount->type, "overlay") == 0) /* those of containers lie on a file system that is looked at anyway */
        return strcmp(mount->point, "/") != 0;
    return is_one_of(mount->type, types, XK_COUNT(types));
}

static bool may_be_silent(const struct environment_mount *mount)
{
    static const char *const types[] = {"9p",    "afs", "ceph", "cifs",  "gfs2", "glusterfs", "lustre",
                                        "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs",     "virtiofs"};
    return xk_has_prefix(mount->type, "fuse") || is_one_of(mount->type, types, XK_COUNT(types));
}

static bool is_read_only(const struct environment_mount *mount)
{
    return environment_option_is_set(mount->options, "ro") || environment_option_is_set(mount->super_options, "ro");
}

static bool is_listed(const struct machine *m, const struct environment_mount *mount)
{
    for (size_t i = 0; i < m->volume_count; i++)
        if (m->volumes[i].mount->major == mount->major && m->volumes[i].mount->minor == mount->minor)
            return true;
    return false;
}

static void choose(struct machine *m)
{
    for (size_t i = 0; i < m->mounts.count && m->volume_count < MACHINE_VOLUMES_MAX; i++) {
        const struct environment_mount *mount = &m->mounts.items[i];
        if (cannot_fill_up(mount) || is_read_only(mount) || is_listed(m, mount) ||
            environment_mount_of(&m->mounts, mount->point) != mount)
            continue;
        m->volumes[m->volume_count++] = (struct machine_volume){.mount = mount};
    }
}

int machine_volumes_read(struct machine *m, const struct environment_system *system, unsigned answer_ms,
                         struct xk_err *err)
{
    m->volumes = xk_array_alloc(XK_MIN(m->mounts.count, (size_t)MACHINE_VOLUMES_MAX), sizeof(*m->volumes));
    if (!m->volumes)
        return xk_fail_memory(err);
    choose(m);

    xk_autofree struct question **questions = xk_array_alloc(m->volume_count, sizeof(struct question *));
    if (!questions)
        return xk_fail_memory(err);
    struct timespec deadline;
    (void)clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += answer_ms / 1000;
    deadline.tv_nsec += (long)(answer_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    for (size_t i = 0; i < m->volume_count; i++) {
        struct machine_volume *volume = &m->volumes[i];
        if (!may_be_silent(volume->mount))
            volume->answer = system->statfs(system, volume->mount->point, &volume->sizes);
        else if (!(questions[i] = ask(system, volume->mount->point)))
            volume->answer = -EAGAIN;
    }
    for (size_t i = 0; i < m->volume_count; i++)
        if (questions[i])
            m->volumes[i].answer = wait_for_answer(questions[i], &deadline, &m->volumes[i].sizes);
    return 0;
}
