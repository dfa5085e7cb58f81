/*
 * Who may do what: the static roles and permissions, the directory of users outside the pool, and what of them a
 * session has. Facts: xapi's rbac.ml, xapi_role.ml, xapi_session.ml and extauth.ml (2026-08).
 */
#ifndef LIB_SIMPOOL_ACCESS_H
#define LIB_SIMPOOL_ACCESS_H

#include "lib/simpool/inner.h"

/* ---- roles.c ---- */

/* The roles whose name labels these are: a mask of XAPI_ROLE_…; 0: there is no such role. */
unsigned sim_role_named(const char *name_label);
/* The same for a role's reference. 0: it is none, or a permission. */
unsigned sim_role_referred(const char *ref);
/* The reference of the role that the lowest bit of the mask stands for. */
void sim_role_ref(unsigned role, char ret[SIM_REF_BYTES]);

/* Whether the call's session may make it; its error is recorded otherwise. */
enum sim_outcome sim_access_check(struct sim_call *c);
/* Whether it may do something that is no message, "task.destroy/any" for one, and that `roles` may. */
bool sim_access_has(const struct sim_session *s, unsigned roles);
#define SIM_DENIAL_BYTES 512
/* The sentence that says who would have had the permission. */
void sim_access_denial(char ret[SIM_DENIAL_BYTES], unsigned roles);
enum sim_outcome sim_access_deny(struct sim_call *c, const char *permission, unsigned roles);
/* Names of all permissions that the roles have together. */
void sim_access_list(struct xapi_build *b, unsigned roles);

/* ---- directory.c ---- */

#define SIM_USERS_MAX      1024
#define SIM_USER_NAME_MAX  128
#define SIM_DIRECTORY_NAME "sim.example"

/* Somebody, or a group, that the directory knows. */
struct sim_person {
    char name[SIM_USER_NAME_MAX], sid[48];
    char *password; /* NULL: a group */
    unsigned role;  /* to begin with; 0: none */
    unsigned number;
    unsigned groups[8], group_count; /* numbers of groups */
};

struct sim_directory {
    struct sim_person people[SIM_USERS_MAX];
    unsigned count;
};

/*
 * Read a directory: a line for each user, NAME:PASSWORD[:ROLE[:GROUP,GROUP…]]; empty lines and lines with # are
 * skipped.
 *
 * returns   0; -EINVAL: a line is none, and which; -E2BIG; -ENOMEM.
 */
int sim_directory_read(struct sim_directory **ret, const char *text, struct xk_err *err);
void sim_directory_close(struct sim_directory *d);
/* "name", "name@domain" or "DOMAIN\name". NULL: the directory knows nobody of that name. */
const struct sim_person *sim_directory_named(const struct sim_directory *d, const char *name);
const struct sim_person *sim_directory_identified(const struct sim_directory *d, const char *sid);
/* What a subject's other_config says of somebody, into an open map. */
void sim_directory_describe(const struct sim_person *who, struct xapi_build *b);
/* Enable it on every host from the start, with a subject for each user that has a role. */
void sim_directory_enable(struct simpool *p);

/* ---- subject.c ---- */

/* What a user has who gave the right password: a subject of the pool and its roles. */
struct sim_standing {
    const struct sim_person *who;
    const struct sim_object *subject;
    unsigned roles;
};
/* returns   SIM_DONE, or SIM_FAILED with the error that login answers recorded. */
enum sim_outcome sim_subject_login(struct sim_call *c, const char *user, const char *password,
                                   struct sim_standing *ret);
/* End the sessions of those that have no subject any more. */
void sim_subjects_revalidate(struct simpool *p);
/* A subject for somebody. NULL: no memory. */
struct sim_object *sim_subject_add(struct simpool *p, const struct sim_person *who, unsigned role);

extern const struct sim_row sim_role_rows[], sim_subject_rows[];

#endif
