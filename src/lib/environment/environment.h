/*
 * The machine that a measurement or a check ran on: processor, topology, memory, kernel, hypervisor, clock speeds, load
 * from outside, file systems.
 *
 * Everything is read below a root directory ("" for none), so a folder of fixtures can stand for a machine. What cannot
 * be read, is too long, or makes no sense is "unknown": an empty text, a count of 0, NAN. Foreign texts are cut to
 * their field and may hold any byte but NUL; writers escape them.
 */
#ifndef ENVIRONMENT_H
#define ENVIRONMENT_H

#include "core/buf.h"
#include "core/err.h"
#include "core/json.h"

#include <sys/timex.h>
#include <sys/vfs.h>

#define ENVIRONMENT_TEXT_MAX   128
#define ENVIRONMENT_LINE_MAX   512
#define ENVIRONMENT_NODES_MAX  64   /* NUMA nodes described; more are only counted */
#define ENVIRONMENT_CPUS_MAX   8192 /* logical processors looked at */
#define ENVIRONMENT_MOUNTS_MAX 4096

/*
 * What only the running kernel or processor answers, and no file. Tests plant answers here.
 * All return 0 or a negative errno value; -ENOSYS: cannot be asked (a root directory is not a running machine).
 */
struct environment_system {
    int (*statfs)(const struct environment_system *system, const char *path, struct statfs *ret);
    /* As adjtimex(2) that changes nothing: the state TIME_OK … TIME_ERROR. */
    int (*adjtimex)(const struct environment_system *system, struct timex *ret);
    /* Registers eax, ebx, ecx, edx of a CPUID leaf; -ENOSYS on other processors. */
    int (*cpuid)(const struct environment_system *system, uint32_t leaf, uint32_t ret_registers[4]);
    void *state; /* belongs to the functions */
};

/* The running machine for the root "", one that answers -ENOSYS for any other. */
const struct environment_system *environment_system_of(const char *root);

enum environment_xen {
    ENVIRONMENT_XEN_NONE,
    ENVIRONMENT_XEN_DOM0,
    ENVIRONMENT_XEN_DOMU,
};
const char *environment_xen_name(enum environment_xen xen); /* "none", "dom0", "domU" */

enum environment_switch {
    ENVIRONMENT_UNKNOWN,
    ENVIRONMENT_OFF,
    ENVIRONMENT_ON,
};

struct environment_node {
    unsigned number;
    uint64_t memory_bytes, memory_free_bytes;
    char cpus[ENVIRONMENT_TEXT_MAX]; /* "0-7,16-23" */
};

/* Clock ticks of all processors since boot. */
struct environment_ticks {
    uint64_t total, steal;
};

struct environment {
    char host[ENVIRONMENT_TEXT_MAX];

    struct {
        char model[ENVIRONMENT_TEXT_MAX], vendor[ENVIRONMENT_TEXT_MAX], microcode[ENVIRONMENT_TEXT_MAX];
        char architecture[ENVIRONMENT_TEXT_MAX]; /* x86_64 */
        int family, model_number, stepping;      /* -1: unknown */
        unsigned sockets, cores, threads;        /* online; 0: unknown */
        enum environment_switch smt;
        bool hypervisor_flag; /* the processor says that a hypervisor is present */
    } cpu;

    unsigned node_count, nodes_described;
    struct environment_node nodes[ENVIRONMENT_NODES_MAX];

    struct {
        bool known;
        uint64_t total_bytes, available_bytes, swap_total_bytes, swap_free_bytes;
        char huge_pages[ENVIRONMENT_TEXT_MAX]; /* transparent ones: always, madvise, never */
    } memory;

    struct {
        char release[ENVIRONMENT_TEXT_MAX], version[ENVIRONMENT_LINE_MAX];
        char clocksource[ENVIRONMENT_TEXT_MAX];
        char parameters[ENVIRONMENT_LINE_MAX]; /* words of the command line that change timing or protection; no others
                                                */
    } kernel;

    struct {
        enum environment_xen xen;
        char xen_version[ENVIRONMENT_TEXT_MAX]; /* 4.17.7 */
        char guest_type[ENVIRONMENT_TEXT_MAX];  /* PV, HVM, PVH */
        char hypervisor[ENVIRONMENT_TEXT_MAX]; /* xen, kvm, hyperv, vmware …; "unknown" when there is a nameless one */
        char vendor[ENVIRONMENT_TEXT_MAX], product[ENVIRONMENT_TEXT_MAX]; /* of the hardware, real or virtual (DMI) */
        char container[ENVIRONMENT_TEXT_MAX];                             /* docker, podman, lxc … */
    } virtualisation;

