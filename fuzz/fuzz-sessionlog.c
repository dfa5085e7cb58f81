/*
 * Logs from anybody: plain, compressed, in archives. The bytes stand in a file without a name, as a log that was named
 * on the command line would.
 */
#include "lib/sessionlog/sessionlog.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int look(void *context, const struct sessionlog_session *s)
{
    assert(strlen(s->user) <= SESSIONLOG_LINE_MAX && s->fate < SESSIONLOG_FATES);
    return 0;
}

static void forget(void *context, const struct xk_err *why)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sessionlog_settings settings = {
        .fs = xk_fs_posix(), .clock = xk_clock_system(), .ended = look, .unreadable = forget};
    xk_autoclose int fd = memfd_create("log", MFD_CLOEXEC);
    struct sessionlog *log = NULL;
    struct sessionlog_summary summary;
    char path[64];

    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (sessionlog_open(&log, &settings, NULL) == 0 && sessionlog_add(log, path, NULL) == 0 &&
        sessionlog_run(log, NULL) == 0 && sessionlog_finish(log, &summary, NULL) == 0)
        assert(summary.unseen_count <= SESSIONLOG_UNSEEN_MAX);
    sessionlog_close(log);
    return 0;
}
