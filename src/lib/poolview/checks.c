/* The rows, and the pools that they look at. The checks themselves stand in checks-host.c and checks-pool.c. */
#include "lib/poolview/inner.h"

#include "core/text.h"

#include <string.h>

const struct xk_check pool_checks[] = {
    {"pool.unreachable", "Pool cannot be asked", XK_CRITICAL,
     "Without an answer of the master nothing can be said of the pool.",
     "see that the address is that of the master, that port 443 is open (`xenkit net ports HOST`), and who may log in",
     poolview_check_reached, 0},
    {"pool.not-master", "A slave was asked", XK_NOTE,
     "It sent on to the master. What has the address of a slave stops working when that host is gone.",
     "use the master's address", poolview_check_slave, 0},
    {"pool.host-dead", "Host is not live", XK_CRITICAL,
     "Its heartbeat has not reached the master. Its virtual machines are down or out of control.",
     "look at its console and network; when it is gone for good: `xe host-declare-dead`", poolview_check_live, 0},
    {"pool.host-silent", "Host does not answer", XK_WARNING,
     "The master takes it for live, but nobody gets an answer from its toolstack: what is sent there waits.",
     "look at its load and at /var/log/xensource.log; `xe-toolstack-restart` on the host", poolview_check_silent, 0},
    {"pool.host-disabled", "Host is disabled", XK_WARNING, "It is in maintenance, or somebody forgot to enable it.",
     "`xe host-enable` when the maintenance is over", poolview_check_enabled, 0},
    {"pool.master", "Host follows another master", XK_CRITICAL,
     "A pool in two parts: both may start the same machine, and write to the same disk.",
     "find out which master is right, then `xe pool-emergency-reset-master` on the host that is wrong",
     poolview_check_master, 0},
    {"pool.version", "Versions differ", XK_WARNING,
     "A pool of mixed versions is for the time of an upgrade only: machines may not migrate, features are off.",
     "finish the upgrade of the host", poolview_check_versions, 0},
    {"pool.clock-skew", "Clock is off", XK_WARNING,
     "Skew breaks TLS and pool joins, ends sessions early, and makes logs of hosts disagree.",
     "let chronyd run against the same servers on every host; `xenkit net ntp SERVER` shows who is right",
     poolview_check_clocks, 0},
    {"pool.ntp", "Clock is not kept", XK_WARNING, "A clock that nobody corrects drifts by seconds a day.",
     "`xe host-set-ntp-mode`, or chrony on the host; `xenkit net ntp SERVER` shows whether its servers answer",
     poolview_check_ntp, 0},
    {"pool.certificate", "Certificate ends", XK_WARNING, "Clients that check it refuse the host when it has ended.",
     "`xe host-refresh-server-certificate`, or install a new one", poolview_check_certificates, 0},
    {"pool.port", "Port of a host is not open", XK_WARNING,
     "Consoles, disks, metrics and logs come from each host itself, not from the master.",
     "look at the firewall in between and at the host's own: `xenkit pool ports`", poolview_check_ports, 0},
    {"pool.task-stuck", "Task does not end", XK_WARNING,
     "What waits for it waits with it, and its session and locks stay.",
     "`xe task-cancel`; when it does not help, restart the toolstack of its host (`xe-toolstack-restart`)",
     poolview_check_tasks, 0},
    {"pool.alert", "The pool raised an alert", XK_WARNING, "The pool itself says that something is at risk.",
     "read it in the alerts of the pool, and delete it when it is done with", poolview_check_messages, 0},
    {"pool.space", "Storage is nearly full", XK_WARNING,
     "A repository without space stops virtual machines that write, and cannot merge snapshots any more.",
     "delete snapshots that nobody needs, or grow it", poolview_check_space, 0},
    {"pool.chain", "Chain of a disk is long", XK_WARNING,
     "At 30 images no more snapshots can be taken, and each read looks through all of them.",
     "delete old snapshots and let the storage manager merge", poolview_check_chains, 0},
    {"pool.ha", "High availability is short of a plan", XK_WARNING,
     "Not all protected virtual machines can be started again after the failures that are to be tolerated.",
     "add memory or hosts, or protect fewer machines", poolview_check_ha, 0},
    {"pool.tools", "Machine has no tools", XK_WARNING,
     "Without the drivers its disks and network are emulated, it cannot be suspended or moved, and shuts down hard.",
     "install the guest tools (xe-guest-utilities, or those for Windows) in it", poolview_check_tools, 0},
    {"pool.old-tools", "Tools of a machine are old", XK_NOTE, "They may lack what the hosts can do by now.",
     "update the guest tools in it", poolview_check_old_tools, 0},
    {"pool.sessions", "Sessions are at their limit, or near", XK_WARNING,
     "When a group is full, its session that was used least recently is ended, whoever uses it.",
     "`xenkit pool sessions --live POOL` says who leaves sessions behind, and what to change", poolview_check_sessions,
     0},
    {"pool.metrics", "Host gives no metrics", XK_WARNING,
     "Nobody sees how busy it is, and what balances or alerts by load goes wrong.",
     "`systemctl restart xcp-rrdd` on the host, and look at /var/log/xcp-rrdd-plugins.log", poolview_check_metrics, 0},
    {"pool.cpu", "Host has no processor time left", XK_WARNING,
     "Its machines wait for each other, and so does the host's own work: logins, migration, storage.",
     "move machines to another host; `xenkit pool vms` shows where they run", poolview_check_cpu, 0},
    {"pool.latency", "Storage is slow", XK_WARNING, "Every machine with a disk there waits for it.",
     "look at the network and the load of the storage, and at machines that write most", poolview_check_latency, 0},
    {"pool.memory", "Host is out of memory", XK_NOTE,
     "No further virtual machine starts there, and none can move to it.", "move machines to another host",
     poolview_check_memory, 0},
    {NULL, NULL, XK_NOTE, NULL, NULL, NULL, 0},
};

/* ---- the set ---- */

static bool accepts(const char *target)
{
    return xk_has_prefix(target, "https://") || xk_has_prefix(target, "http://") || xk_has_prefix(target, "unix:");
}

static void close_pools(void *subject)
{
    struct poolview_subject *const s = subject;

    for (size_t i = 0; s && i < s->count; i++)
        poolview_done(&s->views[i]);
    if (s)
        free(s->views);
    free(s);
}

static int open_pools(void **ret_subject, struct xk_app *app, const char *const *targets, size_t count,
                      const void *access, struct xk_err *err)
{
    static const struct client_access usual = CLIENT_ACCESS_DEFAULTS;
    const struct poolview_wanted all = {.classes = (1u << POOLVIEW_CLASSES) - 1, .asks = POOLVIEW_ASK_ALL};
    struct poolview_subject *const s = xk_zalloc(sizeof(*s));
    int code = 0;

    if (!s)
        return xk_fail_memory(err);
    s->views = xk_array_alloc(count, sizeof(*s->views));
    if (!s->views)
        code = xk_fail_memory(err);
    for (; code == 0 && s->count < count; s->count++)
        code = poolview_take(&s->views[s->count], app, targets[s->count], access ? access : &usual, &all, err);
    if (code < 0) {
        close_pools(s);
        return code;
    }
    *ret_subject = s;
    return 0;
}

const struct xk_check_set pool_check_set = {
    .name = "pool",
    .summary = "a pool: hosts, versions, clocks, certificates, ports, load, sessions, tasks, storage, machines",
    .accepts = accepts,
    .open = open_pools,
    .close = close_pools,
    .checks = pool_checks,
};
