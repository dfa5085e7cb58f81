/* UTF-8 and UTF-16, display width, cleaning, numbers and units both ways, the nearest word, paths. */
#include "core/text.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

/* ---- UTF-8 ---- */

static int decode(uint32_t *ret, const char *text)
{
    return xk_utf8_decode(ret, text, strlen(text));
}

static void utf8_edges(void **state)
{
    static const struct {
        const char *text;
        uint32_t point;
    } good[] = {
        {"a", 'a'},
        {"\x7f", 0x7f},
        {"\xc2\x80", 0x80},
        {"\xdf\xbf", 0x7ff},
        {"\xe0\xa0\x80", 0x800},
        {"\xed\x9f\xbf", 0xd7ff},
        {"\xee\x80\x80", 0xe000},
        {"\xef\xbf\xbf", 0xffff},
        {"\xf0\x90\x80\x80", 0x10000},
        {"\xf4\x8f\xbf\xbf", 0x10ffff},
    };
    for (size_t i = 0; i < XK_COUNT(good); i++) {
        uint32_t point = 0;
        assert_int_equal(decode(&point, good[i].text), strlen(good[i].text));
        assert_int_equal(point, good[i].point);
        xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(8);
        xk_utf8_add(&b, point);
        assert_string_equal(xk_buf_str(&b), good[i].text);
    }
}

static void utf8_refusals(void **state)
{
    static const char *const bad[] = {
        "\x80",             /* continuation alone */
        "\xbf",             /* the last of them */
        "\xc0\x80",         /* overlong NUL */
        "\xc1\xbf",         /* overlong DEL */
        "\xe0\x9f\xbf",     /* overlong three */
        "\xf0\x8f\xbf\xbf", /* overlong four */
        "\xed\xa0\x80",     /* first surrogate */
        "\xed\xbf\xbf",     /* last surrogate */
        "\xf4\x90\x80\x80", /* past the last code point */
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80", /* five bytes */
        "\xfe",
        "\xff",
        "\xc3",         /* cut */
        "\xe2\x82",     /* cut */
        "\xf0\x9f\x92", /* cut */
        "\xc3(",        /* no continuation */
        "\xe2\x82(",
        "\xf0\x9f\x92(",
    };
    for (size_t i = 0; i < XK_COUNT(bad); i++) {
        uint32_t point = 0x1234;
        assert_int_equal(decode(&point, bad[i]), -EILSEQ);
        assert_int_equal(point, 0x1234); /* written only on success */
    }
    uint32_t point;
    assert_int_equal(xk_utf8_decode(&point, "", 0), 0);
    assert_int_equal(xk_utf8_decode(&point, "\0", 1), 1);
    assert_int_equal(point, 0);
}

static void invalid_points_become_the_replacement(void **state)
{
    static const uint32_t bad[] = {0xd800, 0xdfff, 0x110000, UINT32_MAX};
    for (size_t i = 0; i < XK_COUNT(bad); i++) {
        xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(8);
        xk_utf8_add(&b, bad[i]);
        assert_string_equal(xk_buf_str(&b), "\xef\xbf\xbd");
    }
}

static void every_code_point_goes_round(void **state)
{
    for (uint32_t point = 1; point <= 0x10ffff; point += point < 0x900 ? 1 : 61) {
        if (point >= 0xd800 && point <= 0xdfff)
            continue;
        xk_auto(xk_buf_done) struct xk_buf utf8 = XK_BUF_INIT(8), utf16 = XK_BUF_INIT(8), again = XK_BUF_INIT(8);
        xk_utf8_add(&utf8, point);
        assert_int_equal(xk_utf8_to_utf16(&utf16, xk_buf_str(&utf8), point % 2), 0);
        assert_int_equal(utf16.len, point < 0x10000 ? 2 : 4);
        assert_int_equal(xk_utf16_to_utf8(&again, (const uint8_t *)utf16.data, utf16.len, point % 2), 0);
        assert_string_equal(xk_buf_str(&again), xk_buf_str(&utf8));
    }
}

static void utf16_byte_orders(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(64);
    assert_int_equal(xk_utf8_to_utf16(&b, "aü💾", false), 0);
    assert_int_equal(b.len, 8);
    assert_memory_equal(b.data, "a\0\xfc\0\x3d\xd8\xbe\xdc", 8);
    xk_buf_reset(&b);
    assert_int_equal(xk_utf8_to_utf16(&b, "aü💾", true), 0);
    assert_memory_equal(b.data, "\0a\0\xfc\xd8\x3d\xdc\xbe", 8);
    xk_buf_reset(&b);
    assert_int_equal(xk_utf8_to_utf16(&b, "a\xff", true), -EILSEQ);
}

