/*
 * Who is the master, and who belongs to the pool.
 *
 * Facts: xapi_pool.ml, xapi_pool_transition.ml and xapi_ha.ml of xapi (2026-08). All hosts share one database here, so
 * after a split both masters show the same objects. A host that is ejected goes off for good, unless it came from a
 * pool of its own: that is join.c.
 */
#include "lib/simpool/hosts.h"
#include "lib/simpool/join.h"
#include "lib/simpool/log.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define COMMIT_NS (1 * XK_NS_PER_S)

static struct sim_object *pool_of(const struct simpool *p)
{
    return sim_first(p, "pool");
}

/* Another operation of the pool that is going on keeps this one from beginning. */
static bool pool_is_free(struct sim_call *c)
{
    static const struct {
        const char *operation, *code;
    } rows[] = {{"ha_enable", "HA_ENABLE_IN_PROGRESS"},
                {"ha_disable", "HA_DISABLE_IN_PROGRESS"},
                {"cluster_create", "CLUSTER_CREATE_IN_PROGRESS"},
                {"designate_new_master", "DESIGNATE_NEW_MASTER_IN_PROGRESS"},
                {"tls_verification_enable", "TLS_VERIFICATION_ENABLE_IN_PROGRESS"}};
    const struct xapi_value *const now = sim_get(pool_of(c->pool), "current_operations");

    for (size_t i = 0; i < now->count; i++)
        for (size_t j = 0; j < XK_COUNT(rows); j++)
            if (strcmp(rows[j].operation, xapi_value_text(&now->items[2 * i + 1])) == 0) {
                (void)sim_fail(c, rows[j].code, NULL);
                return false;
            }
    return true;
}

void sim_pool_allowed(struct simpool *p, struct sim_object *pool)
{
    static const char *const all[] = {"ha_enable",
                                      "ha_disable",
                                      "cluster_create",
                                      "designate_new_master",
                                      "configure_repositories",
                                      "sync_updates",
                                      "sync_bundle",
                                      "apply_updates",
                                      "tls_verification_enable",
                                      "cert_refresh",
                                      "exchange_certificates_on_join",
                                      "exchange_ca_certificates_on_join",
                                      "copy_primary_host_certs",
                                      "eject",
                                      "get_updates",
                                      "exchange_crls_on_join",
                                      NULL};
    sim_put_list(p, pool, "allowed_operations", sim_get(pool, "current_operations")->count ? &all[16] : all);
}

static bool ha_is_off(struct sim_call *c)
{
    if (!sim_bool(pool_of(c->pool), "ha_enabled"))
        return true;
    (void)sim_fail(c, "HA_IS_ENABLED", NULL);
    return false;
}

/* ---- another master ---- */

/* Every toolstack starts anew, and asks whom it shall follow. */
void sim_master_move(struct simpool *p, unsigned host)
{
    sim_member_follow(p, host, host);
    for (unsigned i = 0; i < p->settings.hosts; i++)
        sim_member_follow(p, i, host);
    sim_master_forgets(p);
    for (unsigned i = 0; i < p->settings.hosts; i++)
        if (sim_host_object(p, i) && !p->members[i].down)
            sim_log_start(p, i);
}

/* Those who cannot be asked could not be told, and would go on with the old one. */
static bool all_agree(struct sim_call *c)
{
    const struct simpool *const p = c->pool;

    for (unsigned i = 0; i < p->settings.hosts; i++)
        if (sim_host_object(p, i) && p->members[i].down) {
            (void)sim_fail(c, "INTERNAL_ERROR", "Unix.Unix_error(Unix.ECONNREFUSED, \"connect\", \"\")", NULL);
            return false;
        }
    return true;
}

static enum sim_outcome designate_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host || !all_agree(c))
        return SIM_FAILED;
    sim_alert(p, "POOL_MASTER_TRANSITION", 4, "Host", host, "");
    sim_master_move(p, sim_host_number(p, host));
    return SIM_DONE;
}

static enum sim_outcome designate(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0);

    if (!host || !pool_is_free(c) || !sim_host_arg(c, 0))
        return SIM_FAILED;
    if (strcmp(host->ref, sim_text(pool_of(c->pool), "master")) == 0)
        return SIM_DONE;
    if (!ha_is_off(c) || !all_agree(c))
        return SIM_FAILED;
    return sim_work(c, COMMIT_NS, designate_end, pool_of(c->pool), "designate_new_master", false);
}

