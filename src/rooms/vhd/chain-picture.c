/*
 * Boxes and arrows are lib/report's; here each image gets the words that stand in its box. A chain's cost is told by
 * two numbers: what only this image stores, and what it stores although its parent has something in the same block.
 */
#include "rooms/vhd/chain-picture.h"

#include "core/text.h"
#include "lib/report/report.h"

#include <stdio.h>

#define NOTE_BYTES 160
#define TITLE      "Chains: each image under its parent"

struct chain_bytes chain_bytes_of(const struct vhd_survey_image *image)
{
    if (!image->usable)
        return (struct chain_bytes){0};
    if (image->footer.type == VHD_FIXED)
        return (struct chain_bytes){.exclusive = image->footer.current_bytes};
    const uint32_t shared = XK_MIN(image->shared, image->allocated);
    return (struct chain_bytes){
        .exclusive = (uint64_t)(image->allocated - shared) * image->header.block_bytes,
        .shared = (uint64_t)shared * image->header.block_bytes,
    };
}

const char *chain_problem_of(const struct vhd_survey_image *image)
{
    if (!image->usable)
        return "damaged";
    if (image->depth == 0)
        return "loop";
    if (image->footer.type == VHD_DIFFERENCING && !image->parent_found)
        return "parent missing";
    return NULL;
}

/* ---- Graphviz ---- */

/* Between double quotes: what a quoted Graphviz string needs; control characters are cleaned before. */
static void add_quoted(struct xk_out *out, const char *foreign)
{
    for (const char *c = xk_out_clean(out, foreign); *c; c++) {
        if (*c == '"' || *c == '\\')
            xk_out_raw(out, "\\", 1);
        xk_out_raw(out, c, 1);
    }
}

static void put_node(struct xk_out *out, const struct vhd_survey *s, size_t n)
{
    const struct vhd_survey_image *image = &s->images[n];
    const struct chain_bytes bytes = chain_bytes_of(image);
    const char *problem = chain_problem_of(image);

    xk_out_rawf(out, "  n%zu [label=\"", n);
    add_quoted(out, image->name);
    xk_out_rawf(out, "\\n%s, file %s\\nexclusive %s, shared %s", xk_size(image->footer.current_bytes).s,
                xk_size(image->file_bytes).s, xk_size(bytes.exclusive).s, xk_size(bytes.shared).s);
    if (problem)
        xk_out_rawf(out, "\\n%s", problem);
    xk_out_rawf(out, "\"%s%s];\n", image->usable && image->footer.hidden ? ", style=dashed" : "",
                problem ? ", color=red" : "");
}

void chain_put_dot(struct xk_out *out, const struct vhd_survey *s)
{
    xk_out_rawf(out, "digraph chains {\n  rankdir=BT;\n  node [shape=box];\n");
    for (size_t n = 0; n < s->count; n++)
        put_node(out, s, n);
    for (size_t n = 0; n < s->count; n++) {
        if (s->images[n].parent != VHD_NO_IMAGE) {
            xk_out_rawf(out, "  n%zu -> n%zu [label=\"coalesce frees %s\"];\n", n, s->images[n].parent,
                        xk_size(vhd_survey_coalesce_gain(s, n)).s);
        } else if (s->images[n].parent_text) {
            xk_out_rawf(out, "  p%zu [label=\"", n);
            add_quoted(out, s->images[n].parent_text);
            xk_out_rawf(out, "\", style=dotted];\n  n%zu -> p%zu;\n", n, n);
        }
    }
    xk_out_rawf(out, "}\n");
}

/* ---- SVG and HTML ---- */

struct picture {
    struct report_node *nodes;
    char (*notes)[NOTE_BYTES]; /* one for each node */
};

static void picture_done(struct picture *p)
{
    free(p->nodes);
    free(p->notes);
}

static enum report_state state_of(const struct vhd_survey *s, size_t n)
{
    if (chain_problem_of(&s->images[n]))
        return REPORT_CRITICAL;
    return REPORT_NEUTRAL;
}

static void describe(char note[NOTE_BYTES], const struct vhd_survey *s, size_t n)
{
    const struct vhd_survey_image *image = &s->images[n];
    const struct chain_bytes bytes = chain_bytes_of(image);
    const uint64_t gain = vhd_survey_coalesce_gain(s, n);
    const char *problem = chain_problem_of(image);

    if (problem)
        snprintf(note, NOTE_BYTES, "%s", problem);
    else if (gain)
        snprintf(note, NOTE_BYTES, "own %s, shared %s, frees %s", xk_size(bytes.exclusive).s, xk_size(bytes.shared).s,
                 xk_size(gain).s);
    else
        snprintf(note, NOTE_BYTES, "own %s, shared %s%s", xk_size(bytes.exclusive).s, xk_size(bytes.shared).s,
                 image->footer.hidden ? ", hidden" : "");
}

