/*
 * The disk goes by in batches of leaves. The map says which leaves of a batch may hold anything; threads take those one
 * after the other and hash them. The batch is then folded into a stack of finished subtrees, one for each power of two,
 * like carrying in a binary counter; a run of zero leaves enters as whole subtrees whose digests are known, so an empty
 * terabyte is some dozens of steps.
 */
#include "lib/volume/hash.h"

#include "core/bytes.h"
#include "core/clock.h"
#include "core/crew.h"

#include <assert.h>
#include <endian.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <xxhash.h>
#pragma GCC diagnostic pop

#define BATCH_LEAVES 4096
#define LEVELS       64
#define ROOT_TEXT    "xenkit disk 1"

enum { LEAF = 0, NODE = 1, ROOT = 2 };

const char *const volume_hash_names[] = {"sha256", "xxh3", NULL};

/* ---- one algorithm or the other ---- */

struct hasher {
    enum volume_hash_algorithm algorithm;
    EVP_MD_CTX *sha;
    XXH3_state_t *xxh;
};

static int hasher_init(struct hasher *h, enum volume_hash_algorithm algorithm, struct xk_err *err)
{
    *h = (struct hasher){.algorithm = algorithm};
    if (algorithm == VOLUME_SHA256)
        h->sha = EVP_MD_CTX_new();
    else
        h->xxh = XXH3_createState();
    return h->sha || h->xxh ? 0 : xk_fail_memory(err);
}

static void hasher_done(struct hasher *h)
{
    EVP_MD_CTX_free(h->sha);
    XXH3_freeState(h->xxh);
}

static size_t digest_bytes(enum volume_hash_algorithm algorithm)
{
    return algorithm == VOLUME_SHA256 ? 32 : sizeof(XXH128_canonical_t);
}

struct part {
    const void *bytes;
    size_t count;
};

/* H(mark | parts). */
static int digest(struct hasher *h, struct volume_digest *ret, uint8_t mark, const struct part *parts, size_t count,
                  struct xk_err *err)
{
    if (h->algorithm == VOLUME_XXH3) {
        XXH128_canonical_t canonical;
        (void)XXH3_128bits_reset(h->xxh);
        (void)XXH3_128bits_update(h->xxh, &mark, 1);
        for (size_t i = 0; i < count; i++)
            (void)XXH3_128bits_update(h->xxh, parts[i].bytes, parts[i].count);
        XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(h->xxh));
        memcpy(ret->bytes, canonical.digest, sizeof(canonical.digest));
        return 0;
    }
    int good = EVP_DigestInit_ex(h->sha, EVP_sha256(), NULL) && EVP_DigestUpdate(h->sha, &mark, 1);
    for (size_t i = 0; i < count; i++)
        good = good && EVP_DigestUpdate(h->sha, parts[i].bytes, parts[i].count);
    if (!good || !EVP_DigestFinal_ex(h->sha, ret->bytes, NULL))
        return xk_fail(err, -ENOMEM, "SHA-256 cannot be computed");
    return 0;
}

static int digest_node(struct hasher *h, struct volume_digest *ret, const struct volume_digest *left,
                       const struct volume_digest *right, struct xk_err *err)
{
    const size_t bytes = digest_bytes(h->algorithm);
    const struct part parts[] = {{left->bytes, bytes}, {right->bytes, bytes}};
    struct volume_digest both;

    const int code = digest(h, &both, NODE, parts, XK_COUNT(parts), err);
    *ret = both;
    return code;
}

/* ---- the tree ---- */

struct tree {
    struct hasher hasher;
    uint64_t leaves;                   /* so far: a bit is set for each finished subtree below */
    struct volume_digest done[LEVELS]; /* [k]: of 2^k leaves */
    struct volume_digest zero[LEVELS]; /* of 2^k whole blocks of zeros */
    unsigned zero_levels;              /* how many of these are known */
};

/* A finished subtree of 2^level leaves; the leaves before it are a multiple of that. */
static int tree_add(struct tree *t, unsigned level, const struct volume_digest *d, struct xk_err *err)
{
    const uint64_t added = UINT64_C(1) << level;
    struct volume_digest carry = *d;
    int code = 0;

    for (; code == 0 && (t->leaves >> level & 1); level++)
        code = digest_node(&t->hasher, &carry, &t->done[level], &carry, err);
    t->done[level] = carry;
    t->leaves += added;
    return code;
}

static int tree_zero(struct tree *t, unsigned level, struct xk_err *err)
{
    int code = 0;

    for (; code == 0 && t->zero_levels <= level; t->zero_levels++)
        code = digest_node(&t->hasher, &t->zero[t->zero_levels], &t->zero[t->zero_levels - 1],
                           &t->zero[t->zero_levels - 1], err);
    return code;
}

