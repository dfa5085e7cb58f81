/* What a browser sees at the root: the pool's hosts and machines, without a script and without a way to change
 * anything. */
#include "lib/simpool/inner.h"

#include "core/text.h"

#include <string.h>

#define PAGE_BYTES_MAX (64u << 20)

static void cell(struct xk_buf *b, const char *text)
{
    xk_buf_add_str(b, "<td>");
    xk_add_html(b, text);
    xk_buf_add_str(b, "</td>");
}

static void put_hosts(struct xk_buf *b, const struct simpool *p)
{
    const char *const master = sim_text(sim_first(p, "pool"), "master");

    xk_buf_add_str(b, "<h2>Hosts</h2><table><tr><th>name</th><th>address</th><th>role</th><th>enabled</th></tr>");
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        xk_buf_add_str(b, "<tr>");
        cell(b, sim_text(host, "name_label"));
        cell(b, sim_text(host, "address"));
        cell(b, strcmp(host->ref, master) == 0 ? "master" : "slave");
        cell(b, sim_bool(host, "enabled") ? "yes" : "no");
        xk_buf_add_str(b, "</tr>");
    }
    xk_buf_add_str(b, "</table>");
}

static void put_vms(struct xk_buf *b, const struct simpool *p)
{
    xk_buf_add_str(b, "<h2>Virtual machines</h2><table><tr><th>name</th><th>state</th><th>host</th></tr>");
    for (const struct sim_object *vm = sim_first(p, "VM"); vm; vm = vm->class_next) {
        const struct sim_object *const host = sim_follow(p, vm, "resident_on");
        if (sim_bool(vm, "is_a_template") || sim_bool(vm, "is_control_domain"))
            continue;
        xk_buf_add_str(b, "<tr>");
        cell(b, sim_text(vm, "name_label"));
        cell(b, sim_text(vm, "power_state"));
        cell(b, host ? sim_text(host, "name_label") : "");
        xk_buf_add_str(b, "</tr>");
    }
    xk_buf_add_str(b, "</table>");
}

void sim_page(struct simpool *p, struct http_exchange *x)
{
    struct xk_buf b = XK_BUF_INIT(PAGE_BYTES_MAX);

    xk_buf_add_str(&b, "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>");
    xk_add_html(&b, sim_text(sim_first(p, "pool"), "name_label"));
    xk_buf_add_str(&b, "</title></head><body><h1>");
    xk_add_html(&b, sim_text(sim_first(p, "pool"), "name_label"));
    xk_buf_add_str(&b, "</h1>");
    put_hosts(&b, p);
    put_vms(&b, p);
    xk_buf_add_str(&b, "</body></html>\n");
    http_reply(x,
               &(struct http_reply){.status = 200,
                                    .type = "text/html; charset=utf-8",
                                    .headers = "Content-Security-Policy: default-src 'none'\r\n"},
               &b);
}
