/* Output: the same records in every format, on and off a terminal, and what happens when writing fails. */
#include "core/out.h"

#include <math.h>
#include <pty.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include <cmocka.h>

/* ---- a document in a file ---- */

struct paper {
    char dir[64], path[96];
    struct xk_out *out;
    char *text; /* what was written */
};

static void open_paper(struct paper *p, enum xk_out_format format)
{
    *p = (struct paper){0};
    strcpy(p->dir, "/tmp/xk-out-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof(p->path), "%s/paper", p->dir);
    const struct xk_out_settings settings = {.format = format, .file = p->path, .color = true, .fs = xk_fs_posix()};
    assert_int_equal(xk_out_open(&p->out, &settings, NULL), 0);
}

static void close_paper(struct paper *p)
{
    free(p->text);
    (void)unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0); /* nothing else was left there */
}

static void finish_paper(struct paper *p, const struct xk_err *failed)
{
    struct xk_err err = {0};

    assert_int_equal(xk_out_finish(p->out, failed, &err), 0);
    xk_out_close(p->out);
    if (access(p->path, F_OK) == 0)
        assert_int_equal(xk_slurp(&p->text, "", p->path, 64 * XK_MIB, &err), 0);
}

/* Draw one document in a format and compare. */
static void assert_drawn(void (*draw)(struct xk_out *out), enum xk_out_format format, const char *wanted)
{
    struct paper p;

    open_paper(&p, format);
    draw(p.out);
    finish_paper(&p, NULL);
    assert_string_equal(p.text, wanted);
    close_paper(&p);
}

/* ---- rows ---- */

static void draw_disks(struct xk_out *out)
{
    xk_say(out, "%d disks\n", 2);
    xk_out_rows(out, "disks");
    xk_row(out);
    xk_put_str(out, "name", "base");
    xk_put_bytes(out, "disk_size", UINT64_C(10) << 30);
    xk_put_u64(out, "blocks", 5120);
    xk_put_bool(out, "ok", true);
    xk_put_record(out, "parent");
    xk_put_none(out, "name");
    xk_put_none(out, "size_bytes");
    xk_put_end(out);
    xk_put_list(out, "tags");
    xk_put_end(out);
    xk_row(out);
    xk_put_str(out, "name", "leaf, \"two\"");
    xk_put_bytes(out, "disk_size", 512);
    xk_put_u64(out, "blocks", 1);
    xk_put_bool(out, "ok", false);
    xk_put_record(out, "parent");
    xk_put_str(out, "name", "base");
    xk_put_bytes(out, "size", 1024);
    xk_put_end(out);
    xk_put_list(out, "tags");
    xk_put_str(out, NULL, "a");
    xk_put_u64(out, NULL, 7);
    xk_put_end(out);
    xk_out_end(out);
}

static void rows_are_a_table(void **state)
{
    assert_drawn(draw_disks, XK_OUT_TABLE,
                 "2 disks\n"
                 "NAME         DISK SIZE  BLOCKS  OK   PARENT.NAME  PARENT.SIZE  TAGS\n"
                 "base            10 GiB    5120  yes  -                      -  -\n"
                 "leaf, \"two\"      512 B       1  no   base               1 KiB  a, 7\n");
}

static void rows_are_json(void **state)
{
    assert_drawn(draw_disks, XK_OUT_JSON,
                 "{\"disks\":["
                 "{\"name\":\"base\",\"disk_size_bytes\":10737418240,\"blocks\":5120,\"ok\":true,"
                 "\"parent\":{\"name\":null,\"size_bytes\":null},\"tags\":[]},"
                 "{\"name\":\"leaf, \\\"two\\\"\",\"disk_size_bytes\":512,\"blocks\":1,\"ok\":false,"
                 "\"parent\":{\"name\":\"base\",\"size_bytes\":1024},\"tags\":[\"a\",7]}]}\n");
}

static void rows_are_json_lines(void **state)
{
    assert_drawn(draw_disks, XK_OUT_JSONL,
                 "{\"name\":\"base\",\"disk_size_bytes\":10737418240,\"blocks\":5120,\"ok\":true,"
                 "\"parent\":{\"name\":null,\"size_bytes\":null},\"tags\":[]}\n"
                 "{\"name\":\"leaf, \\\"two\\\"\",\"disk_size_bytes\":512,\"blocks\":1,\"ok\":false,"
                 "\"parent\":{\"name\":\"base\",\"size_bytes\":1024},\"tags\":[\"a\",7]}\n");
}

