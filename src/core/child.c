/*
 * Processes. A child that was forked leaves at once when its function ends: what the program does at its own end
 * (flush, clean up) is the parent's business.
 */
#include "core/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>

pid_t xk_child_fork(int (*run)(void *context), void *context)
{
    const pid_t parent = getpid(), pid = fork();

    if (pid < 0)
        return -errno;
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* It may have gone before that was said. */
    _exit(getppid() == parent ? run(context) : 0);
}

int xk_child_spawn(pid_t *ret, char *const argv[], int in_out, int err_fd)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;

    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in_out, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, in_out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err_fd, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    const int error = posix_spawnp(ret, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -error;
}

int xk_child_daemon(void)
{
    const pid_t child = fork();

    if (child != 0)
        return child < 0 ? -errno : 1;
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || setsid() < 0)
        return -errno;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        (void)dup2(null, fd);
    if (null > STDERR_FILENO)
        (void)close(null);
    return 0;
}

void xk_child_keep(int a, int b)
{
    const unsigned low = (unsigned)XK_MIN(a, b), high = (unsigned)XK_MAX(a, b);

    (void)close_range(high + 1, UINT32_MAX, 0);
    if (high > low + 1)
        (void)close_range(low + 1, high - 1, 0);
    if (low > STDERR_FILENO + 1)
        (void)close_range(STDERR_FILENO + 1, low - 1, 0);
}
