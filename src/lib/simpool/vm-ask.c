/* What can be asked about a machine: where it could run, what it may, what it needs; and its plugins. */
#include "lib/simpool/ops.h"

#define SCRIPT_BYTES_MAX 1024

/* What a simulated firmware's store of variables holds, in base64: the names of the keys that are there. */
#define USER_MODE  "UEsgS0VLIGRiIGRieA==" /* PK KEK db dbx */
#define SETUP_MODE "LQ=="                 /* none of them */

static enum sim_outcome assert_operation_valid(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    return sim_vm_may(c->pool, vm, sim_arg_text(c, 1), true, &why) ? SIM_DONE : sim_refuse(c, &why);
}

static enum sim_outcome update_allowed_operations(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    sim_vm_refresh(c->pool, vm);
    return SIM_DONE;
}

static enum sim_outcome get_possible_hosts(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const vm = sim_arg(c, 0);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    if (!vm)
        return SIM_FAILED;
    xapi_build_open(&b, XAPI_LIST);
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (sim_vm_can_boot(p, vm, host, 0, NULL))
            xapi_build_text(&b, host->ref);
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome assert_can_boot_here(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0), *const host = vm ? sim_arg(c, 1) : NULL;
    struct sim_why why;

    if (!host)
        return SIM_FAILED;
    return sim_vm_can_boot(c->pool, vm, host, 0, &why) ? SIM_DONE : sim_refuse(c, &why);
}

static bool is_everywhere(const struct simpool *p, const struct sim_object *sr)
{
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (!sim_host_sees_sr(p, host, sr->ref))
            return false;
    return sim_bool(sr, "shared");
}

static bool network_is_everywhere(const struct simpool *p, const struct sim_object *network)
{
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        const struct sim_object *pif;
        bool here = false;
        for (size_t at = 0; (pif = sim_member(p, network, "PIFs", &at));)
            here |= sim_is(pif, "host", host->ref) && sim_bool(pif, "currently_attached");
        if (!here)
            return false;
    }
    return true;
}

/* Could it run on any host? */
static enum sim_outcome assert_agile(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const vm = sim_arg(c, 0), *device;

    if (!vm)
        return SIM_FAILED;
    if (sim_get(vm, "attached_PCIs")->count)
        return sim_fail(c, "VM_HAS_PCI_ATTACHED", vm->ref, NULL);
    if (sim_get(vm, "VGPUs")->count)
        return sim_fail(c, "VM_HAS_VGPU", vm->ref, NULL);
    if (sim_get(vm, "VUSBs")->count)
        return sim_fail(c, "VM_HAS_VUSBS", vm->ref, NULL);
    for (size_t at = 0; (device = sim_member(p, vm, "VBDs", &at));) {
        const struct sim_object *const vdi = sim_bool(device, "empty") ? NULL : sim_follow(p, device, "VDI");
        const struct sim_object *const sr = vdi ? sim_follow(p, vdi, "SR") : NULL;
        if (sr && !is_everywhere(p, sr))
            return sim_fail(c, "HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", sr->ref, NULL);
    }
    for (size_t at = 0; (device = sim_member(p, vm, "VIFs", &at));) {
        const struct sim_object *const network = sim_follow(p, device, "network");
        if (network && !network_is_everywhere(p, network))
            return sim_fail(c, "HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED", network->ref, NULL);
    }
    return SIM_DONE;
}

static enum sim_outcome compute_memory_overhead(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    c->result = xapi_int(sim_vm_overhead(vm));
    return SIM_DONE;
}

/*
 * The largest memory that fits into that much of a host's: overhead grows with memory, so half the distance again and
 * again finds it.
 */
static enum sim_outcome maximise_memory(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);
    const int64_t vcpus = c->args[2].truth ? 64 : vm ? sim_int(vm, "VCPUs_max") : 0;

    if (!vm)
        return SIM_FAILED;
    int64_t low = 0, high = c->args[1].integer / SIM_MIB;
    while (low < high) {
        const int64_t middle = low + (high - low + 1) / 2;
        const int64_t shadow = (256 * vcpus + 2 * middle + 255) / 256;
        if (middle + (sim_is(vm, "domain_type", "pv") ? 1 : shadow + 2) <= c->args[1].integer / SIM_MIB)
            low = middle;
        else
            high = middle - 1;
    }
    c->result = xapi_int(low * SIM_MIB);
    return SIM_DONE;
}

/* Deprecated, and always this. */
static enum sim_outcome get_cooperative(struct sim_call *c)
{
    c->result = xapi_bool(true);
    return sim_arg(c, 0) ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome get_boot_record(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);
    struct xapi_raw *const raw = xk_arena_alloc(&c->arena, sizeof(*raw));
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_may(c->pool, vm, "get_boot_record", true, &why))
        return sim_refuse(c, &why);
    if (!raw || sim_record(raw, vm) < 0)
        return sim_no_memory(c);
    c->result = (struct xapi_value){.shape = XAPI_RAW, .raw = raw};
    return SIM_DONE;
}

