/*
 * The picture of VHD chains.
 *
 * Drawn like a version history: every image has a row of its own, a child stands below its parent, and the child with
 * the largest family goes on in the parent's lane while the others step one lane to the right. A chain of thirty
 * snapshots is then one straight column, and a lane to the right halves the family at least, so 500 images need no more
 * than nine lanes: the picture stays narrow enough for a phone. Indenting by depth needs thirty lanes for that chain,
 * and a classic tree drawing needs a metre of width for a golden image with a hundred clones.
 *
 * Each tree is a few SVGs ("pieces") of at most PIECE_ROWS rows, and small trees are stacked to that height, so that
 * the page can set them in as many columns as its width allows; on paper none is cut by a page's end.
 */
#include "lib/report/inner.h"

#include "core/text.h"

#include "assets.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define NONE         SIZE_MAX
#define PIECE_ROWS   12 /* fit a page of paper, even with a remark in each */
#define GAP_PX       12 /* between rows */
#define BOX_PX       50 /* height of a box */
#define REMARK_PX    16 /* and what a remark in a line of its own adds to it */
#define BOX_WIDE_PX  320
#define PAD_PX       10 /* inside a box */
#define SIGN_PX      12
#define LANE_PX      18
#define RAIL_PX      10 /* from a lane's left edge */
#define NAME_CELLS   40 /* "<uuid>.vhd" fits */
#define REMARK_CELLS 40 /* in a line of its own, beside the sign */
#define LINE_CELLS   40 /* of the sizes and a remark together */

struct place {
    size_t up;          /* the parent, NONE for a root; never a circle */
    size_t first, next; /* first child; next child of the same parent, or next root */
    size_t family;      /* this one and all below that are drawn (before choosing: all) */
    size_t heir;        /* the drawn child that goes on in this lane */
    size_t row;
    size_t hidden; /* children that are not drawn */
    unsigned lane, depth;
    enum report_state worst; /* in the family */
    bool cut;                /* stands in a circle of parents that was opened here */
    bool drawn;
};

struct forest {
    const struct report_node *nodes;
    size_t count, drawn;
    struct place *places;
    size_t *order; /* roots first within each tree: a parent comes before its children */
    size_t *roots;
    size_t root_count;
    size_t *rows; /* which node is in a row; `drawn` of them */
};

/* ---- the shape ---- */

/* Copy the parents; where they run in a circle, one of them becomes a root. */
static void find_parents(struct forest *f)
{
    struct place *const p = f->places;
    for (size_t i = 0; i < f->count; i++) {
        assert(f->nodes[i].parent < f->count || f->nodes[i].parent == REPORT_NO_PARENT);
        p[i].up = f->nodes[i].parent == REPORT_NO_PARENT ? NONE : f->nodes[i].parent;
    }
    /* `row` marks the walk that saw a node; a node of the same walk seen again closes a circle. */
    for (size_t i = 0; i < f->count; i++) {
        size_t at = i;
        while (at != NONE && p[at].row == 0) {
            p[at].row = i + 1;
            const size_t up = p[at].up;
            if (up != NONE && p[up].row == i + 1) {
                p[at].up = NONE;
                p[at].cut = true;
                break;
            }
            at = up;
        }
    }
}

