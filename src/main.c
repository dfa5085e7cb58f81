/*
 * The program: the real clock, files, random numbers and registry, handed to the door.
 */
#include "core/door.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

/*
 * A standard descriptor that is closed would be given to the next file that is opened, and a disk image must not get
 * what is meant for standard error. Opened the wrong way round, so that using it is still the error that it was.
 */
static void hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
}

int main(int argc, char **argv)
{
    hold_standard_descriptors();
    (void)mallopt(M_ARENA_MAX, 1);  /* each thread's own would take 64 MiB of addresses, which ulimit -v counts */
    (void)signal(SIGPIPE, SIG_IGN); /* writing says EPIPE, and the door ends quietly */
    xk_stop_install();

    const bool terminal = isatty(STDERR_FILENO);
    struct xk_log log = {.fd = STDERR_FILENO, .level = XK_LOG_WARN, .terminal = terminal, .color = true};
    struct xk_random random;
    xk_random_seed_system(&random);
    const struct xk_app app = {
        .log = &log,
        .clock = xk_clock_system(),
        .random = &random,
        .fs = xk_fs_posix(),
        .root = "",
        .env = environ,
        .rooms = xk_rooms,
        .summary = "debug, measure and test XenServer and XCP-ng with one file",
    };
    return xk_door(&app, argc, argv);
}
