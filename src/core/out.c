/*
 * Records to text.
 *
 * JSON and JSON lines are written at once, cell by cell. The other formats need a whole row (or record) before the
 * first byte: it is kept as a small tree of nodes in an arena. Rows of a table are collected, at most LEARN_ROWS of
 * them or LEARN_BYTES, to learn columns and widths; what follows is drawn row by row with what was learned, so memory
 * stays bounded and a long list begins to appear early.
 * Weighed: keeping the whole document and drawing it at the end. That is simpler, and impossible for a scan of a
 * million files or for a command that runs until it is stopped.
 */
#include "core/out.h"

#include "core/json.h"
#include "core/text.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define WRITE_BYTES      (64 * XK_KIB)
#define BUFFER_BYTES_MAX (64 * XK_MIB)
#define RECORD_BYTES_MAX (64 * XK_MIB)
#define LEARN_ROWS       1000
#define LEARN_BYTES      (4 * XK_MIB)
#define COLUMNS_MAX      256
#define DEPTH_MAX        16
#define PATH_MAX_BYTES   256
#define SECTIONS_MAX     32
#define COLUMN_GAP       2
#define LABEL_CELLS_MAX  24
#define LIST_LINE_CELLS  72
#define CLEAN_TEXTS      3
#define NEW_FILE_MODE    0666

enum cell_kind {
    CELL_NONE,
    CELL_TEXT,
    CELL_U64,
    CELL_I64,
    CELL_DOUBLE,
    CELL_BYTES,
    CELL_DURATION,
    CELL_RATE,
    CELL_PERCENT,
    CELL_TIME,
    CELL_BOOL,
    CELL_RECORD,
    CELL_LIST,
};

union cell_value {
    const char *text;
    uint64_t u;
    int64_t i;
    double d;
    bool b;
};

struct node {
    const char *key; /* NULL in a list */
    enum cell_kind kind;
    enum xk_color color;
    union cell_value v;
    struct node *first, *last, *next;
};

struct column {
    const char *path; /* the whole key with its unit, "parent.size_bytes" */
    size_t width;     /* cells */
    bool right;
};

enum section {
    SECTION_NONE,
    SECTION_ROWS,
    SECTION_RECORD,
    SECTION_SKIPPED, /* the format carries one section only, and this is not it */
};

enum carried {
    CARRIED_NOTHING,
    CARRIED_RECORD, /* in `held`, until rows take its place */
    CARRIED_ROWS,
};

struct xk_out {
    enum xk_out_format format;
    bool terminal, color;
    size_t width;
    const struct xk_fs *fs;
    int fd; /* standard output or a special file; -1 when `file` is used */
    bool owns_fd;
    const char *where; /* for messages */
    struct xk_newfile file;
    uint64_t offset_bytes;
    int error;

    struct xk_buf buf;  /* to be written */
    struct xk_buf held; /* see enum carried */
    struct xk_buf work; /* one cell being drawn */
    struct xk_buf clean[CLEAN_TEXTS];
    unsigned clean_next;

    struct xk_json json;
    bool json_open;

    enum section section;
    enum carried carried;
    const char *section_names[SECTIONS_MAX];
    size_t section_count;
    bool section_was_last; /* nothing was said since */

    bool in_row;
    bool cards, card_drawn; /* the rows of this section are drawn one below the other */
    struct xk_arena arena;  /* rows not yet drawn, or the record */
    struct node *rows[LEARN_ROWS];
    size_t row_count;
    struct node *stack[DEPTH_MAX]; /* open records and lists; [0] is the row or the record */
    size_t depth;
    struct node *last_cell;

    struct xk_arena column_arena;
    struct column columns[COLUMNS_MAX];
    size_t column_count;
    bool columns_fixed;
};

static bool is_json(const struct xk_out *out)
{
    return out->format == XK_OUT_JSON || out->format == XK_OUT_JSONL;
}

/* ---- bytes out ---- */

static void set_error(struct xk_out *out, int code)
{
    if (!out->error)
        out->error = code;
}

