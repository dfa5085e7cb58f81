/*
 * What a browser sees at / and /services: hosts, machines, tasks and how many sessions there are, to look at only.
 *
 * On addresses of this machine itself anybody may look; where others can reach the pool, who looks has to log in.
 */
#include "lib/simpool/inner.h"

#include "lib/report/report.h"

#include <stdio.h>
#include <string.h>

#define TASKS_MAX 200 /* the newest of them */

static const char *name_of(const struct sim_object *o)
{
    return o ? sim_text(o, "name_label") : "";
}

static void put_pool(struct report *r, const struct simpool *p)
{
    unsigned sessions = 0;

    for (const struct sim_session *s = p->sessions; s; s = s->next)
        sessions++;
    report_section(r, "Pool", NULL);
    report_facts(r);
    report_fact(r, "Master");
    report_cell_text(r, name_of(sim_follow(p, sim_first(p, "pool"), "master")));
    report_fact(r, "Simulated time");
    report_cell_time(r, sim_now_s(p));
    report_fact(r, "Sessions");
    report_cell_u64(r, sessions);
    report_end(r);
}

static void put_hosts(struct report *r, const struct simpool *p)
{
    static const struct report_column columns[] = {{"Name", false},    {"Address", false}, {"Role", false},
                                                   {"Enabled", false}, {"Memory", true},   {"Free", true}};
    const char *const master = sim_text(sim_first(p, "pool"), "master");

    report_section(r, "Hosts", NULL);
    report_table(r, "Hosts of the pool", columns, XK_COUNT(columns));
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        const struct sim_object *const metrics = sim_follow(p, host, "metrics");
        report_row(r);
        report_cell_text(r, name_of(host));
        report_cell_code(r, sim_text(host, "address"));
        report_cell_text(r, strcmp(host->ref, master) == 0 ? "master" : "slave");
        report_cell_bool(r, sim_bool(host, "enabled"));
        report_cell_bytes(r, metrics ? (uint64_t)sim_int(metrics, "memory_total") : 0);
        report_cell_bytes(r, metrics ? (uint64_t)sim_int(metrics, "memory_free") : 0);
    }
    report_end(r);
}

static void put_vms(struct report *r, const struct simpool *p)
{
    static const struct report_column columns[] = {
        {"Name", false}, {"State", false}, {"Host", false}, {"VCPUs", true}, {"Memory", true}};

    report_section(r, "Virtual machines", NULL);
    report_table(r, "Virtual machines, without templates and control domains", columns, XK_COUNT(columns));
    for (const struct sim_object *vm = sim_first(p, "VM"); vm; vm = vm->class_next) {
        if (sim_bool(vm, "is_a_template") || sim_bool(vm, "is_control_domain"))
            continue;
        report_row(r);
        report_cell_text(r, name_of(vm));
        report_cell_text(r, sim_text(vm, "power_state"));
        report_cell_text(r, name_of(sim_follow(p, vm, "resident_on")));
        report_cell_u64(r, (uint64_t)sim_int(vm, "VCPUs_at_startup"));
        report_cell_bytes(r, (uint64_t)sim_int(vm, "memory_static_max"));
    }
    report_end(r);
}

static void put_tasks(struct report *r, const struct simpool *p)
{
    static const struct report_column columns[] = {
        {"Task", false}, {"Status", false}, {"Progress", true}, {"Begun", false}};
    const struct sim_class *const tasks = &p->classes[xapi_class_index(xapi_class_find("task"))];
    unsigned left = TASKS_MAX;

    report_section(r, "Tasks", tasks->count > TASKS_MAX ? "The newest of them." : NULL);
    report_table(r, "Tasks, the newest first", columns, XK_COUNT(columns));
    for (const struct sim_object *task = tasks->last; task && left-- > 0; task = task->class_prev) {
        const struct xapi_value *const progress = sim_get(task, "progress");
        report_row(r);
        report_cell_text(r, name_of(task));
        report_cell_text(r, sim_text(task, "status"));
        report_cell_value(r, REPORT_PERCENT, progress->shape == XAPI_REAL ? 100 * progress->real : 0);
        report_cell_text(r, sim_text(task, "created"));
    }
    report_end(r);
}

static bool is_open(const struct simpool *p)
{
    for (unsigned i = 0; i < p->settings.hosts; i++)
        if (!simpool_is_loopback(&p->addresses[i]))
            return false;
    return true;
}

void sim_page(struct simpool *p, struct http_exchange *x)
{
    const struct sim_object *const pool = sim_first(p, "pool");
    struct report r = {0};

    if (!is_open(p) && !sim_http_allowed(p, x, "get_services", ~0u))
        return;
    report_begin(&r, &(struct report_head){.kind = "simulated pool",
                                           .title = *name_of(pool) ? name_of(pool) : "a pool",
                                           .subtitle = sim_text(pool, "name_description")});
    put_pool(&r, p);
    put_hosts(&r, p);
    put_vms(&r, p);
    put_tasks(&r, p);
    if (report_finish(&r) < 0)
        http_refuse(x, 500);
    else
        http_reply(
            x,
            &(struct http_reply){.status = 200,
                                 .type = "text/html; charset=utf-8",
                                 .headers = "cache-control: no-cache, no-store\r\nX-Content-Type-Options: nosniff\r\n"},
            &r.html);
    report_done(&r);
}
