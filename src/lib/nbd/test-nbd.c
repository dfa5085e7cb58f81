/*
 * The conversation with a client, without sockets: what it negotiates, reads, writes and is refused, and what ends it.
 */
#include "lib/nbd/test-wire.h"

#include "core/testing/fault.h"
#include "core/text.h"
#include "lib/vhd/create.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define DISK_BYTES ((4u << 20) + 512u)
#define COOKIE     UINT64_C(0x1122334455667788)
#define IN_BYTES   (64u << 10)
#define OUT_BYTES  (64u << 20)

struct talk {
    char dir[XK_FAULT_PATH_MAX], raw[XK_FAULT_PATH_MAX + 16], overlay_path[XK_FAULT_PATH_MAX + 16];
    uint8_t *model;
    struct volume *base;
    struct volume_overlay *overlay;
    struct nbd_export export;
    struct nbd_counters counters;
    uint8_t in[IN_BYTES];
    struct xk_writer script; /* what the client sends */
    struct memory_wire wire;
    struct nbd_client client;
    struct xk_err err;
    uint8_t room[NBD_HEADER_BYTES + NBD_BUFFER_BYTES];
    size_t handshake_bytes;
};

static int talk_make(void **state)
{
    struct talk *const t = calloc(1, sizeof(*t));
    const struct xk_fs *const fs = xk_fs_posix();
    struct xk_file f;

    if (!t || xk_fault_folder_make(t->dir) < 0 || !(t->model = calloc(1, DISK_BYTES)))
        return -1;
    snprintf(t->raw, sizeof(t->raw), "%s/disk.raw", t->dir);
    snprintf(t->overlay_path, sizeof(t->overlay_path), "%s/new.vhd", t->dir);
    memset(t->model + (1 << 20), 0x5a, 100000);
    memset(t->model + (3 << 20), 0xa5, 4096);
    memset(t->model + DISK_BYTES - 512, 0x77, 512);
    if (xk_file_open(&f, fs, t->raw, O_RDWR | O_CREAT, 0600, NULL) < 0 || xk_file_truncate(&f, DISK_BYTES, NULL) < 0 ||
        xk_file_write(&f, t->model + (1 << 20), 100000, 1 << 20, NULL) < 0 ||
        xk_file_write(&f, t->model + (3 << 20), 4096, 3 << 20, NULL) < 0 ||
        xk_file_write(&f, t->model + DISK_BYTES - 512, 512, DISK_BYTES - 512, NULL) < 0)
        return -1;
    xk_file_close(&f);
    if (volume_open(&t->base, fs, t->raw, &(struct volume_options){.format = VOLUME_RAW}, NULL) < 0)
        return -1;
    t->export = (struct nbd_export){.name = "disk", .description = "a disk", .volume = t->base};
    t->script = xk_writer(t->in, sizeof(t->in));
    *state = t;
    return 0;
}

static int talk_end(void **state)
{
    struct talk *const t = *state;

    xk_buf_done(&t->wire.out);
    volume_overlay_close(t->overlay);
    volume_close(t->base);
    xk_fault_folder_clear(t->dir, true);
    free(t->model);
    free(t);
    return 0;
}

static void make_writable(struct talk *t)
{
    struct vhd_snapshot_made made = {0};
    struct xk_random random;

    xk_random_seed(&random, 3);
    assert_int_equal(vhd_snapshot(xk_fs_posix(),
                                  &(struct vhd_snapshot){
                                      .path = t->overlay_path, .parent = t->raw, .parent_raw = true, .random = &random},
                                  &made, &t->err),
                     0);
    free(made.parent);
    assert_int_equal(volume_overlay_open(&t->overlay, xk_fs_posix(), t->overlay_path, t->base, &t->err), 0);
    t->export.overlay = t->overlay;
    t->export.volume = volume_overlay_view(t->overlay);
}

/* ---- the client's side ---- */

static void say_hello(struct talk *t, uint32_t flags)
{
    xk_write_be32(&t->script, flags);
}

