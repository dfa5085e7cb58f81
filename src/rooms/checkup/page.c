/* The check-up as one page: verdict, findings, the images as a picture and a table, the machine. */
#include "rooms/checkup/checkup.h"

#include "core/text.h"
#include "lib/environment/environment.h"
#include "lib/report/report.h"
#include "lib/vhd/checks.h"

#include <stdio.h>
#include <string.h>

/* The worst problem of one image, as a state; *ret_kind is what the picture says of it. */
static enum report_state state_of(const struct vhd_survey_image *image, const char **ret_note)
{
    const struct vhd_problem *worst = NULL;

    for (size_t i = 0; i < image->problems->count; i++) {
        const struct vhd_problem *p = &image->problems->items[i];
        if (!worst || p->severity > worst->severity)
            worst = p;
    }
    *ret_note = image->usable && image->footer.hidden ? "hidden" : NULL;
    if (!worst)
        return REPORT_GOOD;
    if (worst->severity > XK_NOTE)
        *ret_note = vhd_check_of(worst->kind)->title;
    return report_state_of(worst->severity);
}

/* The folders that all paths begin with, up to and with a slash. */
static size_t common_folders(const struct vhd_survey *s)
{
    size_t common = 0;

    for (size_t i = 0;; i++) {
        const char c = s->images[0].path[i];
        for (size_t n = 1; n < s->count; n++) {
            if (s->images[n].path[i] != c)
                return common;
        }
        if (c == '\0')
            return common;
        if (c == '/')
            common = i + 1;
    }
}

static void add_tree(struct report *r, const struct vhd_survey *s)
{
    xk_autofree struct report_node *nodes = xk_array_alloc(s->count, sizeof(*nodes));

    if (!nodes) {
        report_paragraph(r, "There was no memory to draw the chains.");
        return;
    }
    const size_t common = common_folders(s);
    for (size_t i = 0; i < s->count; i++) {
        const struct vhd_survey_image *image = &s->images[i];
        struct report_node *n = &nodes[i];
        n->name = image->path + common;
        n->state = state_of(image, &n->note);
        n->virtual_bytes = image->footer.current_bytes;
        n->physical_bytes = image->file_bytes;
        n->depth = image->depth;
        n->parent = image->parent == VHD_NO_IMAGE ? REPORT_NO_PARENT : image->parent;
    }
    report_tree(r, "Chains: each image under its parent", nodes, s->count);
}

static void add_images(struct report *r, const struct vhd_survey *s)
{
    static const struct report_column columns[] = {
        {.title = "Image"},
        {.title = "State"},
        {.title = "Kind"},
        {.title = "Disk", .number = true},
        {.title = "File", .number = true},
        {.title = "Depth", .number = true},
        {.title = "Parent"},
    };

    report_table(r, "Images", columns, XK_COUNT(columns));
    for (size_t i = 0; i < s->count; i++) {
        const struct vhd_survey_image *image = &s->images[i];
        const char *note;
        const enum report_state state = state_of(image, &note);
        report_row(r);
        report_cell_code(r, image->path);
        report_cell_state(r, state, note ? note : state == REPORT_GOOD ? "healthy" : "see notes");
        report_cell_text(r, image->usable ? vhd_type_name(image->footer.type) : "unreadable");
        report_cell_bytes(r, image->footer.current_bytes);
        report_cell_bytes(r, image->file_bytes);
        if (image->depth)
            report_cell_u64(r, image->depth);
        else
            report_cell_none(r);
        report_cell_code(r, image->parent_text);
    }
    report_end(r);
}

static void fact_text(struct report *r, const char *key, const char *text)
{
    if (!text[0])
        return;
    report_fact(r, key);
    report_cell_text(r, text);
}

static void add_machine(struct report *r, const struct environment *e)
{
    report_facts(r);
    fact_text(r, "Host", e->host);
    fact_text(r, "System", e->distribution.product[0] ? e->distribution.product : e->distribution.name);
    fact_text(r, "Kernel", e->kernel.release);
    fact_text(r, "Processor", e->cpu.model);
    report_fact(r, "Processors");
    report_cell_u64(r, e->cpu.threads);
    if (e->memory.known) {
        report_fact(r, "Memory");
        report_cell_bytes(r, e->memory.total_bytes);
        report_fact(r, "Memory available");
        report_cell_bytes(r, e->memory.available_bytes);
    }
    fact_text(r, "Xen", environment_xen_name(e->virtualisation.xen));
    fact_text(r, "Hypervisor", e->virtualisation.hypervisor);
    report_fact(r, "Up");
    report_cell_value(r, REPORT_DURATION, (double)e->uptime_ns);
    report_end(r);
}

int checkup_page_write(const struct checkup *c, struct xk_app *app, const char *path, const char *title,
                       struct xk_err *err)
{
    struct environment environment;
    struct report r;

    environment_read(&environment, app->root, NULL);
    report_begin(&r, &(struct report_head){
                         .kind = "checkup",
                         .title = title,
                         .state = c->findings.count ? report_state_of(c->tally.worst) : REPORT_GOOD,
                         .verdict = c->tally.verdict,
                         .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
                         .machine = environment.host,
                     });
    report_section(&r, "Findings", NULL);
    if (c->findings.count)
        report_findings(&r, &c->findings);
    else
        report_statement(&r, REPORT_GOOD, "Nothing was found.");
    for (size_t i = 0; i < c->part_count; i++) {
        if (c->parts[i].set != &vhd_check_set)
            continue;
        const struct vhd_survey *survey = c->parts[i].subject;
        if (survey->count == 0)
            continue;
        report_section(&r, "Disk images", NULL);
        add_tree(&r, survey);
        add_images(&r, survey);
    }
    report_section(&r, "This machine", NULL);
    add_machine(&r, &environment);

    int code = report_finish(&r);
    if (code < 0)
        code = xk_fail(err, code, "the page for %s would be larger than %s", title, xk_size(REPORT_BYTES_MAX).s);
    else
        code = xk_file_replace(app->fs, path, r.html.data, r.html.len, 0644, err);
    report_done(&r);
    return code;
}