/* ---- in an emergency ---- */

static enum sim_outcome become_master(struct sim_call *c)
{
    struct simpool *const p = c->pool;

    if (!ha_is_off(c))
        return SIM_FAILED;
    if (sim_is_master(p, c->host))
        return SIM_DONE;
    sim_member_follow(p, c->host, c->host);
    sim_master_forgets(p);
    sim_log_start(p, c->host);
    return SIM_DONE;
}

static unsigned host_at(const struct simpool *p, const char *address)
{
    for (unsigned i = 0; i < p->settings.hosts; i++) {
        const struct sim_object *const host = sim_host_object(p, i);
        if (host && strcmp(sim_text(host, "address"), address) == 0)
            return i;
    }
    return SIMPOOL_HOSTS_MAX;
}

static enum sim_outcome reset_master(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const unsigned master = host_at(p, sim_arg_text(c, 0));

    if (!ha_is_off(c))
        return SIM_FAILED;
    if (master == SIMPOOL_HOSTS_MAX)
        return sim_fail(c, "INTERNAL_ERROR", "Unix.Unix_error(Unix.EHOSTUNREACH, \"connect\", \"\")", NULL);
    sim_member_follow(p, c->host, master);
    sim_log_start(p, c->host);
    return SIM_DONE;
}

/* Everybody else who answers follows this master from now on. */
static enum sim_outcome recover(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct xapi_value *const items = xk_arena_alloc(&c->arena, SIMPOOL_HOSTS_MAX * sizeof(*items));
    size_t count = 0;

    if (!items)
        return sim_no_memory(c);
    for (unsigned i = 0; i < p->settings.hosts; i++) {
        struct sim_object *const host = sim_host_object(p, i);
        if (!host || i == c->host || p->members[i].down)
            continue;
        sim_member_follow(p, i, c->host);
        items[count++] = xapi_str(host->ref);
    }
    c->result = xapi_list(items, count);
    return SIM_DONE;
}

static enum sim_outcome is_slave(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    c->result = xapi_bool(!sim_is_master(c->pool, c->host));
    return SIM_DONE;
}

/* A slave that starts says hello to its master. */
static enum sim_outcome hello(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const host = sim_find_uuid(p, sim_arg_text(c, 0), xapi_class_find("host"));

    if (!host)
        c->result = xapi_str("unknown_host");
    else if (!sim_host_answers(p, host) || host_at(p, sim_arg_text(c, 1)) != sim_host_number(p, host))
        c->result = xapi_str("cannot_talk_back");
    else
        c->result = xapi_str("ok");
    return SIM_DONE;
}

/* ---- joining and leaving ---- */

static bool same_secret(const char *a, const char *b)
{
    const size_t len = strlen(a);

    return strlen(b) == len && CRYPTO_memcmp(a, b, len) == 0;
}

static enum sim_outcome join(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const unsigned other = host_at(p, sim_arg_text(c, 0));
    const struct sim_object *const pool = pool_of(p);

    if (other == SIMPOOL_HOSTS_MAX)
        return sim_join(c);
    if (p->members[other].down)
        return sim_fail(c, "INTERNAL_ERROR", "Unix.Unix_error(Unix.ECONNREFUSED, \"connect\", \"\")", NULL);
    if (!sim_is_master(p, other))
        return sim_fail(c, "HOST_IS_SLAVE", sim_master_address(p, other), NULL);
    if (!same_secret(p->user, sim_arg_text(c, 1)) || !same_secret(p->password, sim_arg_text(c, 2)))
        return sim_fail(c, "SESSION_AUTHENTICATION_FAILED", sim_arg_text(c, 1), "Authentication failure", NULL);
    if (sim_bool(pool, "ha_enabled"))
        return sim_fail(c, "HA_IS_ENABLED", NULL);
    return sim_fail(c, "OPERATION_NOT_ALLOWED",
                    p->classes[xapi_class_index(xapi_class_find("host"))].count > 1
                        ? "Host is already part of a pool"
                        : "Host cannot become slave of itself",
                    NULL);
}