static int picture_make(struct picture *p, const struct vhd_survey *s, struct xk_err *err)
{
    p->nodes = xk_array_alloc(s->count, sizeof(*p->nodes));
    p->notes = xk_array_alloc(s->count, sizeof(*p->notes));
    if (!p->nodes || !p->notes)
        return xk_fail_memory(err);
    for (size_t n = 0; n < s->count; n++) {
        const struct vhd_survey_image *image = &s->images[n];
        describe(p->notes[n], s, n);
        p->nodes[n] = (struct report_node){
            .name = image->name,
            .note = p->notes[n],
            .virtual_bytes = image->footer.current_bytes,
            .physical_bytes = image->file_bytes,
            .depth = image->depth,
            .parent = image->parent == VHD_NO_IMAGE ? REPORT_NO_PARENT : image->parent,
            .state = state_of(s, n),
        };
    }
    return 0;
}

int chain_write_svg(struct xk_app *app, const struct vhd_survey *s, const char *path, struct xk_err *err)
{
    xk_auto(picture_done) struct picture p = {0};
    xk_auto(xk_buf_done) struct xk_buf svg = {0};

    int code = picture_make(&p, s, err);
    if (code < 0)
        return code;
    code = report_tree_svg(&svg, TITLE, p.nodes, s->count);
    if (code < 0)
        return xk_fail_sys(err, code, "%s: drawing %zu images", path, s->count);
    return xk_file_replace(app->fs, path, svg.data, svg.len, 0644, err);
}

static void add_table(struct report *r, const struct vhd_survey *s)
{
    static const struct report_column columns[] = {
        {.title = "Image"},
        {.title = "Kind"},
        {.title = "Disk", .number = true},
        {.title = "File", .number = true},
        {.title = "Exclusive", .number = true},
        {.title = "Shared", .number = true},
        {.title = "Coalesce frees", .number = true},
        {.title = "Parent"},
    };

    report_table(r, "Images", columns, XK_COUNT(columns));
    for (size_t n = 0; n < s->count; n++) {
        const struct vhd_survey_image *image = &s->images[n];
        const struct chain_bytes bytes = chain_bytes_of(image);
        report_row(r);
        report_cell_code(r, image->path);
        report_cell_text(r, image->usable ? vhd_type_name(image->footer.type) : "unreadable");
        report_cell_bytes(r, image->footer.current_bytes);
        report_cell_bytes(r, image->file_bytes);
        report_cell_bytes(r, bytes.exclusive);
        report_cell_bytes(r, bytes.shared);
        report_cell_bytes(r, vhd_survey_coalesce_gain(s, n));
        report_cell_code(r, image->parent_text);
    }
    report_end(r);
}

int chain_write_html(struct xk_app *app, const struct vhd_survey *s, const char *path, struct xk_err *err)
{
    xk_auto(picture_done) struct picture p = {0};
    struct report r = {0};
    size_t broken = 0;
    char verdict[96];

    int code = picture_make(&p, s, err);
    if (code < 0)
        return code;
    for (size_t n = 0; n < s->count; n++)
        broken += chain_problem_of(&s->images[n]) != NULL;
    if (broken)
        snprintf(verdict, sizeof(verdict), "%zu of %zu images cannot be read to their root", broken, s->count);
    else
        snprintf(verdict, sizeof(verdict), "all %zu images can be read to their root", s->count);
    report_begin(&r,
                 &(struct report_head){
                     .kind = "chain",
                     .title = "Disk image chains",
                     .subtitle = "“Own” and “exclusive” are blocks that only this image stores, “shared” are blocks "
                                 "that its parent has, too: a coalesce keeps one of the two.",
                     .state = broken ? REPORT_CRITICAL : REPORT_GOOD,
                     .verdict = verdict,
                     .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
                 });
    report_section(&r, "Chains", NULL);
    report_tree(&r, TITLE, p.nodes, s->count);
    report_section(&r, "Images", NULL);
    add_table(&r, s);
    code = report_finish(&r);
    if (code < 0)
        xk_fail_sys(err, code, "%s: drawing %zu images", path, s->count);
    else
        code = xk_file_replace(app->fs, path, r.html.data, r.html.len, 0644, err);
    report_done(&r);
    return code;
}
