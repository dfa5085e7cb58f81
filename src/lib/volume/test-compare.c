/*
 * Comparing, hashing and deltas against plain arrays: what is told is what differs, nothing less, and where nothing
 * needs to be read nothing is.
 */
#include "lib/volume/compare.h"
#include "lib/volume/delta.h"
#include "lib/volume/hash.h"

#include "core/text.h"
#include "lib/vhd/test-images.h"

#define ODD_BYTES 77u

/* A root, and two images on top of it that were written to on their own; models of all three. */
struct family {
    struct world *w;
    char root[PATH_BYTES], left[PATH_BYTES], right[PATH_BYTES], raw[PATH_BYTES], target[PATH_BYTES];
    uint8_t *left_model, *right_model;
};

static void family_make(struct family *f, struct world *w)
{
    *f = (struct family){.w = w, .left_model = calloc(1, DISK_BYTES), .right_model = calloc(1, DISK_BYTES)};
    assert_non_null(f->left_model);
    assert_non_null(f->right_model);
    name_in(f->root, w->dir, "root.vhd");
    name_in(f->left, w->dir, "left.vhd");
    name_in(f->right, w->dir, "right.vhd");
    name_in(f->raw, w->dir, "copy.raw");
    name_in(f->target, w->dir, "delta.vhd");
    assert_int_equal(create(xk_fs_posix(), f->root, VHD_DYNAMIC, &w->random, &w->err), 0);
    random_write(w, f->root, f->left_model);
    random_write(w, f->root, f->left_model);
    memcpy(f->right_model, f->left_model, DISK_BYTES);
    assert_int_equal(snapshot(xk_fs_posix(), f->left, f->root, false, &w->random, &w->err), 0);
    assert_int_equal(snapshot(xk_fs_posix(), f->right, f->root, false, &w->random, &w->err), 0);
    for (int i = 0; i < 3; i++) {
        random_write(w, f->left, f->left_model);
        random_write(w, f->right, f->right_model);
    }
    /* Written, and the same all the same; and data against zeros. */
    assert_int_equal(write_at(xk_fs_posix(), f->right, f->right_model + 900 * VHD_SECTOR, 900, 20, &w->err), 0);
    memset(f->right_model + 30000 * VHD_SECTOR, 0, 100 * VHD_SECTOR);
    assert_int_equal(write_at(xk_fs_posix(), f->right, f->right_model + 30000 * VHD_SECTOR, 30000, 100, &w->err), 0);
}

static void family_done(struct family *f)
{
    free(f->left_model);
    free(f->right_model);
}

static struct volume *open_volume(const char *path, enum volume_format format)
{
    struct volume *v = NULL;
    struct xk_err err = {0};

    if (volume_open(&v, xk_fs_posix(), path, &(struct volume_options){.format = format}, &err) < 0)
        fail_msg("%s", err.text);
    return v;
}

static void write_raw(const char *path, const uint8_t *bytes, size_t count)
{
    assert_int_equal(xk_file_replace(xk_fs_posix(), path, bytes, count, 0600, NULL), 0);
}

/* ---- comparing ---- */

struct marks {
    const uint8_t *b;
    uint8_t *differs; /* a byte for each sector */
    uint64_t end;
};

static int mark(void *context, const struct volume_difference *d)
{
    struct marks *const m = context;

    assert_true(d->bytes > 0 && d->start >= m->end);
    m->end = d->start + d->bytes;
    if (d->data) {
        assert_true(d->first >= d->start && d->first < m->end);
        assert_memory_equal(d->data, m->b + d->start, d->bytes);
        for (uint64_t i = 0; d->zero && i < d->bytes; i++)
            assert_int_equal(d->data[i], 0);
    }
    for (uint64_t s = d->start / VHD_SECTOR; s < XK_DIV_UP(m->end, VHD_SECTOR); s++)
        m->differs[s] = 1;
    return 0;
}

