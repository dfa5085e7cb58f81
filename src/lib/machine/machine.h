/*
 * This machine as a target of checks: "localhost".
 *
 * What no file tells (statfs, adjtimex) comes through a struct environment_system, so that tests plant it; everything
 * else is read below a root directory.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "core/check.h"
#include "lib/environment/environment.h"

#define MACHINE_PROCESSES_MAX 131072 /* looked at for time daemons */
#define MACHINE_VOLUMES_MAX   1024
#define MACHINE_ANSWER_MS     3000 /* how long network file systems may take, all together */

enum machine_daemon {
    MACHINE_CHRONYD,
    MACHINE_NTPD,
    MACHINE_TIMESYNCD,
    MACHINE_DAEMONS,
};

struct machine_clock {
    int state;                         /* of adjtimex(2): TIME_OK … TIME_ERROR, or why it could not be asked */
    struct timex kernel;               /* valid when state >= 0 */
    unsigned daemons[MACHINE_DAEMONS]; /* process numbers; 0: does not run */
    bool timesyncd_has_synchronised;   /* its state file exists */
    bool chrony_leaves_kernel_alone;   /* chrony.conf lacks rtcsync, so the kernel never hears that the time is right */
    int64_t utc_ns;
};

/* A file system that can fill up. */
struct machine_volume {
    const struct environment_mount *mount;
    struct statfs sizes; /* valid when answer is 0 */
    int answer;          /* -ETIMEDOUT: a network file system that was silent; other negative errno values of statfs */
};

struct machine {
    const char *root;
    struct environment environment;
    struct machine_clock clock;
    struct environment_mounts mounts;
    struct machine_volume *volumes;
    size_t volume_count;
};

struct machine_settings {
    const char *root;                        /* lives as long as the machine */
    const struct environment_system *system; /* NULL: environment_system_of(root); outlives silent file systems */
    const struct xk_clock *clock;
    unsigned answer_ms; /* 0: MACHINE_ANSWER_MS */
};

/* returns 0; -ENOMEM. What cannot be read is unknown, and the rows over it are silent. */
int machine_open(struct machine **ret, const struct machine_settings *settings, struct xk_err *err);
void machine_close(struct machine *m);

/* The rows; the subject is a struct machine. Ends with a NULL id. */
extern const struct xk_check machine_checks[];
extern const struct xk_check_set machine_check_set;

#endif
