/*
 * Reads end as the original's direct I/O ends: -EINVAL off a sector boundary, -EPIPE with nothing there, -EIO in the
 * middle. Ours are buffered; a direct read costs a scan of a thousand images most of its time.
 *
 * The original tries an invalid header ten times with a second between. It will not become valid: ours looks once.
 */
#include "rooms/vhd/classic-image.h"

#include "core/text.h"
#include "lib/vhd/canon.h"
#include "lib/vhd/repair.h"

#include <string.h>
#include <sys/xattr.h>

#define XATTR_MARKER  "user.com.citrix.xenclient.backend.marker"
#define XATTR_KEYHASH "user.com.citrix.xenclient.backend.keyhash"

/* What lseek(2) takes on the ext4 of a storage repository. */
#define OFFSET_MAX (16 * XK_TIB - VHD_PAGE)

/* ---- opening ---- */

static int look_at_file(struct vhd_classic_image *i, unsigned flags)
{
    const struct xk_fs *fs = i->file.fs;
    struct stat st;

    int code = fs->ops->fstat(fs, i->file.fd, &st);
    if (code < 0)
        return code;
    i->dev = st.st_dev;
    i->ino = st.st_ino;
    i->block_device = S_ISBLK(st.st_mode);
    if (flags & VHD_CLASSIC_CACHED && !S_ISREG(st.st_mode))
        return -EINVAL;
    if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
        return -ESPIPE;
    if (S_ISDIR(st.st_mode))
        i->bytes = VHD_PAGE; /* enough for the read that then says what it is */
    if (S_ISREG(st.st_mode))
        i->bytes = (uint64_t)st.st_size;
    return S_ISBLK(st.st_mode) ? xk_file_size(&i->bytes, &i->file, NULL) : 0;
}

int vhd_classic_image_open_file(struct vhd_classic_image *ret, struct vhd_classic *c, const char *path, unsigned flags)
{
    /* A FIFO or a terminal must not hold us. */
    const int mode = O_NONBLOCK | O_NOCTTY | (flags & VHD_CLASSIC_WRITE ? O_RDWR : O_RDONLY);

    *ret = (struct vhd_classic_image){.classic = c, .file.fd = -1};
    ret->path = xk_strdup(path);
    if (!ret->path)
        return -ENOMEM;
    int code = xk_file_open(&ret->file, c->app->fs, ret->path, mode, 0, NULL);
    if (code == 0)
        code = look_at_file(ret, flags);
    if (code < 0) {
        vhd_classic_debug(c, "libvhd: failed to open %s: %d", path, code);
        vhd_classic_image_close(ret);
    }
    return code;
}

static int take_header(struct vhd_classic_image *i, const uint8_t bytes[VHD_HEADER_BYTES])
{
    memcpy(i->header_bytes, bytes, VHD_HEADER_BYTES);
    vhd_header_decode(&i->header, i->header_bytes);
    return vhd_classic_header_validate(&i->header);
}

static int open_fast(struct vhd_classic_image *i)
{
    uint8_t buf[VHD_FOOTER_BYTES + VHD_HEADER_BYTES];

    int code = vhd_classic_image_read(i, buf, sizeof(buf), 0);
    if (code < 0)
        return code;
    memcpy(i->footer_sector, buf, VHD_FOOTER_BYTES);
    vhd_footer_decode(&i->footer, i->footer_sector);
    code = vhd_classic_footer_validate(&i->footer);
    if (code < 0 || !vhd_classic_is_sparse(i))
        return code;
    return i->footer.data_offset == VHD_FOOTER_BYTES ? take_header(i, buf + VHD_FOOTER_BYTES)
                                                     : vhd_classic_image_read_header(i);
}

static int open_all(struct vhd_classic_image *i, unsigned flags)
{
    int code = vhd_classic_image_read_footer(i, flags & VHD_CLASSIC_COPY);
    if (code < 0)
        return code;
    if (!(flags & VHD_CLASSIC_POISONED) && memcmp(i->footer.cookie, VHD_COOKIE_POISON, sizeof(i->footer.cookie)) == 0)
        return -EINVAL;
    if (vhd_classic_is_sparse(i))
        code = vhd_classic_image_read_header(i);
    if (code == 0 && vhd_classic_by_tapdisk(&i->footer) && i->footer.creator_version == 0x00000001)
        code = -EINVAL; /* its bitmaps were little-endian */
    return code;
}