/* ---- plugins ---- */

static enum sim_outcome plugin_failed(struct sim_call *c, const char *status, const char *text)
{
    return sim_fail(c, "XENAPI_PLUGIN_FAILURE", status, text, text, NULL);
}

static enum sim_outcome run_script(struct sim_call *c)
{
    static const char *const needed[] = {"username", "password", "script"};
    const struct xapi_value *const args = &c->args[3];
    char text[64];

    if (!sim_pair_is_true(sim_pool_object(c->pool), "other_config", "allow_guest_agent_run_script"))
        return sim_fail(c, "FEATURE_RESTRICTED", NULL);
    for (size_t i = 0; i < XK_COUNT(needed); i++) {
        if (sim_option(args, needed[i]))
            continue;
        snprintf(text, sizeof(text), "Argument %s is required.", needed[i]);
        return sim_fail(c, "XENAPI_PLUGIN_FAILURE", "missing argument", "", text, NULL);
    }
    if (strlen(sim_option(args, "script")) > SCRIPT_BYTES_MAX)
        return sim_fail(c, "XENAPI_PLUGIN_FAILURE", "length restriction", "",
                        "The script length must not exceed 1024 bytes", NULL);
    /* No guest is there to run it; a real guest without an agent of that ability answers so. */
    return plugin_failed(
        c, "failed to execute fn",
        "The requested fn \"run-script\" of plugin \"guest-agent-operation\" could not be executed for "
        "lack of guest agent control feature.");
}

static enum sim_outcome call_plugin(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);
    const char *const plugin = sim_arg_text(c, 1), *const fn = sim_arg_text(c, 2);
    struct sim_why why;
    char text[256];

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_may(c->pool, vm, "call_plugin", true, &why))
        return sim_refuse(c, &why);
    if (!sim_same(plugin, "guest-agent-operation"))
        return sim_fail(c, "XENAPI_MISSING_PLUGIN", plugin, NULL);
    if (sim_same(fn, "run-script"))
        return run_script(c);
    if (sim_same(fn, "request-rdp-on") || sim_same(fn, "request-rdp-off")) {
        snprintf(text, sizeof(text),
                 "The requested fn \"%s\" of plugin \"%s\" could not be executed for lack of guest agent control "
                 "feature.",
                 fn, plugin);
        return plugin_failed(c, "failed to execute fn", text);
    }
    snprintf(text, sizeof(text), "The requested fn \"%.80s\" could not be found in plugin \"%s\".", fn, plugin);
    return plugin_failed(c, "failed to find fn", text);
}

/* The simulated hosts have no plugins of their own. */
static enum sim_outcome call_host_plugin(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (sim_vm_power(vm) != SIM_IS_RUNNING)
        return sim_fail(c, "VM_BAD_POWER_STATE", vm->ref, "Running", sim_text(vm, "power_state"), NULL);
    if (!sim_vm_may(c->pool, vm, "call_plugin", true, &why))
        return sim_refuse(c, &why);
    return sim_fail(c, "XENAPI_MISSING_PLUGIN", sim_arg_text(c, 1), NULL);
}

/* Needs a tool in the guest that no guest here has. */
static enum sim_outcome sysprep(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);
    struct sim_why why;
    char text[48];

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_may(c->pool, vm, "sysprep", true, &why))
        return sim_refuse(c, &why);
    if (c->args[2].real < 0) {
        snprintf(text, sizeof(text), "%.12g%s", c->args[2].real, c->args[2].real == -1 ? "." : "");
        return sim_invalid(c, "timeout", text);
    }
    return sim_fail(c, "SYSPREP", sim_text(vm, "uuid"), "API call is disabled", NULL);
}

/* ---- secure boot ---- */

static bool is_uefi(const struct sim_object *vm)
{
    const char *const firmware = sim_pair(vm, "HVM_boot_params", "firmware");

    return firmware && sim_same(firmware, "uefi");
}

static enum sim_outcome get_secureboot_readiness(struct sim_call *c)
{
    const struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    const bool on = sim_pair_is_true(vm, "platform", "secureboot");
    const char *const variables = sim_pair(vm, "NVRAM", "EFI-variables");
    c->result = xapi_str(!is_uefi(vm)                     ? "not_supported"
                         : !on                            ? "disabled"
                         : !variables                     ? "first_boot"
                         : sim_same(variables, USER_MODE) ? "ready"
                                                          : "setup_mode");
    return SIM_DONE;
}