static int from_utf16(struct xk_buf *b, const char *units, size_t bytes)
{
    xk_buf_reset(b);
    return xk_utf16_to_utf8(b, (const uint8_t *)units, bytes, true);
}

static void utf16_refusals(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(64);
    assert_int_equal(from_utf16(&b, "\0a\0\0\xd8\0", 6), 0); /* stops at the NUL */
    assert_string_equal(xk_buf_str(&b), "a");
    assert_int_equal(from_utf16(&b, "\0a\0", 3), -EILSEQ);
    assert_int_equal(from_utf16(&b, "\xd8\0", 2), -EILSEQ);       /* high at the end */
    assert_int_equal(from_utf16(&b, "\xd8\0\0a", 4), -EILSEQ);    /* high, then a letter */
    assert_int_equal(from_utf16(&b, "\xd8\0\xd8\0", 4), -EILSEQ); /* high, high */
    assert_int_equal(from_utf16(&b, "\xdc\0\0a", 4), -EILSEQ);    /* low first */
    assert_int_equal(from_utf16(&b, "", 0), 0);
    xk_auto(xk_buf_done) struct xk_buf small = XK_BUF_INIT(2);
    assert_int_equal(from_utf16(&small, "\0a\0b\0c", 6), -EFBIG);
}

/* ---- width ---- */

static void display_widths(void **state)
{
    assert_int_equal(xk_display_width(""), 0);
    assert_int_equal(xk_display_width("disk"), 4);
    assert_int_equal(xk_display_width("Grüße"), 5);
    assert_int_equal(xk_display_width("磁盘"), 4);
    assert_int_equal(xk_display_width("ディスク"), 8);
    assert_int_equal(xk_display_width("ｶﾅ"), 2);                 /* halfwidth */
    assert_int_equal(xk_display_width("Ａ"), 2);                 /* fullwidth */
    assert_int_equal(xk_display_width("한"), 2);                 /* a whole syllable */
    assert_int_equal(xk_display_width("\u1112\u1161\u11ab"), 2); /* the same from its parts */
    assert_int_equal(xk_display_width("e\u0301"), 1);            /* combining accent */
    assert_int_equal(xk_display_width("a\u200bb"), 2);           /* zero width space */
    assert_int_equal(xk_display_width("\u00ad"), 1);             /* soft hyphen is seen */
    assert_int_equal(xk_display_width("💾"), 2);
    assert_int_equal(xk_display_width("✅"), 2);
    assert_int_equal(xk_display_width("✓ … — ├─└─"), 10); /* what our own output uses */
    assert_int_equal(xk_display_width("\U00020000"), 2);  /* ideographs beyond the first plane */
    assert_int_equal(xk_display_width("a\xff\xfe"
                                      "b"),
                     4); /* bad bytes */
    assert_int_equal(xk_display_width("a\nb\x1b"), 2);
}

/* The C library's own table, where it knows a letter; what newer releases of Unicode change is allowed for. */
static void widths_agree_with_the_c_library(void **state)
{
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        skip();
    unsigned known = 0, different = 0;
    for (uint32_t point = 0xa0; point <= 0x10ffff; point++) {
        const int want = wcwidth((wchar_t)point);
        if (want < 0 || (point >= 0xd800 && point <= 0xdfff))
            continue;
        xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(8);
        xk_utf8_add(&b, point);
        known++;
        different += xk_display_width(xk_buf_str(&b)) != (size_t)want;
    }
    setlocale(LC_CTYPE, "C");
    assert_true(known > 200000);
    assert_in_range(different, 0, 200);
}

static void display_prefixes(void **state)
{
    assert_int_equal(xk_display_prefix("disk", 10), 4);
    assert_int_equal(xk_display_prefix("disk", 2), 2);
    assert_int_equal(xk_display_prefix("disk", 0), 0);
    assert_int_equal(xk_display_prefix("磁盘", 3), 3); /* half a letter does not fit */
    assert_int_equal(xk_display_prefix("磁盘", 4), 6);
    assert_int_equal(xk_display_prefix("e\u0301x", 1), 3); /* the accent goes with its letter */
    assert_int_equal(xk_display_prefix("", 5), 0);
}

