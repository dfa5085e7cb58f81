/*
 * UTF-8 and UTF-16, the cleaning of foreign text for each place it can go to, paths, and the nearest word.
 *
 * All cleaners are add_pieces(), which cuts the text into runs of harmless ASCII, letters and bad bytes; what differs
 * is only how each writes what is not harmless.
 */
#include "core/text.h"

#include <string.h>

#define REPLACEMENT 0xfffdU

/* ---- UTF-8 ---- */

int xk_utf8_decode(uint32_t *ret_point, const char *text, size_t bytes)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (bytes == 0)
        return 0;
    const uint8_t *p = (const uint8_t *)text;
    if (p[0] < 0x80) {
        *ret_point = p[0];
        return 1;
    }
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return -EILSEQ;
    const int length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if ((size_t)length > bytes)
        return -EILSEQ;
    uint32_t point = p[0] & (0x7fU >> length);
    for (int i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return -EILSEQ;
        point = point << 6 | (p[i] & 0x3f);
    }
    if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return -EILSEQ;
    *ret_point = point;
    return length;
}

void xk_utf8_add(struct xk_buf *b, uint32_t point)
{
    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        point = REPLACEMENT;
    char bytes[4];
    size_t count;
    if (point < 0x80) {
        bytes[0] = (char)point;
        count = 1;
    } else if (point < 0x800) {
        bytes[0] = (char)(0xc0 | point >> 6);
        count = 2;
    } else if (point < 0x10000) {
        bytes[0] = (char)(0xe0 | point >> 12);
        count = 3;
    } else {
        bytes[0] = (char)(0xf0 | point >> 18);
        count = 4;
    }
    for (size_t i = count - 1; i > 0; i--, point >>= 6)
        bytes[i] = (char)(0x80 | (point & 0x3f));
    xk_buf_add(b, bytes, count);
}

/* ---- UTF-16 ---- */

static uint32_t unit_at(const uint8_t *units, size_t at, bool big_endian)
{
    return big_endian ? (uint32_t)units[at] << 8 | units[at + 1] : (uint32_t)units[at + 1] << 8 | units[at];
}

int xk_utf16_to_utf8(struct xk_buf *ret, const uint8_t *units, size_t bytes, bool big_endian)
{
    if (bytes % 2)
        return -EILSEQ;
    for (size_t at = 0; at < bytes; at += 2) {
        uint32_t point = unit_at(units, at, big_endian);
        if (point == 0)
            break;
        if (point >= 0xd800 && point <= 0xdfff) {
            if (point >= 0xdc00 || bytes - at < 4)
                return -EILSEQ;
            const uint32_t low = unit_at(units, at + 2, big_endian);
            if (low < 0xdc00 || low > 0xdfff)
                return -EILSEQ;
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
            at += 2;
        }
        xk_utf8_add(ret, point);
    }
    return ret->error;
}

static void add_unit(struct xk_buf *b, uint32_t unit, bool big_endian)
{
    const char high = (char)(unit >> 8), low = (char)unit;
    xk_buf_add_char(b, big_endian ? high : low);
    xk_buf_add_char(b, big_endian ? low : high);
}

int xk_utf8_to_utf16(struct xk_buf *ret, const char *text, bool big_endian)
{
    size_t left = strlen(text);
    while (left > 0) {
        uint32_t point;
        const int used = xk_utf8_decode(&point, text, left);
        if (used < 0)
            return used;
        if (point < 0x10000) {
            add_unit(ret, point, big_endian);
        } else {
            add_unit(ret, 0xd800 + ((point - 0x10000) >> 10), big_endian);
            add_unit(ret, 0xdc00 + ((point - 0x10000) & 0x3ff), big_endian);
        }
        text += used;
        left -= (size_t)used;
    }
    return ret->error;
}

/* ---- foreign text ---- */

enum piece_kind {
    PIECE_PLAIN,   /* may be shown as it is */
    PIECE_CONTROL, /* would move the cursor, end the line or turn the reading direction */
    PIECE_BAD,     /* one byte that is not UTF-8 */
};

struct piece {
    enum piece_kind kind;
    uint32_t point; /* or the bad byte */
    size_t bytes;
};