static void rows_are_csv(void **state)
{
    assert_drawn(draw_disks, XK_OUT_CSV,
                 "name,disk_size_bytes,blocks,ok,parent.name,parent.size_bytes,tags\r\n"
                 "base,10737418240,5120,true,,,\r\n"
                 "\"leaf, \"\"two\"\"\",512,1,false,base,1024,a;7\r\n");
}

static void rows_are_plain(void **state)
{
    assert_drawn(draw_disks, XK_OUT_PLAIN,
                 "base\t10737418240\t5120\ttrue\t-\t-\t-\n"
                 "leaf, \"two\"\t512\t1\tfalse\tbase\t1024\ta;7\n");
}

/* ---- every kind of cell ---- */

static void draw_kinds(struct xk_out *out)
{
    xk_out_record(out, "kinds");
    xk_put_str(out, "text", "x");
    xk_put_str(out, "no_text", NULL);
    xk_putf(out, "made", "%s-%d", "a", 1);
    xk_put_u64(out, "big", UINT64_MAX);
    xk_put_i64(out, "small", INT64_MIN);
    xk_put_double(out, "ratio", 0.123456789);
    xk_put_double(out, "nothing", NAN);
    xk_put_bytes(out, "size", 1536);
    xk_put_duration(out, "latency", 1250000);
    xk_put_rate(out, "speed", 100000000);
    xk_put_pct(out, "share", 12.5);
    xk_put_time(out, "seen", 0);
    xk_put_bool(out, "ok", true);
    xk_put_none(out, "left_bytes");
    xk_out_end(out);
}

static void kinds_in_a_table_are_rounded(void **state)
{
    assert_drawn(draw_kinds, XK_OUT_TABLE,
                 "text:       x\n"
                 "no text:    -\n"
                 "made:       a-1\n"
                 "big:        18446744073709551615\n"
                 "small:      -9223372036854775808\n"
                 "ratio:      0.1235\n"
                 "nothing:    -\n"
                 "size:       1.5 KiB\n"
                 "latency:    1.25 ms\n"
                 "speed:      100 Mbit/s\n"
                 "share:      12.5 %\n"
                 "seen:       1970-01-01T00:00:00Z\n"
                 "ok:         yes\n"
                 "left bytes: -\n");
}

static void kinds_in_json_are_exact(void **state)
{
    assert_drawn(draw_kinds, XK_OUT_JSON,
                 "{\"kinds\":{\"text\":\"x\",\"no_text\":null,\"made\":\"a-1\",\"big\":18446744073709551615,"
                 "\"small\":-9223372036854775808,\"ratio\":0.123456789,\"nothing\":null,\"size_bytes\":1536,"
                 "\"latency_ns\":1250000,\"speed_bps\":100000000,\"share_percent\":12.5,"
                 "\"seen\":\"1970-01-01T00:00:00Z\",\"ok\":true,\"left_bytes\":null}}\n");
}

static void a_record_in_csv_is_one_row(void **state)
{
    assert_drawn(draw_kinds, XK_OUT_CSV,
                 "text,no_text,made,big,small,ratio,nothing,size_bytes,latency_ns,speed_bps,share_percent,seen,ok,"
                 "left_bytes\r\n"
                 "x,,a-1,18446744073709551615,-9223372036854775808,0.123456789,,1536,1250000,100000000,12.5,"
                 "1970-01-01T00:00:00Z,true,\r\n");
}

static void a_record_in_plain_is_key_and_value(void **state)
{
    assert_drawn(draw_kinds, XK_OUT_PLAIN,
                 "text\tx\nno_text\t-\nmade\ta-1\nbig\t18446744073709551615\nsmall\t-9223372036854775808\n"
                 "ratio\t0.123456789\nnothing\t-\nsize_bytes\t1536\nlatency_ns\t1250000\nspeed_bps\t100000000\n"
                 "share_percent\t12.5\nseen\t1970-01-01T00:00:00Z\nok\ttrue\nleft_bytes\t-\n");
}