int vhd_classic_image_open(struct vhd_classic_image *ret, struct vhd_classic *c, const char *path, unsigned flags)
{
    int code = vhd_classic_image_open_file(ret, c, path, flags);
    if (code < 0)
        return code;
    code = flags & VHD_CLASSIC_FAST ? open_fast(ret) : open_all(ret, flags);
    if (code < 0) {
        vhd_classic_debug(c, "libvhd: %s has no usable footer or header: %d", path, code);
        vhd_classic_image_close(ret);
    }
    return code;
}

void vhd_classic_image_close(struct vhd_classic_image *i)
{
    xk_file_close(&i->file);
    free(i->path);
    free(i->bat);
    free(i->map);
    *i = (struct vhd_classic_image){.file.fd = -1};
}

/* ---- footer and header ---- */

int vhd_classic_image_read(const struct vhd_classic_image *i, void *buf, size_t bytes, uint64_t offset)
{
    uint64_t at;

    if (offset % VHD_SECTOR != 0 || xk_add(i->start, offset, &at) || at > OFFSET_MAX)
        return -EINVAL;
    const ssize_t got = xk_file_read_some(&i->file, buf, bytes, at, NULL);
    if (got < 0)
        return (int)got;
    if ((size_t)got == bytes)
        return 0;
    return got == 0 ? -EPIPE : -EIO;
}

int vhd_classic_footer_validate(const struct vhd_footer *f)
{
    if (memcmp(f->cookie, VHD_COOKIE, sizeof(f->cookie)) != 0 &&
        memcmp(f->cookie, VHD_COOKIE_POISON, sizeof(f->cookie)) != 0)
        return -EINVAL;
    return f->checksum == f->checksum_computed ? 0 : -EINVAL;
}

int vhd_classic_header_validate(const struct vhd_header *h)
{
    char why[128];

    if (vhd_header_problem(h, why, sizeof(why)) || h->data_offset != UINT64_MAX)
        return -EINVAL;
    for (int n = 0; n < VHD_LOCATORS; n++) {
        if (!vhd_classic_locator_code_known(h->locators[n].code))
            return -EINVAL;
    }
    return 0;
}

int vhd_classic_image_read_footer_at(struct vhd_classic_image *i, uint64_t offset)
{
    uint8_t sector[VHD_FOOTER_BYTES];

    const int code = vhd_classic_image_read(i, sector, sizeof(sector), offset);
    if (code < 0)
        return code;
    memcpy(i->footer_sector, sector, sizeof(sector));
    vhd_footer_decode(&i->footer, i->footer_sector);
    return vhd_classic_footer_validate(&i->footer);
}

/* The 511 bytes that Virtual PC wrote before 2004. */
static int read_short_footer(struct vhd_classic_image *i)
{
    if (i->bytes % VHD_SECTOR != VHD_SHORT_FOOTER_BYTES)
        return -EINVAL;
    memset(i->footer_sector, 0, VHD_FOOTER_BYTES);
    (void)vhd_classic_image_read(i, i->footer_sector, VHD_SHORT_FOOTER_BYTES, i->bytes - VHD_SHORT_FOOTER_BYTES);
    vhd_footer_decode(&i->footer, i->footer_sector);
    return vhd_classic_footer_validate(&i->footer);
}

int vhd_classic_image_read_footer(struct vhd_classic_image *i, bool copy_only)
{
    if (!copy_only) {
        int code = -EINVAL;
        if (i->bytes >= VHD_FOOTER_BYTES)
            code = vhd_classic_image_read_footer_at(i, i->bytes - VHD_FOOTER_BYTES);
        if (code == -EINVAL)
            code = read_short_footer(i);
        if (code != -EINVAL)
            return code;
    }
    return vhd_classic_image_read_footer_at(i, 0);
}

int vhd_classic_image_read_header(struct vhd_classic_image *i)
{
    uint8_t bytes[VHD_HEADER_BYTES];

    if (!vhd_classic_is_sparse(i))
        return -EINVAL;
    const int code = vhd_classic_image_read(i, bytes, sizeof(bytes), i->footer.data_offset);
    return code < 0 ? code : take_header(i, bytes);
}

bool vhd_classic_is_sparse(const struct vhd_classic_image *i)
{
    return i->footer.type == VHD_DYNAMIC || i->footer.type == VHD_DIFFERENCING;
}

bool vhd_classic_by_tapdisk(const struct vhd_footer *f)
{
    return strncmp(f->creator, "tap", 3) == 0;
}