/* Lists of children in the caller's order, then families and depths. */
static void find_families(struct forest *f)
{
    struct place *const p = f->places;
    for (size_t i = 0; i < f->count; i++)
        p[i].first = p[i].next = p[i].heir = NONE;
    for (size_t i = f->count; i-- > 0;) {
        if (p[i].up == NONE)
            continue;
        p[i].next = p[p[i].up].first;
        p[p[i].up].first = i;
    }
    size_t filled = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (p[i].up == NONE) {
            f->roots[f->root_count++] = i;
            f->order[filled++] = i;
        }
    }
    for (size_t at = 0; at < filled; at++)
        for (size_t child = p[f->order[at]].first; child != NONE; child = p[child].next)
            f->order[filled++] = child;
    assert(filled == f->count);
    for (size_t at = 0; at < f->count; at++) {
        struct place *const me = &p[f->order[at]];
        me->depth = me->up == NONE ? 1 : p[me->up].depth + 1;
    }
    for (size_t at = f->count; at-- > 0;) {
        struct place *const me = &p[f->order[at]];
        me->family++;
        me->worst = XK_MAX(me->worst, f->nodes[f->order[at]].state);
        if (me->cut)
            me->worst = REPORT_CRITICAL;
        if (me->up != NONE) {
            p[me->up].family += me->family;
            p[me->up].worst = XK_MAX(p[me->up].worst, me->worst);
        }
    }
}