/* The firmware's store with the pool's keys in it, or with none. */
static enum sim_outcome set_uefi_mode(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);

    if (!vm)
        return SIM_FAILED;
    sim_put_pair(c->pool, vm, "NVRAM", "EFI-variables", sim_same(sim_arg_text(c, 1), "user") ? USER_MODE : SETUP_MODE);
    c->result = xapi_str("");
    return SIM_DONE;
}

static enum sim_outcome update_secureboot_certificates_on_boot(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, 0);
    const bool mark = c->args[1].truth;

    if (!vm)
        return SIM_FAILED;
    if (!sim_is(vm, "secureboot_certificates_state", "update_available") &&
        !sim_is(vm, "secureboot_certificates_state", "update_on_boot"))
        return sim_fail(c, "OPERATION_NOT_ALLOWED",
                        mark ? "Cannot set update_on_boot: VM.secureboot_certificates_state is not in a valid state"
                             : "Cannot clear update_on_boot: VM.secureboot_certificates_state is not in a valid state",
                        NULL);
    sim_put_text(c->pool, vm, "secureboot_certificates_state", mark ? "update_on_boot" : "update_available");
    return SIM_DONE;
}

/* ---- balancing and recovery ---- */

static enum sim_outcome retrieve_wlb_recommendations(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    return sim_fail(c, *sim_text(sim_pool_object(c->pool), "wlb_url") ? "WLB_DISABLED" : "WLB_NOT_INITIALIZED", NULL);
}

/* A session of another pool's database: here, every good session is of this pool. */
static bool session_is_good(struct sim_call *c, unsigned arg)
{
    return sim_session_find(c->pool, sim_arg_text(c, arg)) ||
           !(sim_fail(c, "SESSION_INVALID", sim_arg_text(c, arg), NULL) == SIM_FAILED);
}

static bool is_needed(const struct simpool *p, const struct sim_object *vm, const struct sim_object *sr)
{
    const struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(p, vm, "VBDs", &at));) {
        const struct sim_object *const vdi = sim_is(vbd, "type", "CD") ? NULL : sim_follow(p, vbd, "VDI");
        if (vdi && sim_is(vdi, "SR", sr->ref) && !sim_is(sr, "content_type", "iso"))
            return true;
    }
    return false;
}

static enum sim_outcome assert_can_be_recovered(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const vm = sim_arg(c, 0);

    if (!vm || !session_is_good(c, 1))
        return SIM_FAILED;
    for (const struct sim_object *sr = sim_first(p, "SR"); sr; sr = sr->class_next)
        if (is_needed(p, vm, sr) && !sim_sr_pbd(p, sr, NULL))
            return sim_fail(c, "VM_REQUIRES_SR", vm->ref, sr->ref, NULL);
    return SIM_DONE;
}

static enum sim_outcome get_srs_required_for_recovery(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const vm = sim_arg(c, 0);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    if (!vm || !session_is_good(c, 1))
        return SIM_FAILED;
    xapi_build_open(&b, XAPI_LIST);
    for (const struct sim_object *sr = sim_first(p, "SR"); sr; sr = sr->class_next)
        if (is_needed(p, vm, sr) && !sim_sr_pbd(p, sr, NULL))
            xapi_build_text(&b, sr->ref);
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* The conversion appliance is a machine that nobody installed. */
static enum sim_outcome import_convert(struct sim_call *c)
{
    return sim_fail(c, "XENAPI_MISSING_PLUGIN", "conversion", NULL);
}

const struct sim_row sim_vm_ask_rows[] = {
    {"VM.assert_operation_valid", assert_operation_valid},
    {"VM.update_allowed_operations", update_allowed_operations},
    {"VM.get_possible_hosts", get_possible_hosts},
    {"VM.assert_can_boot_here", assert_can_boot_here},
    {"VM.assert_agile", assert_agile},
    {"VM.compute_memory_overhead", compute_memory_overhead},
    {"VM.maximise_memory", maximise_memory},
    {"VM.get_cooperative", get_cooperative},
    {"VM.get_boot_record", get_boot_record},
    {"VM.call_plugin", call_plugin},
    {"VM.call_host_plugin", call_host_plugin},
    {"VM.sysprep", sysprep},
    {"VM.get_secureboot_readiness", get_secureboot_readiness},
    {"VM.set_uefi_mode", set_uefi_mode},
    {"VM.update_secureboot_certificates_on_boot", update_secureboot_certificates_on_boot},
    {"VM.retrieve_wlb_recommendations", retrieve_wlb_recommendations},
    {"VM.assert_can_be_recovered", assert_can_be_recovered},
    {"VM.get_SRs_required_for_recovery", get_srs_required_for_recovery},
    {"VM.import_convert", import_convert},
    {NULL, NULL},
};