static void draw_nested(struct xk_out *out)
{
    xk_out_record(out, "image");
    xk_put_str(out, "name", "leaf");
    xk_put_record(out, "parent");
    xk_put_str(out, "file", "base");
    xk_put_list(out, "locators");
    xk_put_record(out, NULL);
    xk_put_str(out, "platform", "MacX");
    xk_put_bytes(out, "space", 512);
    xk_put_end(out);
    xk_put_record(out, NULL);
    xk_put_str(out, "platform", "W2ru");
    xk_put_end(out);
    xk_put_end(out);
    xk_put_end(out);
    xk_put_list(out, "numbers");
    for (unsigned i = 1; i <= 3; i++)
        xk_put_u64(out, NULL, i);
    xk_put_end(out);
    xk_put_list(out, "empty");
    xk_put_end(out);
    xk_out_end(out);
}

static void nested_records_are_indented(void **state)
{
    assert_drawn(draw_nested, XK_OUT_TABLE,
                 "name:    leaf\n"
                 "parent:\n"
                 "  file:     base\n"
                 "  locators:\n"
                 "    - platform: MacX\n"
                 "      space:    512 B\n"
                 "    - platform: W2ru\n"
                 "numbers: 1, 2, 3\n"
                 "empty:   -\n");
    assert_drawn(draw_nested, XK_OUT_PLAIN,
                 "name\tleaf\nparent.file\tbase\n"
                 "parent.locators\tplatform=MacX space_bytes=512;platform=W2ru\n"
                 "numbers\t1;2;3\nempty\t-\n");
}

static void draw_long_list(struct xk_out *out)
{
    xk_out_record(out, "r");
    xk_put_list(out, "files");
    xk_put_str(out, NULL, "a file with a rather long name, so that the line would be");
    xk_put_str(out, NULL, "wider than anyone likes to read");
    xk_put_end(out);
    xk_out_end(out);
}

static void long_lists_are_bullets(void **state)
{
    assert_drawn(draw_long_list, XK_OUT_TABLE,
                 "files:\n  - a file with a rather long name, so that the line would be\n"
                 "  - wider than anyone likes to read\n");
}

/* ---- sections ---- */

static void draw_both(struct xk_out *out)
{
    xk_out_record(out, "verdict");
    xk_put_str(out, "text", "bad");
    xk_out_end(out);
    xk_out_rows(out, "findings");
    xk_row(out);
    xk_put_str(out, "id", "a");
    xk_out_end(out);
    xk_out_rows(out, "skipped");
    xk_row(out);
    xk_put_list(out, "why");
    xk_put_str(out, NULL, "b");
    xk_put_end(out);
    xk_out_end(out);
    xk_say(out, "That was all.\n");
}

static void rows_win_over_a_record(void **state)
{
    assert_drawn(draw_both, XK_OUT_CSV, "id\r\na\r\n");
    assert_drawn(draw_both, XK_OUT_JSONL, "{\"id\":\"a\"}\n");
    assert_drawn(draw_both, XK_OUT_PLAIN, "a\n");
    assert_drawn(draw_both, XK_OUT_TABLE, "text: bad\n\nID\na\n\nWHY\nb\nThat was all.\n");
    assert_drawn(draw_both, XK_OUT_JSON,
                 "{\"verdict\":{\"text\":\"bad\"},\"findings\":[{\"id\":\"a\"}],\"skipped\":[{\"why\":[\"b\"]}]}\n");
}

static void draw_nameless(struct xk_out *out)
{
    xk_out_record(out, NULL);
    xk_put_str(out, "host", "a");
    xk_put_list(out, "ids");
    xk_put_str(out, NULL, "b");
    xk_out_end(out);
    xk_out_rows(out, "ports");
    xk_row(out);
    xk_put_u64(out, "port", 80);
    xk_out_end(out);
    xk_out_record(out, NULL);
    xk_put_u64(out, "left", 0);
    xk_out_end(out);
}

static void a_record_without_a_name_is_the_document(void **state)
{
    assert_drawn(draw_nameless, XK_OUT_JSON, "{\"host\":\"a\",\"ids\":[\"b\"],\"ports\":[{\"port\":80}],\"left\":0}\n");
    assert_drawn(draw_nameless, XK_OUT_JSONL, "{\"port\":80}\n");
    assert_drawn(draw_nameless, XK_OUT_TABLE, "host: a\nids:  b\n\nPORT\n  80\n\nleft: 0\n");
}