static int write_fd(int fd, const char *data, size_t bytes)
{
    while (bytes) {
        const ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            (void)poll(&wait, 1, -1);
            continue;
        }
        if (n < 0)
            return -errno;
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static void write_bytes(struct xk_out *out, const char *data, size_t bytes)
{
    int r;

    if (out->error || !bytes)
        return;
    if (out->fd >= 0)
        r = write_fd(out->fd, data, bytes);
    else
        r = xk_file_write(&out->file.file, data, bytes, out->offset_bytes, NULL);
    if (r < 0)
        set_error(out, r);
    out->offset_bytes += bytes;
}

static void drain(struct xk_out *out)
{
    if (out->buf.error)
        set_error(out, out->buf.error);
    write_bytes(out, out->buf.data, out->buf.len);
    xk_buf_reset(&out->buf);
}

static void drain_when_full(struct xk_out *out)
{
    if (out->buf.len >= WRITE_BYTES || out->buf.error)
        drain(out);
}

/* Where the current section's text goes. */
static struct xk_buf *sink(struct xk_out *out)
{
    const bool held = out->section == SECTION_RECORD && out->format != XK_OUT_TABLE && out->format != XK_OUT_JSON;

    return held ? &out->held : &out->buf;
}

static void add_color(const struct xk_out *out, struct xk_buf *b, enum xk_color color)
{
    static const char *const sequences[] = {
        [XK_COLOR_NONE] = "\033[0m",  [XK_COLOR_GOOD] = "\033[32m",  [XK_COLOR_NOTE] = "\033[36m",
        [XK_COLOR_WARN] = "\033[33m", [XK_COLOR_BAD] = "\033[1;31m", [XK_COLOR_DIM] = "\033[2m",
    };

    if (out->color)
        xk_buf_add_str(b, sequences[color]);
}

/* ---- opening and closing ---- */

static bool is_device_path(const char *path)
{
    return xk_has_prefix(path, "/dev/") || xk_has_prefix(path, "/proc/");
}

static int open_file(struct xk_out *out, const char *path, struct xk_err *err)
{
    struct stat st;
    const bool there = stat(path, &st) == 0;

    out->where = path;
    if (is_device_path(path) || (there && !S_ISREG(st.st_mode))) {
        out->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        if (out->fd < 0)
            return xk_fail_sys(err, -errno, "cannot write %s", path);
        out->owns_fd = true;
        return 0;
    }
    /* A link keeps pointing where it points: the file behind it is what is replaced. */
    xk_autofree char *real = there ? realpath(path, NULL) : NULL;
    out->fd = -1;
    return xk_newfile_begin(&out->file, out->fs, real ? real : path, NEW_FILE_MODE, false, err);
}

static size_t terminal_width(int fd)
{
    struct winsize size;

    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

int xk_out_open(struct xk_out **ret, const struct xk_out_settings *settings, struct xk_err *err)
{
    struct xk_out *const out = xk_zalloc(sizeof(*out));
    int r = 0;

    if (!out)
        return xk_fail_memory(err);
    out->format = settings->format;
    out->fs = settings->fs;
    out->fd = STDOUT_FILENO;
    out->where = "standard output";
    out->arena = XK_ARENA_INIT(RECORD_BYTES_MAX);
    out->column_arena = XK_ARENA_INIT(XK_MIB);
    xk_buf_init(&out->buf, BUFFER_BYTES_MAX);
    xk_buf_init(&out->held, BUFFER_BYTES_MAX);
    xk_buf_init(&out->work, BUFFER_BYTES_MAX);
    for (size_t i = 0; i < CLEAN_TEXTS; i++)
        xk_buf_init(&out->clean[i], XK_MIB);
    if (settings->file && strcmp(settings->file, "-") != 0)
        r = open_file(out, settings->file, err);
    if (r < 0) {
        xk_out_close(out);
        return r;
    }
    out->terminal = out->fd >= 0 && isatty(out->fd);
    out->width = out->terminal ? terminal_width(out->fd) : 0;
    out->color = out->terminal && settings->color && out->format == XK_OUT_TABLE;
    if (out->format == XK_OUT_JSON) {
        xk_json_init(&out->json, &out->buf, out->terminal ? 2 : 0);
        xk_json_object(&out->json, NULL);
        out->json_open = true;
    }
    *ret = out;
    return 0;
}

void xk_out_close(struct xk_out *out)
{
    if (!out)
        return;
    xk_newfile_abort(&out->file);
    if (out->owns_fd)
        (void)close(out->fd);
    xk_buf_done(&out->buf);
    xk_buf_done(&out->held);
    xk_buf_done(&out->work);
    for (size_t i = 0; i < CLEAN_TEXTS; i++)
        xk_buf_done(&out->clean[i]);
    xk_arena_done(&out->arena);
    xk_arena_done(&out->column_arena);
    free(out);
}

static void put_json_error(struct xk_json *json, const char *key, const struct xk_err *failed)
{
    const char *const name = strerrorname_np(-failed->code);

    xk_json_object(json, key);
    xk_json_str(json, "code", name ? name : "EIO");
    xk_json_i64(json, "exit", failed->exit);
    xk_json_str(json, "message", failed->text);
    xk_json_str(json, "hint", failed->hint[0] ? failed->hint : NULL);
    xk_json_end(json);
}

int xk_out_finish(struct xk_out *out, const struct xk_err *failed, struct xk_err *err)
{
    if (out->section != SECTION_NONE)
        xk_out_end(out);
    if (out->carried == CARRIED_RECORD)
        xk_buf_add(&out->buf, out->held.data, out->held.len);
    if (out->held.error)
        set_error(out, out->held.error);
    if (out->format == XK_OUT_JSON && out->json_open) {
        if (failed)
            put_json_error(&out->json, "error", failed);
        xk_json_end(&out->json);
        xk_buf_add_char(&out->buf, '\n');
        out->json_open = false;
    } else if (out->format == XK_OUT_JSONL && failed) {
        xk_json_init(&out->json, &out->buf, 0);
        xk_json_object(&out->json, NULL);
        put_json_error(&out->json, "error", failed);
        xk_json_end(&out->json);
        xk_buf_add_char(&out->buf, '\n');
    }
    drain(out);
    if (out->error)
        return xk_fail_sys(err, out->error, "cannot write %s", out->where);
    if (out->fd < 0 && (!failed || out->format == XK_OUT_JSON))
        return xk_newfile_commit(&out->file, err);
    return 0;
}

enum xk_out_format xk_out_format(const struct xk_out *out)
{
    return out->format;
}

bool xk_out_is_terminal(const struct xk_out *out)
{
    return out->terminal;
}

size_t xk_out_width(const struct xk_out *out)
{
    return out->width;
}

int xk_out_error(const struct xk_out *out)
{
    return out->error ? out->error : out->buf.error;
}

/* ---- a cell as text ---- */

static const char *unit_of(enum cell_kind kind)
{
    switch (kind) {
    case CELL_BYTES:
        return "_bytes";
    case CELL_DURATION:
        return "_ns";
    case CELL_RATE:
        return "_bps";
    case CELL_PERCENT:
        return "_percent";
    default:
        return "";
    }
}

/* For people: four digits tell enough, and a whole number is shown whole. */
static void add_rounded(struct xk_buf *b, double v)
{
    if (!isfinite(v))
        xk_buf_add_char(b, '-');
    else if (fabs(v) < 1e15 && v == trunc(v))
        xk_buf_printf(b, "%.0f", v);
    else if (fabs(v) >= 1000 && fabs(v) < 1e15)
        xk_buf_printf(b, "%.1f", v);
    else
        xk_buf_printf(b, "%.4g", v);
}

static void add_for_people(struct xk_buf *b, enum cell_kind kind, union cell_value v)
{
    switch (kind) {
    case CELL_NONE:
    case CELL_RECORD:
    case CELL_LIST:
        xk_buf_add_char(b, '-');
        break;
    case CELL_TEXT:
    case CELL_TIME:
        xk_add_clean(b, v.text);
        break;
    case CELL_U64:
        xk_buf_printf(b, "%" PRIu64, v.u);
        break;
    case CELL_I64:
        xk_buf_printf(b, "%" PRId64, v.i);
        break;
    case CELL_DOUBLE:
        add_rounded(b, v.d);
        break;
    case CELL_BYTES:
        xk_buf_add_str(b, xk_size(v.u).s);
        break;
    case CELL_DURATION:
        xk_buf_add_str(b, xk_duration(v.u).s);
        break;
    case CELL_RATE:
        xk_buf_add_str(b, xk_rate(v.u).s);
        break;
    case CELL_PERCENT:
        if (isfinite(v.d))
            xk_buf_printf(b, "%.1f %%", v.d);
        else
            xk_buf_add_char(b, '-');
        break;
    case CELL_BOOL:
        xk_buf_add_str(b, v.b ? "yes" : "no");
        break;
    }
}

/* For programs: the raw value, cleaned of control characters but not yet quoted. */
static void add_for_programs(struct xk_buf *b, enum cell_kind kind, union cell_value v)
{
    switch (kind) {
    case CELL_BYTES:
    case CELL_DURATION:
    case CELL_RATE:
        xk_buf_printf(b, "%" PRIu64, v.u);
        break;
    case CELL_DOUBLE:
    case CELL_PERCENT:
        if (isfinite(v.d))
            xk_buf_add_str(b, xk_number(v.d).s);
        break;
    case CELL_BOOL:
        xk_buf_add_str(b, v.b ? "true" : "false");
        break;
    case CELL_NONE:
        break;
    default:
        add_for_people(b, kind, v);
    }
}

static bool is_missing(const struct node *n)
{
    const bool real = n->kind == CELL_DOUBLE || n->kind == CELL_PERCENT;

    return n->kind == CELL_NONE || (real && !isfinite(n->v.d));
}

static void add_leaf(const struct xk_out *out, struct xk_buf *b, const struct node *n)
{
    if (out->format == XK_OUT_TABLE)
        add_for_people(b, n->kind, n->v);
    else if (out->format == XK_OUT_PLAIN && is_missing(n))
        xk_buf_add_char(b, '-');
    else
        add_for_programs(b, n->kind, n->v);
}

static void add_key(struct xk_buf *b, const struct node *n)
{
    xk_buf_add_str(b, n->key);
    xk_buf_add_str(b, unit_of(n->kind));
}

/* A list inside one cell. Items that are records are written "key=value key=value". */
static void add_cell(const struct xk_out *out, struct xk_buf *b, const struct node *n)
{
    if (n->kind != CELL_LIST && n->kind != CELL_RECORD) {
        add_leaf(out, b, n);
        return;
    }
    const char *const between = n->kind == CELL_RECORD ? " " : out->format == XK_OUT_TABLE ? ", " : ";";
    if (!n->first && out->format != XK_OUT_CSV)
        xk_buf_add_char(b, '-');
    for (const struct node *item = n->first; item; item = item->next) {
        if (item != n->first)
            xk_buf_add_str(b, between);
        if (item->key) {
            add_key(b, item);
            xk_buf_add_char(b, '=');
        }
        add_cell(out, b, item);
    }
}

/* ---- rows as columns ---- */

struct walk {
    struct xk_out *out;
    char path[PATH_MAX_BYTES];
    void (*leaf)(struct walk *w, const struct node *n);
    size_t column; /* where the next leaf most likely belongs */
    const struct node **cells;
};

static void walk_record(struct walk *w, const struct node *record, size_t path_bytes)
{
    for (const struct node *n = record->first; n; n = n->next) {
        const int added = snprintf(w->path + path_bytes, sizeof(w->path) - path_bytes, "%s%s%s", path_bytes ? "." : "",
                                   n->key ? n->key : "", unit_of(n->kind));
        const size_t end = path_bytes + (added > 0 ? (size_t)added : 0);
        assert(end < sizeof(w->path));
        if (n->kind == CELL_RECORD)
            walk_record(w, n, end);
        else
            w->leaf(w, n);
    }
}

/* The column of w->path, or column_count. Rows mostly repeat their order, so the first look is mostly right. */
static size_t find_column(const struct walk *w)
{
    const struct xk_out *const out = w->out;

    for (size_t i = 0; i < out->column_count; i++) {
        const size_t at = (w->column + i) % out->column_count;
        if (strcmp(out->columns[at].path, w->path) == 0)
            return at;
    }
    return out->column_count;
}

static void learn_leaf(struct walk *w, const struct node *n)
{
    struct xk_out *const out = w->out;
    size_t at = find_column(w);

    if (at == out->column_count) {
        char *const path = out->column_count < COLUMNS_MAX ? xk_arena_strdup(&out->column_arena, w->path) : NULL;
        if (!path) {
            set_error(out, out->column_count < COLUMNS_MAX ? -ENOMEM : -EFBIG);
            return;
        }
        /* A column that this row is the first to have stands behind the one that it follows in the row. */
        at = XK_MIN(w->column, out->column_count);
        memmove(&out->columns[at + 1], &out->columns[at], (out->column_count - at) * sizeof(out->columns[0]));
        out->columns[at] = (struct column){.path = path};
        out->column_count++;
    }
    w->column = at + 1;
    struct column *const c = &out->columns[at];
    if (n->kind == CELL_U64 || n->kind == CELL_I64 || n->kind == CELL_DOUBLE || *unit_of(n->kind))
        c->right = true;
    if (out->format == XK_OUT_TABLE) {
        xk_buf_reset(&out->work);
        add_cell(out, &out->work, n);
        c->width = XK_MAX(c->width, xk_display_width(xk_buf_str(&out->work)));
    }
}

static void place_leaf(struct walk *w, const struct node *n)
{
    const size_t at = find_column(w);

    if (at == w->out->column_count)
        return;
    w->cells[at] = n;
    w->column = at + 1;
}

/* "parent.size_bytes" becomes "PARENT.SIZE": a table says the unit in each cell. */
static void add_heading(struct xk_buf *b, const char *path)
{
    static const char *const units[] = {"_bytes", "_ns", "_bps", "_percent"};
    size_t bytes = strlen(path);

    for (size_t i = 0; i < XK_COUNT(units); i++) {
        if (xk_has_suffix(path, units[i]) && bytes > strlen(units[i])) {
            bytes -= strlen(units[i]);
            break;
        }
    }
    for (size_t i = 0; i < bytes; i++) {
        const char c = path[i];
        xk_buf_add_char(b, c == '_' ? ' ' : c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c);
    }
}

/* Draws the text in out->work into its column. The last one is cut on a terminal, and never padded. */
static void add_table_cell(struct xk_out *out, size_t at, size_t used_cells, enum xk_color color)
{
    const struct column *const c = &out->columns[at];
    const char *const text = xk_buf_str(&out->work);
    const bool last = at + 1 == out->column_count;
    const size_t cells = xk_display_width(text);
    const size_t pad = cells < c->width ? c->width - cells : 0;
    struct xk_buf *const b = &out->buf;

    if (c->right)
        xk_buf_add_repeat(b, ' ', pad);
    if (color != XK_COLOR_NONE)
        add_color(out, b, color);
    if (last && out->width > used_cells + 1 && cells > out->width - used_cells) {
        xk_buf_add(b, text, xk_display_prefix(text, out->width - used_cells - 1));
        xk_buf_add_str(b, "…");
    } else {
        xk_buf_add_str(b, text);
    }
    if (color != XK_COLOR_NONE)
        add_color(out, b, XK_COLOR_NONE);
    if (!c->right && !last)
        xk_buf_add_repeat(b, ' ', pad);
    if (!last)
        xk_buf_add_repeat(b, ' ', COLUMN_GAP);
}

static void draw_table_line(struct xk_out *out, const struct node *const *cells)
{
    static const struct node nothing = {.kind = CELL_NONE};
    size_t used = 0;

    for (size_t i = 0; i < out->column_count; i++) {
        const struct node *const n = cells && cells[i] ? cells[i] : &nothing;
        xk_buf_reset(&out->work);
        if (cells)
            add_cell(out, &out->work, n);
        else
            add_heading(&out->work, out->columns[i].path);
        add_table_cell(out, i, used, cells ? n->color : XK_COLOR_DIM);
        used += XK_MAX(out->columns[i].width, xk_display_width(xk_buf_str(&out->work))) + COLUMN_GAP;
    }
    xk_buf_add_char(&out->buf, '\n');
}

static void draw_csv_line(struct xk_out *out, struct xk_buf *b, const struct node *const *cells)
{
    for (size_t i = 0; i < out->column_count; i++) {
        if (i)
            xk_buf_add_char(b, ',');
        if (!cells) {
            xk_add_csv(b, out->columns[i].path);
        } else if (cells[i]) {
            xk_buf_reset(&out->work);
            add_cell(out, &out->work, cells[i]);
            xk_add_csv(b, xk_buf_str(&out->work));
        }
    }
    xk_buf_add_str(b, "\r\n");
}

static void draw_plain_line(struct xk_out *out, struct xk_buf *b, const struct node *const *cells)
{
    for (size_t i = 0; i < out->column_count; i++) {
        if (i)
            xk_buf_add_char(b, '\t');
        if (cells[i])
            add_cell(out, b, cells[i]);
        else
            xk_buf_add_char(b, '-');
    }
    xk_buf_add_char(b, '\n');
}

static void draw_headings(struct xk_out *out, struct xk_buf *b)
{
    if (out->format == XK_OUT_CSV)
        draw_csv_line(out, b, NULL);
    if (out->format != XK_OUT_TABLE)
        return;
    for (size_t i = 0; i < out->column_count; i++) {
        xk_buf_reset(&out->work);
        add_heading(&out->work, out->columns[i].path);
        out->columns[i].width = XK_MAX(out->columns[i].width, xk_display_width(xk_buf_str(&out->work)));
    }
    draw_table_line(out, NULL);
}

/* Draw the rows collected so far into b and forget them. */
static void draw_rows(struct xk_out *out, struct xk_buf *b)
{
    const struct node *cells[COLUMNS_MAX];

    if (!out->row_count)
        return;
    if (!out->columns_fixed) {
        for (size_t i = 0; i < out->row_count; i++) {
            struct walk w = {.out = out, .leaf = learn_leaf};
            walk_record(&w, out->rows[i], 0);
        }
        out->columns_fixed = true;
        draw_headings(out, b);
    }
    for (size_t i = 0; i < out->row_count; i++) {
        struct walk w = {.out = out, .leaf = place_leaf, .cells = cells};
        memset(cells, 0, sizeof(cells));
        walk_record(&w, out->rows[i], 0);
        if (out->format == XK_OUT_TABLE)
            draw_table_line(out, cells);
        else if (out->format == XK_OUT_CSV)
            draw_csv_line(out, b, cells);
        else
            draw_plain_line(out, b, cells);
        drain_when_full(out);
    }
    out->row_count = 0;
    xk_arena_done(&out->arena);
}

/* ---- a record as lines ---- */

static bool is_block(const struct xk_out *out, const struct node *n)
{
    if (n->kind == CELL_RECORD)
        return n->first;
    if (n->kind != CELL_LIST)
        return false;
    size_t cells = 0;
    for (const struct node *item = n->first; item; item = item->next) {
        if (item->kind == CELL_RECORD || item->kind == CELL_LIST)
            return true;
        if (item->kind == CELL_TEXT)
            cells += xk_display_width(item->v.text) + 2;
    }
    return cells > LIST_LINE_CELLS;
}

static size_t label_cells(const struct node *record)
{
    size_t widest = 0;

    for (const struct node *n = record->first; n; n = n->next) {
        const size_t cells = strlen(n->key);
        if (cells <= LABEL_CELLS_MAX)
            widest = XK_MAX(widest, cells);
    }
    return widest;
}

static void draw_value(struct xk_out *out, struct xk_buf *b, const struct node *n)
{
    if (n->color != XK_COLOR_NONE)
        add_color(out, b, n->color);
    add_cell(out, b, n);
    if (n->color != XK_COLOR_NONE)
        add_color(out, b, XK_COLOR_NONE);
    xk_buf_add_char(b, '\n');
}

static void draw_fields(struct xk_out *out, const struct node *record, size_t indent, bool first_is_begun);

static void draw_items(struct xk_out *out, const struct node *list, size_t indent)
{
    for (const struct node *item = list->first; item; item = item->next) {
        xk_buf_add_repeat(&out->buf, ' ', indent);
        xk_buf_add_str(&out->buf, "- ");
        if (item->kind == CELL_RECORD && item->first)
            draw_fields(out, item, indent + 2, true);
        else
            draw_value(out, &out->buf, item);
    }
}

static void draw_fields(struct xk_out *out, const struct node *record, size_t indent, bool first_is_begun)
{
    struct xk_buf *const b = &out->buf;
    const size_t widest = label_cells(record);

    for (const struct node *n = record->first; n; n = n->next) {
        if (!first_is_begun || n != record->first)
            xk_buf_add_repeat(b, ' ', indent);
        for (const char *c = n->key; *c; c++)
            xk_buf_add_char(b, *c == '_' ? ' ' : *c);
        xk_buf_add_char(b, ':');
        if (is_block(out, n)) {
            xk_buf_add_char(b, '\n');
            if (n->kind == CELL_RECORD)
                draw_fields(out, n, indent + 2, false);
            else
                draw_items(out, n, indent + 2);
        } else {
            const size_t cells = strlen(n->key);
            xk_buf_add_repeat(b, ' ', 1 + (cells < widest ? widest - cells : 0));
            draw_value(out, b, n);
        }
        drain_when_full(out);
    }
}

static void plain_leaf(struct walk *w, const struct node *n)
{
    struct xk_buf *const b = sink(w->out);

    xk_buf_add_str(b, w->path);
    xk_buf_add_char(b, '\t');
    add_cell(w->out, b, n);
    xk_buf_add_char(b, '\n');
}

static void draw_record(struct xk_out *out)
{
    struct node *const record = out->stack[0];

    if (!record)
        return;
    if (out->format == XK_OUT_TABLE) {
        draw_fields(out, record, 0, false);
    } else if (out->format == XK_OUT_PLAIN) {
        struct walk w = {.out = out, .leaf = plain_leaf};
        walk_record(&w, record, 0);
    } else {
        out->rows[0] = record;
        out->row_count = 1;
        draw_rows(out, sink(out));
    }
}

/* ---- sections ---- */

static void begin_section(struct xk_out *out, const char *name, enum section section)
{
    assert(out->section == SECTION_NONE);
    for (size_t i = 0; i < out->section_count; i++)
        assert(strcmp(out->section_names[i], name) != 0);
    assert(out->section_count < SECTIONS_MAX);
    out->section_names[out->section_count++] = name;
    out->section = section;
    out->column_count = 0;
    out->columns_fixed = false;
    out->in_row = false;
    out->cards = out->card_drawn = false;
    out->depth = 0;
    out->last_cell = NULL;
    if (out->format == XK_OUT_TABLE) {
        if (out->section_was_last)
            xk_buf_add_char(&out->buf, '\n');
        return;
    }
    if (out->format == XK_OUT_JSON)
        return;
    if (section == SECTION_RECORD ? out->carried != CARRIED_NOTHING : out->carried == CARRIED_ROWS) {
        out->section = SECTION_SKIPPED;
        return;
    }
    out->carried = section == SECTION_RECORD ? CARRIED_RECORD : CARRIED_ROWS;
    if (section == SECTION_ROWS)
        xk_buf_reset(&out->held);
}

/* A record or list is open below the row: a node of its own, which cells are added to. */
static struct node *add_node(struct xk_out *out, const char *key, enum cell_kind kind)
{
    struct node *const n = xk_arena_alloc(&out->arena, sizeof(*n));

    if (!n) {
        set_error(out, out->arena.used + sizeof(*n) > out->arena.max ? -EFBIG : -ENOMEM);
        return NULL;
    }
    *n = (struct node){.key = key, .kind = kind};
    struct node *const parent = out->depth ? out->stack[out->depth - 1] : NULL;
    if (parent) {
        if (parent->last)
            parent->last->next = n;
        else
            parent->first = n;
        parent->last = n;
    }
    return n;
}

static void begin_tree(struct xk_out *out)
{
    out->depth = 0;
    out->stack[0] = add_node(out, NULL, CELL_RECORD);
    out->depth = 1;
}

void xk_out_rows(struct xk_out *out, const char *name)
{
    begin_section(out, name, SECTION_ROWS);
    if (out->format == XK_OUT_JSON)
        xk_json_array(&out->json, name);
}

void xk_out_cards(struct xk_out *out, const char *name)
{
    xk_out_rows(out, name);
    out->cards = out->format == XK_OUT_TABLE;
}

void xk_out_record(struct xk_out *out, const char *name)
{
    begin_section(out, name, SECTION_RECORD);
    if (out->section == SECTION_SKIPPED)
        return;
    if (out->format == XK_OUT_JSONL) {
        xk_json_init(&out->json, sink(out), 0);
        xk_json_object(&out->json, NULL);
        out->depth = 1;
    } else if (out->format == XK_OUT_JSON) {
        xk_json_object(&out->json, name);
        out->depth = 1;
    } else {
        begin_tree(out);
    }
}

static void draw_card(struct xk_out *out)
{
    if (out->stack[0] && !out->error) {
        if (out->card_drawn)
            xk_buf_add_char(&out->buf, '\n');
        draw_fields(out, out->stack[0], 0, false);
        out->card_drawn = true;
    }
    xk_arena_done(&out->arena);
    drain_when_full(out);
}

static void end_row(struct xk_out *out)
{
    if (!out->in_row)
        return;
    while (out->depth > 1)
        xk_put_end(out);
    out->in_row = false;
    out->depth = 0;
    out->last_cell = NULL;
    if (is_json(out)) {
        xk_json_end(&out->json);
        if (out->format == XK_OUT_JSONL)
            xk_buf_add_char(&out->buf, '\n');
        drain_when_full(out);
        return;
    }
    if (out->cards) {
        draw_card(out);
        return;
    }
    if (out->stack[0] && !out->error)
        out->rows[out->row_count++] = out->stack[0];
    if (out->row_count == LEARN_ROWS || out->arena.used >= LEARN_BYTES || out->columns_fixed)
        draw_rows(out, &out->buf);
}

void xk_row(struct xk_out *out)
{
    if (out->section == SECTION_SKIPPED)
        return;
    assert(out->section == SECTION_ROWS);
    end_row(out);
    out->in_row = true;
    if (!is_json(out)) {
        begin_tree(out);
        return;
    }
    if (out->format == XK_OUT_JSONL)
        xk_json_init(&out->json, &out->buf, 0);
    xk_json_object(&out->json, NULL);
    out->depth = 1;
}

void xk_out_end(struct xk_out *out)
{
    const enum section section = out->section;

    assert(section != SECTION_NONE);
    if (section == SECTION_ROWS) {
        end_row(out);
        if (out->format == XK_OUT_JSON)
            xk_json_end(&out->json);
        else
            draw_rows(out, &out->buf);
    } else if (section == SECTION_RECORD) {
        while (out->depth > 1)
            xk_put_end(out);
        if (is_json(out))
            xk_json_end(&out->json);
        else
            draw_record(out);
        if (out->format == XK_OUT_JSONL)
            xk_buf_add_char(sink(out), '\n');
    }
    out->section = SECTION_NONE;
    out->depth = 0;
    out->last_cell = NULL;
    out->row_count = 0;
    xk_arena_done(&out->arena);
    xk_arena_done(&out->column_arena);
    out->section_was_last = true;
    drain_when_full(out);
}

/* ---- cells ---- */

static void put_json(struct xk_out *out, const char *key, enum cell_kind kind, union cell_value v)
{
    char full[PATH_MAX_BYTES];
    struct xk_json *const j = &out->json;

    if (key && *unit_of(kind)) {
        const int bytes = snprintf(full, sizeof(full), "%s%s", key, unit_of(kind));
        assert(bytes > 0 && (size_t)bytes < sizeof(full));
        key = full;
    }
    switch (kind) {
    case CELL_NONE:
        xk_json_null(j, key);
        break;
    case CELL_TEXT:
    case CELL_TIME:
        xk_json_str(j, key, v.text);
        break;
    case CELL_U64:
    case CELL_BYTES:
    case CELL_DURATION:
    case CELL_RATE:
        xk_json_u64(j, key, v.u);
        break;
    case CELL_I64:
        xk_json_i64(j, key, v.i);
        break;
    case CELL_DOUBLE:
    case CELL_PERCENT:
        xk_json_double(j, key, v.d);
        break;
    case CELL_BOOL:
        xk_json_bool(j, key, v.b);
        break;
    case CELL_RECORD:
        xk_json_object(j, key);
        break;
    case CELL_LIST:
        xk_json_array(j, key);
        break;
    }
    if (out->format == XK_OUT_JSON)
        drain_when_full(out);
}

/* Returns the node, NULL when the format needs none. */
static struct node *put(struct xk_out *out, const char *key, enum cell_kind kind, union cell_value v)
{
    if (out->section == SECTION_SKIPPED)
        return NULL;
    assert(out->section == SECTION_RECORD || out->in_row);
    if (is_json(out)) { /* also after an error, so that begin and end stay paired */
        put_json(out, key, kind, v);
        return NULL;
    }
    if (out->error)
        return NULL;
    struct node *const n = add_node(out, key, kind);
    if (!n)
        return NULL;
    n->v = v;
    if ((kind == CELL_TEXT || kind == CELL_TIME) && !(n->v.text = xk_arena_strdup(&out->arena, v.text))) {
        n->kind = CELL_NONE;
        set_error(out, -ENOMEM);
    }
    out->last_cell = n;
    return n;
}

void xk_put_str(struct xk_out *out, const char *key, const char *text)
{
    (void)put(out, key, text ? CELL_TEXT : CELL_NONE, (union cell_value){.text = text});
}

void xk_putf(struct xk_out *out, const char *key, const char *format, ...)
{
    struct xk_buf text;
    va_list args;

    xk_buf_init(&text, XK_MIB);
    va_start(args, format);
    xk_buf_vprintf(&text, format, args);
    va_end(args);
    if (text.error)
        set_error(out, text.error);
    xk_put_str(out, key, xk_buf_str(&text));
    xk_buf_done(&text);
}

void xk_put_u64(struct xk_out *out, const char *key, uint64_t v)
{
    (void)put(out, key, CELL_U64, (union cell_value){.u = v});
}

void xk_put_i64(struct xk_out *out, const char *key, int64_t v)
{
    (void)put(out, key, CELL_I64, (union cell_value){.i = v});
}

void xk_put_double(struct xk_out *out, const char *key, double v)
{
    (void)put(out, key, CELL_DOUBLE, (union cell_value){.d = v});
}

void xk_put_bytes(struct xk_out *out, const char *key, uint64_t bytes)
{
    (void)put(out, key, CELL_BYTES, (union cell_value){.u = bytes});
}

void xk_put_duration(struct xk_out *out, const char *key, uint64_t ns)
{
    (void)put(out, key, CELL_DURATION, (union cell_value){.u = ns});
}

void xk_put_rate(struct xk_out *out, const char *key, uint64_t bps)
{
    (void)put(out, key, CELL_RATE, (union cell_value){.u = bps});
}

void xk_put_pct(struct xk_out *out, const char *key, double percent)
{
    (void)put(out, key, CELL_PERCENT, (union cell_value){.d = percent});
}

void xk_put_time(struct xk_out *out, const char *key, int64_t unix_seconds)
{
    (void)put(out, key, CELL_TIME, (union cell_value){.text = xk_iso_time(unix_seconds).s});
}

void xk_put_bool(struct xk_out *out, const char *key, bool v)
{
    (void)put(out, key, CELL_BOOL, (union cell_value){.b = v});
}

void xk_put_none(struct xk_out *out, const char *key)
{
    (void)put(out, key, CELL_NONE, (union cell_value){.u = 0});
}

static void open_nested(struct xk_out *out, const char *key, enum cell_kind kind)
{
    assert(out->section == SECTION_SKIPPED || out->depth < DEPTH_MAX);
    struct node *const n = put(out, key, kind, (union cell_value){.u = 0});
    if (out->section != SECTION_SKIPPED)
        out->stack[out->depth++] = n;
}

void xk_put_record(struct xk_out *out, const char *key)
{
    open_nested(out, key, CELL_RECORD);
}

void xk_put_list(struct xk_out *out, const char *key)
{
    open_nested(out, key, CELL_LIST);
}

void xk_put_end(struct xk_out *out)
{
    if (out->section == SECTION_SKIPPED)
        return;
    assert(out->depth > 1);
    out->depth--;
    if (is_json(out))
        xk_json_end(&out->json);
    else
        out->last_cell = out->stack[out->depth];
}

void xk_out_color(struct xk_out *out, enum xk_color color)
{
    if (out->last_cell)
        out->last_cell->color = color;
}

/* ---- text and bytes ---- */

static void say(struct xk_out *out, enum xk_color color, const char *format, va_list args) XK_PRINTF(3, 0);

static void say(struct xk_out *out, enum xk_color color, const char *format, va_list args)
{
    if (out->format != XK_OUT_TABLE)
        return;
    end_row(out);
    draw_rows(out, &out->buf);
    if (color != XK_COLOR_NONE)
        add_color(out, &out->buf, color);
    xk_buf_vprintf(&out->buf, format, args);
    if (color != XK_COLOR_NONE)
        add_color(out, &out->buf, XK_COLOR_NONE);
    out->section_was_last = false;
    drain_when_full(out);
}

void xk_say(struct xk_out *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(out, XK_COLOR_NONE, format, args);
    va_end(args);
}

void xk_say_color(struct xk_out *out, enum xk_color color, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(out, color, format, args);
    va_end(args);
}

const char *xk_out_clean(struct xk_out *out, const char *foreign)
{
    struct xk_buf *const b = &out->clean[out->clean_next++ % CLEAN_TEXTS];

    xk_buf_reset(b);
    xk_add_clean(b, foreign);
    if (b->error)
        set_error(out, b->error);
    return xk_buf_str(b);
}

void xk_out_raw(struct xk_out *out, const void *bytes, size_t count)
{
    if (count >= WRITE_BYTES) {
        drain(out);
        write_bytes(out, bytes, count);
        return;
    }
    xk_buf_add(&out->buf, bytes, count);
    drain_when_full(out);
}

void xk_out_rawf(struct xk_out *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    xk_buf_vprintf(&out->buf, format, args);
    va_end(args);
    drain_when_full(out);
}

void xk_out_flush(struct xk_out *out)
{
    if (out->section == SECTION_ROWS) {
        end_row(out);
        draw_rows(out, &out->buf);
    }
    drain(out);
}

/* ---- monitoring formats ---- */

static void add_number_or_nothing(struct xk_buf *b, double v)
{
    if (isfinite(v))
        xk_buf_add_str(b, xk_number(v).s);
}

void xk_perfdata(struct xk_buf *b, const char *label, double value, const char *unit, double warn, double crit,
                 double min, double max)
{
    if (b->len)
        xk_buf_add_char(b, ' ');
    /* A quote is doubled, '=' is not allowed in a label at all. */
    xk_buf_add_char(b, '\'');
    struct xk_buf clean;
    xk_buf_init(&clean, 4 * XK_KIB);
    xk_add_clean(&clean, label);
    for (const char *c = xk_buf_str(&clean); *c; c++) {
        if (*c == '\'')
            xk_buf_add_char(b, '\'');
        xk_buf_add_char(b, *c == '=' ? '_' : *c);
    }
    if (clean.error && !b->error)
        b->error = clean.error;
    xk_buf_done(&clean);
    xk_buf_add_str(b, "'=");
    if (isfinite(value))
        xk_buf_printf(b, "%s%s", xk_number(value).s, unit ? unit : "");
    else
        xk_buf_add_char(b, 'U');
    const double limits[] = {warn, crit, min, max};
    for (size_t i = 0; i < XK_COUNT(limits); i++) {
        xk_buf_add_char(b, ';');
        add_number_or_nothing(b, limits[i]);
    }
}

static void add_label_value(struct xk_buf *b, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '\n') {
            xk_buf_add_str(b, "\\n");
            continue;
        }
        if (*c == '"' || *c == '\\')
            xk_buf_add_char(b, '\\');
        xk_buf_add_char(b, *c);
    }
}

void xk_prometheus(struct xk_buf *b, const char *metric, const char *help, const char *type, const char *const *labels,
                   double value)
{
    if (help)
        xk_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
    xk_buf_add_str(b, metric);
    if (labels && labels[0]) {
        for (size_t i = 0; labels[i]; i += 2) {
            xk_buf_printf(b, "%s%s=\"", i ? "," : "{", labels[i]);
            add_label_value(b, labels[i + 1]);
            xk_buf_add_char(b, '"');
        }
        xk_buf_add_char(b, '}');
    }
    if (isnan(value))
        xk_buf_add_str(b, " NaN\n");
    else if (isinf(value))
        xk_buf_add_str(b, value > 0 ? " +Inf\n" : " -Inf\n");
    else
        xk_buf_printf(b, " %s\n", xk_number(value).s);
}
