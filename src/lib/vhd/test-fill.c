/*
 * Filling and copying images: the disk reads the same before, after, and whatever moment they are cut off at. The hash
 * of a key, and the cipher against AES-XTS as OpenSSL's one call does it.
 */
#include "lib/vhd/audit.h"
#include "lib/vhd/copy.h"
#include "lib/vhd/fill.h"
#include "lib/vhd/key.h"
#include "lib/vhd/test-images.h"

#include <dirent.h>
#include <unistd.h>

struct shop {
    struct world w;
    bool child, tables_only, whole_blocks;
    char disk[PATH_BYTES], base[PATH_BYTES], copy[PATH_BYTES];
    uint8_t *model;
    char blank[PATH_BYTES]; /* a folder with the images as they are before */
    size_t records;         /* of a run that was recorded: how many operations */
};

static void put_file(const char *to, const char *from)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char buf[65536];
    size_t got;

    assert_non_null(in);
    assert_non_null(out);
    while ((got = fread(buf, 1, sizeof(buf), in)) > 0)
        assert_int_equal(fwrite(buf, 1, got, out), got);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* The images as they were; a child's parent stays where it is. */
static int shop_again(void *state)
{
    struct shop *s = state;
    DIR *d = opendir(s->w.dir);
    const struct dirent *entry;

    assert_non_null(d);
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, "base.vhd") != 0)
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    }
    closedir(d);
    put_file(s->disk, s->blank);
    return 0;
}

static void shop_make(struct shop *s, bool child)
{
    *s = (struct shop){.child = child};
    assert_int_equal(xk_fault_folder_make(s->w.dir), 0);
    xk_random_seed(&s->w.random, 77);
    s->model = calloc(1, DISK_BYTES);
    assert_non_null(s->model);
    name_in(s->disk, s->w.dir, "disk.vhd");
    name_in(s->base, s->w.dir, "base.vhd");
    name_in(s->copy, s->w.dir, "copy.vhd");
    assert_int_equal(create(xk_fs_posix(), child ? s->base : s->disk, VHD_DYNAMIC, &s->w.random, &s->w.err), 0);
    if (child) {
        random_write(&s->w, s->base, s->model);
        random_write(&s->w, s->base, s->model);
        assert_int_equal(snapshot(xk_fs_posix(), s->disk, s->base, false, &s->w.random, &s->w.err), 0);
    }
    random_write(&s->w, s->disk, s->model);
    snprintf(s->blank, sizeof(s->blank), "%s.blank", s->w.dir);
    put_file(s->blank, s->disk);
}

static void shop_end(struct shop *s)
{
    xk_fault_folder_clear(s->w.dir, true);
    (void)unlink(s->blank);
    free(s->model);
}

/* Sound, and reads like the model. */
static int sound(const struct shop *s, const char *path, bool whole, char why[XK_FAULT_WHY_MAX])
{
    struct vhd_chain chain;
    struct vhd_problems problems = {0};
    struct vhd v;
    struct xk_err err = {0};
    const struct vhd_audit_options all = {.bitmaps = true, .data = true};

    if (vhd_open(&v, xk_fs_posix(), path, VHD_LENIENT, &err) < 0 || vhd_audit(&problems, &v, &all, &err) < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
        return -EPROTO;
    }
    vhd_close(&v);
    int code = 0;
    /* Cut off, data may lie where no bitmap says so yet, and the batmap may be behind. */
    for (size_t i = 0; whole && i < problems.count && code == 0; i++) {
        if (problems.items[i].severity >= XK_WARNING)
            code = xk_fail(&err, -EPROTO, "audit: %s", problems.items[i].evidence);
    }
    vhd_problems_done(&problems);
    if (code == 0)
        code =
            vhd_chain_open(&chain, xk_fs_posix(), path, &(struct vhd_chain_options){.open_flags = VHD_BACKUP_OK}, &err);
    if (code == 0) {
        uint8_t *got = malloc(DISK_BYTES);
        assert_non_null(got);
        code = vhd_chain_bytes(&chain) == DISK_BYTES ? vhd_chain_read(&chain, got, 0, DISK_SECTORS, &err)
                                                     : xk_fail(&err, -EPROTO, "another size");
        if (code == 0 && memcmp(got, s->model, DISK_BYTES) != 0)
            code = xk_fail(&err, -EPROTO, "the content changed");
        free(got);
        vhd_chain_close(&chain);
    }
    if (code < 0)
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
    return code < 0 ? -EPROTO : 0;
}

/* ---- fill ---- */

static int run_fill(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct shop *s = state;
    struct vhd_filled filled;
    const struct vhd_fill how = {.tables_only = s->tables_only, .last = UINT64_MAX};
    return vhd_fill(&filled, fs, s->disk, &how, err);
}