static void differences_are_those_of_the_models(void **state)
{
    struct family f;
    struct volume_compared compared;
    uint8_t *const differs = calloc(1, DISK_SECTORS);

    family_make(&f, *state);
    struct volume *const a = open_volume(f.left, VOLUME_AUTO), *const b = open_volume(f.right, VOLUME_AUTO);
    struct marks m = {.b = f.right_model, .differs = differs};
    assert_int_equal(
        volume_compare_run(&compared, a, b, &(struct volume_compare){.visit = mark, .context = &m}, &f.w->err), 0);
    uint64_t changed = 0;
    for (uint64_t s = 0; s < DISK_SECTORS; s++) {
        const bool differ = memcmp(f.left_model + s * VHD_SECTOR, f.right_model + s * VHD_SECTOR, VHD_SECTOR) != 0;
        assert_int_equal(differs[s], differ);
        changed += differ;
    }
    assert_int_equal(compared.differing_bytes, changed * VHD_SECTOR);
    assert_int_equal(compared.shared_bytes + compared.empty_bytes + compared.other_bytes, DISK_BYTES);
    assert_true(compared.shared_bytes > 0);

    /* By places alone: never less. */
    memset(differs, 0, DISK_SECTORS);
    m.end = 0;
    assert_int_equal(volume_compare_run(&compared, a, b,
                                        &(struct volume_compare){.places_only = true, .visit = mark, .context = &m},
                                        &f.w->err),
                     0);
    for (uint64_t s = 0; s < DISK_SECTORS; s++)
        assert_true(differs[s] ||
                    memcmp(f.left_model + s * VHD_SECTOR, f.right_model + s * VHD_SECTOR, VHD_SECTOR) == 0);
    assert_int_equal(compared.differing_bytes, compared.other_bytes);
    volume_close(a);
    volume_close(b);
    free(differs);
    family_done(&f);
}

static int refuse(void *context, const struct volume_difference *d)
{
    *(uint64_t *)context = d->first;
    return 1;
}

static int first_difference(struct family *f, const char *a_path, const char *b_path, uint64_t *ret)
{
    struct volume *const a = open_volume(a_path, VOLUME_RAW), *const b = open_volume(b_path, VOLUME_RAW);
    struct volume_compared compared;

    const int code =
        volume_compare_run(&compared, a, b, &(struct volume_compare){.visit = refuse, .context = ret}, &f->w->err);
    volume_close(a);
    volume_close(b);
    return code;
}

static void the_first_byte_that_differs_is_found(void **state)
{
    static const uint64_t places[] = {0, 1, 511, 512, 262143, 262144, 262145, 5000000, DISK_BYTES - 1, DISK_BYTES + 76};
    struct family f;
    uint64_t first = 0;
    uint8_t *const bytes = calloc(1, DISK_BYTES + ODD_BYTES);

    family_make(&f, *state);
    memcpy(bytes, f.left_model, DISK_BYTES);
    write_raw(f.raw, bytes, DISK_BYTES);
    write_raw(f.target, bytes, DISK_BYTES + ODD_BYTES);
    assert_int_equal(first_difference(&f, f.raw, f.target, &first), 0); /* the rest is zeros */
    for (size_t i = 0; i < XK_COUNT(places); i++) {
        bytes[places[i]] ^= 0x40;
        write_raw(f.target, bytes, DISK_BYTES + ODD_BYTES);
        bytes[places[i]] ^= 0x40;
        assert_int_equal(first_difference(&f, f.raw, f.target, &first), 1);
        assert_int_equal(first, places[i]);
        assert_int_equal(first_difference(&f, f.target, f.raw, &first), 1);
        assert_int_equal(first, places[i]);
    }
    free(bytes);
    family_done(&f);
}

/* ---- hashing ---- */

static struct volume_hashed hash_of(const char *path, enum volume_format format, enum volume_hash_algorithm algorithm,
                                    uint32_t block, unsigned threads)
{
    struct volume *const v = open_volume(path, format);
    struct volume_hashed ret;
    struct xk_err err = {0};

    if (volume_hash_run(
            &ret, v, &(struct volume_hash){.algorithm = algorithm, .block_bytes = block, .threads = threads}, &err) < 0)
        fail_msg("%s", err.text);
    volume_close(v);
    return ret;
}