static bool is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || /* C0, DEL, C1 */
           point == 0x61c || point == 0x200e || point == 0x200f || (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2066 && point <= 0x2069); /* line separators, marks, embeddings, overrides, isolates */
}

static struct piece next_piece(const char *text, size_t bytes)
{
    struct piece piece;
    const int used = xk_utf8_decode(&piece.point, text, bytes);
    if (used < 0)
        return (struct piece){.kind = PIECE_BAD, .point = (uint8_t)text[0], .bytes = 1};
    piece.kind = is_control(piece.point) ? PIECE_CONTROL : PIECE_PLAIN;
    piece.bytes = (size_t)used;
    return piece;
}

static void add_visible(struct xk_buf *b, const struct piece *piece)
{
    if (piece->kind == PIECE_BAD || piece->point < 0x80)
        xk_buf_printf(b, "\\x%02x", (unsigned)piece->point);
    else
        xk_buf_printf(b, "\\u{%x}", (unsigned)piece->point);
}

/* Which of the printable ASCII characters mean something: one bit for each from the space on. */
struct marks {
    uint64_t low, high;
};

static bool is_marked(const struct marks *m, uint8_t c)
{
    const uint8_t bit = (uint8_t)(c - 0x20);

    return (bit < 64 ? m->low >> bit : m->high >> (bit - 64)) & 1;
}

/* How many bytes from here on are printable ASCII, of no special meaning: nearly all text is. */
static size_t common_bytes(const char *text, size_t bytes, const struct marks *special)
{
    size_t at = 0;
    while (at < bytes && text[at] >= 0x20 && text[at] < 0x7f && !is_marked(special, (uint8_t)text[at]))
        at++;
    return at;
}

/* Append text; what is not printable ASCII, or is one of `special` (printable), goes through add(). */
static void add_pieces(struct xk_buf *b, const char *text, const char *special,
                       void (*add)(struct xk_buf *b, const struct piece *piece, const char *text))
{
    struct marks marks = {0};

    for (; *special; special++) {
        const unsigned bit = (unsigned)*special - 0x20;
        if (bit < 64)
            marks.low |= UINT64_C(1) << bit;
        else
            marks.high |= UINT64_C(1) << (bit - 64);
    }
    for (size_t left = strlen(text); left > 0;) {
        size_t used = common_bytes(text, left, &marks);
        if (used > 0) {
            xk_buf_add(b, text, used);
        } else {
            const struct piece piece = next_piece(text, left);
            add(b, &piece, text);
            used = piece.bytes;
        }
        text += used;
        left -= used;
    }
}

static void add_clean_piece(struct xk_buf *b, const struct piece *piece, const char *text)
{
    if (piece->kind == PIECE_PLAIN)
        xk_buf_add(b, text, piece->bytes);
    else
        add_visible(b, piece);
}

void xk_add_clean(struct xk_buf *b, const char *text)
{
    add_pieces(b, text, "", add_clean_piece);
}