static void say_option(struct talk *t, uint32_t option, const void *data, size_t bytes)
{
    xk_write_be64(&t->script, NBD_OPTION_MAGIC);
    xk_write_be32(&t->script, option);
    xk_write_be32(&t->script, (uint32_t)bytes);
    xk_write_raw(&t->script, data, bytes);
}

static void say_go(struct talk *t, const char *name)
{
    uint8_t data[256];
    struct xk_writer w = xk_writer(data, sizeof(data));

    xk_write_be32(&w, (uint32_t)strlen(name));
    xk_write_raw(&w, name, strlen(name));
    xk_write_be16(&w, 3);
    xk_write_be16(&w, NBD_INFO_NAME);
    xk_write_be16(&w, NBD_INFO_DESCRIPTION);
    xk_write_be16(&w, NBD_INFO_BLOCK_SIZE);
    say_option(t, NBD_OPT_GO, data, w.at);
}

static void say_contexts(struct talk *t, uint32_t option, const char *const *names)
{
    uint8_t data[512];
    struct xk_writer w = xk_writer(data, sizeof(data));
    uint32_t count = 0;

    while (names[count])
        count++;
    xk_write_be32(&w, 4);
    xk_write_raw(&w, "disk", 4);
    xk_write_be32(&w, count);
    for (uint32_t i = 0; i < count; i++) {
        xk_write_be32(&w, (uint32_t)strlen(names[i]));
        xk_write_raw(&w, names[i], strlen(names[i]));
    }
    say_option(t, option, data, w.at);
}

static void say_request(struct talk *t, uint16_t flags, uint16_t type, uint64_t offset, uint32_t bytes)
{
    xk_write_be32(&t->script, NBD_REQUEST_MAGIC);
    xk_write_be16(&t->script, flags);
    xk_write_be16(&t->script, type);
    xk_write_be64(&t->script, COOKIE);
    xk_write_be64(&t->script, offset);
    xk_write_be32(&t->script, bytes);
}