static void the_digest_is_of_the_content_alone(void **state)
{
    struct family f;

    family_make(&f, *state);
    write_raw(f.raw, f.right_model, DISK_BYTES);
    for (enum volume_hash_algorithm algorithm = VOLUME_SHA256; algorithm <= VOLUME_XXH3; algorithm++) {
        for (uint32_t block = VOLUME_HASH_BLOCK_MIN; block <= VOLUME_HASH_BLOCK_MAX; block *= 32) {
            const struct volume_hashed dense = hash_of(f.raw, VOLUME_RAW, algorithm, block, 1);
            const struct volume_hashed sparse = hash_of(f.right, VOLUME_VHD, algorithm, block, 3);
            const struct volume_hashed other = hash_of(f.left, VOLUME_VHD, algorithm, block, 2);
            assert_memory_equal(dense.root.bytes, sparse.root.bytes, dense.digest_bytes);
            assert_int_equal(dense.zero_blocks, sparse.zero_blocks);
            assert_memory_not_equal(dense.root.bytes, other.root.bytes, dense.digest_bytes);
        }
    }
    family_done(&f);
}

static void expect_digest(const struct volume_hashed *h, const char *hex)
{
    char text[2 * VOLUME_HASH_BYTES_MAX + 1] = "";

    for (size_t i = 0; i < h->digest_bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", h->root.bytes[i]);
    assert_string_equal(text, hex);
}

/* Computed by a few lines of Python (hashlib) from the definition in hash.h. */
static void the_digest_is_the_documented_one(void **state)
{
    struct family f;
    uint8_t bytes[3 * 4096 + 100];

    family_make(&f, *state);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i / 4096 == 1 ? 0 : i * 7 + i / 256);
    write_raw(f.raw, bytes, sizeof(bytes));
    struct volume_hashed h = hash_of(f.raw, VOLUME_RAW, VOLUME_SHA256, 4096, 2);
    assert_int_equal(h.blocks, 4);
    assert_int_equal(h.zero_blocks, 1);
    expect_digest(&h, "cdc0ff2fd9fc8f258d4f398edbf8e7c40e561eeed62ce7280d08ca15b5748c84");
    write_raw(f.raw, bytes, 0);
    h = hash_of(f.raw, VOLUME_RAW, VOLUME_SHA256, 4096, 1);
    expect_digest(&h, "f9e415b5220b4cbe0a76017a835810a151560256cd72cb3eb174227953fd4f26");
    family_done(&f);
}

/* ---- deltas ---- */

static int write_delta(struct family *f, const struct xk_fs *fs, const char *a_path, const char *b_path,
                       struct xk_err *err)
{
    struct volume *a = NULL, *b = NULL;
    struct volume_delta_made made;
    struct xk_random random;

    xk_random_seed(&random, 11);
    int code = volume_open(&a, fs, a_path, NULL, err);
    if (code == 0)
        code = volume_open(&b, fs, b_path, NULL, err);
    if (code == 0)
        code = volume_delta_write(
            &made, fs,
            &(struct volume_delta){
                .from = a, .to = b, .target = f->target, .overwrite = true, .unix_seconds = NOW, .random = &random},
            err);
    volume_close(a);
    volume_close(b);
    return code;
}

static void expect_disk(const char *path, const uint8_t *model, size_t bytes)
{
    struct volume *const v = open_volume(path, VOLUME_AUTO);
    uint8_t *const got = malloc(v->size_bytes);

    assert_true(v->size_bytes >= bytes);
    assert_int_equal(volume_read(v, got, v->size_bytes, 0, NULL), 0);
    assert_memory_equal(got, model, bytes);
    for (size_t i = bytes; i < v->size_bytes; i++)
        assert_int_equal(got[i], 0);
    volume_close(v);
    free(got);
}

