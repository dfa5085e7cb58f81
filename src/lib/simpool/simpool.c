/*
 * Opening and closing a simulated pool, its clock, and the table of behaviours.
 *
 * Simulated time runs from the start at `speed`; everything that waits asks sim_delay() for the real time to wait.
 */
#include "lib/simpool/access.h"
#include "lib/simpool/audit.h"
#include "lib/simpool/certificate.h"
#include "lib/simpool/disk.h"
#include "lib/simpool/era.h"
#include "lib/simpool/fault.h"
#include "lib/simpool/fetch.h"
#include "lib/simpool/join.h"
#include "lib/simpool/load.h"
#include "lib/simpool/hosts.h"
#include "lib/simpool/log.h"
#include "lib/simpool/ops.h"
#include "lib/simpool/peer.h"
#include "lib/simpool/rrd.h"
#include "lib/simpool/state.h"
#include "lib/simpool/transfer.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <string.h>

#define PORT_TRIES      16
#define HOSTS_DEFAULT   3
#define VMS_DEFAULT     20
#define NOTES_BYTES_MAX 65536
#define COLLECT_US_MIN  5000

const struct sim_row *const sim_all_rows[] = {
    sim_session_rows,
    sim_task_rows,
    sim_event_rows,
    sim_identity_rows,
    sim_role_rows,
    sim_subject_rows,
    sim_rrd_rows,
    sim_vm_rows,
    sim_vm_set_rows,
    sim_vm_size_rows,
    sim_vm_ask_rows,
    sim_vm_copy_rows,
    sim_vbd_rows,
    sim_vif_rows,
    sim_vdi_rows,
    sim_sr_rows,
    sim_pbd_rows,
    sim_appliance_rows,
    sim_migrate_rows,
    sim_network_rows,
    sim_pif_rows,
    sim_bond_rows,
    sim_overlay_rows,
    sim_device_rows,
    sim_blob_rows,
    sim_recover_rows,
    sim_pvs_rows,
    sim_host_rows,
    sim_host_config_rows,
    sim_master_rows,
    sim_pool_config_rows,
    sim_ha_rows,
    sim_message_rows,
    sim_certificate_rows,
    sim_update_rows,
    sim_cluster_rows,
    sim_fault_rows,
    sim_caller_rows,
    sim_driver_rows,
    sim_diagnose_rows,
    sim_neighbour_rows,
    sim_own_certificate_rows,
    sim_trade_rows,
    sim_vdi_ask_rows,
    sim_audit_rows,
    sim_import_rows,
    NULL,
};

/* ---- clock ---- */

uint64_t sim_monotonic_ns(const struct simpool *p)
{
    const uint64_t real = p->settings.clock->monotonic_ns(p->settings.clock) - p->started_ns;

    return (uint64_t)((double)real * p->settings.speed);
}

int64_t sim_now_ns(const struct simpool *p, unsigned host)
{
    return p->started_utc_ns + (int64_t)sim_monotonic_ns(p) + (host < SIMPOOL_HOSTS_MAX ? p->skew_ns[host] : 0);
}

int64_t sim_now_s(const struct simpool *p)
{
    return (p->started_utc_ns + (int64_t)sim_monotonic_ns(p)) / (int64_t)XK_NS_PER_S;
}

struct timeval sim_delay(const struct simpool *p, uint64_t simulated_ns)
{
    const uint64_t us = (uint64_t)((double)simulated_ns / p->settings.speed / 1000);

