/*
 * `xenkit vhd chain`: the images of a folder as trees, each child under its parent. The tree is drawn in the first
 * column, so the same rows are a table for people and records with parent and depth for programs.
 */
#include "rooms/vhd/chain-picture.h"
#include "rooms/vhd/room.h"

#include "core/text.h"

struct chain {
    bool recurse, dot;
    const char *svg, *html, *chain_root;
};

static const struct xk_opt chain_opts[] = {
    XK_OPT_FLAG('r', "recurse", struct chain, recurse, "look into subfolders"),
    XK_OPT_FLAG(0, "dot", struct chain, dot, "print Graphviz text instead of rows"),
    XK_OPT_TEXT(0, "svg", struct chain, svg, "FILE", "draw the trees into an SVG file, too"),
    XK_OPT_TEXT(0, "html", struct chain, html, "FILE", "draw them into an HTML page, too"),
    VHD_OPT_CHAIN_ROOT(struct chain),
    XK_OPT_END,
};

/* The images in the order of the drawing, found without recursion: depths are foreign. */
struct order {
    size_t *items; /* indexes */
    char **lines;  /* "├─ name" for each; owned */
    size_t count;
};

static void order_done(struct order *o)
{
    for (size_t i = 0; o->lines && i < o->count; i++)
        free(o->lines[i]);
    free(o->lines);
    free(o->items);
}

/*
 * The drawing of one image: for each ancestor a bar when that one has more siblings below, then a corner. Deep chains
 * are cut at DRAWN_DEPTH levels of indentation; the depth column goes on.
 */
#define DRAWN_DEPTH 40

static char *draw(const struct vhd_survey *s, size_t n)
{
    xk_auto(xk_buf_done) struct xk_buf line = XK_BUF_INIT(64 * XK_KIB);
    size_t path[DRAWN_DEPTH];
    size_t levels = 0;

    for (size_t at = n; s->images[at].depth > 1 && levels < DRAWN_DEPTH; at = s->images[at].parent) {
        if (s->images[at].parent == VHD_NO_IMAGE)
            break;
        path[levels++] = at;
    }
    for (size_t i = levels; i-- > 0;) {
        const bool last = s->images[path[i]].next_sibling == VHD_NO_IMAGE;
        xk_buf_add_str(&line, i == 0 ? (last ? "└─ " : "├─ ") : (last ? "   " : "│  "));
    }
    xk_buf_add_str(&line, s->images[n].name);
    return xk_buf_take(&line);
}

static int add(struct order *o, const struct vhd_survey *s, size_t n, struct xk_err *err)
{
    o->lines[o->count] = draw(s, n);
    if (!o->lines[o->count])
        return xk_fail_memory(err);
    o->items[o->count++] = n;
    return 0;
}

static size_t next_in_tree(const struct vhd_survey *s, size_t n, size_t root)
{
    if (s->images[n].first_child != VHD_NO_IMAGE)
        return s->images[n].first_child;
    while (n != root && s->images[n].next_sibling == VHD_NO_IMAGE)
        n = s->images[n].parent;
    return n == root ? VHD_NO_IMAGE : s->images[n].next_sibling;
}

static int order_make(struct order *o, const struct vhd_survey *s, struct xk_err *err)
{
    o->items = xk_array_alloc(s->count, sizeof(*o->items));
    o->lines = xk_array_alloc(s->count, sizeof(*o->lines));
    if (!o->items || !o->lines)
        return xk_fail_memory(err);
    int code = 0;
    for (size_t root = 0; root < s->count && code == 0; root++) {
        const struct vhd_survey_image *image = &s->images[root];
        if (image->depth == 0) {
            code = add(o, s, root, err); /* part of a loop: listed, not drawn */
            continue;
        }
        if (image->parent != VHD_NO_IMAGE)
            continue;
        for (size_t n = root; n != VHD_NO_IMAGE && code == 0; n = next_in_tree(s, n, root))
            code = add(o, s, n, err);
    }
    return code;
}

