/*
 * What the files of machines, storage and networks share: small readers of objects, refusals, allowed operations.
 *
 * May something be done? One function for each class answers it, both before it is done and for the object's
 * allowed_operations, so that what is offered and what is refused can never differ.
 */
#ifndef LIB_SIMPOOL_OPS_H
#define LIB_SIMPOOL_OPS_H

#include "lib/simpool/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define SIM_MIB          INT64_C(1048576)
#define SIM_DEVICE_BYTES (INT64_C(1) << 40) /* of a disk or share that nobody gave a size */

/* ---- reading ---- */

static inline bool sim_same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}
/* Whether a text field has that word. */
bool sim_is(const struct sim_object *o, const char *field, const char *word);
/* The text under a key of a map field. NULL: there is none. */
const char *sim_pair(const struct sim_object *o, const char *field, const char *key);
/* The same for "1" and "true". */
bool sim_pair_is_true(const struct sim_object *o, const char *field, const char *key);
/* The objects that a set of refs names, one after the other; *at begins at 0. NULL: no more. */
struct sim_object *sim_member(const struct simpool *p, const struct sim_object *o, const char *field, size_t *at);
/* Whether a ref means nothing: "" or OpaqueRef:NULL. */
bool sim_is_null(const char *ref);
/* The object that an argument names, or NULL without an error when it names none. */
struct sim_object *sim_arg_or_null(const struct sim_call *c, unsigned arg);
/* A record argument's member as text, "" when it has none. */
const char *sim_record_text(const struct xapi_value *record, const char *key);
bool sim_record_true(const struct xapi_value *record, const char *key);
/* The value under a key of a map argument. NULL: there is none. */
const char *sim_option(const struct xapi_value *map, const char *key);
struct sim_object *sim_pool_object(const struct simpool *p);
struct sim_object *sim_master(const struct simpool *p);

/* ---- changing ---- */

void sim_put_real(struct simpool *p, struct sim_object *o, const char *field, double v);
/* Set one pair of a map of texts; NULL takes it out. */
void sim_put_pair(struct simpool *p, struct sim_object *o, const char *field, const char *key, const char *text);
/* Delete every object that a set of refs names. */
void sim_delete_members(struct simpool *p, struct sim_object *o, const char *field);
/* A VBD or VIF, with its metrics. */
void sim_device_delete(struct simpool *p, struct sim_object *device);
/* The same object again, with a uuid of its own and outside of all relations; state that no copy has is left out. */
struct sim_object *sim_copy(struct simpool *p, const struct sim_object *from);
/* A message for administrators about an object; the oldest go when there are too many. */
void sim_message(struct simpool *p, const char *name, const char *cls, const struct sim_object *about,
                 const char *body);
/* A locally administered unicast address, as text. */
void sim_new_mac(struct simpool *p, char ret[24]);

/* ---- refusals ---- */

#define SIM_WHY_PARAMS 5
#define SIM_WHY_BYTES  256

/* Why something may not be done: a code and its parameters, borrowed or in `text`. */
struct sim_why {
    const char *code;
    const char *params[SIM_WHY_PARAMS]; /* the first NULL ends them */
    char text[2][SIM_WHY_BYTES];
};

/* Note why not, if anybody asks (why may be NULL). returns false. */
bool sim_deny(struct sim_why *why, const char *code, ...) __attribute__((sentinel));
/* The refusal as the error of a call. */
enum sim_outcome sim_refuse(struct sim_call *c, const struct sim_why *why);
/* OTHER_OPERATION_IN_PROGRESS for pair number `at` of the object's current_operations. returns false. */
bool sim_deny_busy(struct sim_why *why, const struct sim_object *o, size_t at);
enum sim_outcome sim_invalid(struct sim_call *c, const char *what, const char *value);
enum sim_outcome sim_invalid_int(struct sim_call *c, const char *what, int64_t value);
enum sim_outcome sim_done_ref(struct sim_call *c, const struct sim_object *o);

/* Which operations of a device may begin; operation n of its enum is bit n. */
struct sim_question {
    unsigned may; /* what nothing was found against yet */
    unsigned op;  /* the one that is asked for; 0: all of them */
    struct sim_why *why;
};
/* Something keeps those operations from being done. returns whether it is the first that keeps `op`. */
bool sim_question_first(struct sim_question *q, unsigned ops);
/* The same; the arguments go to sim_deny() when it is the first. */
#define SIM_KEEP(q, ops, ...)                                                                                          \
    do {                                                                                                               \
        if (sim_question_first(q, ops))                                                                                \
            (void)sim_deny((q)->why, __VA_ARGS__, NULL);                                                               \
    } while (0)

/* ---- allowed operations ---- */

