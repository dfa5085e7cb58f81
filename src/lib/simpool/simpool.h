/*
 * A simulated XenServer pool: a database of XenAPI objects, sessions, virtual machines that start and stop, tasks and
 * events, behind the same wire as a real pool.
 *
 * One thread, driven by an event loop. What a message takes and gives stands in lib/xapi; here is only what happens.
 */
#ifndef LIB_SIMPOOL_H
#define LIB_SIMPOOL_H

#include "core/clock.h"
#include "core/err.h"
#include "core/fs.h"
#include "lib/resolve/resolve.h"

#include <event2/event.h>

#define SIMPOOL_HOSTS_MAX 64
#define SIMPOOL_VMS_MAX   20000

#define SIMPOOL_ANY       UINT32_MAX

struct simpool;

/* The releases of the real server that can be played; NULL-ended. The last one is the newest. */
extern const char *const simpool_eras[];
#define SIMPOOL_ERA_NEWEST 10

struct simpool_settings {
    unsigned hosts;                                   /* 0: 3, or as many as the state has */
    unsigned vms;                                     /* SIMPOOL_ANY: 20, or those of the state */
    const char *load;                                 /* dump that a new pool is made from; NULL: it is made up */
    const char *state;                                /* file that keeps the pool; NULL: nothing is kept */
    uint16_t port;                                    /* for every host address; 0: any free one */
    struct resolve_address listen[SIMPOOL_HOSTS_MAX]; /* of each host, or of the first, whom the others follow */
    unsigned listen_count;                            /* 0: 127.0.0.1, .2, .3 … */
    bool tls;                                         /* HTTPS instead of HTTP */
    const char *socket;                               /* path of a socket that its owner is root at; NULL: none */
    const char *user, *password;
    const char *users;       /* a directory of users (simpool-users in the manual); NULL: there is none */
    uint64_t login_delay_ns; /* a wrong password waits so long for its answer */
    unsigned limit;          /* sessions a group; 0: as the real server, 500 and 400 */
    uint64_t gc_ns;          /* between two passes of the session collector */
    double speed;            /* simulated seconds in a real one */
    int64_t now_s;           /* simulated time at the start; 0: the clock's */
    const struct xk_clock *clock;
    struct xk_random *random;
    unsigned era;              /* place in simpool_eras */
    const char *log;           /* file, or folder in which each host has its own; NULL: none */
    uint64_t log_bytes;        /* a log that has grown so large is rotated */
    const char *const *faults; /* their texts */
    size_t fault_count;
    const struct xk_fs *fs; /* of the log and the state */
};

int simpool_open(struct simpool **ret, struct event_base *base, const struct simpool_settings *settings,
                 struct xk_err *err);
void simpool_close(struct simpool *pool);

/* Write what is not in the state file yet, as it is done before every reply. returns 0; why it cannot be written. */
int simpool_save(struct simpool *pool, struct xk_err *err);
/*
 * The pool's host had joined another one, and was ejected from there: close the pool and open a new one, with the same
 * settings and the port of simpool_address(). The loop was broken for that.
 */
bool simpool_is_over(const struct simpool *pool);
/* What whoever started the pool should read: lines, each ended by a newline; "" for nothing. */
const char *simpool_notes(const struct simpool *pool);
unsigned simpool_hosts(const struct simpool *pool);
unsigned simpool_master(const struct simpool *pool);  /* the number of that host */
unsigned simpool_vms(const struct simpool *pool);     /* without templates and control domains */
uint64_t simpool_replies(const struct simpool *pool); /* that were given so far */
/* The address of host number `host`. */
const struct resolve_address *simpool_address(const struct simpool *pool, unsigned host);

/* Whether only this machine reaches it. */
bool simpool_is_loopback(const struct resolve_address *address);

#define SIMPOOL_FINGERPRINT_BYTES 96
/* The SHA-256 of the host's certificate, "AB:CD:…"; "" without TLS. */
void simpool_fingerprint(char ret[SIMPOOL_FINGERPRINT_BYTES], const struct simpool *pool, unsigned host);
/* The certificates of all hosts, one after the other, for clients that check; the caller frees. NULL: no memory. */
char *simpool_certificates(const struct simpool *pool) XK_MUST_USE;

/* How a message is answered. */
enum simpool_coverage {
    SIMPOOL_TABLE,       /* from the data model alone: getters, setters, records */
    SIMPOOL_BEHAVIOUR,   /* something happens */
    SIMPOOL_REMOVED,     /* MESSAGE_REMOVED, as the real server */
    SIMPOOL_REFUSED,     /* an error whatever is asked, as of a real server that is like the simulated hosts */
    SIMPOOL_UNSUPPORTED, /* NOT_IMPLEMENTED */
};
/* ret_why: the reason for a refusal, or for whom it is alone; "" for neither. */
enum simpool_coverage simpool_coverage(unsigned message_index, const char **ret_why);

#endif
