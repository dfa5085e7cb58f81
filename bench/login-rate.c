/*
 * login-rate: how often a second one client can log in and out again over one connection.
 *
 *     login-rate URL PASSWORD-FILE SECONDS LEAST
 *
 * Prints the pairs a second. Exit status 1: fewer than LEAST.
 */
#include "lib/client/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: login-rate URL PASSWORD-FILE SECONDS LEAST\n", stderr);
        return 2;
    }
    struct xk_log log = {.fd = STDERR_FILENO, .level = XK_LOG_WARN};
    struct xk_app app = {.log = &log, .clock = xk_clock_system(), .fs = xk_fs_posix(), .root = "", .env = environ};
    const struct client_access access = {.user = "root",
                                         .password_file = argv[2],
                                         .connect_timeout_ns = 10 * XK_NS_PER_S,
                                         .timeout_ns = 10 * XK_NS_PER_S};
    const struct client_manner manner = {.originator = "login-rate"};
    const uint64_t time_ns = (uint64_t)(atof(argv[3]) * (double)XK_NS_PER_S);
    struct client *c = NULL;
    struct xk_err err = {0};
    uint64_t pairs = 0;

    int code = client_open(&c, &app, argv[1], &access, &manner, &err);
    const uint64_t began_ns = app.clock->monotonic_ns(app.clock);
    uint64_t now_ns = began_ns;
    for (; code == 0 && now_ns - began_ns < time_ns; pairs++) {
        code = client_login(c, &err);
        if (code == 0)
            code = client_logout(c, &err);
        now_ns = app.clock->monotonic_ns(app.clock);
    }
    client_close(c);
    if (code < 0) {
        fprintf(stderr, "login-rate: %s\n", err.text);
        return 4;
    }
    const double rate = (double)pairs * (double)XK_NS_PER_S / (double)(now_ns - began_ns);
    struct rusage used;
    (void)getrusage(RUSAGE_SELF, &used);
    const double cpu_us = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
                          (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    printf("%.0f logins and logouts a second over one connection, each %.0f us of our processor time; at least %s a "
           "second are asked for\n",
           rate, cpu_us / (double)pairs, argv[4]);
    return rate >= atof(argv[4]) ? 0 : 1;
}
