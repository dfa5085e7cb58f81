/*
 * Foreign text on its way to a terminal, JSON, HTML, CSV and numbers: beside not crashing, what comes out has to be
 * safe where it goes, and what was read has to read back the same.
 */
#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define OUT_BYTES_MAX (4U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_utf8_without_controls(const struct xk_buf *b)
{
    if (b->error != 0)
        return;
    size_t at = 0;
    while (at < b->len) {
        uint32_t point;
        int used = xk_utf8_decode(&point, b->data + at, b->len - at);
        assert(used > 0);
        assert(point >= 0x20 && !(point >= 0x7f && point < 0xa0));
        assert(!(point >= 0x202a && point <= 0x202e) && !(point >= 0x2066 && point <= 0x2069));
        at += (size_t)used;
    }
}

static void try_cleaning(const char *text)
{
    xk_auto(xk_buf_done) struct xk_buf out = XK_BUF_INIT(OUT_BYTES_MAX);
    xk_add_clean(&out, text);
    expect_utf8_without_controls(&out);

    xk_buf_reset(&out);
    xk_add_html(&out, text);
    expect_utf8_without_controls(&out);
    assert(strpbrk(xk_buf_str(&out), "<>\"'") == NULL);

    xk_buf_reset(&out);
    xk_add_json_string(&out, text);
    if (out.error == 0) {
        assert(out.len >= 2 && out.data[0] == '"' && out.data[out.len - 1] == '"');
        for (size_t i = 0; i < out.len; i++)
            assert((unsigned char)out.data[i] >= 0x20);
    }

    xk_buf_reset(&out);
    xk_add_csv(&out, text);
    if (out.error == 0 && out.len > 0 && out.data[0] != '"') {
        assert(strpbrk(out.data, ",\"\r\n") == NULL);
        double value;
        assert(strchr("=+-@\t\r", out.data[0]) == NULL || xk_parse_double(&value, out.data) == 0);
    }
}

static void try_width(const char *text)
{
    size_t width = xk_display_width(text);
    for (size_t cells = 0; cells <= width && cells < 40; cells++) {
        char head[256];
        size_t bytes = xk_display_prefix(text, cells);
        assert(bytes <= strlen(text));
        if (bytes < sizeof(head)) {
            memcpy(head, text, bytes);
            head[bytes] = '\0';
            assert(xk_display_width(head) <= cells);
        }
    }
}

static void try_numbers(const char *word)
{
    uint64_t number;
    uint64_t again;
    double real;
    double real_again;
    int64_t whole;
    if (xk_parse_u64(&number, word) == 0) {
        char text[32];
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
        assert(xk_parse_u64(&again, text) == 0 && again == number);
    }
    if (xk_parse_double(&real, word) == 0) {
        assert(xk_parse_double(&real_again, xk_number(real).s) == 0);
        assert(real == real_again);
    }
    (void)xk_parse_i64(&whole, word);
    if (xk_parse_size(&number, word) == 0)
        assert(xk_size(number).s[0] != '\0');
    if (xk_parse_duration(&number, word) == 0)
        assert(xk_duration(number).s[0] != '\0');
    if (xk_parse_rate(&number, word) == 0)
        assert(xk_rate(number).s[0] != '\0');
}

static void try_utf16(const uint8_t *data, size_t size, bool big_endian)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(OUT_BYTES_MAX);
    xk_auto(xk_buf_done) struct xk_buf units = XK_BUF_INIT(OUT_BYTES_MAX);
    if (xk_utf16_to_utf8(&text, data, size, big_endian) != 0 || text.error != 0)
        return;
    assert(xk_utf8_to_utf16(&units, xk_buf_str(&text), big_endian) == 0);
    assert(units.len <= size && (units.len == 0 || memcmp(units.data, data, units.len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    xk_autofree char *text = xk_strndup((const char *)data, size);
    if (text == NULL)
        return 0;
    try_cleaning(text);
    try_width(text);
    try_numbers(text);
    try_utf16(data, size, size % 2 == 0);
    try_utf16(data, size & ~(size_t)1, true);
    try_utf16(data, size & ~(size_t)1, false);
    return 0;
}