static void add_json_piece(struct xk_buf *b, const struct piece *piece, const char *text)
{
    static const char short_forms[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    for (const char *form = short_forms; *form; form += 2)
        if (piece->kind != PIECE_BAD && piece->point == (uint8_t)form[0]) {
            xk_buf_add_char(b, '\\');
            xk_buf_add_char(b, form[1]);
            return;
        }
    if (piece->kind == PIECE_PLAIN)
        xk_buf_add(b, text, piece->bytes);
    else if (piece->kind == PIECE_CONTROL) /* all of them are below 0x10000 */
        xk_buf_printf(b, "\\u%04x", (unsigned)piece->point);
    else
        xk_utf8_add(b, REPLACEMENT);
}

void xk_add_json_string(struct xk_buf *b, const char *text)
{
    xk_buf_add_char(b, '"');
    add_pieces(b, text, "\"\\", add_json_piece);
    xk_buf_add_char(b, '"');
}

static void add_html_piece(struct xk_buf *b, const struct piece *piece, const char *text)
{
    switch (piece->kind == PIECE_PLAIN ? piece->point : 0) {
    case '&':
        xk_buf_add_str(b, "&amp;");
        break;
    case '<':
        xk_buf_add_str(b, "&lt;");
        break;
    case '>':
        xk_buf_add_str(b, "&gt;");
        break;
    case '"':
        xk_buf_add_str(b, "&quot;");
        break;
    case '\'':
        xk_buf_add_str(b, "&#39;");
        break;
    default:
        add_clean_piece(b, piece, text);
    }
}

void xk_add_html(struct xk_buf *b, const char *text)
{
    add_pieces(b, text, "&<>\"'", add_html_piece);
}

static void add_csv_piece(struct xk_buf *b, const struct piece *piece, const char *text)
{
    if (piece->kind == PIECE_PLAIN && piece->point == '"')
        xk_buf_add_str(b, "\"\"");
    else if (piece->kind == PIECE_CONTROL && strchr("\t\r\n", (int)piece->point))
        xk_buf_add(b, text, piece->bytes);
    else
        add_clean_piece(b, piece, text);
}

void xk_add_csv(struct xk_buf *b, const char *text)
{
    double number;
    const bool formula = text[0] != '\0' && strchr("=+-@\t\r", text[0]) && xk_parse_double(&number, text) < 0;
    const bool quoted = strpbrk(text, ",\"\r\n");
    if (quoted)
        xk_buf_add_char(b, '"');
    if (formula)
        xk_buf_add_char(b, '\'');
    add_pieces(b, text, "\"", add_csv_piece);
    if (quoted)
        xk_buf_add_char(b, '"');
}

/* ---- the nearest word ---- */

#define NEAREST_LETTERS_MAX 64

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/*
 * Damerau-Levenshtein distance (optimal string alignment): letters to add, drop, change, or swap with the next one.
 * Both words are at most NEAREST_LETTERS_MAX long. Three rows of the table are enough.
 */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][NEAREST_LETTERS_MAX + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++)
        above[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            const bool same = lower(a[i - 1]) == lower(b[j - 1]);
            size_t best = above[j - 1] + !same;
            best = XK_MIN(best, above[j] + 1);
            best = XK_MIN(best, row[j - 1] + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
                best = XK_MIN(best, before[j - 2] + 1);
            row[j] = best;
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b_length];
}

const char *xk_nearest(const char *word, const char *const *candidates, size_t count, size_t stride)
{
    const size_t length = strlen(word);
    if (length > NEAREST_LETTERS_MAX)
        return NULL;
    const char *nearest = NULL;
    size_t least = length / 3 + 1;
    for (size_t i = 0; i < count; i++) {
        const char *candidate = *(const char *const *)(const void *)((const char *)candidates + i * stride);
        const size_t candidate_length = candidate ? strlen(candidate) : 0;
        if (candidate_length == 0 || candidate_length > NEAREST_LETTERS_MAX)
            continue;
        size_t wrong = distance(word, length, candidate, candidate_length);
        /* The beginning of a word has no letter wrong; it only stops early. */
        if (length > 1 && strncmp(word, candidate, length) == 0)
            wrong = XK_MIN(wrong, length / 3);
        if (wrong < least) {
            least = wrong;
            nearest = candidate;
        }
    }
    return nearest;
}

/* ---- paths ---- */

/* Where the last part begins, and where it ends before trailing slashes. */
static const char *last_part(const char *path, const char **ret_end)
{
    const char *end = path + strlen(path);
    while (end > path + 1 && end[-1] == '/')
        end--;
    const char *start = end;
    while (start > path && start[-1] != '/')
        start--;
    *ret_end = end;
    return start;
}

const char *xk_base_name(const char *path)
{
    const char *end;
    const char *start = last_part(path, &end);
    return start == end && start > path ? start - 1 : start; /* "/" itself */
}

char *xk_dir_name(const char *path)
{
    const char *end;
    const char *start = last_part(path, &end);
    if (start == path)
        return xk_strdup(".");
    while (start > path + 1 && start[-1] == '/')
        start--;
    return xk_strndup(path, (size_t)(start - path));
}

char *xk_path_join(const char *dir, const char *name)
{
    if (name[0] == '/' || dir[0] == '\0')
        return xk_strdup(name);
    return xk_asprintf("%s%s%s", dir, xk_has_suffix(dir, "/") ? "" : "/", name);
}

bool xk_has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool xk_has_suffix(const char *text, const char *suffix)
{
    const size_t text_length = strlen(text), suffix_length = strlen(suffix);
    return text_length >= suffix_length && strcmp(text + text_length - suffix_length, suffix) == 0;
}
