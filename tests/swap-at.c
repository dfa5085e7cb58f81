/*
 * Another process that renames its own file over the one that a command works on, at a moment of our choice.
 *
 *     swap-at REPORT K STRANGER FILE COMMAND…
 *
 * runs COMMAND and stops it before each system call that changes a file, makes one safe, or asks for one by its name.
 * Of those behind the first one that opens FILE, before the K-th, STRANGER is renamed over FILE; K 0: never. Ends as
 * the command does, 128 and the signal's number when a signal ended it, or 99 when it cannot be traced. REPORT then
 * says in one line how many such calls there were, and what was done after the swap: calls that read, wrote or synced
 * the file that had the name before, calls that changed any file, and calls that opened FILE once more.
 *
 * Weighed: sleeping for a part of the command's time, which hits the few moments that matter by chance; a table of file
 * operations that swaps, which reaches the libraries but not the commands that use them.
 */
#include "core/base.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_BYTES   4096
#define UNTRACEABLE  99
#define SYSCALL_STOP (SIGTRAP | 0x80)

enum kind {
    OTHER,
    OPEN,   /* the path is argument 1 */
    NAME,   /* another call with a name */
    CHANGE, /* the descriptor is argument 0 */
    SYNC,
    READ,
};

static enum kind kind_of(uint64_t number)
{
    switch (number) {
    case SYS_openat:
        return OPEN;
#ifdef SYS_rename
    case SYS_rename:
    case SYS_link:
    case SYS_unlink:
    case SYS_stat:
#endif
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2:
    case SYS_linkat:
    case SYS_unlinkat:
        return NAME;
    case SYS_pwrite64:
    case SYS_ftruncate:
    case SYS_fallocate:
    case SYS_fsetxattr:
    case SYS_copy_file_range:
        return CHANGE;
    case SYS_fsync:
    case SYS_fdatasync:
        return SYNC;
    case SYS_pread64:
        return READ;
    default:
        return OTHER;
    }
}

struct swap {
    unsigned long at, count; /* before which call; calls so far */
    const char *stranger, *file;
    bool begun, done;
    struct stat old;
    unsigned long touched, changed, reopened; /* after it */
};

static bool opens(const struct swap *s, pid_t pid, uint64_t address)
{
    char path[PATH_BYTES] = {0};
    const char *const base = strrchr(s->file, '/') ? strrchr(s->file, '/') + 1 : s->file;

    for (size_t at = 0; at < sizeof(path) - 1; at++) {
        struct iovec here = {path + at, 1}, there = {(void *)(uintptr_t)(address + at), 1};
        if (process_vm_readv(pid, &here, 1, &there, 1, 0) != 1 || !path[at])
            break;
    }
    const char *const opened = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    return strcmp(opened, base) == 0;
}

static bool is_old(const struct swap *s, pid_t pid, uint64_t fd)
{
    char name[64];
    struct stat st;

    snprintf(name, sizeof(name), "/proc/%d/fd/%d", (int)pid, (int)fd);
    return stat(name, &st) == 0 && st.st_dev == s->old.st_dev && st.st_ino == s->old.st_ino;
}

static void entered(struct swap *s, pid_t pid, const struct __ptrace_syscall_info *info)
{
    const enum kind kind = kind_of(info->entry.nr);

    if (kind == OTHER)
        return;
    if (!s->begun) {
        s->begun = kind == OPEN && opens(s, pid, info->entry.args[1]);
        return;
    }
    s->count += kind != READ;
    if (!s->done && s->at && s->count == s->at && stat(s->file, &s->old) == 0 && rename(s->stranger, s->file) == 0)
        s->done = true;
    if (!s->done)
        return;
    s->changed += kind == CHANGE;
    s->reopened += kind == OPEN && !(info->entry.args[2] & O_PATH) && opens(s, pid, info->entry.args[1]);
    s->touched += kind >= CHANGE && is_old(s, pid, info->entry.args[0]);
}

static int follow(struct swap *s, pid_t command)
{
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    int status;

    if (waitpid(command, &status, 0) != command || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, command, NULL, options) < 0)
        return UNTRACEABLE;
    (void)ptrace(PTRACE_SYSCALL, command, NULL, NULL);
    for (;;) {
        const pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0)
            return UNTRACEABLE;
        if (!WIFSTOPPED(status)) {
            if (pid == command)
                return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        struct __ptrace_syscall_info info;
        long signal = 0;
        if (WSTOPSIG(status) == SYSCALL_STOP) {
            if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0)
                return UNTRACEABLE;
            if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
                entered(s, pid, &info);
        } else if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP) {
            signal = WSTOPSIG(status);
        }
        (void)ptrace(PTRACE_SYSCALL, pid, NULL, signal);
    }
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fputs("usage: swap-at REPORT K STRANGER FILE COMMAND…\n", stderr);
        return UNTRACEABLE;
    }
    struct swap s = {.at = strtoul(argv[2], NULL, 10), .stranger = argv[3], .file = argv[4]};
    const pid_t command = fork();
    if (command < 0)
        return UNTRACEABLE;
    if (command == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 || raise(SIGSTOP) != 0)
            _exit(UNTRACEABLE);
        execvp(argv[5], argv + 5);
        _exit(UNTRACEABLE);
    }
    const int status = follow(&s, command);
    FILE *const report = fopen(argv[1], "we");
    if (!report)
        return UNTRACEABLE;
    fprintf(report, "%lu %lu %lu %lu\n", s.count, s.touched, s.changed, s.reopened);
    return fclose(report) == 0 ? status : UNTRACEABLE;
}
