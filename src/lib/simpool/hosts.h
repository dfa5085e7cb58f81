/*
 * The hosts as machines: which are up, whom they take for their master, and what happens when they stop.
 *
 * The database knows hosts as records; here is what nobody can read there. Number n is the host at address n.
 */
#ifndef LIB_SIMPOOL_HOSTS_H
#define LIB_SIMPOOL_HOSTS_H

#include "lib/simpool/inner.h"

/* ---- member.c ---- */

enum sim_stop {
    SIM_STOP_AGENT, /* its toolstack only: VMs run on, and others take it for alive a while */
    SIM_STOP_CLEAN, /* it says so before, and its VMs were shut down */
    SIM_STOP_CRASH, /* without a word: its VMs are dead, which nobody knows yet */
};

/* Nobody answers at the host's address any more. after_ns: it comes back by itself; 0: not before sim_member_start().
 */
void sim_member_stop(struct simpool *p, unsigned host, enum sim_stop how, uint64_t after_ns);
void sim_member_start(struct simpool *p, unsigned host);
void sim_members_close(struct simpool *p);
/* A host is up from now on; then all are. */
void sim_member_open(struct simpool *p, unsigned host);
void sim_members_open(struct simpool *p);
/* The collector's look at who was heard of lately. */
void sim_members_collect(struct simpool *p);

/* A fault keeps the host from answering, or no longer does. */
void sim_member_silence(struct simpool *p, unsigned host, bool silent);
/* Nobody can talk to it: it is down, or a fault keeps it from answering. */
bool sim_member_is_silent(const struct simpool *p, unsigned host);
/* Whether the host takes itself for the master. */
bool sim_is_master(const struct simpool *p, unsigned host);
/* The address of the one that it takes for the master. */
const char *sim_master_address(const struct simpool *p, unsigned host);
bool sim_is_in_emergency(const struct simpool *p, unsigned host);
/* Whom the host follows from now on; itself: it is a master. */
void sim_member_follow(struct simpool *p, unsigned host, unsigned master);
/* The number of a host. returns   SIMPOOL_HOSTS_MAX: it is none of the pool any more. */
unsigned sim_host_number(const struct simpool *p, const struct sim_object *host);
struct sim_object *sim_host_object(const struct simpool *p, unsigned host);
bool sim_host_is_live(const struct simpool *p, const struct sim_object *host);
bool sim_host_answers(const struct simpool *p, const struct sim_object *host);
/* The master's sessions and tasks are gone, as when its toolstack starts anew. */
void sim_master_forgets(struct simpool *p);

/* ---- host-vms.c ---- */

/* A VM and where it shall go. */
struct sim_move {
    struct sim_object *vm, *to; /* to NULL: nowhere */
};

struct sim_why;

/* The VMs on a host; the caller frees them. *ret NULL: no memory. */
size_t sim_residents(const struct simpool *p, const struct sim_object *host, struct sim_move **ret);
/* The hosts that may take VMs, at most SIMPOOL_HOSTS_MAX, without one (or NULL). */
size_t sim_targets(const struct simpool *p, const struct sim_object *without, struct sim_object **hosts);
/* Find a place for each VM, the largest first. returns how many have one. */
size_t sim_plan(const struct simpool *p, struct sim_move *moves, size_t count, struct sim_object *const *hosts,
                size_t host_count);
/* Why a VM has no place among them. returns false. */
bool sim_plan_why(const struct simpool *p, const struct sim_move *move, struct sim_object *const *hosts,
                  size_t host_count, struct sim_why *why);

/* ---- host.c ---- */

/* The host that argument `arg` names, when the master can talk to it. NULL: the error was recorded. */
struct sim_object *sim_host_arg(struct sim_call *c, unsigned arg);
void sim_host_allowed(struct simpool *p, struct sim_object *host);
/* Note when it started. */
void sim_host_booted(struct simpool *p, struct sim_object *host);
void sim_stops_close(struct simpool *p);
/* A host and everything that is its own goes from the database. */
void sim_host_remove(struct simpool *p, struct sim_object *host);

/* ---- host-config.c ---- */

/* Access by SSH that was given for a time ends. */
void sim_ssh_collect(struct simpool *p);

/* ---- master.c ---- */

void sim_pool_allowed(struct simpool *p, struct sim_object *pool);
/* A host is the master from now on, and all the others know it. */
void sim_master_move(struct simpool *p, unsigned host);

/* ---- driver.c ---- */

/* The devices of a new host. */
void sim_seed_devices(struct simpool *p, struct sim_object *host);
/* It started: what dom0 shall see of its devices from now on, it sees. */
void sim_pci_booted(struct simpool *p, const struct sim_object *host);
void sim_drivers_forget(struct simpool *p, const struct sim_object *host);

/* ---- diagnose.c ---- */

/* Remember the User-Agent of who logs in. */
void sim_agent_note(struct sim_call *c);
void sim_diagnose_close(struct simpool *p);

/* ---- own-certificate.c ---- */

void sim_certificates_close(struct simpool *p);

/* ---- message.c ---- */

/* A message for administrators about an object. */
void sim_alert(struct simpool *p, const char *name, int64_t priority, const char *cls, const struct sim_object *about,
               const char *body);
/* The oldest go when there are too many. */
void sim_messages_collect(struct simpool *p);

/* ---- ha.c ---- */

/* Would the plan for the tolerated failures still hold without this host? The error is recorded otherwise. */
bool sim_ha_allows_disable(struct sim_call *c, const struct sim_object *host);
/* Compute the plan's fields anew. */
void sim_ha_update(struct simpool *p);
/* Whether the machine is one of those that shall always run. */
bool sim_ha_protects(const struct sim_object *vm);

/* ---- ha-restart.c ---- */

/* A host is gone: its machines are halted, and those that are protected start elsewhere. */
void sim_ha_host_failed(struct simpool *p, struct sim_object *host);
void sim_ha_close(struct simpool *p);

extern const struct sim_row sim_host_rows[], sim_host_config_rows[], sim_master_rows[], sim_ha_rows[],
    sim_message_rows[], sim_certificate_rows[], sim_update_rows[], sim_pool_config_rows[], sim_cluster_rows[],
    sim_driver_rows[], sim_diagnose_rows[], sim_neighbour_rows[];

#endif