static void put_image(struct xk_out *out, const struct vhd_survey *s, size_t n, const char *line)
{
    const struct vhd_survey_image *image = &s->images[n];
    const struct chain_bytes bytes = chain_bytes_of(image);
    const bool has_parent = image->parent != VHD_NO_IMAGE;
    const char *problem = chain_problem_of(image);

    xk_row(out);
    if (xk_out_format(out) == XK_OUT_TABLE)
        xk_put_str(out, "image", line);
    else
        xk_put_str(out, "path", image->path);
    if (image->depth)
        xk_put_u64(out, "depth", image->depth);
    else
        xk_put_none(out, "depth");
    if (image->usable) {
        xk_put_bytes(out, "size", image->footer.current_bytes);
        xk_put_bytes(out, "file", image->file_bytes);
        xk_put_u64(out, "allocated_blocks", image->allocated);
        xk_put_bool(out, "hidden", image->footer.hidden);
    } else {
        xk_put_none(out, "size_bytes");
        xk_put_bytes(out, "file", image->file_bytes);
        xk_put_none(out, "allocated_blocks");
        xk_put_none(out, "hidden");
    }
    xk_put_bytes(out, "exclusive", bytes.exclusive);
    xk_put_bytes(out, "shared", bytes.shared);
    xk_put_bytes(out, "coalesce_gain", vhd_survey_coalesce_gain(s, n));
    if (xk_out_format(out) != XK_OUT_TABLE)
        xk_put_str(out, "parent", has_parent ? s->images[image->parent].path : image->parent_text);
    else if (!has_parent && image->parent_text)
        problem = problem ? problem : "parent elsewhere";
    xk_put_str(out, "problem", problem);
    if (problem)
        xk_out_color(out, XK_COLOR_WARN);
}

/* returns whether a chain is broken, or an error. */
static int put_rows(struct xk_out *out, const struct vhd_survey *s, struct xk_err *err)
{
    xk_auto(order_done) struct order order = {0};
    bool broken = false;

    const int code = order_make(&order, s, err);
    if (code < 0)
        return code;
    xk_out_rows(out, "images");
    for (size_t i = 0; i < order.count; i++)
        put_image(out, s, order.items[i], order.lines[i]);
    xk_out_end(out);
    for (size_t n = 0; n < s->count; n++)
        broken |= chain_problem_of(&s->images[n]) != NULL;
    return broken;
}

static int show(struct xk_app *app, const struct chain *opts, const struct vhd_survey *s, struct xk_err *err)
{
    int code = 0;

    if (opts->svg)
        code = chain_write_svg(app, s, opts->svg, err);
    if (code == 0 && opts->html)
        code = chain_write_html(app, s, opts->html, err);
    if (code < 0)
        return code;
    if (!opts->dot)
        return put_rows(app->out, s, err);
    chain_put_dot(app->out, s);
    for (size_t n = 0; n < s->count; n++)
        code |= chain_problem_of(&s->images[n]) != NULL;
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct chain *opts = args->opts;
    struct vhd_survey survey;
    struct xk_prog progress;

    if (opts->dot && xk_out_format(app->out) != XK_OUT_TABLE)
        return xk_fail(err, -EINVAL, "--dot is a format of its own");
    xk_prog_begin(&progress, app->log, app->clock, "reading", 0, false);
    const struct vhd_survey_options options = {
        .recurse = opts->recurse,
        .missing_stands = args->count > 1,
        .tables = true,
        .search = {.root = opts->chain_root},
        .follow_parents = true,
        .progress = &progress,
    };
    int code = vhd_survey_run(&survey, app->fs, args->operands, (size_t)args->count, &options, err);
    xk_prog_end(&progress);
    if (code < 0)
        return code;
    code = show(app, opts, &survey, err);
    vhd_survey_done(&survey);
    return code < 0 ? code : (code ? XK_EXIT_BAD : XK_EXIT_OK);
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_BAD, "a parent is missing, an image is damaged, or the chain is a loop"},
    {0, NULL},
};
static const char *const example[] = {".", NULL};

const struct xk_command vhd_cmd_chain = {
    .name = "chain",
    .summary = "the images of a folder as trees of parents and children",
    .operands = "FILE|DIR…",
    .min_operands = 1,
    .max_operands = -1,
    .opts = chain_opts,
    .opts_bytes = sizeof(struct chain),
    .run = run,
    .exits = exits,
    .example = example,
};