/* ---- cleaning ---- */

static const char *with(struct xk_buf *b, void (*add)(struct xk_buf *b, const char *text), const char *text)
{
    xk_buf_reset(b);
    add(b, text);
    assert_int_equal(b->error, 0);
    return xk_buf_str(b);
}

static void cleaned_for_a_terminal(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(1000);
    assert_string_equal(with(&b, xk_add_clean, "plain ü 磁 \\ text"), "plain ü 磁 \\ text");
    assert_string_equal(with(&b, xk_add_clean, "\x1b[31mred\n\t\r\x7f"), "\\x1b[31mred\\x0a\\x09\\x0d\\x7f");
    assert_string_equal(with(&b, xk_add_clean,
                             "\xc2\x9b"
                             "31m"),
                        "\\u{9b}31m"); /* CSI in one character */
    assert_string_equal(with(&b, xk_add_clean,
                             "\x9b"
                             "31m"),
                        "\\x9b31m"); /* and as a bare byte */
    assert_string_equal(with(&b, xk_add_clean, "a\u202eb\u2066c\u2069d\u200f"),
                        "a\\u{202e}b\\u{2066}c\\u{2069}d\\u{200f}");
    assert_string_equal(with(&b, xk_add_clean, "\u2028"), "\\u{2028}");
    assert_string_equal(with(&b, xk_add_clean, "\xc3(\xed\xa0\x80"), "\\xc3(\\xed\\xa0\\x80");
}

static void cleaned_for_html(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(1000);
    assert_string_equal(with(&b, xk_add_html, "<a href=\"x\" id='y'>&amp;</a>"),
                        "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;");
    assert_string_equal(with(&b, xk_add_html, "ü\x01\n\xff"), "ü\\x01\\x0a\\xff");
}

static void csv_fields(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(1000);
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"a,b", "\"a,b\""},
        {"say \"hi\"", "\"say \"\"hi\"\"\""},
        {"two\nlines", "\"two\nlines\""},
        {"cr\rhere", "\"cr\rhere\""},
        {"-5", "-5"},
        {"+1.5e3", "+1.5e3"},
        {"-", "'-"},
        {"=1+1", "'=1+1"},
        {"@SUM(A1)", "'@SUM(A1)"},
        {"-2+3", "'-2+3"},
        {"+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"},
        {"=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""},
        {"\t=1", "'\t=1"},
        {"\r=1", "\"'\r=1\""},
        {"a=1", "a=1"},
        {"\x1b[2J", "\\x1b[2J"},
        {"-inf", "'-inf"},
    };
    for (size_t i = 0; i < XK_COUNT(cases); i++)
        assert_string_equal(with(&b, xk_add_csv, cases[i].text), cases[i].field);
}

/* ---- words to numbers ---- */