uint32_t vhd_classic_checksum(const uint8_t *bytes, size_t count, size_t field)
{
    uint32_t sum = vhd_checksum(bytes, count);
    for (size_t n = field; n < field + 4; n++)
        sum += bytes[n];
    return sum;
}

/* ---- tables ---- */

uint64_t vhd_classic_blocks(const struct vhd_classic_image *i)
{
    const uint64_t whole = i->footer.current_bytes / i->header.block_bytes;
    return whole + (i->footer.current_bytes % i->header.block_bytes != 0);
}

int vhd_classic_image_read_bat(struct vhd_classic_image *i)
{
    if (!vhd_classic_is_sparse(i))
        return -EINVAL;
    if (i->bat_read)
        return 0;

    const uint64_t blocks = vhd_classic_blocks(i);
    if (blocks > i->header.max_entries)
        return -EINVAL;
    const uint64_t bytes = XK_ROUND_UP(XK_MAX(blocks, UINT64_C(1)) * sizeof(uint32_t), VHD_SECTOR);
    if (bytes > VHD_CLASSIC_TABLE_BYTES_MAX)
        return -EFBIG;
    xk_autofree uint8_t *raw = xk_alloc((size_t)bytes);
    if (!raw)
        return -ENOMEM;
    const int code = vhd_classic_image_read(i, raw, (size_t)bytes, i->header.table_offset);
    if (code < 0) {
        vhd_classic_debug(i->classic, "libvhd: %s: failed to read bat: %d", i->path, code);
        return code;
    }

    i->bat = xk_array_alloc((size_t)blocks, sizeof(*i->bat));
    if (!i->bat)
        return -ENOMEM;
    struct xk_reader r = xk_reader(raw, (size_t)bytes);
    for (uint64_t n = 0; n < blocks; n++)
        i->bat[n] = xk_be32(&r);
    i->blocks = (uint32_t)blocks;
    i->bat_read = true;
    return 0;
}

uint64_t vhd_classic_batmap_header_offset(const struct vhd_classic_image *i)
{
    const uint64_t bat = (uint64_t)i->header.max_entries * sizeof(uint32_t);
    uint64_t at;
    return xk_add(i->header.table_offset, XK_ROUND_UP(XK_MAX(bat, UINT64_C(1)), VHD_SECTOR), &at) ? UINT64_MAX : at;
}

int vhd_classic_image_read_batmap_header(struct vhd_classic_image *i)
{
    uint8_t sector[VHD_SECTOR];

    const int code = vhd_classic_image_read(i, sector, sizeof(sector), vhd_classic_batmap_header_offset(i));
    if (code == 0)
        vhd_batmap_decode(&i->batmap, sector);
    return code;
}

static int validate_batmap_header(const struct vhd_batmap *b)
{
    return memcmp(b->cookie, VHD_BATMAP_COOKIE, sizeof(b->cookie)) == 0 && b->version <= VHD_BATMAP_VERSION ? 0
                                                                                                            : -EINVAL;
}

bool vhd_classic_has_batmap(struct vhd_classic_image *i)
{
    if (!vhd_classic_is_sparse(i) || !vhd_classic_by_tapdisk(&i->footer) || i->footer.creator_version <= 0x00000001)
        return false;
    if (i->footer.creator_version >= 0x00010002)
        return true;
    /* Version 1.1 may have been brought up from 0.1, which had none. */
    return i->batmap_read || (vhd_classic_image_read_batmap_header(i) == 0 && validate_batmap_header(&i->batmap) == 0);
}

uint64_t vhd_classic_map_bytes(const struct vhd_classic_image *i)
{
    const uint64_t bytes = i->footer.current_bytes / i->header.block_bytes / 8;
    return XK_ROUND_UP(XK_MAX(bytes, UINT64_C(1)), VHD_SECTOR);
}