static void check_full(const char *path)
{
    struct vhd v;
    struct xk_err err;

    assert_int_equal(vhd_open(&v, xk_fs_posix(), path, VHD_READ, &err), 0);
    assert_int_equal(vhd_allocated(&v), v.blocks);
    for (uint32_t b = 0; b < v.blocks; b++)
        assert_true(vhd_bit(v.batmap_bits, b));
    vhd_close(&v);
}

static void filled_images_are_full_and_read_the_same(void **state)
{
    for (int n = 0; n < 4; n++) {
        struct shop s;
        char why[XK_FAULT_WHY_MAX];
        shop_make(&s, n & 1);
        s.tables_only = n & 2;
        if (run_fill(&s, xk_fs_posix(), &s.w.err) < 0)
            fail_msg("%s", s.w.err.text);
        if (sound(&s, s.disk, true, why) < 0)
            fail_msg("shape %d: %s", n, why);
        check_full(s.disk);
        shop_end(&s);
    }
}

static void a_range_is_filled_and_nothing_else(void **state)
{
    struct shop s;
    struct vhd_filled filled;
    struct vhd v;
    char why[XK_FAULT_WHY_MAX];

    shop_make(&s, false);
    assert_int_equal(create(xk_fs_posix(), s.disk, VHD_DYNAMIC, &s.w.random, &s.w.err), 0);
    const struct vhd_fill how = {.first = 4096 + 17, .last = 3 * 4096};
    assert_int_equal(vhd_fill(&filled, xk_fs_posix(), s.disk, &how, &s.w.err), 0);
    assert_int_equal(filled.blocks, 3);
    assert_int_equal(vhd_open(&v, xk_fs_posix(), s.disk, VHD_READ, &s.w.err), 0);
    for (uint32_t b = 0; b < v.blocks; b++)
        assert_int_equal(v.bat[b] != VHD_BAT_FREE, b >= 1 && b <= 3);
    vhd_close(&v);
    memset(s.model, 0, DISK_BYTES);
    if (sound(&s, s.disk, true, why) < 0)
        fail_msg("%s", why);
    shop_end(&s);
}

static int verify_fill_fault(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    struct shop *s = state;
    return sound(s, s->disk, round->result == 0, why);
}

static int verify_fill_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    char disk[PATH_BYTES];
    return sound(state, name_in(disk, folder, "disk.vhd"), false, why);
}

static void record(struct shop *s, struct xk_fault_log *log,
                   int (*run)(void *state, const struct xk_fs *fs, struct xk_err *err))
{
    struct xk_fault_fs recording = {0};

    assert_int_equal(shop_again(s), 0);
    assert_int_equal(xk_fault_log_begin(log, s->w.dir, &s->w.err), 0);
    xk_fault_fs_init(&recording, xk_fs_posix());
    recording.log = log;
    if (run(s, &recording.fs, &s->w.err) < 0)
        fail_msg("%s", s->w.err.text);
    assert_int_equal(log->error, 0);
}

static void cut_fill(bool child, bool tables_only)
{
    struct shop s;
    struct xk_fault_log log;
    char why[XK_FAULT_WHY_MAX] = "";

    shop_make(&s, child);
    s.tables_only = tables_only;
    /* Space that cannot be claimed in advance is no failure. */
    const struct xk_fault_case faults = {"fill", shop_again, run_fill, verify_fill_fault, &s, false};
    if (xk_fault_loop(&faults, why) < 0)
        fail_msg("%s", why);
    record(&s, &log, run_fill);
    if (xk_crash_loop(&log, 2, verify_fill_crash, &s, why) < 0)
        fail_msg("%s", why);
    xk_fault_log_done(&log);
    shop_end(&s);
}

static void cutting_off_a_fill(void **state)
{
    cut_fill(false, true);
}
static void cutting_off_a_fill_of_a_child(void **state)
{
    cut_fill(true, false);
}

/* As `vhd-util fill -b` of a snapshot: bitmaps say present where nothing is written. */
static void cutting_off_the_tables_of_a_child(void **state)
{
    struct shop s;
    struct xk_fault_log log;
    char why[XK_FAULT_WHY_MAX] = "";

    shop_make(&s, true);
    s.tables_only = true;
    record(&s, &log, run_fill);
    if (xk_crash_loop(&log, 1, verify_fill_crash, &s, why) < 0)
        fail_msg("%s", why);
    xk_fault_log_done(&log);
    shop_end(&s);
}

/* ---- copy ---- */

static int run_copy(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct shop *s = state;
    struct vhd_copied copied;
    const struct vhd_copy how = {
        .from = s->disk, .to = s->copy, .whole_blocks = s->whole_blocks, .unix_seconds = NOW, .random = &s->w.random};
    return vhd_copy(&copied, fs, &how, err);
}

