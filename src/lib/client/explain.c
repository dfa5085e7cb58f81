/*
 * The pool's errors as sentences. The names of the parameters come from the data model; the sentences and hints of
 * those that people meet most stand in a table here, where $1, $2 … are parameters. A code that is in neither is shown
 * as it is: newer servers have more of them.
 */
#include "lib/client/inner.h"

#include <stdio.h>
#include <string.h>

#define PARAM_SHOWN 120 /* bytes of one parameter */

static const struct row {
    const char *code, *text, *hint;
} rows[] = {
    {"CANNOT_CONTACT_HOST", "the pool cannot reach the host $1", "is it up, and its network?"},
    {"CANNOT_EVACUATE_HOST", "not all virtual machines can leave the host",
     "shut down or move those that are named by hand"},
    {"CHANGE_PASSWORD_REJECTED", "the password was not changed", ""},
    {"DEVICE_ALREADY_ATTACHED", "the device $1 is attached already", ""},
    {"DEVICE_ALREADY_DETACHED", "the device $1 is not attached", ""},
    {"DEVICE_ALREADY_EXISTS", "there is a device with the number $1 already",
     "VM.get_allowed_VBD_devices and VM.get_allowed_VIF_devices tell the free ones"},
    {"EVENTS_LOST", "events were lost, since they were not fetched in time",
     "read the records again; event.from loses none"},
    {"FEATURE_RESTRICTED", "the pool's licence does not include this", ""},
    {"FIELD_TYPE_ERROR", "the value of the field $1 is of a wrong type",
     "api describe CLASS.FIELD tells the right one"},
    {"HANDLE_INVALID", "there is no $1 with this ref",
     "it may have been removed; refs of another pool are unknown here"},
    {"HA_IS_ENABLED", "this cannot be done while high availability is on", "pool.disable_ha switches it off"},
    {"HA_NO_PLAN", "the pool could not restart all protected machines after a failure", ""},
    {"HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN",
     "after this the pool could not restart all protected machines after a failure", ""},
    {"HOST_BROKEN", "the host cannot work: its toolstack failed at its start",
     "its logs tell why: /var/log/xensource.log"},
    {"HOST_DISABLED", "the host is disabled", "host.enable enables it"},
    {"HOST_HAS_RESIDENT_VMS", "virtual machines run on the host", "host.evacuate moves them away"},
    {"HOST_IN_EMERGENCY_MODE", "the host is in emergency mode: it has lost its master",
     "--emergency logs in at the host itself; there pool.emergency_transition_to_master and "
     "pool.emergency_reset_master help"},
    {"HOST_IN_USE", "the host is in use by a $2", ""},
    {"HOST_IS_SLAVE", "this host is a slave, and its master is $1", "ask the master"},
    {"HOST_NOT_ENOUGH_FREE_MEMORY", "the host has $2 bytes of free memory, and $1 are needed",
     "shut down a machine, choose another host, or give this one less memory"},
    {"HOST_NOT_ENOUGH_PCPUS", "the machine has $1 VCPUs and the host $2 processors", ""},
    {"HOST_NOT_LIVE", "the host does not answer", "is it up, and its toolstack?"},
    {"HOST_OFFLINE", "the host $1 is off, or its toolstack is", ""},
    {"HOST_STILL_BOOTING", "the host is still starting", "try again in a minute"},
    {"HOST_UNKNOWN_TO_MASTER", "the master does not know this host", ""},
    {"INTERNAL_ERROR", "the server failed: $1", "its log has more: /var/log/xensource.log"},
    {"INVALID_VALUE", "the value of $1 is not possible: $2", ""},
    {"LICENCE_RESTRICTION", "the pool's licence does not include $1", ""},
    {"MAP_DUPLICATE_KEY", "the map $2 has the key $4 already", "remove_from_… first, or set the whole map"},
    {"MESSAGE_DEPRECATED", "this message is out of use", ""},
    {"MESSAGE_METHOD_UNKNOWN", "this server has no message $1",
     "it may be older than the message: api describe tells since when it is there"},
    {"MESSAGE_PARAMETER_COUNT_MISMATCH", "$1 takes $2 arguments, and $3 were given",
     "the server may be of another release"},
    {"MESSAGE_REMOVED", "this server does not have the message any more", ""},
    {"NOT_IMPLEMENTED", "the server does not implement $1", ""},
    {"NO_HOSTS_AVAILABLE", "no host can run this machine now",
     "are the hosts enabled, with memory, and do they see its storage and networks?"},
    {"OPERATION_BLOCKED", "somebody has blocked this operation",
     "blocked_operations of the object has it; the reason given is $2"},
    {"OPERATION_NOT_ALLOWED", "this is not allowed: $1", "allowed_operations of the object tells what is"},
    {"OTHER_OPERATION_IN_PROGRESS", "another operation is at work on this $1",
     "current_operations of the object names its task; try again when it has ended"},
    {"OUT_OF_SPACE", "there is no space left at $1", ""},
    {"PERMISSION_DENIED", "this is not permitted", ""},
    {"RBAC_PERMISSION_DENIED", "the user's role may not do $1", "api describe tells which roles may"},
    {"SESSION_AUTHENTICATION_FAILED", "the user or the password is wrong",
     "an account of a directory is given as USER@DOMAIN"},
    {"SESSION_AUTHORIZATION_FAILED", "the user has no role in this pool",
     "subject.create and subject.add_to_roles give one"},
    {"SESSION_INVALID", "the session has ended",
     "idle for a day, or the oldest of too many: pool sessions shows who has them"},
    {"SESSION_NOT_REGISTERED", "the session is registered for no events",
     "event.register comes first; event.from needs none"},
    {"SR_BACKEND_FAILURE", "the storage driver failed: $3", "the host's /var/log/SMlog has more"},
    {"SR_FULL", "the storage is full: $1 bytes are wanted, $2 are there", ""},
    {"SR_HAS_NO_PBDS", "the storage is attached to no host", "PBD.create and PBD.plug attach it"},
    {"SR_NOT_ATTACHED", "the storage is not attached", "PBD.plug attaches it"},
    {"SR_NOT_EMPTY", "the storage holds disks", ""},
    {"TASK_CANCELLED", "the task was cancelled", ""},
    {"TOO_BUSY", "the server is too busy", "try again later"},
    {"TOO_MANY_PENDING_TASKS", "too many tasks wait already", "try again later"},
    {"UUID_INVALID", "there is no $1 with the uuid $2", ""},
    {"VALUE_NOT_SUPPORTED", "the value $2 of $1 is not supported: $3", ""},
    {"VBD_IS_EMPTY", "the drive is empty", ""},
    {"VBD_NOT_EMPTY", "the drive holds a disk", "VBD.eject takes it out"},
    {"VDI_IN_USE", "the disk is in use", "which machine holds it: VBDs of the disk"},
    {"VDI_MISSING", "the disk is not on its storage any more", "SR.scan looks again"},
    {"VDI_NOT_AVAILABLE", "the disk cannot be reached", "is its storage attached to the host?"},
    {"VDI_READONLY", "the disk is read-only", ""},
    {"VM_BAD_POWER_STATE", "the machine is $3, and it has to be $2 for this", ""},
    {"VM_CANNOT_DELETE_DEFAULT_TEMPLATE", "a template that came with the product cannot be removed", ""},
    {"VM_HVM_REQUIRED", "the host's processor has no virtualization, or it is switched off",
     "the firmware's settings have it"},
    {"VM_IS_PROTECTED", "the machine is protected by high availability", ""},
    {"VM_IS_SNAPSHOT", "this is a snapshot", "clone it to have a machine"},
    {"VM_IS_TEMPLATE", "this is a template", "clone it, then VM.provision, to have a machine"},
    {"VM_LACKS_FEATURE", "the machine lacks what this needs", "are the guest tools installed and running?"},
    {"VM_MISSING_PV_DRIVERS", "the machine has no guest drivers", "install the guest tools in it"},
    {"VM_NO_VCPUS", "the machine has no VCPU", ""},
    {"VM_REQUIRES_SR", "the machine needs a storage that the host does not see", ""},
    {"VM_REQUIRES_NETWORK", "the machine needs a network that the host does not have", ""},
    {"VM_SHUTDOWN_TIMEOUT", "the machine did not shut down within $2 seconds", "VM.hard_shutdown does not ask it"},
};

