/*
 * The machine is looked at once, when it is opened; rows only judge. Time daemons are found by their process names:
 * asking systemd or chronyd over their sockets was weighed, but needs one protocol for each and privilege for some.
 */
#include "lib/machine/machine.h"

#include "core/fs.h"
#include "core/text.h"
#include "lib/machine/volumes.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define CONFIGURATION_BYTES_MAX XK_MIB

static void find_daemons(struct machine_clock *clock, const char *root)
{
    static const char *const names[MACHINE_DAEMONS] = {
        [MACHINE_CHRONYD] = "chronyd", [MACHINE_NTPD] = "ntpd", [MACHINE_TIMESYNCD] = "systemd-timesyn", /* the kernel
                                                                                                            keeps 15
                                                                                                            letters */
    };
    xk_autofree char *folder = xk_path_join(root[0] ? root : "/", "proc");
    DIR *processes = folder ? opendir(folder) : NULL;
    if (!processes)
        return;
    unsigned left = MACHINE_PROCESSES_MAX;
    for (const struct dirent *entry; left > 0 && (entry = readdir(processes));) {
        uint64_t pid;
        char path[64];
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || xk_parse_u64(&pid, entry->d_name) < 0 ||
            pid > INT32_MAX)
            continue;
        left--;
        (void)snprintf(path, sizeof(path), "/proc/%u/comm", (unsigned)pid);
        xk_autofree char *name = xk_slurp_line(root, path);
        for (size_t i = 0; name && i < MACHINE_DAEMONS; i++)
            if (strcmp(name, names[i]) == 0 && (clock->daemons[i] == 0 || pid < clock->daemons[i]))
                clock->daemons[i] = (unsigned)pid;
    }
    (void)closedir(processes);
}

/* Is there a chrony.conf, and none of its lines says rtcsync? */
static bool chrony_lacks_rtcsync(const char *root)
{
    static const char *const paths[] = {"/etc/chrony.conf", "/etc/chrony/chrony.conf"};
    bool found = false;
    for (size_t i = 0; i < XK_COUNT(paths); i++) {
        xk_autofree char *text = NULL;
        if (xk_slurp(&text, root, paths[i], CONFIGURATION_BYTES_MAX, NULL) < 0)
            continue;
        found = true;
        char *rest = text;
        for (const char *line; (line = strsep(&rest, "\n"));) {
            line += strspn(line, " \t");
            if (xk_has_prefix(line, "rtcsync"))
                return false;
        }
    }
    return found;
}

static void read_clock(struct machine_clock *clock, const struct machine_settings *settings,
                       const struct environment_system *system)
{
    clock->state = system->adjtimex(system, &clock->kernel);
    clock->utc_ns = settings->clock->utc_ns(settings->clock);
    clock->timesyncd_has_synchronised = xk_exists(settings->root, "/run/systemd/timesync/synchronized");
    clock->chrony_leaves_kernel_alone = chrony_lacks_rtcsync(settings->root);
    find_daemons(clock, settings->root);
}

int machine_open(struct machine **ret, const struct machine_settings *settings, struct xk_err *err)
{
    const struct environment_system *system =
        settings->system ? settings->system : environment_system_of(settings->root);
    struct machine *m = xk_zalloc(sizeof(*m));
    if (!m)
        return xk_fail_memory(err);
    m->root = settings->root;
    environment_read(&m->environment, settings->root, system);
    read_clock(&m->clock, settings, system);
    int rc = environment_mounts_read(&m->mounts, settings->root, NULL);
    if (rc == -ENOMEM)
        rc = xk_fail_memory(err);
    else
        rc = machine_volumes_read(m, system, settings->answer_ms ? settings->answer_ms : MACHINE_ANSWER_MS, err);
    if (rc < 0) {
        machine_close(m);
        return rc;
    }
    *ret = m;
    return 0;
}

void machine_close(struct machine *m)
{
    if (!m)
        return;
    free(m->volumes);
    environment_mounts_done(&m->mounts);
    free(m);
}

/* ---- the set ---- */

static bool accepts(const char *target)
{
    return strcmp(target, "localhost") == 0;
}

static int open_set(void **ret_subject, struct xk_app *app, const char *const *targets, size_t count,
                    const void *access, struct xk_err *err)
{
    struct machine *m;
    const int rc = machine_open(&m, &(struct machine_settings){.root = app->root, .clock = app->clock}, err);
    if (rc == 0)
        *ret_subject = m;
    return rc;
}

static void close_set(void *subject)
{
    machine_close(subject);
}

const struct xk_check_set machine_check_set = {
    .name = "machine",
    .summary = "this machine: clock, kernel, processor, memory, file systems",
    .accepts = accepts,
    .open = open_set,
    .close = close_set,
    .checks = machine_checks,
};
