/*
 * Text: UTF-8, display width, cleaning of foreign strings, numbers and units in both directions.
 */
#ifndef XK_TEXT_H
#define XK_TEXT_H

#include "core/base.h"
#include "core/buf.h"
#include "core/err.h"

/* ---- UTF-8 and UTF-16 ---- */

/*
 * Decode one code point strictly (no overlong forms, no surrogates).
 * returns   bytes used; 0 at the end (bytes == 0); -EILSEQ when the bytes at text are not UTF-8.
 */
int xk_utf8_decode(uint32_t *ret_point, const char *text, size_t bytes);
/* Append one code point as UTF-8; an invalid one becomes U+FFFD. */
void xk_utf8_add(struct xk_buf *b, uint32_t point);
/* The number of terminal cells a text takes: 0 for combining marks, 2 for wide East Asian and emoji, 1 for bad bytes.
 */
size_t xk_display_width(const char *text);
/* The longest prefix, in bytes, that takes at most `cells` cells. */
size_t xk_display_prefix(const char *text, size_t cells);
/*
 * UTF-16 to UTF-8. `bytes` must be even; stops at the first NUL unit.
 * returns   0; -EILSEQ on a lone surrogate or odd length; the buffer's error otherwise.
 */
int xk_utf16_to_utf8(struct xk_buf *ret, const uint8_t *units, size_t bytes, bool big_endian);
int xk_utf8_to_utf16(struct xk_buf *ret, const char *text, bool big_endian);

/*
 * Append foreign text made safe for a terminal: control characters, DEL, C1, bidi overrides and bytes that are not
 * UTF-8 become \xNN or \u{N}; a backslash stays as it is.
 */
void xk_add_clean(struct xk_buf *b, const char *text);
/* Append text between double quotes as a JSON string; bytes that are not UTF-8 become U+FFFD. */
void xk_add_json_string(struct xk_buf *b, const char *text);
/* Append text with & < > " ' escaped, and control characters cleaned as above. */
void xk_add_html(struct xk_buf *b, const char *text);
/*
 * Append one RFC 4180 field: quoted when needed; a field that a spreadsheet would run as a formula (it begins with
 * = + - @, TAB or CR and is not a number) gets a leading apostrophe. Control characters other than TAB, CR and LF
 * are cleaned as above.
 */
void xk_add_csv(struct xk_buf *b, const char *text);

/* ---- words to numbers: the whole word or a refusal (-EINVAL, -ERANGE) ---- */

int xk_parse_u64(uint64_t *ret, const char *word); /* decimal, or 0x hexadecimal */
int xk_parse_i64(int64_t *ret, const char *word);
int xk_parse_double(double *ret, const char *word); /* finite, C locale */
/* 4k 1M 2GiB 1.5G 512: K M G T P E and KiB… are powers of 1024, kB MB GB… powers of 1000; case does not matter. */
int xk_parse_size(uint64_t *ret_bytes, const char *word);
/* 250ms 10s 5m 2h 1d 100us 7ns; a bare number is seconds. */
int xk_parse_duration(uint64_t *ret_ns, const char *word);
/* Bits a second: 100Mbit 1Gbit/s 64kbit, 10MB/s (bytes, times eight); k M G T are powers of 1000; bare is bit/s. */
int xk_parse_rate(uint64_t *ret_bps, const char *word);

/* ---- numbers to words ---- */

struct xk_word {
    char s[40];
};
struct xk_word xk_size(uint64_t bytes);              /* 1.5 GiB, 512 B */
struct xk_word xk_duration(uint64_t ns);             /* 1.25 ms, 3 d 4 h */
struct xk_word xk_rate(uint64_t bps);                /* 940 Mbit/s */
struct xk_word xk_iso_time(int64_t unix_seconds);    /* 2026-11-23T04:54:02Z */
struct xk_word xk_number(double value);              /* shortest text that reads back the same; not finite: null */
struct xk_word xk_uuid_text(const uint8_t uuid[16]); /* lower-case 8-4-4-4-12 */

/*
 * The candidate nearest to word, or NULL when none is near (more than a third of its letters wrong). Case does not
 * matter; a word that only stops early ("snap" of "snapshot") is near.
 * candidates   `count` pointers, `stride` bytes apart (so that a table's name column can be given).
 */
const char *xk_nearest(const char *word, const char *const *candidates, size_t count, size_t stride);

/* The part of a path after the last slash; never empty for a path that names something. */
const char *xk_base_name(const char *path);
/* The part before it, without trailing slashes: "." or "/" when there is none. NULL: no memory. */
char *xk_dir_name(const char *path) XK_MUST_USE;
/* dir + "/" + name, or name when it is absolute. NULL: no memory. */
char *xk_path_join(const char *dir, const char *name) XK_MUST_USE;
bool xk_has_prefix(const char *text, const char *prefix);
bool xk_has_suffix(const char *text, const char *suffix);

#endif