int vhd_classic_image_read_batmap(struct vhd_classic_image *i)
{
    if (!vhd_classic_has_batmap(i))
        return -EINVAL;
    if (i->batmap_read)
        return 0;

    int code = vhd_classic_image_read_batmap_header(i);
    if (code == 0)
        code = validate_batmap_header(&i->batmap);
    if (code < 0)
        return code;
    const uint64_t summed = vhd_classic_map_bytes(i), stored = (uint64_t)i->batmap.size_sectors * VHD_SECTOR;
    const uint64_t wanted = XK_ROUND_UP(XK_MAX(XK_DIV_UP(vhd_classic_blocks(i), 8), UINT64_C(1)), VHD_SECTOR);
    const uint64_t bytes = XK_MAX(XK_MIN(wanted, stored), summed);
    if (stored < summed)
        return -EINVAL;
    if (bytes > VHD_CLASSIC_TABLE_BYTES_MAX)
        return -EFBIG;
    xk_autofree uint8_t *map = xk_alloc((size_t)bytes);
    if (!map)
        return -ENOMEM;
    code = vhd_classic_image_read(i, map, (size_t)bytes, i->batmap.offset);
    if (code < 0)
        return code;
    if (vhd_batmap_checksum(i->batmap.version, map, (size_t)summed) != i->batmap.checksum)
        return -EINVAL;
    i->map = XK_TAKE(map);
    i->map_bytes = (size_t)bytes;
    i->batmap_read = true;
    return 0;
}

int vhd_classic_image_read_bitmap(const struct vhd_classic_image *i, uint32_t block, uint8_t *ret)
{
    if (block >= i->blocks)
        return -ERANGE;
    if (i->bat[block] == VHD_BAT_FREE)
        return -EINVAL;
    return vhd_classic_image_read(i, ret, vhd_classic_bitmap_bytes(i), (uint64_t)i->bat[block] * VHD_SECTOR);
}

static uint64_t add_or_max(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return xk_add(a, b, &sum) ? UINT64_MAX : sum;
}

int vhd_classic_end_of_headers(struct vhd_classic_image *i, uint64_t *ret)
{
    uint64_t end = add_or_max(i->footer.data_offset, VHD_HEADER_BYTES);

    if (!vhd_classic_is_sparse(i)) {
        *ret = 0;
        return 0;
    }
    end = XK_MAX(end, vhd_classic_batmap_header_offset(i)); /* which is where the BAT ends */
    if (vhd_classic_has_batmap(i)) {
        const int code = vhd_classic_image_read_batmap(i);
        if (code < 0)
            return code;
        end = XK_MAX(end, add_or_max(vhd_classic_batmap_header_offset(i), VHD_SECTOR));
        end = XK_MAX(end, add_or_max(i->batmap.offset, (uint64_t)i->batmap.size_sectors * VHD_SECTOR));
    }
    for (int n = 0; n < VHD_LOCATORS; n++) {
        const struct vhd_locator *l = &i->header.locators[n];
        if (l->code != VHD_LOCATOR_NONE)
            end = XK_MAX(end, add_or_max(l->offset, vhd_classic_locator_bytes(l)));
    }
    *ret = end;
    return 0;
}

int vhd_classic_end_of_data(struct vhd_classic_image *i, uint64_t *ret)
{
    uint64_t end;

    if (!vhd_classic_is_sparse(i)) {
        *ret = i->bytes - VHD_FOOTER_BYTES;
        return 0;
    }
    int code = vhd_classic_end_of_headers(i, &end);
    if (code == 0)
        code = vhd_classic_image_read_bat(i);
    if (code < 0)
        return code;
    end = end / VHD_SECTOR * VHD_SECTOR;
    const uint64_t block_bytes = (uint64_t)i->header.block_bytes + vhd_classic_bitmap_bytes(i);
    for (uint32_t n = 0; n < i->blocks; n++) {
        if (i->bat[n] != VHD_BAT_FREE)
            end = XK_MAX(end, (uint64_t)i->bat[n] * VHD_SECTOR + block_bytes);
    }
    *ret = end;
    return 0;
}

/* ---- marker, key hash, hidden ---- */

/* An attribute that is not there reads as zeros. */
static int read_attribute(const struct vhd_classic_image *i, const char *name, void *ret, size_t bytes)
{
    memset(ret, 0, bytes);
    if (fgetxattr(i->file.fd, name, ret, bytes) >= 0 || errno == ENODATA || errno == ENOTSUP)
        return 0;
    return -errno;
}

int vhd_classic_image_marker(struct vhd_classic_image *i, uint8_t *ret)
{
    *ret = 0;
    if (!vhd_classic_has_batmap(i))
        return read_attribute(i, XATTR_MARKER, ret, sizeof(*ret));
    const int code = vhd_classic_image_read_batmap_header(i);
    if (code == 0)
        *ret = i->batmap.marker;
    return code;
}

