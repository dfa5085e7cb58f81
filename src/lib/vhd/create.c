/*
 * An image is laid out in memory (tables are at most a few MiB) and written front to back: footer copy, header, BAT,
 * batmap header, batmap, locators, footer. Regular files are written under a temporary name, so there is no order to
 * get wrong; a block device is written in place with the two footers last, so that a half-written one is no image.
 */
#include "lib/vhd/create.h"

#include "core/text.h"
#include "lib/vhd/canon.h"

#include <stdio.h>
#include <string.h>

#define TABLE_OFFSET    (VHD_FOOTER_BYTES + VHD_HEADER_BYTES)
#define CREATOR_VERSION 0x00010003u

/* What is to be written. */
struct layout {
    struct vhd_footer footer;
    struct vhd_header header;
    struct vhd_batmap batmap;
    struct vhd_locator_texts texts; /* for differencing images */
    uint64_t metadata_bytes;        /* everything before the footer at the end */
    bool preallocate;
    const char *parent; /* NULL: none; and which file that was when it was looked at */
    dev_t parent_dev;
    ino_t parent_ino;
};

static void layout_done(struct layout *l)
{
    vhd_locator_texts_done(&l->texts);
}

void vhd_make_uuid(uint8_t ret[16], struct xk_random *random)
{
    xk_random_bytes(random, ret, 16);
    ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x40);
    ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
}

static void fill_footer(struct vhd_footer *f, enum vhd_type type, uint64_t bytes, int64_t now, struct xk_random *random)
{
    *f = (struct vhd_footer){
        .features = 2,
        .version = 0x00010000,
        .data_offset = type == VHD_FIXED ? UINT64_MAX : VHD_FOOTER_BYTES,
        .timestamp = vhd_timestamp(now),
        .creator_version = CREATOR_VERSION,
        .original_bytes = bytes,
        .current_bytes = bytes,
        .geometry = vhd_geometry_of(XK_DIV_UP(bytes, VHD_SECTOR)),
        .type = type,
    };
    memcpy(f->cookie, VHD_COOKIE, sizeof(f->cookie));
    memcpy(f->creator, "tap", 4);
    vhd_make_uuid(f->uuid, random);
}

/* Header and batmap for tables that hold `table_bytes` of disk. */
static void fill_tables(struct layout *l, uint64_t table_bytes)
{
    l->header = (struct vhd_header){
        .data_offset = UINT64_MAX,
        .table_offset = TABLE_OFFSET,
        .version = 0x00010000,
        .max_entries = (uint32_t)XK_DIV_UP(table_bytes, VHD_BLOCK_BYTES),
        .block_bytes = VHD_BLOCK_BYTES,
    };
    memcpy(l->header.cookie, VHD_HEADER_COOKIE, sizeof(l->header.cookie));

    const uint64_t map_header = TABLE_OFFSET + vhd_bat_bytes(&l->header);
    const uint32_t map_bytes = XK_DIV_UP(l->header.max_entries, 8);
    l->batmap = (struct vhd_batmap){
        .offset = map_header + VHD_SECTOR,
        .size_sectors = XK_MAX(XK_DIV_UP(map_bytes, VHD_SECTOR), 1u),
        .version = VHD_BATMAP_VERSION,
        .checksum = UINT32_MAX, /* of zeros */
    };
    memcpy(l->batmap.cookie, VHD_BATMAP_COOKIE, sizeof(l->batmap.cookie));
    l->metadata_bytes = l->batmap.offset + (uint64_t)l->batmap.size_sectors * VHD_SECTOR;
}

static void add_locator(struct layout *l, int n, uint32_t code, const struct xk_buf *text)
{
    const uint32_t space = XK_ROUND_UP((uint32_t)text->len, VHD_SECTOR);
    l->header.locators[n] =
        (struct vhd_locator){.code = code, .space = space, .length = (uint32_t)text->len, .offset = l->metadata_bytes};
    l->metadata_bytes += space;
}

static void copy_at(uint8_t *image, uint64_t offset, const struct xk_buf *text)
{
    memcpy(image + offset, text->data, text->len);
}