static void copies_read_the_same(void **state)
{
    for (int n = 0; n < 3; n++) {
        struct shop s;
        char why[XK_FAULT_WHY_MAX];
        struct vhd a, b;
        shop_make(&s, n == 1);
        s.whole_blocks = n == 2;
        if (run_copy(&s, xk_fs_posix(), &s.w.err) < 0)
            fail_msg("%s", s.w.err.text);
        if (sound(&s, s.copy, true, why) < 0)
            fail_msg("shape %d: %s", n, why);
        assert_int_equal(vhd_open(&a, xk_fs_posix(), s.disk, VHD_READ, &s.w.err), 0);
        assert_int_equal(vhd_open(&b, xk_fs_posix(), s.copy, VHD_READ, &s.w.err), 0);
        assert_int_equal(vhd_allocated(&a), vhd_allocated(&b));
        assert_int_not_equal(memcmp(a.footer.uuid, b.footer.uuid, 16), 0);
        assert_int_equal(a.header.parent_timestamp, b.header.parent_timestamp);
        for (uint32_t i = 0; s.whole_blocks && i < b.blocks; i++)
            assert_int_equal(vhd_bit(b.batmap_bits, i), b.bat[i] != VHD_BAT_FREE && (i + 1) * 4096 <= DISK_SECTORS);
        vhd_close(&a);
        vhd_close(&b);
        shop_end(&s);
    }
}

static int verify_copy_fault(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    struct shop *s = state;

    if (sound(s, s->disk, true, why) < 0)
        return -EPROTO;
    if (round->result == 0)
        return sound(s, s->copy, true, why);
    if (access(s->copy, F_OK) != 0 || round->op == XK_FAULT_SYNC_DIR || round->op == XK_FAULT_UNLINK)
        return 0;
    return sound(s, s->copy, true, why); /* it has its name already: then it is whole */
}

static int verify_copy_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    char copy[PATH_BYTES];
    return access(name_in(copy, folder, "copy.vhd"), F_OK) == 0 ? sound(state, copy, true, why) : 0;
}

static void cutting_off_a_copy(void **state)
{
    struct shop s;
    struct xk_fault_log log;
    char why[XK_FAULT_WHY_MAX] = "";

    shop_make(&s, false);
    const struct xk_fault_case faults = {"copy", shop_again, run_copy, verify_copy_fault, &s, false};
    if (xk_fault_loop(&faults, why) < 0)
        fail_msg("%s", why);
    record(&s, &log, run_copy);
    if (xk_crash_loop(&log, 2, verify_copy_crash, &s, why) < 0)
        fail_msg("%s", why);
    xk_fault_log_done(&log);
    shop_end(&s);
}

/* ---- keys ---- */

static void the_cipher_is_aes_xts(void **state)
{
    /* IEEE 1619-2007, vector 4: AES-128-XTS, data unit 0, 512 bytes 00 01 02 … */
    static const uint8_t key[32] = {0x27, 0x18, 0x28, 0x18, 0x28, 0x45, 0x90, 0x45, 0x23, 0x53, 0x60,
                                    0x28, 0x74, 0x71, 0x35, 0x26, 0x31, 0x41, 0x59, 0x26, 0x53, 0x58,
                                    0x97, 0x93, 0x23, 0x84, 0x62, 0x64, 0x33, 0x83, 0x27, 0x95};
    static const uint8_t begins[16] = {0x27, 0xa7, 0x47, 0x9b, 0xef, 0xa1, 0xd4, 0x76,
                                       0x48, 0x9f, 0x30, 0x8c, 0xd4, 0xcf, 0xa6, 0xe2};
    uint8_t data[VHD_SECTOR];
    struct vhd_cipher *c = NULL;
    struct xk_err err;

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    assert_int_equal(vhd_cipher_open(&c, key, sizeof(key), &err), 0);
    assert_int_equal(vhd_cipher_encrypt(c, data, 0, 1, &err), 0);
    assert_memory_equal(data, begins, sizeof(begins));
    vhd_cipher_close(c);
    assert_int_equal(vhd_cipher_open(&c, key, 31, &err), -EINVAL);
}