static void draw_nothing(struct xk_out *out)
{
}

static void draw_no_rows(struct xk_out *out)
{
    xk_out_rows(out, "none");
    xk_out_end(out);
}

static void an_empty_document_is_valid(void **state)
{
    assert_drawn(draw_nothing, XK_OUT_JSON, "{}\n");
    assert_drawn(draw_nothing, XK_OUT_TABLE, "");
    assert_drawn(draw_no_rows, XK_OUT_JSON, "{\"none\":[]}\n");
    assert_drawn(draw_no_rows, XK_OUT_CSV, "");
    assert_drawn(draw_no_rows, XK_OUT_TABLE, "");
}

/* ---- rows that differ ---- */

static void draw_ragged(struct xk_out *out)
{
    xk_out_rows(out, "rows");
    xk_row(out);
    xk_put_str(out, "a", "1");
    xk_put_str(out, "c", "3");
    xk_row(out);
    xk_put_str(out, "a", "4");
    xk_put_str(out, "b", "5");
    xk_put_str(out, "c", "6");
    xk_row(out);
    xk_put_str(out, "c", "7");
    xk_row(out);
    xk_out_end(out);
}

static void columns_are_all_keys_in_their_order(void **state)
{
    assert_drawn(draw_ragged, XK_OUT_CSV, "a,b,c\r\n1,,3\r\n4,5,6\r\n,,7\r\n,,\r\n");
    assert_drawn(draw_ragged, XK_OUT_TABLE, "A  B  C\n1  -  3\n4  5  6\n-  -  7\n-  -  -\n");
}

static void draw_many(struct xk_out *out)
{
    xk_out_rows(out, "rows");
    for (unsigned i = 0; i < 2500; i++) {
        xk_row(out);
        xk_put_u64(out, "n", i);
        if (i == 2000)
            xk_put_str(out, "late", "no column");
        xk_putf(out, "text", "%s", i == 2400 ? "wide" : "w");
    }
    xk_out_end(out);
}

static void long_tables_keep_what_they_learned(void **state)
{
    struct paper p;

    open_paper(&p, XK_OUT_TABLE);
    draw_many(p.out);
    finish_paper(&p, NULL);
    size_t lines = 0;
    for (const char *c = p.text; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 2501);
    assert_non_null(strstr(p.text, "  N  TEXT\n  0  w\n"));
    assert_non_null(strstr(p.text, "\n2400  wide\n"));
    assert_null(strstr(p.text, "late"));
    close_paper(&p);
}

static void a_flush_shows_what_there_is(void **state)
{
    struct paper p;
    int ends[2];

    open_paper(&p, XK_OUT_PLAIN);
    xk_out_close(p.out);
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    char path[32];
    snprintf(path, sizeof(path), "/dev/fd/%d", ends[1]);
    const struct xk_out_settings settings = {.format = XK_OUT_PLAIN, .file = path, .fs = xk_fs_posix()};
    assert_int_equal(xk_out_open(&p.out, &settings, NULL), 0);
    xk_out_rows(p.out, "rows");
    for (unsigned i = 0; i < 2; i++) {
        char got[16] = "";
        xk_row(p.out);
        xk_put_u64(p.out, "n", i);
        xk_out_flush(p.out);
        assert_int_equal(read(ends[0], got, sizeof(got)), 2);
        assert_int_equal(got[0], '0' + (int)i);
    }
    finish_paper(&p, NULL);
    close(ends[0]);
    close(ends[1]);
    close_paper(&p);
}

/* ---- foreign text ---- */

static void draw_foreign(struct xk_out *out)
{
    xk_say(out, "%s\n", xk_out_clean(out, "\033[31mred"));
    xk_out_rows(out, "rows");
    xk_row(out);
    xk_put_str(out, "name", "\033]0;title\a\t\n\x9b x");
    xk_put_str(out, "formula", "=1+1");
    xk_out_end(out);
}