/* Bit n of the mask: word n of the enum that the class's allowed_operations have. */
void sim_put_allowed(struct simpool *p, struct sim_object *o, uint64_t mask);
/* Compute them anew for a machine and all its devices and disks. */
void sim_vm_refresh(struct simpool *p, struct sim_object *vm);

void sim_vm_allowed(struct simpool *p, struct sim_object *vm);
void sim_vm_allowed_only(struct simpool *p, struct sim_object *vm);
void sim_vbd_allowed(struct simpool *p, struct sim_object *vbd);
void sim_vif_allowed(struct simpool *p, struct sim_object *vif);
void sim_vdi_allowed(struct simpool *p, struct sim_object *vdi);
void sim_sr_allowed(struct simpool *p, struct sim_object *sr);
void sim_appliance_allowed(struct simpool *p, struct sim_object *appliance);

/* May it begin? `op` is a word of the class's enum. */
bool sim_vm_may(const struct simpool *p, const struct sim_object *vm, const char *op, bool strict, struct sim_why *why);
/* The machine of argument 0 when it may, strictly. NULL: answered. */
struct sim_object *sim_vm_asked(struct sim_call *c, const char *op);
bool sim_vbd_may(const struct simpool *p, const struct sim_object *vbd, const char *op, struct sim_why *why);
bool sim_vif_may(const struct simpool *p, const struct sim_object *vif, const char *op, struct sim_why *why);
bool sim_vdi_may(const struct simpool *p, const struct sim_object *vdi, const char *op, struct sim_why *why);
bool sim_sr_may(const struct simpool *p, const struct sim_object *sr, const char *op, struct sim_why *why);

/* ---- machines: vm-check.c, vm-place.c, vm.c ---- */

enum sim_power { SIM_IS_HALTED = 1, SIM_IS_PAUSED = 2, SIM_IS_RUNNING = 4, SIM_IS_SUSPENDED = 8 };

enum sim_power sim_vm_power(const struct sim_object *vm);
bool sim_vm_is_live(const struct sim_object *vm); /* running or paused */
bool sim_vm_is_dom0(const struct sim_object *vm);
/* VM_BAD_POWER_STATE unless the power is among the states; they are named in the order of the mask `expected`. */
bool sim_vm_has_power(const struct sim_object *vm, unsigned states, const char *expected, struct sim_why *why);
const char *sim_vm_power_word(const struct sim_object *vm); /* in lower case */

/* Whether the machine is about to stop or sleep; the text says so, as devices answer then. */
bool sim_vm_stops(const struct sim_object *vm, char ret[SIM_WHY_BYTES]);
/* Do devices come and go while its guest runs? field: can_use_hotplug_vbd or _vif. NULL: yes; else the error's code. */
const char *sim_guest_hotplug(const struct simpool *p, const struct sim_object *vm, const char *field);
bool sim_mac_is_valid(const char *text);

int64_t sim_vm_overhead(const struct sim_object *vm);
int64_t sim_host_memory_free(const struct simpool *p, const struct sim_object *host);
void sim_host_memory_take(struct simpool *p, const struct sim_object *host, int64_t bytes);

enum {
    SIM_BOOT_ANY_SR = 1,     /* storage need not be visible */
    SIM_BOOT_ANY_MEMORY = 2, /* memory need not be free */
};
/* Could the machine run on that host? */
bool sim_vm_can_boot(const struct simpool *p, const struct sim_object *vm, const struct sim_object *host,
                     unsigned without, struct sim_why *why);
/* The best host that it could run on. NULL: none, with NO_HOSTS_AVAILABLE. */
struct sim_object *sim_vm_choose_host(const struct simpool *p, const struct sim_object *vm, struct sim_why *why);
bool sim_host_sees_sr(const struct simpool *p, const struct sim_object *host, const char *sr);
/* Which plugged PBD is the way to an SR. NULL: SR_HAS_NO_PBDS. */
struct sim_object *sim_sr_pbd(const struct simpool *p, const struct sim_object *sr, struct sim_why *why);

/*
 * The first half of most operations on a machine: it is argument `arg`, is asked whether it may, and works.
 *
 * arg       the machine's place among the arguments.
 */
enum sim_outcome sim_vm_begin(struct sim_call *c, unsigned arg, const char *op, double seconds, sim_behaviour *finish,
                              bool cancellable);
/* The machine runs there from now on, or is halted or suspended. */
void sim_vm_arrive(struct simpool *p, struct sim_object *vm, struct sim_object *host, const char *state);
void sim_vm_leave(struct simpool *p, struct sim_object *vm, const char *state);
/* It runs there from now on, without having noticed. */
void sim_vm_move(struct simpool *p, struct sim_object *vm, struct sim_object *host);
/*
 * Start or resume it now.
 *
 * host      where; NULL: on the best one.
 * returns   false: why not.
 */
