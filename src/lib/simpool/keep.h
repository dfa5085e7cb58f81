/*
 * What hosts keep beside the database, as files of their disks: certificates, lists of withdrawn ones, settings of the
 * boot loader. Small texts under a kind and a name; --state keeps them, too.
 */
#ifndef LIB_SIMPOOL_KEEP_H
#define LIB_SIMPOOL_KEEP_H

#include "lib/simpool/inner.h"

#define SIM_KEPT_MAX       4096
#define SIM_KEPT_NAME_MAX  160
#define SIM_KEPT_BYTES_MAX 65536 /* of one text */

struct sim_kept {
    char kind; /* one of SIM_KEPT_… */
    char name[SIM_KEPT_NAME_MAX];
    char *text; /* NULL: gone, which the state file may still have to be told */
    uint64_t modified;
    struct sim_kept *next;
};

enum {
    SIM_KEPT_CERTIFICATE = 'c', /* PEM, by SHA-256 fingerprint */
    SIM_KEPT_CRL = 'r',         /* PEM, by file name */
    SIM_KEPT_JOINER = 'j',      /* PEM of a host's certificate, by the host's uuid */
    SIM_KEPT_HOST_CA = 'a',     /* the same of one host: PEM, or "" for one of the pool's that it has not */
    SIM_KEPT_HOST_CRL = 'b',    /* by the host's uuid, / and the file name */
    SIM_KEPT_LOCAL = 'l',       /* a value of a host's own little database, by host and key */
    SIM_KEPT_PCI = 'p',         /* whether dom0 sees a device: now and after the next start, by ref */
};

/*
 * Keep a text in place of what has that name.
 *
 * text      NULL: it is no longer kept.
 * returns   0; -ENOSPC: there are SIM_KEPT_MAX; -EFBIG: name or text is too long; -ENOMEM.
 */
int sim_keep(struct simpool *p, char kind, const char *name, const char *text);
/* NULL: nothing is kept under that name. */
const char *sim_kept(const struct simpool *p, char kind, const char *name);
/* The next one of a kind after `last`, which is NULL to begin with. */
const struct sim_kept *sim_kept_next(const struct simpool *p, char kind, const struct sim_kept *last);
/* The state file knows of all that is gone. */
void sim_kept_told(struct simpool *p);
void sim_kept_close(struct simpool *p);

#endif