/* Flags, structured replies, contexts and GO, as usual clients do. */
static void say_usual(struct talk *t)
{
    say_hello(t, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    say_option(t, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    say_contexts(t, NBD_OPT_SET_META_CONTEXT,
                 (const char *const[]){NBD_ALLOCATION_CONTEXT, NBD_LAYER_CONTEXT, "other:thing", NULL});
    say_go(t, "disk");
}

/* Let the server hear it all. returns the handshake's result when that ended it, else the requests'. */
static int hear(struct talk *t)
{
    assert_false(t->script.bad);
    xk_buf_done(&t->wire.out);
    t->wire = (struct memory_wire){.in = t->in, .in_bytes = t->script.at, .out = XK_BUF_INIT(OUT_BYTES)};
    t->err = (struct xk_err){0};
    t->client = memory_client(&t->wire, &t->export, &t->counters, t->room, &t->err);
    int code = nbd_handshake(&t->client);
    t->handshake_bytes = t->wire.out.len;
    if (code > 0)
        code = nbd_answer(&t->client);
    return code;
}

static struct xk_reader replies(const struct talk *t)
{
    return xk_reader(t->wire.out.data + t->handshake_bytes, t->wire.out.len - t->handshake_bytes);
}

struct chunk {
    uint16_t flags, type;
    struct xk_reader body;
};

static struct chunk next_chunk(struct xk_reader *r)
{
    struct chunk c;

    assert_int_equal(xk_be32(r), NBD_STRUCTURED_MAGIC);
    c.flags = xk_be16(r);
    c.type = xk_be16(r);
    assert_true(xk_be64(r) == COOKIE);
    const uint32_t bytes = xk_be32(r);
    c.body = xk_reader(r->data + r->at, bytes);
    xk_skip(r, bytes);
    assert_false(r->bad);
    return c;
}

static void expect_error(struct xk_reader *r, uint32_t error)
{
    struct chunk c = next_chunk(r);

    assert_int_equal(c.type, NBD_REPLY_ERROR);
    assert_int_equal(c.flags, NBD_REPLY_DONE);
    assert_int_equal(xk_be32(&c.body), error);
    const uint16_t text_bytes = xk_be16(&c.body);
    assert_int_equal(text_bytes, xk_left(&c.body));
    assert_true(xk_left(&c.body) > 0);
}

static void expect_done(struct xk_reader *r)
{
    const struct chunk c = next_chunk(r);

    assert_int_equal(c.type, NBD_REPLY_NONE);
    assert_int_equal(c.flags, NBD_REPLY_DONE);
}

/* ---- reading ---- */

/* Take the chunks of one read. returns how many bytes came as holes. */
static uint64_t take_read(struct xk_reader *r, uint8_t *buf, uint64_t offset, size_t bytes)
{
    uint64_t holes = 0, covered = 0;

    memset(buf, 0xee, bytes);
    for (;;) {
        struct chunk c = next_chunk(r);
        if (c.type == NBD_REPLY_NONE) {
            assert_int_equal(c.flags, NBD_REPLY_DONE);
            break;
        }
        const uint64_t at = xk_be64(&c.body);
        assert_true(at >= offset);
        const bool hole = c.type == NBD_REPLY_HOLE;
        const uint64_t part = hole ? xk_be32(&c.body) : xk_left(&c.body);
        assert_true(at - offset + part <= bytes);
        if (hole)
            memset(buf + (at - offset), 0, (size_t)part);
        else
            xk_take_bytes(&c.body, buf + (at - offset), (size_t)part);
        holes += hole ? part : 0;
        covered += part;
        if (c.flags & NBD_REPLY_DONE)
            break;
    }
    assert_int_equal(covered, bytes);
    return holes;
}

static void reads_come_in_chunks_with_holes(void **state)
{
    struct talk *const t = *state;
    uint8_t *const got = malloc(DISK_BYTES);

    say_usual(t);
    say_request(t, 0, NBD_CMD_READ, 0, DISK_BYTES);
    say_request(t, 0, NBD_CMD_READ, (1 << 20) - 7, 70001);
    say_request(t, NBD_CMD_FLAG_DF, NBD_CMD_READ, (1 << 20) - 7, 150000);
    say_request(t, 0, NBD_CMD_DISC, 0, 0);
    assert_int_equal(hear(t), 0);
    struct xk_reader r = replies(t);
    assert_true(take_read(&r, got, 0, DISK_BYTES) > 3 << 20);
    assert_memory_equal(got, t->model, DISK_BYTES);
    take_read(&r, got, (1 << 20) - 7, 70001);
    assert_memory_equal(got, t->model + (1 << 20) - 7, 70001);
    assert_int_equal(take_read(&r, got, (1 << 20) - 7, 150000), 0);
    assert_memory_equal(got, t->model + (1 << 20) - 7, 150000);
    assert_int_equal(xk_left(&r), 0);
    free(got);
}

static void old_clients_read_with_simple_replies(void **state)
{
    struct talk *const t = *state;

    say_hello(t, NBD_FIXED_NEWSTYLE);
    say_option(t, NBD_OPT_EXPORT_NAME, "disk", 4);
    say_request(t, 0, NBD_CMD_READ, 1000000, 200000);
    say_request(t, 0, NBD_CMD_READ, DISK_BYTES, 1);
    assert_int_equal(hear(t), 0);
    struct xk_reader hello = xk_reader(t->wire.out.data, t->handshake_bytes);
    xk_skip(&hello, 18);
    assert_int_equal(xk_be64(&hello), DISK_BYTES);
    assert_true(xk_be16(&hello) & NBD_FLAG_READ_ONLY);
    assert_int_equal(xk_left(&hello), 124);
    struct xk_reader r = replies(t);
    assert_int_equal(xk_be32(&r), NBD_SIMPLE_MAGIC);
    assert_int_equal(xk_be32(&r), 0);
    assert_true(xk_be64(&r) == COOKIE);
    assert_memory_equal(r.data + r.at, t->model + 1000000, 200000);
    xk_skip(&r, 200000);
    assert_int_equal(xk_be32(&r), NBD_SIMPLE_MAGIC);
    assert_int_equal(xk_be32(&r), NBD_EINVAL);
    assert_true(xk_be64(&r) == COOKIE);
    assert_int_equal(xk_left(&r), 0);
}

/* ---- block status ---- */

static void expect_status(struct xk_reader *r, uint32_t id, uint64_t bytes, uint32_t first_flags, uint32_t second_flags)
{
    struct chunk c = next_chunk(r);
    uint64_t sum = 0;
    uint32_t seen[2] = {UINT32_MAX, UINT32_MAX};

    assert_int_equal(c.type, NBD_REPLY_BLOCK_STATUS);
    assert_int_equal(xk_be32(&c.body), id);
    for (int i = 0; xk_left(&c.body); i++) {
        sum += xk_be32(&c.body);
        const uint32_t flags = xk_be32(&c.body);
        if (i < 2)
            seen[i] = flags;
    }
    assert_false(c.body.bad);
    assert_int_equal(sum, bytes);
    assert_int_equal(seen[0], first_flags);
    assert_int_equal(seen[1], second_flags);
}

static void block_status_tells_holes_and_layers(void **state)
{
    struct talk *const t = *state;
    const uint8_t sector[512] = {1};

    make_writable(t);
    assert_int_equal(volume_overlay_write(t->overlay, sector, sizeof(sector), 0, &t->err), 0);
    say_usual(t);
    say_request(t, 0, NBD_CMD_BLOCK_STATUS, 0, DISK_BYTES);
    say_request(t, NBD_CMD_FLAG_REQ_ONE, NBD_CMD_BLOCK_STATUS, 0, DISK_BYTES);
    assert_int_equal(hear(t), 0);
    struct xk_reader r = replies(t);
    expect_status(&r, NBD_CONTEXT_ALLOCATION, DISK_BYTES, 0, NBD_STATE_HOLE | NBD_STATE_ZERO);
    expect_status(&r, NBD_CONTEXT_LAYER, DISK_BYTES, 1, 2);
    expect_status(&r, NBD_CONTEXT_ALLOCATION, 512, 0, UINT32_MAX);
    expect_status(&r, NBD_CONTEXT_LAYER, 512, 1, UINT32_MAX);
    assert_int_equal(xk_left(&r), 0);
}

static void contexts_are_listed(void **state)
{
    struct talk *const t = *state;

    say_hello(t, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    say_option(t, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    say_contexts(t, NBD_OPT_LIST_META_CONTEXT, (const char *const[]){NULL});
    say_contexts(t, NBD_OPT_LIST_META_CONTEXT, (const char *const[]){"xenkit:", NULL});
    say_contexts(t, NBD_OPT_SET_META_CONTEXT, (const char *const[]){"xenkit:", NULL});
    say_option(t, NBD_OPT_ABORT, NULL, 0);
    assert_int_equal(hear(t), 0);
    size_t named = 0;
    for (size_t i = 0; i + 12 <= t->wire.out.len; i++)
        named += memcmp(t->wire.out.data + i, NBD_LAYER_CONTEXT, 12) == 0;
    assert_int_equal(named, 2);
    assert_false(t->client.layer);
}

/* ---- writing ---- */

static void writes_are_read_back(void **state)
{
    struct talk *const t = *state;
    uint8_t *const got = malloc(DISK_BYTES);
    uint8_t data[3001];

    make_writable(t);
    memset(data, 0xc3, sizeof(data));
    say_usual(t);
    say_request(t, 0, NBD_CMD_WRITE, 4097, sizeof(data));
    xk_write_raw(&t->script, data, sizeof(data));
    say_request(t, NBD_CMD_FLAG_FUA, NBD_CMD_WRITE, DISK_BYTES - 100, 100);
    xk_write_raw(&t->script, data, 100);
    say_request(t, 0, NBD_CMD_WRITE_ZEROES, (1 << 20) + 5, 50000);
    say_request(t, 0, NBD_CMD_TRIM, 4097, 10);
    say_request(t, 0, NBD_CMD_FLUSH, 0, 0);
    say_request(t, 0, NBD_CMD_READ, 0, DISK_BYTES);
    assert_int_equal(hear(t), 0);
    memcpy(t->model + 4097, data, sizeof(data));
    memset(t->model + 4097, 0, 10); /* the overlay's own bytes: trimming gave them back */
    memcpy(t->model + DISK_BYTES - 100, data, 100);
    memset(t->model + (1 << 20) + 5, 0, 50000);
    struct xk_reader r = replies(t);
    for (int i = 0; i < 5; i++)
        expect_done(&r);
    take_read(&r, got, 0, DISK_BYTES);
    assert_memory_equal(got, t->model, DISK_BYTES);
    free(got);
}

static void a_read_only_export_refuses_changes_and_stays_in_step(void **state)
{
    struct talk *const t = *state;
    const uint8_t data[700] = {1};

    say_usual(t);
    say_request(t, 0, NBD_CMD_WRITE, 0, sizeof(data));
    xk_write_raw(&t->script, data, sizeof(data));
    say_request(t, 0, NBD_CMD_TRIM, 0, 512);
    say_request(t, 0, NBD_CMD_WRITE_ZEROES, 0, 512);
    say_request(t, 0, NBD_CMD_CACHE, 0, 1 << 20);
    assert_int_equal(hear(t), 0);
    struct xk_reader r = replies(t);
    for (int i = 0; i < 3; i++)
        expect_error(&r, NBD_EPERM);
    expect_done(&r);
    assert_int_equal(xk_left(&r), 0);
}

static void impossible_requests_are_refused(void **state)
{
    static const struct {
        uint16_t flags, type;
        uint64_t offset;
        uint32_t bytes, error;
    } rows[] = {
        {0, NBD_CMD_READ, DISK_BYTES, 1, NBD_EINVAL},
        {0, NBD_CMD_READ, UINT64_MAX, 2, NBD_EINVAL},
        {0, NBD_CMD_READ, 0, 0, NBD_EINVAL},
        {0, NBD_CMD_READ, 0, NBD_REQUEST_BYTES_MAX + 1, NBD_EINVAL},
        {0, NBD_CMD_READ, DISK_BYTES - 1, 2, NBD_EINVAL},
        {0, NBD_CMD_BLOCK_STATUS, 1, DISK_BYTES, NBD_EINVAL},
        {0x8000, NBD_CMD_READ, 0, 512, NBD_EINVAL},
        {0, 8, 0, 512, NBD_EINVAL},
        {0, UINT16_MAX, 0, 512, NBD_EINVAL},
        {0, NBD_CMD_TRIM, DISK_BYTES, 512, NBD_ENOSPC},
        {0, NBD_CMD_WRITE_ZEROES, 0, UINT32_MAX, NBD_ENOSPC},
    };
    struct talk *const t = *state;

    make_writable(t);
    say_usual(t);
    for (size_t i = 0; i < XK_COUNT(rows); i++)
        say_request(t, rows[i].flags, rows[i].type, rows[i].offset, rows[i].bytes);
    assert_int_equal(hear(t), 0);
    struct xk_reader r = replies(t);
    for (size_t i = 0; i < XK_COUNT(rows); i++)
        expect_error(&r, rows[i].error);
    assert_int_equal(xk_left(&r), 0);
}

/* ---- who breaks the rules ---- */

/* The type of the n-th reply to an option. */
static uint32_t option_reply(const struct talk *t, int n)
{
    struct xk_reader r = xk_reader(t->wire.out.data, t->wire.out.len);

    xk_skip(&r, 18);
    for (;; n--) {
        assert_true(xk_be64(&r) == NBD_OPTION_REPLY_MAGIC);
        (void)xk_be32(&r);
        const uint32_t type = xk_be32(&r);
        xk_skip(&r, xk_be32(&r));
        assert_false(r.bad);
        if (n == 0)
            return type;
    }
}

static void options_that_make_no_sense_are_answered(void **state)
{
    struct talk *const t = *state;
    uint8_t lying[8];
    struct xk_writer w = xk_writer(lying, sizeof(lying));
    static const uint8_t long_data[60000];

    xk_write_be32(&w, 0xffffffff);
    xk_write_be32(&w, 0xffffffff);
    say_hello(t, NBD_FIXED_NEWSTYLE);
    say_option(t, 5, NULL, 0); /* TLS */
    say_option(t, 77, "x", 1);
    say_option(t, NBD_OPT_LIST, "x", 1);
    say_option(t, NBD_OPT_GO, lying, sizeof(lying));
    say_option(t, NBD_OPT_SET_META_CONTEXT, lying, sizeof(lying));
    say_go(t, "another disk");
    say_option(t, NBD_OPT_INFO, long_data, sizeof(long_data));
    assert_int_equal(hear(t), 0);
    static const uint32_t wanted[] = {NBD_REP_ERR_UNSUP,   NBD_REP_ERR_UNSUP,   NBD_REP_ERR_INVALID,
                                      NBD_REP_ERR_INVALID, NBD_REP_ERR_INVALID, NBD_REP_ERR_UNKNOWN,
                                      NBD_REP_ERR_INVALID};
    for (size_t i = 0; i < XK_COUNT(wanted); i++)
        assert_int_equal(option_reply(t, (int)i), wanted[i]);
}

static void expect_end(struct talk *t, int code)
{
    assert_int_equal(hear(t), code);
    assert_true(code != -EPROTO || t->err.text[0] != '\0');
    t->script = xk_writer(t->in, sizeof(t->in));
}

static void who_breaks_the_rules_is_disconnected(void **state)
{
    struct talk *const t = *state;

    say_hello(t, 0xffffffff);
    expect_end(t, -EPROTO);

    say_hello(t, NBD_FIXED_NEWSTYLE);
    xk_write_raw(&t->script, "GET / HTTP/1.1\r\n\r\n", 18);
    expect_end(t, -EPROTO);

    say_hello(t, 0);
    say_option(t, NBD_OPT_LIST, NULL, 0);
    expect_end(t, -EPROTO);

    say_hello(t, NBD_FIXED_NEWSTYLE);
    say_option(t, NBD_OPT_EXPORT_NAME, "nothing", 7);
    expect_end(t, -ENOENT);

    say_hello(t, NBD_FIXED_NEWSTYLE);
    xk_write_be64(&t->script, NBD_OPTION_MAGIC);
    xk_write_be32(&t->script, NBD_OPT_GO);
    xk_write_be32(&t->script, 0xffffffff);
    expect_end(t, -EPROTO);

    say_hello(t, NBD_FIXED_NEWSTYLE);
    for (unsigned i = 0; i <= NBD_OPTIONS_MAX; i++)
        say_option(t, NBD_OPT_LIST, NULL, 0);
    expect_end(t, -EPROTO);

    say_usual(t);
    xk_write_zeros(&t->script, 28);
    expect_end(t, -EPROTO);

    say_usual(t);
    say_request(t, 0, NBD_CMD_WRITE, 0, 0xffffffff);
    expect_end(t, -EPROTO);
}

/* The client may go away after any byte. */
static void half_a_conversation_ends_it(void **state)
{
    struct talk *const t = *state;
    const uint8_t data[100] = {9};

    make_writable(t);
    say_usual(t);
    say_request(t, 0, NBD_CMD_WRITE, 50, sizeof(data));
    xk_write_raw(&t->script, data, sizeof(data));
    say_request(t, 0, NBD_CMD_READ, 0, 512);
    const size_t whole = t->script.at;
    for (size_t bytes = 0; bytes <= whole; bytes++) {
        t->script.at = bytes;
        const int code = hear(t);
        assert_true(code == 0 || code == -ECONNRESET || code == -ENODATA);
    }
}

int main(void)
{
#define TALK(f) cmocka_unit_test_setup_teardown(f, talk_make, talk_end)
    const struct CMUnitTest tests[] = {
        TALK(reads_come_in_chunks_with_holes),
        TALK(old_clients_read_with_simple_replies),
        TALK(block_status_tells_holes_and_layers),
        TALK(contexts_are_listed),
        TALK(writes_are_read_back),
        TALK(a_read_only_export_refuses_changes_and_stays_in_step),
        TALK(impossible_requests_are_refused),
        TALK(options_that_make_no_sense_are_answered),
        TALK(who_breaks_the_rules_is_disconnected),
        TALK(half_a_conversation_ends_it),
    };
    return cmocka_run_group_tests_name("nbd", tests, NULL, NULL);
}