static const struct row *find(const char *code)
{
    for (size_t i = 0; i < XK_COUNT(rows); i++)
        if (strcmp(rows[i].code, code) == 0)
            return &rows[i];
    return NULL;
}

/* A template with its parameters; one that is missing is left out. */
static void fill(struct xk_buf *b, const char *text, const char *const *params, unsigned count)
{
    for (const char *c = text; *c; c++) {
        if (*c != '$' || c[1] < '1' || c[1] > '9') {
            xk_buf_add_char(b, *c);
            continue;
        }
        const unsigned at = (unsigned)(*++c - '1');
        xk_buf_printf(b, "%.*s", PARAM_SHOWN, at < count ? params[at] : "?");
    }
}

/* "CODE", or "CODE: name value, name value" as the data model names them. */
static void add_details(struct xk_buf *b, const char *code, const char *const *params, unsigned count)
{
    const struct xapi_error *const known = xapi_error_find(code);
    const char *name = known ? xapi_text(known->params) : "";

    xk_buf_add_str(b, code);
    for (unsigned i = 0; i < count; i++) {
        const size_t bytes = strcspn(name, ",");
        xk_buf_printf(b, "%s%.*s%s%.*s", i ? ", " : ": ", (int)bytes, name, bytes ? " " : "", PARAM_SHOWN, params[i]);
        name += bytes + (name[bytes] == ',');
    }
}

void client_explain(char *ret_text, size_t text_bytes, char *ret_hint, size_t hint_bytes, const char *code,
                    const char *const *params, unsigned count)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(1u << 20), hint = XK_BUF_INIT(1u << 20);
    const struct row *const row = find(code);

    if (row) {
        fill(&text, row->text, params, count);
        fill(&hint, row->hint, params, count);
        xk_buf_add_str(&text, " (");
    }
    add_details(&text, code, params, count);
    if (row)
        xk_buf_add_char(&text, ')');
    snprintf(ret_text, text_bytes, "%s", xk_buf_str(&text));
    snprintf(ret_hint, hint_bytes, "%s", xk_buf_str(&hint));
}