/* Everything between the footer copy and the footer at the end, footer copy left out (zeros). The caller frees it. */
static uint8_t *metadata_of(const struct layout *l)
{
    uint8_t *image = xk_zalloc((size_t)l->metadata_bytes);
    if (!image)
        return NULL;
    vhd_header_encode(image + VHD_FOOTER_BYTES, &l->header);
    memset(image + TABLE_OFFSET, 0xff, (size_t)l->header.max_entries * sizeof(uint32_t));
    vhd_batmap_encode(image + TABLE_OFFSET + vhd_bat_bytes(&l->header), &l->batmap);
    if (l->footer.type == VHD_DIFFERENCING) {
        copy_at(image, l->header.locators[0].offset, &l->texts.macx);
        copy_at(image, l->header.locators[1].offset, &l->texts.w2ku);
        copy_at(image, l->header.locators[2].offset, &l->texts.w2ru);
    }
    return image;
}

static int reserve(const struct xk_file *f, uint64_t bytes, struct xk_err *err)
{
    const int code = f->fs->ops->allocate(f->fs, f->fd, 0, 0, bytes);
    if (code == -EOPNOTSUPP || code == -ENOSYS)
        return xk_file_write_zeros(f, 0, bytes, err); /* a file system that cannot reserve */
    return code < 0 ? xk_fail_sys(err, code, "%s: reserving %s", f->path, xk_size(bytes).s) : 0;
}

/* end_offset: where the footer goes. */
static int write_sparse(const struct xk_file *f, const struct layout *l, uint64_t end_offset, struct xk_err *err)
{
    uint8_t footer[VHD_FOOTER_BYTES];
    xk_autofree uint8_t *metadata = metadata_of(l);
    if (!metadata)
        return xk_fail_memory(err);

    vhd_footer_encode(footer, &l->footer);
    int code = xk_file_write(f, metadata + VHD_FOOTER_BYTES, (size_t)l->metadata_bytes - VHD_FOOTER_BYTES,
                             VHD_FOOTER_BYTES, err);
    if (code == 0)
        code = xk_file_write(f, footer, sizeof(footer), end_offset, err);
    if (code == 0)
        code = xk_file_write(f, footer, sizeof(footer), 0, err);
    return code;
}

static int write_fixed(const struct xk_file *f, const struct layout *l, struct xk_err *err)
{
    uint8_t footer[VHD_FOOTER_BYTES];
    int code = 0;

    vhd_footer_encode(footer, &l->footer);
    if (l->preallocate && l->footer.current_bytes > 0)
        code = reserve(f, l->footer.current_bytes, err);
    if (code == 0)
        code = xk_file_write(f, footer, sizeof(footer), l->footer.current_bytes, err);
    return code;
}

/* The new image says of its parent what was read there. */
static int check_parent(const struct xk_fs *fs, const struct layout *l, struct xk_err *err)
{
    return l->parent ? xk_path_check_identity(fs, l->parent, l->parent_dev, l->parent_ino, err) : 0;
}

static int write_device(const struct xk_fs *fs, const char *path, const struct layout *l, struct xk_err *err)
{
    struct xk_file f;
    uint64_t bytes = 0;

    int code = xk_file_open(&f, fs, path, O_RDWR, 0, err);
    if (code < 0)
        return code;
    code = xk_file_size(&bytes, &f, err);
    const uint64_t needed =
        (l->footer.type == VHD_FIXED ? l->footer.current_bytes : l->metadata_bytes) + VHD_FOOTER_BYTES;
    if (code == 0 && bytes < needed)
        code = xk_fail(err, -ENOSPC, "%s: the device has %s, the image needs %s", path, xk_size(bytes).s,
                       xk_size(needed).s);
    if (code == 0)
        code =
            l->footer.type == VHD_FIXED ? write_fixed(&f, l, err) : write_sparse(&f, l, bytes - VHD_FOOTER_BYTES, err);
    if (code == 0)
        code = xk_file_sync(&f, err);
    if (code == 0)
        code = check_parent(fs, l, err);
    if (code == 0)
        code = xk_file_check_name(&f, err);
    xk_file_close(&f);
    return code;
}

static int write_file(const struct xk_file *f, const struct layout *l, struct xk_err *err)
{
    const int code = l->footer.type == VHD_FIXED ? write_fixed(f, l, err) : write_sparse(f, l, l->metadata_bytes, err);
    return code < 0 ? code : check_parent(f->fs, l, err);
}

static int write_image(const struct xk_fs *fs, const char *path, const struct layout *l, bool overwrite, bool dry_run,
                       struct xk_err *err)
{
    struct xk_newfile n;
    struct stat st;