static int by_trouble_and_size(const void *left, const void *right, void *places)
{
    const size_t a = *(const size_t *)left, b = *(const size_t *)right;
    const struct place *const p = places;
    if (p[a].worst != p[b].worst)
        return p[a].worst > p[b].worst ? -1 : 1;
    if (p[a].family != p[b].family)
        return p[a].family > p[b].family ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* Draw node i and what is above it, when there is room. */
static void choose_line(struct forest *f, size_t i)
{
    size_t needed = 0;
    for (size_t at = i; at != NONE && !f->places[at].drawn; at = f->places[at].up)
        if (++needed > REPORT_NODES_MAX - f->drawn)
            return;
    for (size_t at = i; at != NONE && !f->places[at].drawn; at = f->places[at].up)
        f->places[at].drawn = true;
    f->drawn += needed;
}

/* Which images are drawn: those in trouble with their ancestors, then tree after tree from its root down. */
static void choose(struct forest *f)
{
    struct place *const p = f->places;
    qsort_r(f->roots, f->root_count, sizeof(*f->roots), by_trouble_and_size, p);
    for (enum report_state state = REPORT_CRITICAL; state >= REPORT_NOTE; state--)
        for (size_t i = 0; i < f->count; i++)
            if (f->nodes[i].state == state || (p[i].cut && state == REPORT_CRITICAL))
                choose_line(f, i);
    size_t filled = 0;
    for (size_t tree = 0; tree < f->root_count; tree++) {
        size_t at = filled;
        f->order[filled++] = f->roots[tree];
        for (; at < filled; at++)
            for (size_t child = p[f->order[at]].first; child != NONE; child = p[child].next)
                f->order[filled++] = child;
    }
    for (size_t at = 0; at < f->count && f->drawn < REPORT_NODES_MAX; at++)
        choose_line(f, f->order[at]);
}

/* Families and heirs once more, now of what is drawn. */
static void find_heirs(struct forest *f)
{
    struct place *const p = f->places;
    for (size_t i = 0; i < f->count; i++)
        p[i].family = p[i].drawn;
    for (size_t at = f->count; at-- > 0;) {
        const size_t i = f->order[at];
        if (p[i].up == NONE)
            continue;
        struct place *const parent = &p[p[i].up];
        if (!p[i].drawn) {
            parent->hidden++;
            continue;
        }
        parent->family += p[i].family;
        if (parent->heir == NONE || p[i].family > p[parent->heir].family)
            parent->heir = i;
    }
}

/* Rows and lanes: a family's heir comes last, so that the line to it passes the others. */
static void set_rows(struct forest *f, size_t *stack)
{
    struct place *const p = f->places;
    size_t row = 0;
    for (size_t tree = 0; tree < f->root_count; tree++) {
        size_t height = 0;
        if (!p[f->roots[tree]].drawn)
            continue;
        stack[height++] = f->roots[tree];
        while (height > 0) {
            const size_t i = stack[--height];
            p[i].row = row;
            f->rows[row++] = i;
            if (p[i].heir == NONE)
                continue;
            p[p[i].heir].lane = p[i].lane;
            stack[height++] = p[i].heir;
            const size_t begin = height;
            for (size_t child = p[i].first; child != NONE; child = p[child].next) {
                if (child == p[i].heir || !p[child].drawn)
                    continue;
                p[child].lane = p[i].lane + 1;
                stack[height++] = child;
            }
            /* The caller's order from top to bottom. */
            for (size_t low = begin, high = height; low + 1 < high; low++, high--) {
                const size_t swap = stack[low];
                stack[low] = stack[high - 1];
                stack[high - 1] = swap;
            }
        }
    }
    assert(row == f->drawn);
}

/* ---- the drawing ---- */

static unsigned rail_x(unsigned lane)
{
    return lane * LANE_PX + RAIL_PX;
}

/* Rows of a tree that are one SVG. */
struct piece {
    size_t from, to;
    unsigned y[PIECE_ROWS + 1]; /* the top of each row, and where the next would begin */
};

static unsigned row_y(const struct piece *piece, size_t row)
{
    return piece->y[row - piece->from];
}

static const char *remark_of(const struct forest *f, size_t i)
{
    if (f->places[i].cut)
        return "circle of parents";
    const struct report_node *const node = &f->nodes[i];
    if (node->note != NULL && *node->note != '\0')
        return node->note;
    return node->absent ? "not found" : "";
}

struct sizes_text {
    char s[200];
};

static struct sizes_text sizes_of(const struct forest *f, size_t i)
{
    const struct report_node *const node = &f->nodes[i];
    struct sizes_text t;
    int len = snprintf(t.s, sizeof(t.s), "depth %u", node->depth > 0 ? node->depth : f->places[i].depth);
    if (!node->absent)
        len += snprintf(t.s + len, sizeof(t.s) - (size_t)len, " · %s of %s", xk_size(node->physical_bytes).s,
                        xk_size(node->virtual_bytes).s);
    if (f->places[i].hidden > 0)
        snprintf(t.s + len, sizeof(t.s) - (size_t)len, " · %zu more below", f->places[i].hidden);
    return t;
}

/* A remark that does not fit beside the sizes gets a line of its own. */
static bool remark_is_long(const struct forest *f, size_t i)
{
    const char *const remark = remark_of(f, i);
    return *remark != '\0' && strnlen(remark, REPORT_TEXT_MAX) + strlen(sizes_of(f, i).s) > LINE_CELLS;
}

static unsigned box_height(const struct forest *f, size_t i)
{
    return BOX_PX + (remark_is_long(f, i) ? REMARK_PX : 0);
}

/* The lines from the children of node i, as far as they fall into the piece; drawn before the boxes. */
static void add_edges(struct report *r, const struct forest *f, size_t i, const struct piece *piece)
{
    const struct place *const p = f->places;
    const struct place *const me = &p[i];
    if (me->heir == NONE || me->row >= piece->to || p[me->heir].row < piece->from)
        return;
    const bool begins = me->row >= piece->from, ends = p[me->heir].row < piece->to;
    const unsigned x = rail_x(me->lane);
    const unsigned top = begins ? row_y(piece, me->row) + box_height(f, i) : 0;
    const unsigned bottom = row_y(piece, ends ? p[me->heir].row : piece->to);
    xk_buf_printf(&r->html, "<path class=\"edge\" d=\"M%u %uV%u", x, top, bottom);
    for (size_t child = me->first; child != NONE; child = p[child].next) {
        if (child == me->heir || !p[child].drawn || p[child].row < piece->from || p[child].row >= piece->to)
            continue;
        xk_buf_printf(&r->html, "M%u %uH%u", x, row_y(piece, p[child].row) + BOX_PX / 2, p[child].lane * LANE_PX + 1);
    }
    xk_buf_add_str(&r->html, "\"/>");
    if (begins)
        xk_buf_printf(&r->html, "<path class=\"arrow\" d=\"M%u %ul4 7h-8z\"/>", x, top);
    xk_buf_add_str(&r->html, "\n");
}

static void add_box(struct report *r, const struct forest *f, size_t i, const struct piece *piece)
{
    struct xk_buf *const h = &r->html;
    const struct report_node *const node = &f->nodes[i];
    const enum report_state state = f->places[i].cut ? REPORT_CRITICAL : node->state;
    const unsigned left = f->places[i].lane * LANE_PX + 1, x = left + PAD_PX;
    const unsigned y = row_y(piece, f->places[i].row), high = box_height(f, i);
    const struct sizes_text sizes = sizes_of(f, i);
    const char *const remark = remark_of(f, i);

    xk_buf_printf(h, "<g class=\"node %s%s\"><title>", report_state_name(state), node->absent ? " absent" : "");
    report_add_text(r, node->name);
    xk_buf_printf(h, "\n%s\n", sizes.s);
    report_add_text(r, remark);
    xk_buf_printf(h, "</title><rect class=\"box\" x=\"%u\" y=\"%u\" width=\"%d\" height=\"%u\" rx=\"4\"/>", left, y,
                  BOX_WIDE_PX, high);
    if (!node->absent && node->virtual_bytes > 0) {
        const double share = (double)node->physical_bytes / (double)node->virtual_bytes;
        const unsigned wide = BOX_WIDE_PX - 2 * PAD_PX, full = (unsigned)(XK_MIN(share, 1.0) * wide + 0.5);
        xk_buf_printf(h, "<rect class=\"track\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"3\" rx=\"1.5\"/>", x,
                      y + high - 8, wide);
        xk_buf_printf(h, "<rect class=\"fill\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"3\" rx=\"1.5\"/>", x,
                      y + high - 8, full);
    }
    xk_buf_printf(h, "<text class=\"name\" x=\"%u\" y=\"%u\">", x, y + 17);
    report_add_short(r, node->name, NAME_CELLS);
    xk_buf_printf(h, "</text><text class=\"sizes\" x=\"%u\" y=\"%u\">%s</text>", x, y + 34, sizes.s);

    /* The sign and the remark: at the right end of the second line, or at the left of a third. */
    const bool own_line = remark_is_long(f, i), sign = state >= REPORT_NOTE;
    const unsigned base = y + (own_line ? 34 + REMARK_PX : 34), right = left + BOX_WIDE_PX - PAD_PX;
    if (sign)
        xk_buf_printf(h, "<use href=\"#sign-%s\" class=\"sign\" x=\"%u\" y=\"%u\" width=\"12\" height=\"12\"/>",
                      report_state_name(state), own_line ? x : right - SIGN_PX, base - 10);
    if (*remark != '\0') {
        const unsigned inset = sign ? SIGN_PX + 5 : 0;
        xk_buf_printf(h, "<text class=\"remark\" x=\"%u\" y=\"%u\" text-anchor=\"%s\">",
                      own_line ? x + inset : right - inset, base, own_line ? "start" : "end");
        report_add_short(r, remark, REMARK_CELLS);
        xk_buf_add_str(h, "</text>");
    }
    xk_buf_add_str(h, "</g>\n");
}

static unsigned piece_height(const struct piece *piece, size_t end)
{
    return row_y(piece, piece->to) - (piece->to == end ? GAP_PX - 1 : 0);
}

static void add_piece(struct report *r, const struct forest *f, const struct piece *piece, size_t begin, size_t end)
{
    unsigned lanes = 1;
    for (size_t row = piece->from; row < piece->to; row++)
        lanes = XK_MAX(lanes, f->places[f->rows[row]].lane + 1);
    const unsigned wide = (lanes - 1) * LANE_PX + BOX_WIDE_PX + 2;
    const unsigned high = piece_height(piece, end);
    const unsigned id = report_next_id(r);
    xk_buf_printf(&r->html,
                  "<svg class=\"tree\" role=\"img\" aria-labelledby=\"x%u\" width=\"%u\" height=\"%u\" "
                  "viewBox=\"0 0 %u %u\"><desc id=\"x%u\">%zu images on ",
                  id, wide, high, wide, high, id, end - begin);
    report_add_text(r, f->nodes[f->rows[begin]].name);
    xk_buf_printf(&r->html, "%s</desc>\n", piece->from > begin ? ", continued" : "");
    for (size_t row = begin; row < piece->to; row++)
        add_edges(r, f, f->rows[row], piece);
    for (size_t row = piece->from; row < piece->to; row++)
        add_box(r, f, f->rows[row], piece);
    xk_buf_add_str(&r->html, "</svg>\n");
}

static struct piece make_piece(const struct forest *f, size_t begin, size_t from, size_t end)
{
    struct piece piece = {.from = from, .to = XK_MIN(from + PIECE_ROWS, end)};
    piece.y[0] = from > begin ? GAP_PX : 1; /* room for the lines that come from the piece before */
    for (size_t row = from; row < piece.to; row++)
        piece.y[row - from + 1] = piece.y[row - from] + box_height(f, f->rows[row]) + GAP_PX;
    return piece;
}

/* Where the tree that begins at this row ends. */
static size_t tree_end(const struct forest *f, size_t begin)
{
    size_t end = begin + 1;
    while (end < f->drawn && f->places[f->rows[end]].up != NONE)
        end++;
    return end;
}

/* Rows begin..end are one tree, written into an open column; all pieces but the first begin a column. */
static void add_tree(struct report *r, const struct forest *f, size_t begin, size_t end)
{
    for (size_t from = begin; from < end; from += PIECE_ROWS) {
        const struct piece piece = make_piece(f, begin, from, end);
        if (from > begin)
            xk_buf_add_str(&r->html, "</div>\n<div>\n");
        add_piece(r, f, &piece, begin, end);
    }
}

static void add_forest(struct report *r, const struct forest *f)
{
    xk_buf_add_str(&r->html, "<p class=\"words\">An arrow points to the parent that an image reads through; the bar is "
                             "how much of its virtual size an image stores itself.</p>\n<div class=\"pieces\">\n");
    size_t stacked = 0; /* rows in the open column */
    for (size_t begin = 0, end; begin < f->drawn; begin = end) {
        end = tree_end(f, begin);
        if (stacked == 0 || stacked + (end - begin) > PIECE_ROWS) {
            xk_buf_add_str(&r->html, stacked == 0 ? "<div>\n" : "</div>\n<div>\n");
            stacked = 0;
        }
        stacked += end - begin;
        add_tree(r, f, begin, end);
    }
    xk_buf_add_str(&r->html, "</div>\n</div>\n");
    report_add_left_off(r, f->count - f->drawn, f->count - f->drawn == 1 ? "image is" : "images are");
}

/* The forest's arrays, in the caller's storage. */
struct room {
    struct place *places;
    size_t *order, *roots, *rows, *stack;
};

static void room_done(struct room *m)
{
    free(m->places);
    free(m->order);
    free(m->roots);
    free(m->rows);
    free(m->stack);
}

static int forest_make(struct forest *f, struct room *m, const struct report_node *nodes, size_t count)
{
    m->places = xk_array_alloc(count, sizeof(*m->places));
    m->order = xk_array_alloc(count, sizeof(*m->order));
    m->roots = xk_array_alloc(count, sizeof(*m->roots));
    m->rows = xk_array_alloc(XK_MIN(count, (size_t)REPORT_NODES_MAX), sizeof(*m->rows));
    /* The stack holds each drawn node at most once. */
    m->stack = xk_array_alloc(XK_MIN(count, (size_t)REPORT_NODES_MAX), sizeof(*m->stack));
    if (m->places == NULL || m->order == NULL || m->roots == NULL || m->rows == NULL || m->stack == NULL)
        return -ENOMEM;
    *f = (struct forest){
        .nodes = nodes, .count = count, .places = m->places, .order = m->order, .roots = m->roots, .rows = m->rows};
    find_parents(f);
    find_families(f);
    choose(f);
    find_heirs(f);
    set_rows(f, m->stack);
    return 0;
}

void report_tree(struct report *r, const char *title, const struct report_node *nodes, size_t count)
{
    xk_auto(room_done) struct room m = {0};
    struct forest f;

    assert(r->block == REPORT_BLOCK_NONE);
    xk_buf_add_str(&r->html, "<figure class=\"chart\">\n<figcaption><h3>");
    report_add_text(r, title);
    xk_buf_add_str(&r->html, "</h3></figcaption>\n");
    if (forest_make(&f, &m, nodes, count) < 0) {
        r->html.error = r->html.error != 0 ? r->html.error : -ENOMEM;
        return;
    }
    if (count == 0)
        xk_buf_add_str(&r->html, "<p class=\"none\">No images.</p>\n");
    else
        add_forest(r, &f);
    xk_buf_add_str(&r->html, "</figure>\n");
}

/* All pieces below each other. *ret_high: what they take. */
static void add_column(struct report *r, const struct forest *f, unsigned *ret_high)
{
    unsigned y = PAD_PX;

    for (size_t begin = 0, end; begin < f->drawn; begin = end) {
        end = tree_end(f, begin);
        for (size_t from = begin; from < end; from += PIECE_ROWS) {
            const struct piece piece = make_piece(f, begin, from, end);
            xk_buf_printf(&r->html, "<g transform=\"translate(%d %u)\">\n", PAD_PX, y);
            add_piece(r, f, &piece, begin, end);
            xk_buf_add_str(&r->html, "</g>\n");
            y += piece_height(&piece, end);
        }
        y += GAP_PX;
    }
    *ret_high = y;
}

int report_tree_svg(struct xk_buf *ret, const char *title, const struct report_node *nodes, size_t count)
{
    xk_auto(room_done) struct room m = {0};
    struct report pieces = {.html = XK_BUF_INIT(REPORT_BYTES_MAX)}, heading = {.html = XK_BUF_INIT(REPORT_BYTES_MAX)};
    struct forest f;
    unsigned high = 0, lanes = 1;

    *ret = XK_BUF_INIT(REPORT_BYTES_MAX);
    if (forest_make(&f, &m, nodes, count) < 0)
        return -ENOMEM;
    add_column(&pieces, &f, &high);
    for (size_t row = 0; row < f.drawn; row++)
        lanes = XK_MAX(lanes, f.places[f.rows[row]].lane + 1);
    report_add_text(&heading, title);
    const unsigned wide = (lanes - 1) * LANE_PX + BOX_WIDE_PX + 2 + 2 * PAD_PX;
    xk_buf_printf(ret,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\">\n"
                  "<title>%s</title>\n<style><![CDATA[\n",
                  wide, high, wide, high, xk_buf_str(&heading.html));
    xk_buf_add(ret, report_style, report_style_len);
    xk_buf_add_str(ret, "]]></style>\n");
    xk_buf_add_str(ret, report_signs);
    xk_buf_printf(ret, "<rect width=\"%u\" height=\"%u\" style=\"fill: var(--paper)\"/>\n", wide, high);
    xk_buf_add(ret, xk_buf_str(&pieces.html), pieces.html.len);
    if (f.count > f.drawn)
        xk_buf_printf(ret, "<!-- %zu more images are not drawn -->\n", f.count - f.drawn);
    xk_buf_add_str(ret, "</svg>\n");
    const int inner = pieces.html.error ? pieces.html.error : heading.html.error;
    report_done(&pieces);
    report_done(&heading);
    return inner ? inner : ret->error;
}
