/*
 * A log in a file that never grows beyond a limit: what is old becomes FILE.1, FILE.2.gz and so on, as logrotate does
 * it on a real host.
 */
#ifndef LIB_SIMPOOL_LOG_FILE_H
#define LIB_SIMPOOL_LOG_FILE_H

#include "core/clock.h"
#include "core/fs.h"

#define SIM_LOG_KEPT  100 /* old files beside the one that is written */
#define SIM_LOG_AGE_S (31 * 86400)

struct sim_log_file {
    char *path;
    const struct xk_fs *fs;
    const struct xk_clock *clock;
    struct xk_file file;
    uint64_t bytes, bytes_max;
    bool torn; /* a part of a line stands at the end */
};

/* path: taken over, also in error. sim_log_file_close() accepts what could not be opened. */
int sim_log_file_open(struct sim_log_file *ret, const struct xk_fs *fs, const struct xk_clock *clock, char *path,
                      uint64_t bytes_max, struct xk_err *err);
void sim_log_file_close(struct sim_log_file *f);
/*
 * Append a whole line. A file that cannot be rotated grows on.
 * returns   0; a negative errno value: the line is not there.
 */
int sim_log_file_append(struct sim_log_file *f, const char *line, size_t bytes, struct xk_err *err);

#endif