static void no_control_character_comes_through(void **state)
{
    for (int format = XK_OUT_TABLE; format <= XK_OUT_PLAIN; format++) {
        struct paper p;
        open_paper(&p, (enum xk_out_format)format);
        draw_foreign(p.out);
        finish_paper(&p, NULL);
        assert_null(strchr(p.text, '\033'));
        assert_null(strchr(p.text, '\a'));
        assert_null(strchr(p.text, '\x9b'));
        close_paper(&p);
    }
    assert_drawn(draw_foreign, XK_OUT_CSV, "name,formula\r\n\\x1b]0;title\\x07\\x09\\x0a\\x9b x,'=1+1\r\n");
}

static void draw_wide(struct xk_out *out)
{
    xk_out_rows(out, "rows");
    xk_row(out);
    xk_put_str(out, "name", "東京");
    xk_put_str(out, "next", "x");
    xk_row(out);
    xk_put_str(out, "name", "e\u0301a");
    xk_put_str(out, "next", "x");
    xk_out_end(out);
}

static void widths_are_cells_not_bytes(void **state)
{
    assert_drawn(draw_wide, XK_OUT_TABLE, "NAME  NEXT\n東京  x\ne\u0301a    x\n");
}

/* ---- failing ---- */

static void draw_half(struct xk_out *out)
{
    xk_out_rows(out, "rows");
    xk_row(out);
    xk_put_u64(out, "n", 1);
    xk_put_list(out, "open");
    xk_put_record(out, NULL);
    xk_put_str(out, "a", "b");
}

static void a_failed_document_is_whole_and_says_so(void **state)
{
    struct xk_err failed = {0};
    struct paper p;

    (void)xk_fail(&failed, -EBADMSG, "it is \"bad\"");
    xk_err_hint(&failed, "try another");
    open_paper(&p, XK_OUT_JSON);
    draw_half(p.out);
    finish_paper(&p, &failed);
    assert_string_equal(p.text, "{\"rows\":[{\"n\":1,\"open\":[{\"a\":\"b\"}]}],\"error\":{\"code\":\"EBADMSG\","
                                "\"exit\":5,\"message\":\"it is \\\"bad\\\"\",\"hint\":\"try another\"}}\n");
    close_paper(&p);
}

static void a_failed_run_leaves_the_old_file(void **state)
{
    const struct xk_err failed = {.code = -EIO, .exit = XK_EXIT_IO, .text = "no"};
    static const enum xk_out_format formats[] = {XK_OUT_TABLE, XK_OUT_CSV, XK_OUT_PLAIN, XK_OUT_JSONL};

    for (size_t i = 0; i < XK_COUNT(formats); i++) {
        struct paper p;
        open_paper(&p, formats[i]);
        assert_int_equal(xk_file_replace(xk_fs_posix(), p.path, "old", 3, 0600, NULL), 0);
        draw_half(p.out);
        finish_paper(&p, &failed);
        assert_string_equal(p.text, "old");
        close_paper(&p);
    }
}