    struct {
        char governor[ENVIRONMENT_TEXT_MAX]; /* "mixed" when processors differ */
        char driver[ENVIRONMENT_TEXT_MAX], idle_driver[ENVIRONMENT_TEXT_MAX];
        enum environment_switch turbo;
        uint64_t min_hz, max_hz; /* limits set; 0: unknown */
    } frequency;

    struct environment_ticks ticks;
    struct {
        char name[ENVIRONMENT_TEXT_MAX], id[ENVIRONMENT_TEXT_MAX], version[ENVIRONMENT_TEXT_MAX];
        char product[ENVIRONMENT_TEXT_MAX]; /* "XCP-ng 8.3.0" from the XenServer inventory */
    } distribution;
    uint64_t uptime_ns; /* 0: unknown */
};

/* Everything unknown. */
void environment_init(struct environment *ret);
/* Look at the machine. Never fails: what cannot be read stays unknown. system NULL: environment_system_of(root). */
void environment_read(struct environment *ret, const char *root, const struct environment_system *system);

/* A guest of any hypervisor; false in dom0, which owns the hardware. */
bool environment_is_guest(const struct environment *e);

/* Ticks now. returns 0; -EBADMSG, or as xk_slurp(). */
int environment_ticks_read(struct environment_ticks *ret, const char *root);
/*
 * Percent of processor time that the hypervisor gave to others between two looks; `before` zeroed: since boot.
 * NAN when no time passed or a counter went back.
 */
double environment_steal_percent(const struct environment_ticks *before, const struct environment_ticks *after);

/* ---- file systems ---- */

struct environment_mount {
    unsigned id, parent; /* the mount it lies on */
    unsigned major, minor;
    /* Foreign texts, decoded (\040 is a space), in the list's arena. */
    const char *inside;        /* which folder of the file system is mounted: "/" */
    const char *point;         /* where */
    const char *options;       /* of the mount: "rw,relatime" */
    const char *type, *source; /* "ext4", "/dev/xvda1" */
    const char *super_options; /* of the file system: "rw,errors=remount-ro" */
};

/* In mount order: later ones cover earlier ones of the same point. */
struct environment_mounts {
    struct xk_arena arena;
    struct environment_mount *items;
    size_t count, left_off; /* past ENVIRONMENT_MOUNTS_MAX, or lines that cannot be understood */
};

/*
 * The mounts that this process sees (/proc/self/mountinfo below root).
 * returns   0; -ENOMEM; as xk_slurp(). *ret is valid, perhaps empty, in any case; end it with _done().
 * source    proc_pid_mountinfo(5).
 */
int environment_mounts_read(struct environment_mounts *ret, const char *root, struct xk_err *err);
void environment_mounts_done(struct environment_mounts *m);
/* The one that an absolute path without links and dots lies on, covered ones passed over; NULL: none. */
const struct environment_mount *environment_mount_of(const struct environment_mounts *m, const char *path);
/* Is the word one of the comma-separated options? */
bool environment_option_is_set(const char *options, const char *word);

struct environment_file_system {
    char path[ENVIRONMENT_LINE_MAX]; /* what was asked about, made absolute */
    char point[ENVIRONMENT_LINE_MAX], type[ENVIRONMENT_TEXT_MAX], source[ENVIRONMENT_LINE_MAX];
    char options[ENVIRONMENT_LINE_MAX]; /* of the mount, then of the file system */
    uint64_t size_bytes, free_bytes;
    uint64_t available_bytes; /* to users without privilege */
    uint64_t block_bytes, inodes, inodes_free;
    uint64_t magic; /* f_type of statfs(2) */
};

/*
 * The file system that a path lies on.
 * path      below root; must exist on a running machine.
 * returns   0; as realpath(3) and statfs(2); -ENOMEM.
 */
int environment_file_system_read(struct environment_file_system *ret, const char *root,
                                 const struct environment_system *system, const char *path, struct xk_err *err);

/* ---- writing ---- */

/*
 * One object under `key` (NULL inside an array or at the top). Unknown values are null; units end the names.
 * file_system   where the measured files lie, its member "file_system"; NULL: null.
 */
void environment_json(struct xk_json *j, const char *key, const struct environment *e,
                      const struct environment_file_system *file_system);
void environment_file_system_json(struct xk_json *j, const char *key, const struct environment_file_system *f);

#endif
