/*
 * The questions that only a running machine answers, as a table of functions: the rest of the library reads files below
 * a root. Faking the calls with a preloaded library was weighed; it does not work for a static program.
 */
#include "lib/environment/environment.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

static int running_statfs(const struct environment_system *system, const char *path, struct statfs *ret)
{
    int rc;
    do
        rc = statfs(path, ret);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static int running_adjtimex(const struct environment_system *system, struct timex *ret)
{
    *ret = (struct timex){.modes = 0};
    const int state = adjtimex(ret);
    return state < 0 ? -errno : state;
}

static int running_cpuid(const struct environment_system *system, uint32_t leaf, uint32_t ret_registers[4])
{
#if defined(__x86_64__) || defined(__i386__)
    __cpuid(leaf, ret_registers[0], ret_registers[1], ret_registers[2], ret_registers[3]);
    return 0;
#else
    return -ENOSYS;
#endif
}

static int absent_statfs(const struct environment_system *system, const char *path, struct statfs *ret)
{
    return -ENOSYS;
}

static int absent_adjtimex(const struct environment_system *system, struct timex *ret)
{
    return -ENOSYS;
}

static int absent_cpuid(const struct environment_system *system, uint32_t leaf, uint32_t ret_registers[4])
{
    return -ENOSYS;
}

const struct environment_system *environment_system_of(const char *root)
{
    static const struct environment_system running = {running_statfs, running_adjtimex, running_cpuid, NULL};
    static const struct environment_system absent = {absent_statfs, absent_adjtimex, absent_cpuid, NULL};
    return root[0] == '\0' ? &running : &absent;
}
