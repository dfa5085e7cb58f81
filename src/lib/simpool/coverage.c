/*
 * How each message is answered, as `xenkit sim --coverage` lists it.
 *
 * Which messages have a behaviour the rows themselves say. Some of these behaviours can only refuse, because the real
 * server does, or because what they need no simulated host has; they stand here, each with its reason.
 */
#include "lib/simpool/inner.h"

#include <string.h>

static const struct {
    const char *message, *why;
} refusals[] = {
    {"host.get_log", "the real server has not implemented it"},
    {"host.list_methods", "the real server has not implemented it"},
    {"host.dmesg_clear", "the real server has not implemented it"},
    {"VM.send_sysrq", "the real server has not implemented it"},
    {"VM.send_trigger", "the real server has not implemented it"},
    {"VM.query_services", "the real server has not implemented it"},
    {"VM.add_to_VCPUs_params_live", "the real server has not implemented it"},
    {"VM.hard_reboot_internal", "an assertion of the real server fails"},
    {"host.update_master", "an assertion of the real server fails"},
    {"VDI.force_unlock", "the real server says MESSAGE_DEPRECATED"},
    {"SR.get_live_hosts", "the real server says MESSAGE_DEPRECATED"},
    {"VDI.db_introduce", "for storage drivers' sessions, which clients have not"},
    {"VDI.db_forget", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_sharable", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_managed", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_read_only", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_missing", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_virtual_size", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_physical_utilisation", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_is_a_snapshot", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_snapshot_of", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_snapshot_time", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_metadata_of_pool", "for storage drivers' sessions, which clients have not"},
    {"VDI.set_cbt_enabled", "for storage drivers' sessions, which clients have not"},
    {"SR.set_physical_size", "for storage drivers' sessions, which clients have not"},
    {"SR.set_virtual_allocation", "for storage drivers' sessions, which clients have not"},
    {"SR.set_physical_utilisation", "for storage drivers' sessions, which clients have not"},
    {"PBD.set_device_config", "for storage drivers' sessions, which clients have not"},
    {"VDI.open_database", "no disk of a simulated SR holds a database"},
    {"VDI.revert", "no storage driver has it"},
    {"LVHD.enable_thin_provisioning", "an extension that hosts do not have"},
    {"VM.import_convert", "needs the conversion appliance"},
    {"VM.retrieve_wlb_recommendations", "needs a workload balancing server"},
    {"pool.retrieve_wlb_recommendations", "needs a workload balancing server"},
    {"pool.retrieve_wlb_configuration", "needs a workload balancing server"},
    {"host.retrieve_wlb_evacuate_recommendations", "needs a workload balancing server"},
    {"network_sriov.create", "no card of a simulated host has virtual functions"},
    {"host.mxgpu_vf_setup", "no simulated host has such a card"},
    {"host.nvidia_vf_setup", "no simulated host has such a card"},
    {"host.cert_distrib_atom", "hosts speak it in a form of their own"},
    {"pool_update.introduce", "no disk of a simulated SR holds an update"},
    {"pool_update.attach", "no disk of a simulated SR holds an update"},
    {"pool_update.apply", "no disk of a simulated SR holds an update"},
    {"pool_update.pool_apply", "no disk of a simulated SR holds an update"},
    {"pool_update.precheck", "no disk of a simulated SR holds an update"},
    {"pool_patch.apply", "the real server takes no patches any more"},
    {"pool_patch.pool_apply", "the real server takes no patches any more"},
    {"pool_patch.precheck", "the real server takes no patches any more"},
    {"pool_patch.clean", "the real server takes no patches any more"},
    {"pool_patch.pool_clean", "the real server takes no patches any more"},
    {"pool_patch.clean_on_host", "the real server takes no patches any more"},
    {"host_patch.apply", "the real server takes no patches any more"},
    {"Repository.apply", "no repository is in reach"},
    {"Repository.apply_livepatch", "no repository is in reach"},
    {"host.management_disable", "nobody could reach the host any more, and it has no console"},
};

/* What the real server does and this one does not. */
static const struct {
    const char *message, *why;
} missing[] = {
    {"pool.sync_trusted_certificates_from", "the pool asks no other one for its certificates"},
};

enum simpool_coverage simpool_coverage(unsigned message_index, const char **ret_why)
{
    const struct xapi_message *const m = &xapi_messages[message_index];
    const char *const name = xapi_text(m->name);
    bool own = false;

    *ret_why = m->flags & XAPI_MESSAGE_POOL ? "only for sessions of the pool itself" : "";
    if (m->state == XAPI_REMOVED)
        return SIMPOOL_REMOVED;
    for (size_t i = 0; sim_all_rows[i]; i++)
        for (const struct sim_row *row = sim_all_rows[i]; row->message; row++)
            own |= strcmp(row->message, name) == 0;
    for (size_t i = 0; i < XK_COUNT(refusals); i++)
        if (strcmp(refusals[i].message, name) == 0) {
            *ret_why = refusals[i].why;
            return SIMPOOL_REFUSED;
        }
    if (own)
        return SIMPOOL_BEHAVIOUR;
    for (size_t i = 0; i < XK_COUNT(missing); i++)
        if (strcmp(missing[i].message, name) == 0)
            *ret_why = missing[i].why;
    return m->kind == XAPI_CUSTOM ? SIMPOOL_UNSUPPORTED : SIMPOOL_TABLE;
}
