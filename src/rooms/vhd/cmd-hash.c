/* `xenkit vhd hash`: one digest for the content of a disk, whatever file it lies in; lib/volume/hash.h defines it. */
#include "rooms/vhd/room.h"
#include "rooms/vhd/several.h"

#include "core/text.h"
#include "lib/volume/hash.h"

struct hash {
    int algorithm, format;
    uint64_t block, threads;
    bool blocks;
    const char *chain_root;
};

static const struct xk_opt hash_opts[] = {
    XK_OPT_CHOICE('a', "algorithm", struct hash, algorithm, "NAME", volume_hash_names, "sha256 or xxh3 [sha256]"),
    XK_OPT_SIZE('b', "block", struct hash, block, "SIZE", "size of a leaf of the tree, a power of two [1M]"),
    XK_OPT_FLAG(0, "blocks", struct hash, blocks, "list the digest of each block that is not all zeros, too"),
    XK_OPT_U64(0, "threads", struct hash, threads, "N", 1, VOLUME_HASH_THREADS_MAX,
               "threads that read and hash [one a processor]"),
    VHD_OPT_FORMAT(struct hash),
    VHD_OPT_CHAIN_ROOT(struct hash),
    XK_OPT_END,
};

struct hashing {
    struct xk_app *app;
    const struct hash *opts;
    const char *path;
    struct xk_prog progress;
};

struct hashed {
    bool done;
    uint64_t bytes; /* of the disk */
    struct volume_hashed result;
};

static void put_digest(struct xk_out *out, const struct hash *opts, const struct volume_digest *d)
{
    const size_t bytes = opts->algorithm == VOLUME_SHA256 ? 32 : 16;
    char text[2 * VOLUME_HASH_BYTES_MAX + 1] = "";

    for (size_t i = 0; i < bytes; i++) {
        text[2 * i] = "0123456789abcdef"[d->bytes[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[d->bytes[i] & 15];
    }
    xk_put_str(out, "hash", text);
}

static int put_block(void *context, uint64_t start, uint64_t bytes, const struct volume_digest *leaf)
{
    const struct hashing *const h = context;
    struct xk_out *const out = h->app->out;

    xk_row(out);
    xk_put_str(out, "path", h->path);
    xk_put_u64(out, "start", start);
    xk_put_bytes(out, "length", bytes);
    put_digest(out, h->opts, leaf);
    return xk_out_error(out);
}

static void pass_progress(void *context, uint64_t done)
{
    struct hashing *const h = context;

    xk_prog_set(&h->progress, done);
}

static int hash_file(struct hashing *h, struct volume_hashed *ret, uint64_t *ret_bytes, struct xk_err *err)
{
    const struct hash *const opts = h->opts;
    const struct volume_options options = {.format = (enum volume_format)opts->format, .chain_root = opts->chain_root};
    struct volume *v = NULL;

    int code = volume_open(&v, h->app->fs, h->path, &options, err);
    if (code < 0)
        return code;
    *ret_bytes = v->size_bytes;
    xk_prog_begin(&h->progress, h->app->log, h->app->clock, "hashing", v->size_bytes, true);
    code = volume_hash_run(ret, v,
                           &(struct volume_hash){.algorithm = (enum volume_hash_algorithm)opts->algorithm,
                                                 .block_bytes = (uint32_t)opts->block,
                                                 .threads = (unsigned)opts->threads,
                                                 .block = opts->blocks ? put_block : NULL,
                                                 .progress = pass_progress,
                                                 .context = h},
                           err);
    xk_prog_end(&h->progress);
    volume_close(v);
    return code;
}

static void put_row(struct xk_out *out, const struct hashing *h, const struct volume_hashed *hashed, uint64_t bytes)
{
    xk_row(out);
    put_digest(out, h->opts, &hashed->root);
    xk_put_str(out, "path", h->path);
    xk_put_str(out, "algorithm", volume_hash_names[h->opts->algorithm]);
    xk_put_bytes(out, "size", bytes);
    xk_put_bytes(out, "block", h->opts->block);
    xk_put_u64(out, "blocks", hashed->blocks);
    xk_put_u64(out, "zero_blocks", hashed->zero_blocks);
}

/* With --blocks the list comes first, as it is made; the disks' own digests are few and wait for the end. */
static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const size_t count = (size_t)args->count;
    xk_autofree struct hashed *hashed = xk_array_alloc(count, sizeof(*hashed));
    struct vhd_several several;
    struct hashing h = {.app = app, .opts = args->opts};
    int code = 0;

    if (!hashed)
        return xk_fail_memory(err);
    if (h.opts->block < VOLUME_HASH_BLOCK_MIN || h.opts->block > VOLUME_HASH_BLOCK_MAX ||
        (h.opts->block & (h.opts->block - 1))) {
        code = xk_fail(err, -EINVAL, "--block %llu: a power of two from 4k to 4M is needed",
                       (unsigned long long)h.opts->block);
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    code = vhd_several_begin(&several, app, count, err);
    if (code < 0)
        return code;
    if (h.opts->blocks)
        xk_out_rows(app->out, "blocks");
    for (size_t i = 0; i < count && code == 0; i++) {
        h.path = args->operands[i];
        const int one = hash_file(&h, &hashed[i].result, &hashed[i].bytes, err);
        hashed[i].done = one == 0;
        code = vhd_several_take(&several, h.path, one, err);
    }
    if (h.opts->blocks)
        xk_out_end(app->out);
    xk_out_rows(app->out, "disks");
    for (size_t i = 0; i < count; i++) {
        h.path = args->operands[i];
        if (hashed[i].done)
            put_row(app->out, &h, &hashed[i].result, hashed[i].bytes);
    }
    xk_out_end(app->out);
    return vhd_several_end(&several, code, err);
}

static const struct hash defaults = {.block = VOLUME_HASH_BLOCK};
static const char *const example[] = {"sample.vhd", NULL};

const struct xk_command vhd_cmd_hash = {
    .name = "hash",
    .summary = "one digest for a disk's content, whatever its format and holes",
    .operands = "FILE…",
    .min_operands = 1,
    .max_operands = -1,
    .opts = hash_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct hash),
    .run = run,
    .example = example,
};