static void an_encrypted_copy_is_what_the_cipher_makes(void **state)
{
    struct shop s;
    uint8_t key[VHD_KEY_BYTES_MAX];
    struct vhd_copied copied;
    struct vhd_keyhash hash;
    struct vhd v;
    struct vhd_cipher *c = NULL;
    char why[XK_FAULT_WHY_MAX];

    shop_make(&s, false);
    xk_random_bytes(&s.w.random, key, sizeof(key));
    const struct vhd_copy how = {
        .from = s.disk, .to = s.copy, .key = key, .key_bytes = 64, .unix_seconds = NOW, .random = &s.w.random};
    assert_int_equal(vhd_copy(&copied, xk_fs_posix(), &how, &s.w.err), 0);
    assert_int_equal(vhd_open(&v, xk_fs_posix(), s.copy, VHD_READ, &s.w.err), 0);
    assert_int_equal(vhd_keyhash_read(&hash, &v, &s.w.err), 0);
    assert_true(hash.set);
    assert_int_equal(vhd_keyhash_matches(&hash, key, 64, &s.w.err), 1);
    key[5] ^= 1;
    assert_int_equal(vhd_keyhash_matches(&hash, key, 64, &s.w.err), 0);
    key[5] ^= 1;
    /* Sectors that are present are encrypted, others stay absent. */
    assert_int_equal(vhd_cipher_open(&c, key, 64, &s.w.err), 0);
    uint8_t bitmap[VHD_SECTOR];
    for (uint32_t b = 0; b < v.blocks; b++) {
        if (v.bat[b] == VHD_BAT_FREE)
            continue;
        assert_int_equal(vhd_read_bitmap(&v, b, bitmap, &s.w.err), 0);
        for (uint64_t i = 0; i < 4096 && (uint64_t)b * 4096 + i < DISK_SECTORS; i++) {
            if (vhd_bit(bitmap, i))
                assert_int_equal(vhd_cipher_encrypt(c, s.model + ((uint64_t)b * 4096 + i) * VHD_SECTOR,
                                                    (uint64_t)b * 4096 + i, 1, &s.w.err),
                                 0);
        }
    }
    vhd_cipher_close(c);
    vhd_close(&v);
    if (sound(&s, s.copy, true, why) < 0)
        fail_msg("%s", why);
    shop_end(&s);
}

static const struct vhd_keyhash some_hash = {.set = true, .nonce = {1, 2, 3}, .hash = {4, 5, 6}};

static int run_key(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct shop *s = state;
    struct vhd v;

    int code = vhd_open(&v, fs, s->disk, VHD_WRITE, err);
    if (code < 0)
        return code;
    code = vhd_keyhash_write(&v, &some_hash, err);
    vhd_close(&v);
    return code;
}

/* A sound image, with that hash or with none. */
static int look_at_key(const char *path, bool must_be_set, char why[XK_FAULT_WHY_MAX])
{
    struct vhd_keyhash k;
    struct vhd_problems problems = {0};
    struct xk_err err = {0};
    struct vhd v;

    int code = vhd_open(&v, xk_fs_posix(), path, VHD_READ, &err);
    if (code == 0) {
        code = vhd_audit(&problems, &v, NULL, &err);
        if (code == 0 && problems.count > 0)
            code = xk_fail(&err, -EPROTO, "%s", problems.items[0].evidence);
        if (code == 0)
            code = vhd_keyhash_read(&k, &v, &err);
        if (code == 0 && (k.set || must_be_set) && memcmp(&k, &some_hash, sizeof(k)) != 0)
            code = xk_fail(&err, -EPROTO, "the hash is another one, or half of one");
        vhd_problems_done(&problems);
        vhd_close(&v);
    }
    snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
    return code < 0 ? -EPROTO : 0;
}

static int verify_key_fault(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    const struct shop *s = state;
    return look_at_key(s->disk, round->result == 0, why);
}

static int verify_key_crash(void *state, const char *folder, size_t n, char why[XK_FAULT_WHY_MAX])
{
    const struct shop *s = state;
    char disk[PATH_BYTES];
    return look_at_key(name_in(disk, folder, "disk.vhd"), n == s->records, why);
}

static void cutting_off_a_key(void **state)
{
    struct shop s;
    struct xk_fault_log log;
    char why[XK_FAULT_WHY_MAX] = "";

    shop_make(&s, false);
    assert_int_equal(create(xk_fs_posix(), s.disk, VHD_DYNAMIC, &s.w.random, &s.w.err), 0);
    put_file(s.blank, s.disk);
    const struct xk_fault_case faults = {"key", shop_again, run_key, verify_key_fault, &s, false};
    if (xk_fault_loop(&faults, why) < 0)
        fail_msg("%s", why);
    record(&s, &log, run_key);
    s.records = log.count;
    if (xk_crash_loop(&log, 16, verify_key_crash, &s, why) < 0)
        fail_msg("%s", why);
    xk_fault_log_done(&log);
    shop_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filled_images_are_full_and_read_the_same),
        cmocka_unit_test(a_range_is_filled_and_nothing_else),
        cmocka_unit_test(cutting_off_a_fill),
        cmocka_unit_test(cutting_off_a_fill_of_a_child),
        cmocka_unit_test(cutting_off_the_tables_of_a_child),
        cmocka_unit_test(copies_read_the_same),
        cmocka_unit_test(cutting_off_a_copy),
        cmocka_unit_test(the_cipher_is_aes_xts),
        cmocka_unit_test(an_encrypted_copy_is_what_the_cipher_makes),
        cmocka_unit_test(cutting_off_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