static int tree_add_zeros(struct tree *t, uint64_t count, struct xk_err *err)
{
    while (count) {
        unsigned level = 63 - (unsigned)__builtin_clzll(count);
        if (t->leaves)
            level = XK_MIN(level, (unsigned)__builtin_ctzll(t->leaves));
        int code = tree_zero(t, level, err);
        if (code == 0)
            code = tree_add(t, level, &t->zero[level], err);
        if (code < 0)
            return code;
        count -= UINT64_C(1) << level;
    }
    return 0;
}

/* The one digest over all leaves: subtrees joined from the smallest on. */
static int tree_top(struct tree *t, struct volume_digest *ret, struct xk_err *err)
{
    bool any = false;
    int code = 0;

    if (t->leaves == 0)
        return digest(&t->hasher, ret, LEAF, NULL, 0, err);
    for (unsigned level = 0; level < LEVELS && code == 0; level++) {
        if (!(t->leaves >> level & 1))
            continue;
        if (any)
            code = digest_node(&t->hasher, ret, &t->done[level], ret, err);
        else
            *ret = t->done[level];
        any = true;
    }
    return code;
}

/* ---- a batch of leaves ---- */

struct leaf {
    bool stored; /* the map says that there may be something else than zeros */
    bool zero;
    struct volume_digest digest;
};

struct batch {
    const struct volume *volume;
    const struct volume_hash *how;
    uint64_t start;     /* on the disk */
    size_t count;       /* leaves */
    struct leaf *leaf;  /* BATCH_LEAVES of them */
    atomic_size_t next; /* the next leaf nobody has taken */
    atomic_int failed;
    pthread_mutex_t lock; /* of err */
    struct xk_err *err;
};

static size_t leaf_bytes(const struct batch *b, size_t n)
{
    const uint64_t at = b->start + (uint64_t)n * b->how->block_bytes;

    return (size_t)XK_MIN(b->volume->size_bytes - at, (uint64_t)b->how->block_bytes);
}

static int hash_leaf(struct batch *b, struct hasher *h, size_t n, uint8_t *buf, struct xk_err *err)
{
    const size_t bytes = leaf_bytes(b, n);
    const struct part part = {buf, bytes};
    struct leaf *const leaf = &b->leaf[n];

    const int code = volume_read(b->volume, buf, bytes, b->start + (uint64_t)n * b->how->block_bytes, err);
    if (code < 0)
        return code;
    leaf->zero = xk_is_zero(buf, bytes);
    /* Whole blocks of zeros have a known digest. */
    if (leaf->zero && bytes == b->how->block_bytes)
        return 0;
    return digest(h, &leaf->digest, LEAF, &part, 1, err);
}

static int hash_leaves(struct batch *b, struct xk_err *err)
{
    xk_autofree uint8_t *buf = xk_alloc(b->how->block_bytes);
    xk_auto(hasher_done) struct hasher h = {0};

    if (!buf)
        return xk_fail_memory(err);
    int code = hasher_init(&h, b->how->algorithm, err);
    while (code == 0 && !atomic_load(&b->failed)) {
        const size_t n = atomic_fetch_add(&b->next, 1);
        if (n >= b->count)
            break;
        if (!b->leaf[n].stored)
            continue;
        code = xk_stop_signal()
                   ? xk_fail(err, -EINTR, "stopped after %llu bytes of the disk", (unsigned long long)b->start)
                   : hash_leaf(b, &h, n, buf, err);
    }
    return code;
}

static void work(void *context, unsigned which)
{
    struct batch *const b = context;
    struct xk_err err = {0};
    int none = 0;

    const int code = hash_leaves(b, &err);
    if (code < 0 && atomic_compare_exchange_strong(&b->failed, &none, code) && b->err) {
        pthread_mutex_lock(&b->lock);
        *b->err = err;
        pthread_mutex_unlock(&b->lock);
    }
}

static int hash_batch(struct batch *b, size_t stored, unsigned threads)
{
    atomic_store(&b->next, 0);
    xk_crew_run((unsigned)XK_MIN((size_t)threads, stored), VOLUME_STACK_BYTES, work, b);
    return atomic_load(&b->failed);
}

/* ---- the disk ---- */

/* Marks leaves that hold stored data; ends the walk at the first one past the batch. */
static int mark_stored(void *context, const struct volume_extent *e)
{
    struct batch *const b = context;
    const uint64_t block = b->how->block_bytes;

    if (e->kind != VOLUME_DATA)
        return 0;
    const uint64_t first = (e->start - b->start) / block;
    const uint64_t end = XK_DIV_UP(e->start + e->bytes - b->start, block);
    for (uint64_t n = first; n < end; n++)
        b->leaf[n].stored = true;
    return 0;
}

static int tell_leaf(const struct batch *b, size_t n)
{
    return b->how->block ? b->how->block(b->how->context, b->start + (uint64_t)n * b->how->block_bytes,
                                         leaf_bytes(b, n), &b->leaf[n].digest)
                         : 0;
}