    if (stat(path, &st) == 0) {
        if (S_ISBLK(st.st_mode))
            return dry_run ? 0 : write_device(fs, path, l, err);
        if (!S_ISREG(st.st_mode))
            return xk_fail(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
                           "%s: is neither a regular file nor a block device", path);
        if (!overwrite)
            return xk_fail(err, -EEXIST, "%s: is there already", path);
    }
    if (dry_run)
        return 0;
    int code = xk_newfile_begin(&n, fs, path, 0644, !overwrite, err);
    if (code < 0)
        return code;
    n.only_old = true;
    code = write_file(&n.file, l, err);
    if (code == 0)
        code = xk_newfile_commit(&n, err);
    xk_newfile_abort(&n);
    return code;
}

static int check_size(const char *path, uint64_t bytes, struct xk_err *err)
{
    if (bytes <= VHD_SIZE_MAX)
        return 0;
    xk_fail(err, -EFBIG, "%s: %s is more than the 2040 GiB that a VHD can have", path, xk_size(bytes).s);
    xk_err_exit(err, XK_EXIT_USAGE);
    return -EFBIG;
}

int vhd_create(const struct xk_fs *fs, const struct vhd_create *how, struct xk_err *err)
{
    xk_auto(layout_done) struct layout l = {.preallocate = how->preallocate};
    const uint64_t unit = how->exact ? VHD_SECTOR : VHD_BLOCK_BYTES;

    int code = check_size(how->path, XK_MAX(how->bytes, how->reserve_bytes), err);
    if (code < 0)
        return code;
    if (how->exact && how->bytes % VHD_SECTOR)
        return xk_fail(err, -EINVAL, "%s: %llu bytes is not a whole number of 512-byte sectors", how->path,
                       (unsigned long long)how->bytes);
    if (how->reserve_bytes && how->reserve_bytes < how->bytes)
        return xk_fail(err, -EINVAL, "%s: tables for %s cannot hold a disk of %s", how->path,
                       xk_size(how->reserve_bytes).s, xk_size(how->bytes).s);
    if (how->reserve_bytes && how->type == VHD_FIXED)
        return xk_fail(err, -EINVAL, "%s: a fixed image has no tables to make larger", how->path);
    fill_footer(&l.footer, how->type, XK_ROUND_UP(how->bytes, unit), how->unix_seconds, how->random);
    if (how->type != VHD_FIXED)
        fill_tables(&l, XK_MAX(l.footer.current_bytes, how->reserve_bytes));
    return how->into ? write_file(how->into, &l, err)
                     : write_image(fs, how->path, &l, how->overwrite, how->dry_run, err);
}

/* The real path of the folder where `path` is (a link or a volume: where it lasts), or will be; the caller frees it. */
static int real_parent_dir(char **ret, const char *path, struct xk_err *err)
{
    xk_autofree char *there = vhd_canonical_path(path);
    xk_autofree char *dir = xk_dir_name(there ? there : path);
    if (!dir)
        return xk_fail_memory(err);
    *ret = realpath(dir, NULL);
    return *ret ? 0 : xk_fail_sys(err, -errno, "%s", dir);
}

static int add_parent(struct layout *l, const char *path, const char *parent, struct xk_err *err)
{
    xk_autofree char *dir = NULL;

    int code = vhd_set_parent_name(&l->header, parent, err);
    if (code == 0)
        code = real_parent_dir(&dir, path, err);
    if (code == 0)
        code = vhd_locator_texts_make(&l->texts, dir, parent, err);
    if (code < 0)
        return code;
    add_locator(l, 0, VHD_LOCATOR_MACX, &l->texts.macx);
    add_locator(l, 1, VHD_LOCATOR_W2KU, &l->texts.w2ku);
    add_locator(l, 2, VHD_LOCATOR_W2RU, &l->texts.w2ru);
    return 0;
}

/* What the new image will stand on. */
struct base {
    char *path; /* real */
    bool raw;
    uint64_t bytes;       /* of the base's disk */
    uint64_t named_bytes; /* of the disk that was asked for when that is another one; 0: the same */
    int64_t mtime;
    dev_t dev;
    ino_t ino;
    uint8_t uuid[16];
    bool keyhash_set;
    uint8_t nonce[32], hash[32];
};

static void base_done(struct base *b)
{
    free(b->path);
}