int vhd_classic_image_keyhash(struct vhd_classic_image *i, struct vhd_batmap *ret)
{
    uint8_t stored[1 + sizeof(ret->nonce) + sizeof(ret->hash)];

    *ret = (struct vhd_batmap){0};
    if (vhd_classic_has_batmap(i)) {
        const int code = vhd_classic_image_read_batmap_header(i);
        if (code == 0)
            *ret = i->batmap;
        return code;
    }
    const int code = read_attribute(i, XATTR_KEYHASH, stored, sizeof(stored));
    if (code == 0) {
        struct xk_reader r = xk_reader(stored, sizeof(stored));
        ret->keyhash_set = xk_u8(&r);
        xk_take_bytes(&r, ret->nonce, sizeof(ret->nonce));
        xk_take_bytes(&r, ret->hash, sizeof(ret->hash));
    }
    return code;
}

int vhd_classic_image_hidden(struct vhd_classic_image *i, uint8_t *ret)
{
    const uint32_t version = i->footer.creator_version;

    *ret = i->footer.hidden;
    if (!vhd_classic_is_sparse(i) || !vhd_classic_by_tapdisk(&i->footer) ||
        (version != 0x00000001 && version != 0x00010001))
        return 0;
    /* These versions marked only the copy. */
    uint8_t sector[VHD_FOOTER_BYTES];
    struct vhd_footer copy;
    int code = vhd_classic_image_read(i, sector, sizeof(sector), 0);
    if (code < 0)
        return code;
    vhd_footer_decode(&copy, sector);
    code = vhd_classic_footer_validate(&copy);
    if (code == 0)
        *ret = copy.hidden;
    return code;
}

/* ---- parents ---- */

/* Windows' words for a path, in place. */
static void from_windows(char *text)
{
    for (char *s = text; *s; s++) {
        if (*s == '\\')
            *s = '/';
    }
    if ((text[0] == 'C' || text[0] == 'c') && text[1] == ':')
        memmove(text, text + 2, strlen(text + 2) + 1);
}

static int windows_text(const uint8_t *units, size_t bytes, bool big_endian, char **ret)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(4 * 65536);

    xk_buf_add_str(&text, "");
    if (xk_utf16_to_utf8(&text, units, bytes, big_endian) < 0)
        return -EINVAL;
    *ret = xk_buf_take(&text);
    if (!*ret)
        return -ENOMEM;
    from_windows(*ret);
    return 0;
}

/* Behind the name are zeros, or at least ASCII: the original converts the whole field. */
static bool rest_is_text(const uint8_t *units, size_t bytes, size_t high)
{
    size_t at = 0;

    while (at < bytes && (units[at] || units[at + 1]))
        at += 2;
    for (; at < bytes; at += 2) {
        if (units[at + high] || units[at + 1 - high] > 0x7f)
            return false;
    }
    return true;
}

int vhd_classic_parent_name(const struct vhd_classic_image *i, char **ret)
{
    const bool little = vhd_classic_by_tapdisk(&i->footer) && i->footer.creator_version == 0x00000001;
    const uint8_t *name = i->header.parent_name;

    if (!rest_is_text(name, sizeof(i->header.parent_name), little))
        return -EINVAL;
    return windows_text(name, sizeof(i->header.parent_name), !little, ret);
}

uint64_t vhd_classic_locator_bytes(const struct vhd_locator *l)
{
    const uint64_t bytes = vhd_locator_space(l);
    return bytes % VHD_SECTOR == 0 ? bytes : 0;
}

bool vhd_classic_locator_code_known(uint32_t code)
{
    switch (code) {
    case VHD_LOCATOR_NONE:
    case VHD_LOCATOR_WI2R:
    case VHD_LOCATOR_WI2K:
    case VHD_LOCATOR_W2RU:
    case VHD_LOCATOR_W2KU:
    case VHD_LOCATOR_MAC:
    case VHD_LOCATOR_MACX:
        return true;
    default:
        return false;
    }
}

static int url_text(const uint8_t *bytes, size_t count, char **ret)
{
    static const char scheme[] = "file://";
    const size_t length = strnlen((const char *)bytes, count);

    if (length < strlen(scheme) || memcmp(bytes, scheme, strlen(scheme)) != 0)
        return -EINVAL;
    for (size_t at = 0; at < length;) {
        uint32_t point;
        const int used = xk_utf8_decode(&point, (const char *)bytes + at, length - at);
        if (used <= 0)
            return -EINVAL;
        at += (size_t)used;
    }
    *ret = xk_strndup((const char *)bytes + strlen(scheme), length - strlen(scheme));
    return *ret ? 0 : -ENOMEM;
}