bool sim_vm_run(struct simpool *p, struct sim_object *vm, struct sim_object *host, bool paused, struct sim_why *why);
/* A snapshot of it, or with its memory a checkpoint. NULL: no memory, or (why) it may not be made. */
struct sim_object *sim_vm_snapshot(struct simpool *p, struct sim_object *vm, const char *name, bool checkpoint,
                                   struct sim_why *why);
/* Stop it where it stands; the memory of a suspended one is lost. */
void sim_vm_halt(struct simpool *p, struct sim_object *vm);
/* The strings of a machine that has none of its own. */
void sim_vm_bios_fill(struct simpool *p, struct sim_object *vm);
/* A disk for the memory of a machine, in its suspend_VDI. NULL: no memory. */
struct sim_object *sim_vm_image_create(struct simpool *p, struct sim_object *vm, struct sim_object *sr);
/* The address that a machine's device number `device` gets from the seed in its other_config. */
void sim_mac_of(const char *seed, int64_t device, char ret[24]);
/* The report of a guest's agent, in vm's guest_metrics. */
struct sim_object *sim_guest_create(struct simpool *p, struct sim_object *vm, const char *address);
/* Everything of it goes; its disks stay. */
void sim_vm_destroy(struct simpool *p, struct sim_object *vm);

/* ---- interfaces ---- */

/* The address of a host's card number `card`. */
void sim_card_mac(unsigned host, unsigned card, char ret[24]);
/* The interface of a card that is not known yet, on the network of its bridge. NULL: no memory. */
struct sim_object *sim_card_introduce(struct simpool *p, const char *host, const char *device, const char *mac,
                                      bool managed);

/* ---- disks ---- */

/* A disk like another one, with its own location. snapshot: it is one of `from`. */
struct sim_object *sim_vdi_copy(struct simpool *p, const struct sim_object *from, const char *sr, bool snapshot);
void sim_vdi_destroy(struct simpool *p, struct sim_object *vdi);
struct sim_object *sim_vdi_create(struct simpool *p, struct sim_object *sr, int64_t bytes, const char *type);
/* The same disk on another SR: its devices and snapshots follow, the old one goes. NULL: no memory. */
struct sim_object *sim_vdi_move(struct simpool *p, struct sim_object *vdi, struct sim_object *sr);
/* The behaviour of messages that only a storage driver's session may use. */
enum sim_outcome sim_for_drivers_only(struct sim_call *c);
/* Whether the driver of an SR says that it can. */
bool sim_sr_has_feature(const struct simpool *p, const struct sim_object *sr, const char *feature);
/* The SM record of a type. NULL: there is no such driver. */
const struct sim_object *sim_sr_driver(const struct simpool *p, const char *type);
/* What the SR and its disks allow, after a PBD of it changed. */
void sim_sr_refresh(struct simpool *p, struct sim_object *sr);
/* A configuration whose passwords became secrets, which it only names. Of the call's arena. */
struct xapi_value sim_pbd_config(struct sim_call *c, const struct xapi_value *config);
struct sim_object *sim_pbd_create(struct simpool *p, const struct sim_object *sr, const struct sim_object *host,
                                  const struct xapi_value *config);
/* With the secrets that its configuration names. */
void sim_pbd_destroy(struct simpool *p, struct sim_object *pbd);
/* The storage drivers that are there at the start. */
void sim_seed_drivers(struct simpool *p);
/* Room on the SR for so many more bytes. */
bool sim_sr_has_room(const struct sim_object *sr, int64_t bytes, struct sim_why *why);
/* With its PBDs and the records of its disks. */
void sim_sr_forget(struct simpool *p, struct sim_object *sr);
void sim_sr_take(struct simpool *p, struct sim_object *sr, int64_t bytes);

/* What a report of a host's state can hold, as XML. */
void sim_report_capabilities(struct xk_buf *text);

extern const struct sim_row sim_vm_set_rows[], sim_vm_ask_rows[], sim_vm_copy_rows[], sim_import_rows[],
    sim_migrate_rows[], sim_vbd_rows[], sim_vif_rows[], sim_vdi_rows[], sim_sr_rows[], sim_network_rows[],
    sim_pif_rows[], sim_appliance_rows[], sim_bond_rows[], sim_overlay_rows[], sim_device_rows[], sim_blob_rows[],
    sim_recover_rows[], sim_pvs_rows[], sim_caller_rows[], sim_vdi_ask_rows[], sim_vm_size_rows[], sim_pbd_rows[];

#endif