static void whole_numbers(void **state)
{
    uint64_t u;
    assert_int_equal(xk_parse_u64(&u, "0"), 0);
    assert_int_equal(u, 0);
    assert_int_equal(xk_parse_u64(&u, "18446744073709551615"), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(xk_parse_u64(&u, "0xFfffFFFFffffffff"), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(xk_parse_u64(&u, "0X1f"), 0);
    assert_int_equal(u, 31);
    assert_int_equal(xk_parse_u64(&u, "007"), 0);
    assert_int_equal(u, 7);
    u = 99;
    assert_int_equal(xk_parse_u64(&u, "18446744073709551616"), -ERANGE);
    assert_int_equal(xk_parse_u64(&u, "0x10000000000000000"), -ERANGE);
    assert_int_equal(xk_parse_u64(&u, "99999999999999999999999999999999999"), -ERANGE);
    static const char *const bad[] = {"",   " 1",  "1 ", "-1",  "+1",  "1x",
                                      "0x", "0xg", "x",  "1.0", "1e3", "99999999999999999999x"};
    for (size_t i = 0; i < XK_COUNT(bad); i++)
        assert_int_equal(xk_parse_u64(&u, bad[i]), -EINVAL);
    assert_int_equal(u, 99);
}

static void signed_numbers(void **state)
{
    int64_t v;
    assert_int_equal(xk_parse_i64(&v, "-9223372036854775808"), 0);
    assert_true(v == INT64_MIN);
    assert_int_equal(xk_parse_i64(&v, "9223372036854775807"), 0);
    assert_true(v == INT64_MAX);
    assert_int_equal(xk_parse_i64(&v, "+5"), 0);
    assert_int_equal(v, 5);
    assert_int_equal(xk_parse_i64(&v, "-0"), 0);
    assert_int_equal(v, 0);
    assert_int_equal(xk_parse_i64(&v, "9223372036854775808"), -ERANGE);
    assert_int_equal(xk_parse_i64(&v, "-9223372036854775809"), -ERANGE);
    assert_int_equal(xk_parse_i64(&v, "--1"), -EINVAL);
    assert_int_equal(xk_parse_i64(&v, "-+1"), -EINVAL);
    assert_int_equal(xk_parse_i64(&v, "-"), -EINVAL);
    assert_int_equal(xk_parse_i64(&v, ""), -EINVAL);
}

static void real_numbers(void **state)
{
    double v;
    assert_int_equal(xk_parse_double(&v, "1.5"), 0);
    assert_true(v == 1.5);
    assert_int_equal(xk_parse_double(&v, "-.5e-3"), 0);
    assert_true(v == -0.0005);
    assert_int_equal(xk_parse_double(&v, "1e-400"), 0);
    assert_true(v == 0);
    assert_int_equal(xk_parse_double(&v, "1e400"), -ERANGE);
    static const char *const bad[] = {"",     ".",     "-",  "e5", "1e",  "inf",  "nan",
                                      "-inf", "0x1p3", " 1", "1 ", "1,5", "1.2.3"};
    for (size_t i = 0; i < XK_COUNT(bad); i++)
        assert_int_equal(xk_parse_double(&v, bad[i]), -EINVAL);
}

struct word_case {
    const char *word;
    uint64_t value;
    int result;
};

static void check_words(int (*parse)(uint64_t *ret, const char *word), const struct word_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value = 77;
        const int r = parse(&value, cases[i].word);
        if (r != cases[i].result || value != (r == 0 ? cases[i].value : 77))
            fail_msg("\"%s\" gives %d and %llu", cases[i].word, r, (unsigned long long)value);
    }
}

static void sizes(void **state)
{
    static const struct word_case cases[] = {
        {"0", 0, 0},
        {"512", 512, 0},
        {"512B", 512, 0},
        {"4k", 4096, 0},
        {"4K", 4096, 0},
        {"4Ki", 4096, 0},
        {"4kib", 4096, 0},
        {"4kB", 4000, 0},
        {"1M", XK_MIB, 0},
        {"2GiB", 2 * XK_GIB, 0},
        {"1.5G", 3 * XK_GIB / 2, 0},
        {"1.5gb", 1500000000, 0},
        {"2040G", 2040 * XK_GIB, 0},
        {"1T", XK_TIB, 0},
        {"1P", 1024 * XK_TIB, 0},
        {"15E", 15 * 1024 * 1024 * XK_TIB, 0},
        {"18EB", UINT64_C(18000000000000000000), 0},
        {"0.5k", 512, 0},
        {"1.1k", 1126, 0},
        {"15.999999999999999999E", UINT64_MAX - 1, 0},
        {"18446744073709551615", UINT64_MAX, 0},
        {"17179869183.9999G", UINT64_C(18446744073709444241), 0},
        {"16E", 0, -ERANGE},
        {"19EB", 0, -ERANGE},
        {"17179869184G", 0, -ERANGE},
        {"18446744073709551616", 0, -ERANGE},
        {"18446744073709551616k", 0, -ERANGE},
        {"0.0001k", 0, -ERANGE},
        {"0.0k", 0, 0},
        {"", 0, -EINVAL},
        {"k", 0, -EINVAL},
        {"-1", 0, -EINVAL},
        {"+1", 0, -EINVAL},
        {"1.5", 0, -EINVAL},
        {"1.5B", 0, -EINVAL},
        {"1.k", 0, -EINVAL},
        {".5k", 0, -EINVAL},
        {"1 k", 0, -EINVAL},
        {"1kk", 0, -EINVAL},
        {"1kibx", 0, -EINVAL},
        {"1Z", 0, -EINVAL},
        {"1iB", 0, -EINVAL},
        {"0x10", 0, -EINVAL},
        {"1e3", 0, -EINVAL},
        {"1.0000000000000000000k", 0, -EINVAL},
        {"99999999999999999999Q", 0, -EINVAL},
    };
    check_words(xk_parse_size, cases, XK_COUNT(cases));
}

static void durations(void **state)
{
    static const struct word_case cases[] = {
        {"0", 0, 0},
        {"10", 10 * XK_NS_PER_S, 0},
        {"1.5", 1500 * XK_NS_PER_MS, 0},
        {"10s", 10 * XK_NS_PER_S, 0},
        {"250ms", 250 * XK_NS_PER_MS, 0},
        {"100us", 100000, 0},
        {"100µs", 100000, 0},
        {"7ns", 7, 0},
        {"5m", 300 * XK_NS_PER_S, 0},
        {"2h", 7200 * XK_NS_PER_S, 0},
        {"1d", 86400 * XK_NS_PER_S, 0},
        {"0.5us", 500, 0},
        {"213503d", UINT64_C(213503) * 86400 * XK_NS_PER_S, 0},
        {"213504d", 0, -ERANGE},
        {"18446744074", 0, -ERANGE},
        {"0.0000000001", 0, -ERANGE},
        {"0.5ns", 0, -EINVAL},
        {"1M", 0, -EINVAL},
        {"1min", 0, -EINVAL},
        {"1h30m", 0, -EINVAL},
        {"-1s", 0, -EINVAL},
        {"s", 0, -EINVAL},
        {"", 0, -EINVAL},
    };
    check_words(xk_parse_duration, cases, XK_COUNT(cases));
}

static void rates(void **state)
{
    static const struct word_case cases[] = {
        {"0", 0, 0},
        {"9600", 9600, 0},
        {"64kbit", 64000, 0},
        {"100Mbit", 100000000, 0},
        {"1Gbit/s", 1000000000, 0},
        {"1G", 1000000000, 0},
        {"1g", 1000000000, 0},
        {"2.5G", 2500000000, 0},
        {"10Mbps", 10000000, 0},
        {"10MB/s", 80000000, 0},
        {"10MB", 80000000, 0},
        {"10Mb/s", 10000000, 0},
        {"1MiB/s", 8 * XK_MIB, 0},
        {"1B/s", 8, 0},
        {"18E", UINT64_C(18000000000000000000), 0},
        {"2EB/s", UINT64_C(16000000000000000000), 0},
        {"3EB/s", 0, -ERANGE},
        {"19E", 0, -ERANGE},
        {"2EiB", 0, -ERANGE},
        {"1EiB", 8 * 1024 * 1024 * XK_TIB, 0},
        {"1Mi", 0, -EINVAL},
        {"1.5", 0, -EINVAL},
        {"1Mbit/m", 0, -EINVAL},
        {"bit", 0, -EINVAL},
        {"-1", 0, -EINVAL},
        {"", 0, -EINVAL},
    };
    check_words(xk_parse_rate, cases, XK_COUNT(cases));
}

/* ---- numbers to words ---- */

static void size_words(void **state)
{
    assert_string_equal(xk_size(0).s, "0 B");
    assert_string_equal(xk_size(512).s, "512 B");
    assert_string_equal(xk_size(1023).s, "1023 B");
    assert_string_equal(xk_size(1024).s, "1 KiB");
    assert_string_equal(xk_size(1536).s, "1.5 KiB");
    assert_string_equal(xk_size(10 * XK_KIB + 300).s, "10.3 KiB");
    assert_string_equal(xk_size(XK_MIB - 1).s, "1 MiB");
    assert_string_equal(xk_size(1000 * XK_KIB).s, "1000 KiB");
    assert_string_equal(xk_size(3 * XK_GIB / 2).s, "1.5 GiB");
    assert_string_equal(xk_size(2040 * XK_GIB).s, "1.99 TiB");
    assert_string_equal(xk_size(UINT64_MAX).s, "16 EiB");
}

static void duration_words(void **state)
{
    assert_string_equal(xk_duration(0).s, "0 ns");
    assert_string_equal(xk_duration(999).s, "999 ns");
    assert_string_equal(xk_duration(1250000).s, "1.25 ms");
    assert_string_equal(xk_duration(999999).s, "1 ms");
    assert_string_equal(xk_duration(12345 * XK_NS_PER_MS).s, "12.3 s");
    assert_string_equal(xk_duration(59 * XK_NS_PER_S).s, "59 s");
    assert_string_equal(xk_duration(59990 * XK_NS_PER_MS).s, "1 m");
    assert_string_equal(xk_duration(60 * XK_NS_PER_S).s, "1 m");
    assert_string_equal(xk_duration(90 * XK_NS_PER_S).s, "1 m 30 s");
    assert_string_equal(xk_duration(3599 * XK_NS_PER_S + 600 * XK_NS_PER_MS).s, "1 h");
    assert_string_equal(xk_duration(3 * 3600 * XK_NS_PER_S + 1).s, "3 h");
    assert_string_equal(xk_duration((76 * 3600 + 100) * XK_NS_PER_S).s, "3 d 4 h");
    assert_string_equal(xk_duration(86399 * XK_NS_PER_S).s, "1 d");
    assert_string_equal(xk_duration(UINT64_MAX).s, "213504 d");
}

static void rate_words(void **state)
{
    assert_string_equal(xk_rate(0).s, "0 bit/s");
    assert_string_equal(xk_rate(940000000).s, "940 Mbit/s");
    assert_string_equal(xk_rate(2500000000).s, "2.5 Gbit/s");
    assert_string_equal(xk_rate(999999).s, "1 Mbit/s");
    assert_string_equal(xk_rate(UINT64_MAX).s, "18.4 Ebit/s");
}

static void times(void **state)
{
    assert_string_equal(xk_iso_time(0).s, "1970-01-01T00:00:00Z");
    assert_string_equal(xk_iso_time(1795409642).s, "2026-11-23T04:54:02Z");
    assert_string_equal(xk_iso_time(951782400).s, "2000-02-29T00:00:00Z");
    assert_string_equal(xk_iso_time(-1).s, "1969-12-31T23:59:59Z");
    assert_string_equal(xk_iso_time(253402300800).s, "10000-01-01T00:00:00Z");
    assert_string_equal(xk_iso_time(INT64_MAX).s, "@9223372036854775807");
    assert_string_equal(xk_iso_time(INT64_MIN).s, "@-9223372036854775808");
}

static void shortest_numbers(void **state)
{
    assert_string_equal(xk_number(0).s, "0");
    assert_string_equal(xk_number(-0.0).s, "-0");
    assert_string_equal(xk_number(0.1).s, "0.1");
    assert_string_equal(xk_number(0.1 + 0.2).s, "0.30000000000000004");
    assert_string_equal(xk_number(100).s, "100");
    assert_string_equal(xk_number(1e15).s, "1e+15");
    assert_string_equal(xk_number(9007199254740993.0).s, "9007199254740992");
    assert_string_equal(xk_number(1e23).s, "1e+23");
    assert_string_equal(xk_number(5e-324).s, "5e-324");
    assert_string_equal(xk_number(DBL_MAX).s, "1.7976931348623157e+308");
    assert_string_equal(xk_number(DBL_MIN).s, "2.2250738585072014e-308");
    assert_string_equal(xk_number(NAN).s, "null");
    assert_string_equal(xk_number(-INFINITY).s, "null");
}

static void numbers_go_round(void **state)
{
    uint64_t bits = 12345;
    for (int i = 0; i < 20000; i++) {
        bits = bits * UINT64_C(6364136223846793005) + 1442695040888963407;
        double value, again;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        const struct xk_word word = xk_number(value);
        assert_int_equal(xk_parse_double(&again, word.s), 0);
        assert_true(again == value);
        char shorter[40]; /* one digit less never reads back the same */
        int digits = 0;
        for (const char *p = word.s; *p && *p != 'e'; p++)
            digits += *p >= '0' && *p <= '9';
        if (digits > 1 && digits <= 17 && !strstr(word.s, "0.")) {
            snprintf(shorter, sizeof(shorter), "%.*g", digits - 1, value);
            assert_true(strtod(shorter, NULL) != value);
        }
    }
}

static void uuids(void **state)
{
    const uint8_t uuid[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                              0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    assert_string_equal(xk_uuid_text(uuid).s, "00112233-4455-6677-8899-aabbccddeeff");
}

/* ---- the nearest word ---- */

static void nearest_words(void **state)
{
    static const char *const verbs[] = {"create", "snapshot", "query", "read", "check", NULL, "scan", "max-bat"};
    static const struct {
        const char *word, *nearest;
    } cases[] = {
        {"craete", "create"}, /* two letters swapped */
        {"creat", "create"},  {"qurey", "query"}, {"QUERY", "query"},   {"snapshoot", "snapshot"},
        {"chek", "check"},    {"raed", "read"},   {"snap", "snapshot"}, {"max", "max-bat"},
        {"sc", "scan"},       {"query", "query"}, {"frobnicate", NULL}, {"x", NULL},
        {"", NULL},           {"rx", NULL},       {"completely", NULL},
    };
    for (size_t i = 0; i < XK_COUNT(cases); i++) {
        const char *found = xk_nearest(cases[i].word, verbs, XK_COUNT(verbs), sizeof(verbs[0]));
        if ((found == NULL) != (cases[i].nearest == NULL) || (found && strcmp(found, cases[i].nearest) != 0))
            fail_msg("\"%s\" gives %s", cases[i].word, found ? found : "nothing");
    }
    char long_word[300];
    memset(long_word, 'a', sizeof(long_word) - 1);
    long_word[sizeof(long_word) - 1] = '\0';
    assert_null(xk_nearest(long_word, verbs, XK_COUNT(verbs), sizeof(verbs[0])));
}

static void nearest_in_a_table(void **state)
{
    static const struct {
        int number;
        const char *name;
        double other;
    } rows[] = {{1, "alpha", 0}, {2, "beta", 0}, {3, "gamma", 0}};
    assert_string_equal(xk_nearest("gama", &rows[0].name, XK_COUNT(rows), sizeof(rows[0])), "gamma");
    assert_null(xk_nearest("gama", &rows[0].name, 0, sizeof(rows[0])));
}

/* ---- paths ---- */

static void paths(void **state)
{
    static const struct {
        const char *path, *base, *dir;
    } cases[] = {
        {"a", "a", "."},     {"a/b", "b", "a"},     {"/a", "a", "/"},      {"/a/b", "b", "/a"}, {"a//b", "b", "a"},
        {"//a", "a", "/"},   {"/a/b/", "b/", "/a"}, {"a/", "a/", "."},     {"/", "/", "/"},     {"//", "//", "/"},
        {"../x", "x", ".."}, {"", "", "."},         {"/a///b", "b", "/a"},
    };
    for (size_t i = 0; i < XK_COUNT(cases); i++) {
        xk_autofree char *dir = xk_dir_name(cases[i].path);
        if (strcmp(xk_base_name(cases[i].path), cases[i].base) != 0 || strcmp(dir, cases[i].dir) != 0)
            fail_msg("\"%s\" gives \"%s\" in \"%s\"", cases[i].path, xk_base_name(cases[i].path), dir);
    }
}

static void joined_paths(void **state)
{
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"},
        {"a", "/b", "/b"}, {"", "b", "b"},     {".", "../b", "./../b"},
    };
    for (size_t i = 0; i < XK_COUNT(cases); i++) {
        xk_autofree char *joined = xk_path_join(cases[i][0], cases[i][1]);
        assert_string_equal(joined, cases[i][2]);
    }
}

static void prefixes_and_suffixes(void **state)
{
    assert_true(xk_has_prefix("vhd-util", "vhd"));
    assert_true(xk_has_prefix("vhd", ""));
    assert_false(xk_has_prefix("vh", "vhd"));
    assert_true(xk_has_suffix("a.vhd", ".vhd"));
    assert_true(xk_has_suffix("a", ""));
    assert_false(xk_has_suffix("vhd", ".vhd"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_edges),
        cmocka_unit_test(utf8_refusals),
        cmocka_unit_test(invalid_points_become_the_replacement),
        cmocka_unit_test(every_code_point_goes_round),
        cmocka_unit_test(utf16_byte_orders),
        cmocka_unit_test(utf16_refusals),
        cmocka_unit_test(display_widths),
        cmocka_unit_test(widths_agree_with_the_c_library),
        cmocka_unit_test(display_prefixes),
        cmocka_unit_test(cleaned_for_a_terminal),
        cmocka_unit_test(cleaned_for_html),
        cmocka_unit_test(csv_fields),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(signed_numbers),
        cmocka_unit_test(real_numbers),
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(rates),
        cmocka_unit_test(size_words),
        cmocka_unit_test(duration_words),
        cmocka_unit_test(rate_words),
        cmocka_unit_test(times),
        cmocka_unit_test(shortest_numbers),
        cmocka_unit_test(numbers_go_round),
        cmocka_unit_test(uuids),
        cmocka_unit_test(nearest_words),
        cmocka_unit_test(nearest_in_a_table),
        cmocka_unit_test(paths),
        cmocka_unit_test(joined_paths),
        cmocka_unit_test(prefixes_and_suffixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