int vhd_classic_locator_text(const struct vhd_classic_image *i, const struct vhd_locator *l, char **ret)
{
    enum { TEXT_BYTES_MAX = 65536 };

    if (i->footer.type != VHD_DIFFERENCING)
        return -EINVAL;
    if (l->code != VHD_LOCATOR_MACX && l->code != VHD_LOCATOR_W2KU && l->code != VHD_LOCATOR_W2RU)
        return -EINVAL;
    const uint64_t space = vhd_classic_locator_bytes(l);
    if (space == 0 || l->length > space || l->length > TEXT_BYTES_MAX)
        return -EINVAL;
    const size_t bytes = XK_ROUND_UP(XK_MAX(l->length, 1u), VHD_SECTOR);
    xk_autofree uint8_t *raw = xk_alloc(bytes);
    if (!raw)
        return -ENOMEM;
    const int code = vhd_classic_image_read(i, raw, bytes, l->offset);
    if (code < 0)
        return code;
    return l->code == VHD_LOCATOR_MACX ? url_text(raw, l->length, ret) : windows_text(raw, l->length, false, ret);
}

int vhd_classic_find_parent(const struct vhd_classic_image *i, const char *text, char **ret)
{
    if (text[0] == '/' && access(text, R_OK) == 0) {
        *ret = xk_strdup(text);
        return *ret ? 0 : -ENOMEM;
    }
    xk_autofree char *child = vhd_canonical_path(i->path);
    if (!child)
        return -errno;
    xk_autofree char *dir = xk_dir_name(child);
    xk_autofree char *path = dir ? xk_asprintf("%s/%s", dir, text) : NULL;
    if (!path)
        return -ENOMEM;
    if (access(path, R_OK) != 0) {
        const int code = -errno;
        vhd_classic_debug(i->classic, "libvhd: %s: couldn't find parent %s (%d)", i->path, text, code);
        return code;
    }
    *ret = vhd_canonical_path(path);
    return *ret ? 0 : -errno;
}

int vhd_classic_parent(const struct vhd_classic_image *i, bool resolve, char **ret)
{
    int code = -EINVAL;

    if (i->footer.type != VHD_DIFFERENCING)
        return -EINVAL;
    for (int n = 0; n < VHD_LOCATORS; n++) {
        xk_autofree char *text = NULL;
        if (vhd_classic_locator_text(i, &i->header.locators[n], &text) < 0)
            continue;
        if (!resolve) {
            *ret = XK_TAKE(text);
            return 0;
        }
        code = vhd_classic_find_parent(i, text, ret);
        if (code == 0)
            return 0;
    }
    return code;
}

int vhd_classic_depth(struct vhd_classic_image *i, unsigned *ret)
{
    struct vhd_classic_image image = {.file.fd = -1};
    const struct vhd_classic_image *current = i;
    int code = 0;

    unsigned depth = 1;
    while (current->footer.type == VHD_DIFFERENCING) {
        depth++;
        if (vhd_classic_raw_parent(current))
            break;
        xk_autofree char *path = NULL;
        code = depth > VHD_CLASSIC_DEPTH_MAX ? -ELOOP : vhd_classic_parent(current, true, &path);
        if (code < 0)
            break;
        vhd_classic_image_close(&image);
        code = vhd_classic_image_open(&image, i->classic, path, VHD_CLASSIC_READ);
        if (code < 0)
            break;
        current = &image;
    }
    vhd_classic_image_close(&image);
    if (code == 0)
        *ret = depth;
    return code;
}

int vhd_classic_image_mend(struct vhd_classic *c, const char *path, struct xk_err *err)
{
    struct vhd v;

    int code = vhd_open(&v, c->app->fs, path, VHD_WRITE | VHD_DEVICES | VHD_BACKUP_OK, err);
    if (code < 0)
        return code;
    if (v.footer_from_copy)
        code = vhd_repair_footers(&v, false, c->app->random, err);
    vhd_close(&v);
    return code;
}

int vhd_classic_image_try(struct vhd_classic *c, const char *path, unsigned flags)
{
    struct vhd_classic_image image;
    const int code = vhd_classic_image_open(&image, c, path, flags);

    if (code == 0)
        vhd_classic_image_close(&image);
    return code;
}