/* An SR that only this host has goes with it. */
static void forget_local_srs(struct simpool *p, const struct sim_object *host)
{
    const struct xapi_value *const pbds = sim_get(host, "PBDs");

    for (size_t i = pbds->count; i-- > 0;) {
        const struct sim_object *const pbd = sim_find(p, xapi_value_text(&sim_get(host, "PBDs")->items[i]), NULL);
        struct sim_object *const sr = pbd ? sim_follow(p, pbd, "SR") : NULL;
        if (sr && !sim_bool(sr, "shared") && sim_get(sr, "PBDs")->count == 1)
            sim_sr_forget(p, sr);
    }
}

static enum sim_outcome eject(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const host = sim_arg(c, 0);
    xk_autofree struct sim_move *moves = NULL;

    if (!host || !pool_is_free(c) || !sim_host_arg(c, 0) || !ha_is_off(c))
        return SIM_FAILED;
    if (strcmp(host->ref, sim_text(pool_of(p), "master")) == 0)
        return sim_fail(c, "INTERNAL_ERROR", "Xapi_pool.Cannot_eject_master", NULL);
    const size_t count = sim_residents(p, host, &moves);
    if (!moves)
        return sim_no_memory(c);
    if (count)
        return sim_fail(c, "OPERATION_NOT_ALLOWED", "VM resident on host", NULL);
    const unsigned number = sim_host_number(p, host);
    forget_local_srs(p, host);
    sim_host_remove(p, host);
    if (number < SIMPOOL_HOSTS_MAX) {
        sim_member_stop(p, number, SIM_STOP_CLEAN, 0);
        sim_join_ejected(p, number);
    }
    return SIM_DONE;
}

static enum sim_outcome sync_database(struct sim_call *c)
{
    return SIM_DONE; /* every change is written before anybody is told of it */
}

/* ---- what hosts say to each other about it ---- */

static bool is_pool_session(struct sim_call *c)
{
    return c->session && c->session->pool;
}

static enum sim_outcome propose(struct sim_call *c)
{
    char *const mine = c->pool->members[c->host].proposed;

    if (*mine && strcmp(mine, sim_arg_text(c, 0)) != 0)
        return sim_fail(c, "HA_ABORT_NEW_MASTER", "Already agreed to commit another host's address", NULL);
    snprintf(mine, sizeof(c->pool->members[0].proposed), "%s", sim_arg_text(c, 0));
    return SIM_DONE;
}

static enum sim_outcome abort_proposal(struct sim_call *c)
{
    c->pool->members[c->host].proposed[0] = '\0';
    return SIM_DONE;
}

static enum sim_outcome commit(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    char *const mine = p->members[c->host].proposed, text[256];
    const unsigned master = host_at(p, sim_arg_text(c, 0));

    if (!*mine)
        snprintf(text, sizeof(text), "Received commit_new_master(%.60s) but never received a proposal",
                 sim_arg_text(c, 0));
    else
        snprintf(text, sizeof(text), "Received commit_new_master(%.60s) but previously received proposal for %.60s",
                 sim_arg_text(c, 0), mine);
    if (strcmp(mine, sim_arg_text(c, 0)) != 0 || master == SIMPOOL_HOSTS_MAX || !is_pool_session(c))
        return sim_fail(c, "HA_ABORT_NEW_MASTER", text, NULL);
    mine[0] = '\0';
    sim_member_follow(p, c->host, master);
    if (master == c->host)
        sim_master_forgets(p);
    sim_log_start(p, c->host);
    return SIM_DONE;
}

const struct sim_row sim_master_rows[] = {
    {"pool.designate_new_master", designate},
    {"pool.emergency_transition_to_master", become_master},
    {"pool.emergency_reset_master", reset_master},
    {"pool.recover_slaves", recover},
    {"pool.is_slave", is_slave},
    {"pool.hello", hello},
    {"pool.join", join},
    {"pool.join_force", join},
    {"pool.eject", eject},
    {"pool.sync_database", sync_database},
    {"host.propose_new_master", propose},
    {"host.abort_new_master", abort_proposal},
    {"host.commit_new_master", commit},
    {NULL, NULL},
};