static int raw_base(struct base *b, const struct xk_fs *fs, struct xk_err *err)
{
    struct xk_file f;
    struct stat st;

    b->raw = true;
    int code = xk_file_open(&f, fs, b->path, O_RDONLY | O_NONBLOCK, 0, err);
    if (code < 0)
        return code;
    code = fs->ops->fstat(fs, f.fd, &st);
    if (code < 0)
        xk_fail_sys(err, code, "%s", b->path);
    else
        code = xk_file_size(&b->bytes, &f, err);
    b->mtime = st.st_mtime;
    b->dev = st.st_dev;
    b->ino = st.st_ino;
    b->bytes = XK_ROUND_UP(b->bytes, VHD_SECTOR);
    xk_file_close(&f);
    return code;
}

static void describe_base(struct base *b, const struct vhd *v)
{
    b->bytes = v->footer.current_bytes;
    b->mtime = v->mtime;
    b->dev = v->dev;
    b->ino = v->ino;
    memcpy(b->uuid, v->footer.uuid, sizeof(b->uuid));
    b->keyhash_set = v->batmap_state == VHD_GOOD && v->batmap.keyhash_set == 1;
    memcpy(b->nonce, v->batmap.nonce, sizeof(b->nonce));
    memcpy(b->hash, v->batmap.hash, sizeof(b->hash));
}

/* Walk from the named parent down to the first image that has blocks, as XenServer does. */
static int find_base(struct base *b, const struct xk_fs *fs, const struct vhd_snapshot *how, struct xk_err *err)
{
    const int empty = xk_path_check_empty(how->parent, err);
    if (empty < 0)
        return empty;
    b->path = vhd_canonical_path(how->parent);
    if (!b->path)
        return xk_fail_sys(err, -errno, "%s", how->parent);
    if (how->parent_raw)
        return raw_base(b, fs, err);

    for (unsigned depth = 0; depth < VHD_DEPTH_MAX; depth++) {
        struct vhd v;
        char *next = NULL;
        int code = vhd_open(&v, fs, b->path, VHD_READ | VHD_DEVICES | VHD_BACKUP_OK, err);
        if (code < 0)
            return code;
        const bool raw_below = vhd_uuid_is_null(v.header.parent_uuid);
        if (depth == 1)
            b->named_bytes = b->bytes;
        describe_base(b, &v);
        if (how->keep_empty || v.footer.type != VHD_DIFFERENCING || vhd_allocated(&v) > 0) {
            vhd_close(&v);
            if (vhd_uuid_is_null(b->uuid))
                return xk_fail(err, -EINVAL, "%s: its UUID is zero, which a child cannot refer to", b->path);
            return 0;
        }
        code = vhd_find_parent(&next, &v, &how->search, err);
        vhd_close(&v);
        if (code < 0)
            return code;
        free(b->path);
        b->path = next;
        if (raw_below) {
            if (depth == 0)
                b->named_bytes = b->bytes;
            return raw_base(b, fs, err);
        }
    }
    return xk_fail(err, -ELOOP, "%s: more than %d empty images below one another", how->parent, VHD_DEPTH_MAX);
}

static int check_depth(const struct xk_fs *fs, const struct base *b, const struct vhd_snapshot *how,
                       unsigned *ret_depth, struct xk_err *err)
{
    const int depth = b->raw ? 1 : vhd_chain_depth(fs, b->path, &how->search, err);
    if (depth < 0 && !how->depth_limit) {
        /* Broken higher up: that is not this image's fault, and it is as good as its parent. */
        xk_err_clear(err);
        return 0;
    }
    if (depth < 0)
        return depth;
    *ret_depth = (unsigned)depth + 1;
    if (b->raw || !how->depth_limit || *ret_depth <= how->depth_limit)
        return 0;
    xk_fail(err, -ENOSPC, "%s: the parent's chain has %d images already, the limit is %u", how->path, depth,
            how->depth_limit);
    xk_err_hint(err, "coalesce the chain first, or raise the limit");
    return -ENOSPC;
}

/* The next one below, or NULL: there is none, or it is not to be found. */
static char *path_below(const struct xk_fs *fs, const char *path, const struct vhd_parent_search *search, bool *ret_raw)
{
    struct vhd v;
    char *below = NULL;

    if (vhd_open(&v, fs, path, VHD_READ | VHD_NO_TABLES | VHD_DEVICES | VHD_BACKUP_OK, NULL) < 0)
        return NULL;
    if (v.footer.type == VHD_DIFFERENCING && vhd_find_parent(&below, &v, search, NULL) < 0)
        below = NULL;
    *ret_raw = vhd_uuid_is_null(v.header.parent_uuid);
    vhd_close(&v);
    return below;
}