    return (struct timeval){.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
}

/* ---- addresses ---- */

bool simpool_is_loopback(const struct resolve_address *a)
{
    return a->any.sa_family == AF_INET ? ntohl(a->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET
                                       : IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

/* ---- opening ---- */

static void on_collect(evutil_socket_t fd, short what, void *pool)
{
    struct simpool *const p = pool;

    sim_tasks_collect(p);
    sim_sessions_collect(p);
    sim_messages_collect(p);
    sim_members_collect(p);
    sim_ssh_collect(p);
    sim_events_heartbeat(p);
}

static int collector_start(struct simpool *p, struct xk_err *err)
{
    struct timeval every = sim_delay(p, p->settings.gc_ns);

    /* However fast time runs, the collector is not all there is to do. */
    if (every.tv_sec == 0 && every.tv_usec < COLLECT_US_MIN)
        every.tv_usec = COLLECT_US_MIN;

    p->gc_timer = event_new(p->base, -1, EV_PERSIST, on_collect, p);
    return p->gc_timer && event_add(p->gc_timer, &every) == 0 ? 0 : xk_fail_memory(err);
}

int sim_behaviours_open(struct simpool *p, struct xk_err *err)
{
    p->behaviours = xk_array_alloc(xapi_message_count, sizeof(sim_behaviour *));
    if (!p->behaviours)
        return xk_fail_memory(err);
    for (size_t i = 0; sim_all_rows[i]; i++) {
        for (const struct sim_row *row = sim_all_rows[i]; row->message; row++) {
            const struct xapi_message *const m = xapi_message_find(row->message);
            assert(m); /* a behaviour for a message that the model does not have */
            p->behaviours[xapi_message_index(m)] = row->behaviour;
        }
    }
    return 0;
}

/*
 * The address behind this one. Those that follow a loopback address are such, too, or there is none: nothing is opened
 * that was not asked for. Of IPv6, ::1 is the only one.
 */
static bool address_follow(struct resolve_address *a)
{
    if (a->any.sa_family == AF_INET) {
        const uint32_t now = ntohl(a->v4.sin_addr.s_addr);
        a->v4.sin_addr.s_addr = htonl(now + 1);
        return now >> 24 == (now + 1) >> 24;
    }
    if (IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr))
        return false;
    return ++a->v6.sin6_addr.s6_addr[15] != 0;
}

/* Where each host listens, for as many as there turned out to be. */
static int addresses_set(struct simpool *p, struct xk_err *err)
{
    const struct simpool_settings *const settings = &p->settings;
    struct resolve_address at;

    if (settings->listen_count)
        at = settings->listen[0];
    else
        (void)resolve_literal(&at, "127.0.0.1");
    if (settings->listen_count > 1 && settings->listen_count != settings->hosts)
        return xk_fail(err, -EINVAL, "%u addresses were given for %u hosts", settings->listen_count, settings->hosts);
    for (unsigned host = 0; host < settings->hosts; host++) {
        if (settings->listen_count > 1)
            at = settings->listen[host];
        else if (host > 0 && !address_follow(&at))
            return xk_fail(err, -EINVAL, "there are not enough addresses behind the first for %u hosts",
                           settings->hosts);
        p->addresses[host] = at;
    }
    return 0;
}

/* Hosts that were somewhere else before have the addresses of here: clients follow them. */
static void addresses_tell(struct simpool *p)
{
    for (unsigned i = 0; i < p->settings.hosts; i++) {
        struct sim_object *const host = sim_find(p, p->host_refs[i], xapi_class_find("host"));
        const struct resolve_words words = resolve_host_text(&p->addresses[i]);
        const char *const text = words.s;
        if (!host || strcmp(sim_text(host, "address"), text) == 0)
            continue;
        if (*sim_text(host, "address"))
            sim_note(p, "host %s, %s before, is at %s", sim_text(host, "name_label"), sim_text(host, "address"), text);
        sim_put_text(p, host, "address", text);
    }
}

/* What is asked for and what the file has may not differ: else one of both would not count. */
static int check_saved(const struct simpool *p, const char *what, const char *path, struct xk_err *err)
{
    const struct simpool_settings *const asked = &p->asked;

    if (asked->hosts && asked->hosts != p->settings.hosts)
        return xk_fail(err, -EINVAL, "%s: the %s has %u hosts, not %u", path, what, p->settings.hosts, asked->hosts);
    if (asked->vms != SIMPOOL_ANY)
        return xk_fail(err, -EINVAL, "%s: how many VMs there are says the %s", path, what);
    return 0;
}

/* The pool as a file has it, or a new one. */
static int populate(struct simpool *p, struct xk_err *err)
{
    struct simpool_settings *const settings = &p->settings;
    int code = settings->state ? sim_state_open(p, settings->fs, settings->state, err) : 0;

    if (code < 0)
        return code;
    const bool saved = code == 1;
    /* A pool whose time ran faster goes on where it was: time does not run backwards. */
    if (saved && !settings->now_s && p->saved_s > sim_now_s(p))
        p->started_utc_ns += (p->saved_s - sim_now_s(p)) * (int64_t)XK_NS_PER_S;
    if (saved && settings->load)
        return xk_fail(err, -EEXIST, "%s: there is a pool in it already, so %s cannot be loaded", settings->state,
                       settings->load);
    if (!saved && settings->load)
        code = sim_load(p, settings->fs, settings->load, err);
    if (code >= 0 && (saved || settings->load))
        code = check_saved(p, saved ? "state" : "dump", saved ? settings->state : settings->load, err);
    if (code < 0)
        return code;
    if (!saved && !settings->load) {
        settings->hosts = settings->hosts ? settings->hosts : HOSTS_DEFAULT;
        settings->vms = settings->vms != SIMPOOL_ANY ? settings->vms : VMS_DEFAULT;
    }
    code = addresses_set(p, err);
    if (code == 0 && !saved && !settings->load)
        code = sim_seed(p, err);
    if (code == 0)
        addresses_tell(p);
    if (code == 0 && settings->tls)
        code = sim_identities_make(p, err);
    if (code == 0 && settings->state)
        code = sim_disks_open(p, settings->state, err);
    return code < 0 ? code : sim_state_begin(p, err);
}

/* One port that is free on every host's address. */
static int listen_all(struct simpool *p, struct xk_err *err)
{
    int code = -EADDRINUSE;

    for (unsigned i = 0; i < PORT_TRIES && code == -EADDRINUSE; i++) {
        const struct http_settings settings = {.body_bytes_max = SIM_BODY_BYTES_MAX,
                                               .body_limits = sim_body_limits,
                                               .handle = sim_handle,
                                               .early = sim_takes_early,
                                               .context = p};
        http_server_close(p->server);
        p->server = NULL;
        code = http_server_open(&p->server, p->base, &settings, err);
        uint16_t port = p->settings.port;
        for (unsigned host = 0; host < p->settings.hosts && code == 0; host++) {
            resolve_port_set(&p->addresses[host], port);
            code = http_server_listen(p->server, &p->addresses[host], host,
                                      p->settings.tls ? p->identities[host] : NULL, err);
            port = resolve_port(&p->addresses[host]);
        }
        if (p->settings.port)
            break;
    }
    return code;
}

int simpool_open(struct simpool **ret, struct event_base *base, const struct simpool_settings *settings,
                 struct xk_err *err)
{
    struct simpool *const p = xk_zalloc(sizeof(*p));

    if (!p)
        return xk_fail_memory(err);
    assert(settings->hosts <= SIMPOOL_HOSTS_MAX && settings->speed > 0);
    p->settings = p->asked = *settings;
    p->notes = XK_BUF_INIT(NOTES_BYTES_MAX);
    p->base = base;
    p->started_ns = settings->clock->monotonic_ns(settings->clock);
    p->started_utc_ns =
        settings->now_s ? settings->now_s * (int64_t)XK_NS_PER_S : settings->clock->utc_ns(settings->clock);
    p->user = xk_strdup(settings->user);
    p->password = xk_strdup(settings->password);
    int code = p->user && p->password ? 0 : xk_fail_memory(err);
    if (code == 0)
        code = settings->users ? sim_directory_read(&p->directory, settings->users, err) : 0;
    if (code == 0)
        code = sim_db_open(p, err);
    if (code == 0)
        code = sim_behaviours_open(p, err);
    if (code == 0)
        code = populate(p, err);
    if (code == 0)
        code = sim_cli_open(p, err);
    if (code == 0)
        code = listen_all(p, err);
    if (code == 0)
        code = sim_local_open(p, err);
    if (code == 0)
        sim_members_open(p);
    if (code == 0)
        code = sim_faults_open(p, err);
    if (code == 0)
        code = sim_log_open(p, err);
    if (code == 0)
        code = sim_audit_open(p, err);
    if (code == 0)
        sim_history_begin(p);
    if (code == 0)
        code = collector_start(p, err);
    if (code < 0) {
        simpool_close(p);
        return code;
    }
    for (unsigned i = 0; i < p->settings.hosts; i++)
        sim_log_start(p, i);
    *ret = p;
    return 0;
}

static void calls_close(struct sim_call *first)
{
    while (first) {
        struct sim_call *const c = first;
        first = c->next;
        if (c->timer)
            event_free(c->timer);
        if (c->exchange)
            http_on_gone(c->exchange, NULL, NULL);
        EVP_MD_CTX_free(c->digest);
        free(c->wanted);
        xk_arena_done(&c->arena);
        free(c);
    }
}

void simpool_close(struct simpool *p)
{
    if (!p)
        return;
    sim_transfers_close(p);
    sim_fetches_close(p);
    sim_faults_close(p);
    sim_peers_close(p);
    sim_joined_close(p);
    sim_joiners_close(p);
    calls_close(p->delayed);
    calls_close(p->working);
    calls_close(p->waiting);
    sim_cli_close(p);
    http_server_close(p->server);
    sim_local_close(p);
    sim_members_close(p);
    sim_certificates_close(p);
    sim_kept_close(p);
    sim_audit_close(p);
    sim_ha_close(p);
    sim_diagnose_close(p);
    sim_stops_close(p);
    sim_sessions_close(p);
    sim_log_close(p);
    sim_directory_close(p->directory);
    if (p->gc_timer)
        event_free(p->gc_timer);
    if (p->wake)
        event_free(p->wake);
    sim_state_close(p);
    sim_disks_close(p);
    sim_allowed_close(p);
    sim_blobs_close(p);
    sim_db_close(p);
    sim_identities_close(p);
    xk_buf_done(&p->notes);
    if (p->password)
        OPENSSL_cleanse(p->password, strlen(p->password));
    free(p->password);
    free(p->user);
    free(p->behaviours);
    free(p->marks);
    free(p);
}

int simpool_save(struct simpool *pool, struct xk_err *err)
{
    return sim_state_flush(pool, err);
}

void sim_note(struct simpool *p, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    xk_buf_vprintf(&p->notes, format, args);
    va_end(args);
    xk_buf_add_char(&p->notes, '\n');
}

const char *simpool_notes(const struct simpool *pool)
{
    return xk_buf_str(&pool->notes);
}

uint64_t simpool_replies(const struct simpool *pool)
{
    return http_server_replies(pool->server);
}

unsigned simpool_vms(const struct simpool *pool)
{
    unsigned count = 0;

    for (const struct sim_object *vm = sim_first(pool, "VM"); vm; vm = vm->class_next)
        count += !sim_bool(vm, "is_a_template") && !sim_bool(vm, "is_control_domain");
    return count;
}

unsigned simpool_master(const struct simpool *pool)
{
    return pool->master;
}

unsigned simpool_hosts(const struct simpool *pool)
{
    return pool->settings.hosts;
}

const struct resolve_address *simpool_address(const struct simpool *pool, unsigned host)
{
    return &pool->addresses[host];
}