static int fold_batch(struct tree *t, const struct batch *b, struct volume_hashed *ret, struct xk_err *err)
{
    uint64_t zeros = 0;
    int code = 0;

    for (size_t n = 0; n < b->count && code == 0; n++) {
        const struct leaf *const leaf = &b->leaf[n];
        const bool zero = !leaf->stored || leaf->zero;
        ret->zero_blocks += zero;
        if (zero && leaf_bytes(b, n) == b->how->block_bytes) {
            zeros++;
            continue;
        }
        code = tree_add_zeros(t, zeros, err);
        zeros = 0;
        if (code == 0)
            code = tree_add(t, 0, &leaf->digest, err);
        if (code == 0 && !zero)
            code = tell_leaf(b, n);
    }
    return code ? code : tree_add_zeros(t, zeros, err);
}

static int hash_disk(struct tree *t, struct batch *b, struct volume_hashed *ret, unsigned threads)
{
    const uint64_t block = b->how->block_bytes, size = b->volume->size_bytes;
    int code = 0;

    for (b->start = 0; b->start < size && code == 0; b->start += BATCH_LEAVES * block) {
        const uint64_t bytes = XK_MIN(size - b->start, BATCH_LEAVES * block);
        size_t stored = 0;
        b->count = (size_t)XK_DIV_UP(bytes, block);
        for (size_t n = 0; n < b->count; n++)
            b->leaf[n] = (struct leaf){0};
        code = volume_map(b->volume, b->start, bytes, mark_stored, b, b->err);
        /* A short last block is not one of the known digests. */
        if (code == 0 && bytes % block)
            b->leaf[b->count - 1].stored = true;
        for (size_t n = 0; n < b->count; n++)
            stored += b->leaf[n].stored;
        if (code == 0 && stored)
            code = hash_batch(b, stored, threads);
        if (code == 0)
            code = fold_batch(t, b, ret, b->err);
        if (code == 0 && xk_stop_signal())
            code = xk_fail(b->err, -EINTR, "stopped after %llu bytes of the disk", (unsigned long long)b->start);
        if (b->how->progress)
            b->how->progress(b->how->context, b->start + bytes);
    }
    ret->blocks = XK_DIV_UP(size, block);
    return code;
}

static int digest_root(struct tree *t, const struct batch *b, struct volume_digest *ret, struct xk_err *err)
{
    const uint64_t size = htobe64(b->volume->size_bytes);
    const uint32_t block = htobe32(b->how->block_bytes);
    struct volume_digest top;

    const int code = tree_top(t, &top, err);
    if (code < 0)
        return code;
    const struct part parts[] = {{ROOT_TEXT, sizeof(ROOT_TEXT) - 1},
                                 {&size, sizeof(size)},
                                 {&block, sizeof(block)},
                                 {top.bytes, digest_bytes(t->hasher.algorithm)}};
    return digest(&t->hasher, ret, ROOT, parts, XK_COUNT(parts), err);
}

static unsigned thread_count(unsigned asked)
{
    return XK_MIN(asked ? asked : xk_processors(), (unsigned)VOLUME_HASH_THREADS_MAX);
}

static int first_zero(struct tree *t, uint32_t block_bytes, struct xk_err *err)
{
    xk_autofree uint8_t *zeros = xk_zalloc(block_bytes);
    const struct part part = {zeros, block_bytes};

    t->zero_levels = 1;
    return zeros ? digest(&t->hasher, &t->zero[0], LEAF, &part, 1, err) : xk_fail_memory(err);
}

int volume_hash_run(struct volume_hashed *ret, const struct volume *v, const struct volume_hash *how,
                    struct xk_err *err)
{
    xk_autofree struct tree *t = xk_zalloc(sizeof(*t));
    xk_autofree struct leaf *leaves = xk_array_alloc(BATCH_LEAVES, sizeof(*leaves));
    struct batch b = {.volume = v, .how = how, .leaf = leaves, .lock = PTHREAD_MUTEX_INITIALIZER, .err = err};

    *ret = (struct volume_hashed){.digest_bytes = digest_bytes(how->algorithm)};
    if (how->block_bytes < VOLUME_HASH_BLOCK_MIN || how->block_bytes > VOLUME_HASH_BLOCK_MAX ||
        (how->block_bytes & (how->block_bytes - 1)))
        return xk_fail(err, -EINVAL, "blocks of %u bytes: a power of two from %u to %u is needed", how->block_bytes,
                       VOLUME_HASH_BLOCK_MIN, VOLUME_HASH_BLOCK_MAX);
    if (!t || !leaves)
        return xk_fail_memory(err);
    int code = hasher_init(&t->hasher, how->algorithm, err);
    if (code == 0)
        code = first_zero(t, how->block_bytes, err);
    if (code == 0)
        code = hash_disk(t, &b, ret, thread_count(how->threads));
    if (code == 0)
        code = digest_root(t, &b, &ret->root, err);
    hasher_done(&t->hasher);
    return code;
}