static void a_delta_makes_b_of_a(void **state)
{
    struct family f;

    family_make(&f, *state);
    assert_int_equal(write_delta(&f, xk_fs_posix(), f.left, f.right, &f.w->err), 0);
    expect_disk(f.target, f.right_model, DISK_BYTES);
    struct vhd_chain chain;
    assert_int_equal(vhd_chain_open(&chain, xk_fs_posix(), f.target, NULL, &f.w->err), 0);
    assert_int_equal(chain.count, 3);
    vhd_chain_close(&chain);

    /* Onto a raw disk, from a disk that is larger and ends inside a sector. */
    uint8_t *const larger = calloc(1, DISK_BYTES + ODD_BYTES);
    char other[PATH_BYTES];
    memcpy(larger, f.right_model, DISK_BYTES);
    memset(larger + DISK_BYTES, 0x31, ODD_BYTES);
    write_raw(f.raw, f.left_model, DISK_BYTES);
    write_raw(name_in(other, f.w->dir, "larger.raw"), larger, DISK_BYTES + ODD_BYTES);
    assert_int_equal(write_delta(&f, xk_fs_posix(), f.raw, other, &f.w->err), 0);
    expect_disk(f.target, larger, DISK_BYTES + ODD_BYTES);
    /* The other way round it would have to be cut. */
    assert_int_equal(write_delta(&f, xk_fs_posix(), other, f.raw, &f.w->err), -EINVAL);
    free(larger);
    family_done(&f);
}

static void a_delta_never_replaces_what_it_stands_on(void **state)
{
    struct family f;

    family_make(&f, *state);
    memcpy(f.target, f.left, sizeof(f.target));
    assert_int_equal(write_delta(&f, xk_fs_posix(), f.left, f.right, &f.w->err), -EINVAL);
    memcpy(f.target, f.root, sizeof(f.target));
    assert_int_equal(write_delta(&f, xk_fs_posix(), f.left, f.right, &f.w->err), -EINVAL);
    expect_disk(f.left, f.left_model, DISK_BYTES);
    family_done(&f);
}

/* ---- faults ---- */

static int run_delta(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct family *const f = state;

    return write_delta(f, fs, f->left, f->right, err);
}

static int remove_target(void *state)
{
    const struct family *const f = state;

    (void)unlink(f->target);
    return 0;
}

/* The image is there whole, or not at all. */
static int target_is_whole(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    const struct family *const f = state;
    struct stat st;
    struct volume *v = NULL;
    struct xk_err err = {0};
    uint8_t *got = NULL;
    int code = 0;

    if (stat(f->target, &st) != 0) {
        if (round->result == 0)
            snprintf(why, XK_FAULT_WHY_MAX, "it said that it wrote the image, but there is none");
        return round->result == 0 ? -EPROTO : 0;
    }
    got = malloc(DISK_BYTES);
    code = volume_open(&v, xk_fs_posix(), f->target, NULL, &err);
    if (code == 0)
        code = volume_read(v, got, DISK_BYTES, 0, &err);
    if (code == 0 && memcmp(got, f->right_model, DISK_BYTES) != 0)
        code = xk_fail(&err, -EPROTO, "the image has another content");
    if (code < 0)
        snprintf(why, XK_FAULT_WHY_MAX, "%s", err.text);
    volume_close(v);
    free(got);
    return code;
}

static void a_delta_that_fails_leaves_nothing_half_done(void **state)
{
    struct family f;
    char why[XK_FAULT_WHY_MAX] = "";

    family_make(&f, *state);
    const struct xk_fault_case c = {.name = "delta",
                                    .prepare = remove_target,
                                    .run = run_delta,
                                    .verify = target_is_whole,
                                    .state = &f,
                                    .any_error = true};
    const int code = xk_fault_loop(&c, why);
    if (code != 0)
        fail_msg("%s", why);
    family_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(differences_are_those_of_the_models),
        WORLD_TEST(the_first_byte_that_differs_is_found),
        WORLD_TEST(the_digest_is_of_the_content_alone),
        WORLD_TEST(the_digest_is_the_documented_one),
        WORLD_TEST(a_delta_makes_b_of_a),
        WORLD_TEST(a_delta_never_replaces_what_it_stands_on),
        WORLD_TEST(a_delta_that_fails_leaves_nothing_half_done),
    };
    return cmocka_run_group_tests_name("volume-compare", tests, NULL, NULL);
}