/* An image that takes the place of one it stands on destroys that one's data, and its chain leads back to itself. */
static int check_target(const struct xk_fs *fs, const struct base *b, const struct vhd_snapshot *how,
                        struct xk_err *err)
{
    struct stat target;
    bool raw = b->raw;

    if (stat(how->path, &target) < 0)
        return 0;
    xk_autofree char *path = xk_strdup(b->path);
    if (!path)
        return xk_fail_memory(err);
    for (unsigned depth = 0; path && depth < VHD_DEPTH_MAX; depth++) {
        if (xk_path_check_identity(fs, path, target.st_dev, target.st_ino, NULL) == 0) {
            xk_fail(err, -ELOOP, "%s: the new image would replace %s, which it stands on", how->path, path);
            xk_err_hint(err, "give it a name of its own");
            xk_err_exit(err, XK_EXIT_USAGE);
            return -ELOOP;
        }
        char *const below = raw ? NULL : path_below(fs, path, &how->search, &raw);
        free(path);
        path = below;
    }
    return 0;
}

int vhd_snapshot(const struct xk_fs *fs, const struct vhd_snapshot *how, struct vhd_snapshot_made *ret,
                 struct xk_err *err)
{
    xk_auto(layout_done) struct layout l = {0};
    xk_auto(base_done) struct base b = {0};

    int code = find_base(&b, fs, how, err);
    if (code == 0)
        code = check_target(fs, &b, how, err);
    if (code == 0)
        code = check_depth(fs, &b, how, &ret->depth, err);
    if (code < 0)
        return code;
    uint64_t bytes = b.named_bytes ? XK_ROUND_UP(b.named_bytes, VHD_BLOCK_BYTES) : b.bytes;
    if (how->bytes)
        bytes = how->bytes;
    code = check_size(how->path, XK_MAX(bytes, how->reserve_bytes), err);
    if (code < 0)
        return code;
    if (bytes < b.bytes || (how->reserve_bytes && how->reserve_bytes < bytes))
        return xk_fail(err, -EINVAL, "%s: %s is smaller than the parent's disk of %s", how->path,
                       xk_size(how->reserve_bytes ? how->reserve_bytes : bytes).s, xk_size(b.bytes).s);

    fill_footer(&l.footer, VHD_DIFFERENCING, bytes, how->unix_seconds, how->random);
    fill_tables(&l, XK_MAX(bytes, how->reserve_bytes));
    l.header.parent_timestamp = vhd_timestamp(b.mtime);
    memcpy(l.header.parent_uuid, b.uuid, sizeof(b.uuid));
    if (b.raw)
        memset(l.header.parent_uuid, 0, sizeof(l.header.parent_uuid));
    if (b.keyhash_set && !b.raw) {
        l.batmap.keyhash_set = 1;
        memcpy(l.batmap.nonce, b.nonce, sizeof(b.nonce));
        memcpy(l.batmap.hash, b.hash, sizeof(b.hash));
    }
    l.parent = b.path;
    l.parent_dev = b.dev;
    l.parent_ino = b.ino;
    code = add_parent(&l, how->path, b.path, err);
    if (code == 0)
        code = how->into ? write_file(how->into, &l, err)
                         : write_image(fs, how->path, &l, how->overwrite, how->dry_run, err);
    if (code < 0)
        return code;
    ret->bytes = bytes;
    ret->parent = XK_TAKE(b.path);
    ret->parent_dev = b.dev;
    ret->parent_ino = b.ino;
    return 0;
}

int vhd_chain_depth(const struct xk_fs *fs, const char *path, const struct vhd_parent_search *search,
                    struct xk_err *err)
{
    struct vhd_chain chain;
    const struct vhd_chain_options options = {
        .search = search ? *search : (struct vhd_parent_search){0},
        .open_flags = VHD_NO_TABLES | VHD_DEVICES | VHD_BACKUP_OK,
    };
    const int code = vhd_chain_open(&chain, fs, path, &options, err);
    if (code < 0)
        return code;
    const int depth = (int)chain.count + chain.raw.open;
    vhd_chain_close(&chain);
    return depth;
}