static void a_new_file_keeps_the_mode_of_the_old_one(void **state)
{
    struct stat st;
    struct paper p;

    open_paper(&p, XK_OUT_CSV);
    xk_out_close(p.out);
    assert_int_equal(xk_file_replace(xk_fs_posix(), p.path, "old", 3, 0600, NULL), 0);
    char link[128];
    snprintf(link, sizeof(link), "%s/link", p.dir);
    assert_int_equal(symlink("paper", link), 0);
    const struct xk_out_settings settings = {.format = XK_OUT_CSV, .file = link, .fs = xk_fs_posix()};
    assert_int_equal(xk_out_open(&p.out, &settings, NULL), 0);
    draw_both(p.out);
    finish_paper(&p, NULL);
    assert_string_equal(p.text, "id\r\na\r\n");
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat(p.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(unlink(link), 0);
    close_paper(&p);
}

static void a_folder_that_is_not_there_is_told_at_once(void **state)
{
    const struct xk_out_settings settings = {.file = "/nowhere/at/all", .fs = xk_fs_posix()};
    struct xk_out *out = NULL;
    struct xk_err err = {0};

    assert_int_equal(xk_out_open(&out, &settings, &err), -ENOENT);
    assert_null(out);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
}

static void a_full_device_is_an_error_in_every_format(void **state)
{
    for (int format = XK_OUT_TABLE; format <= XK_OUT_PLAIN; format++) {
        const struct xk_out_settings settings = {
            .format = (enum xk_out_format)format, .file = "/dev/full", .fs = xk_fs_posix()};
        struct xk_err err = {0};
        struct xk_out *out;
        assert_int_equal(xk_out_open(&out, &settings, &err), 0);
        draw_disks(out);
        xk_out_flush(out);
        assert_int_equal(xk_out_error(out), -ENOSPC);
        xk_out_rows(out, "more");
        for (int i = 0; i < 3; i++) {
            xk_row(out);
            xk_put_list(out, "list");
            xk_put_record(out, NULL);
        }
        assert_int_equal(xk_out_finish(out, NULL, &err), -ENOSPC);
        assert_non_null(strstr(err.text, "/dev/full"));
        xk_out_close(out);
    }
}

static void raw_bytes_are_what_they_are(void **state)
{
    struct paper p;
    char *const many = malloc(200000);

    memset(many, 'x', 200000);
    open_paper(&p, XK_OUT_TABLE);
    xk_out_raw(p.out, "a\0b", 3);
    xk_out_rawf(p.out, "%d", 5);
    xk_out_raw(p.out, many, 200000);
    xk_out_raw(p.out, "\033z", 2);
    struct xk_err err = {0};
    assert_int_equal(xk_out_finish(p.out, NULL, &err), 0);
    xk_out_close(p.out);
    FILE *const f = fopen(p.path, "r");
    assert_int_equal(fread(many, 1, 200000, f), 200000);
    assert_memory_equal(many, "a\0b5xx", 6);
    assert_int_equal(fread(many, 1, 200000, f), 6);
    assert_memory_equal(many, "xxxx\033z", 6);
    fclose(f);
    free(many);
    close_paper(&p);
}

/* ---- a terminal ---- */

struct terminal {
    int master, slave;
    struct xk_out *out;
};

static void open_terminal(struct terminal *t, unsigned short columns, enum xk_out_format format, bool color)
{
    const struct winsize size = {.ws_row = 24, .ws_col = columns};
    struct termios raw = {0};
    char path[64];

    cfmakeraw(&raw);
    assert_int_equal(openpty(&t->master, &t->slave, path, &raw, &size), 0);
    const struct xk_out_settings settings = {.format = format, .file = path, .color = color, .fs = xk_fs_posix()};
    assert_int_equal(xk_out_open(&t->out, &settings, NULL), 0);
    assert_true(xk_out_is_terminal(t->out));
    assert_int_equal(xk_out_width(t->out), columns);
}

static void assert_shown(struct terminal *t, const char *wanted)
{
    char got[4096] = "";
    struct xk_err err = {0};

    assert_int_equal(xk_out_finish(t->out, NULL, &err), 0);
    xk_out_close(t->out);
    const ssize_t bytes = read(t->master, got, sizeof(got) - 1);
    assert_true(bytes > 0);
    assert_string_equal(got, wanted);
    close(t->slave);
    close(t->master);
}

static void draw_long_line(struct xk_out *out)
{
    xk_out_rows(out, "rows");
    xk_row(out);
    xk_put_str(out, "id", "a");
    xk_put_str(out, "text", "0123456789東京0123456789");
    xk_row(out);
    xk_put_str(out, "id", "b");
    xk_put_str(out, "text", "0123456789012345");
    xk_out_end(out);
}

static void the_last_column_is_cut_on_a_terminal_only(void **state)
{
    struct terminal t;

    open_terminal(&t, 20, XK_OUT_TABLE, false);
    draw_long_line(t.out);
    assert_shown(&t, "ID  TEXT\na   0123456789東京0…\nb   0123456789012345\n");
    assert_drawn(draw_long_line, XK_OUT_TABLE, "ID  TEXT\na   0123456789東京0123456789\nb   0123456789012345\n");
}

static void json_is_pretty_on_a_terminal(void **state)
{
    struct terminal t;

    open_terminal(&t, 80, XK_OUT_JSON, true);
    xk_out_record(t.out, "r");
    xk_put_u64(t.out, "n", 1);
    xk_out_color(t.out, XK_COLOR_BAD);
    xk_out_end(t.out);
    assert_shown(&t, "{\n  \"r\": {\n    \"n\": 1\n  }\n}\n");
}

static void draw_colors(struct xk_out *out)
{
    xk_say_color(out, XK_COLOR_GOOD, "fine");
    xk_say(out, "\n");
    xk_out_rows(out, "rows");
    xk_row(out);
    xk_put_str(out, "a", "1");
    xk_out_color(out, XK_COLOR_BAD);
    xk_put_str(out, "b", "2");
    xk_out_end(out);
}

static void colors_need_a_terminal_and_leave(void **state)
{
    struct terminal t;

    open_terminal(&t, 80, XK_OUT_TABLE, true);
    draw_colors(t.out);
    assert_shown(&t, "\033[32mfine\033[0m\n\033[2mA\033[0m  \033[2mB\033[0m\n\033[1;31m1\033[0m  2\n");
    open_terminal(&t, 80, XK_OUT_TABLE, false);
    draw_colors(t.out);
    assert_shown(&t, "fine\nA  B\n1  2\n");
    assert_drawn(draw_colors, XK_OUT_TABLE, "fine\nA  B\n1  2\n");
}

/* ---- monitoring formats ---- */

static void perfdata_is_what_nagios_reads(void **state)
{
    struct xk_buf b = XK_BUF_INIT(1000);

    xk_perfdata(&b, "load", 0.5, "", 4, 8, 0, NAN);
    xk_perfdata(&b, "it's=\n", NAN, "B", NAN, NAN, NAN, NAN);
    assert_string_equal(xk_buf_str(&b), "'load'=0.5;4;8;0; 'it''s_\\x0a'=U;;;;");
    xk_buf_done(&b);
}

static void prometheus_text_is_escaped(void **state)
{
    struct xk_buf b = XK_BUF_INIT(1000);

    xk_prometheus(&b, "xenkit_up", "whether it is up", "gauge", NULL, 1);
    xk_prometheus(&b, "xenkit_up", NULL, NULL, (const char *const[]){"vm", "a\"b\\c\nd", "x", "", NULL}, INFINITY);
    xk_prometheus(&b, "xenkit_up", NULL, NULL, (const char *const[]){NULL}, NAN);
    assert_string_equal(xk_buf_str(&b), "# HELP xenkit_up whether it is up\n# TYPE xenkit_up gauge\nxenkit_up 1\n"
                                        "xenkit_up{vm=\"a\\\"b\\\\c\\nd\",x=\"\"} +Inf\nxenkit_up NaN\n");
    xk_buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_a_table),
        cmocka_unit_test(rows_are_json),
        cmocka_unit_test(rows_are_json_lines),
        cmocka_unit_test(rows_are_csv),
        cmocka_unit_test(rows_are_plain),
        cmocka_unit_test(kinds_in_a_table_are_rounded),
        cmocka_unit_test(kinds_in_json_are_exact),
        cmocka_unit_test(a_record_in_csv_is_one_row),
        cmocka_unit_test(a_record_in_plain_is_key_and_value),
        cmocka_unit_test(nested_records_are_indented),
        cmocka_unit_test(long_lists_are_bullets),
        cmocka_unit_test(rows_win_over_a_record),
        cmocka_unit_test(a_record_without_a_name_is_the_document),
        cmocka_unit_test(an_empty_document_is_valid),
        cmocka_unit_test(columns_are_all_keys_in_their_order),
        cmocka_unit_test(long_tables_keep_what_they_learned),
        cmocka_unit_test(a_flush_shows_what_there_is),
        cmocka_unit_test(no_control_character_comes_through),
        cmocka_unit_test(widths_are_cells_not_bytes),
        cmocka_unit_test(a_failed_document_is_whole_and_says_so),
        cmocka_unit_test(a_failed_run_leaves_the_old_file),
        cmocka_unit_test(a_new_file_keeps_the_mode_of_the_old_one),
        cmocka_unit_test(a_folder_that_is_not_there_is_told_at_once),
        cmocka_unit_test(a_full_device_is_an_error_in_every_format),
        cmocka_unit_test(raw_bytes_are_what_they_are),
        cmocka_unit_test(the_last_column_is_cut_on_a_terminal_only),
        cmocka_unit_test(json_is_pretty_on_a_terminal),
        cmocka_unit_test(colors_need_a_terminal_and_leave),
        cmocka_unit_test(perfdata_is_what_nagios_reads),
        cmocka_unit_test(prometheus_text_is_escaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
