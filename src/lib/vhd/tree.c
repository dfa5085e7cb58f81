/*
 * Parents and children by hash of (device, inode); depths by walking up with an explicit stack, each image once. What
 * an image says of its parent is compared with what the parent is, and what only shows in a whole folder (leftovers,
 * doubles, space) is worked out.
 */
#include "lib/vhd/survey-parts.h"

#include "core/text.h"

#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

#define SPARSE_SLACK       XK_MIB /* what a file system may round or compress away */

#define TIME_SLACK_SECONDS 2 /* file systems round differently */

/* ---- links ---- */

/* From the back, so that each list of children is in the order of the images. */
static void list_children(struct vhd_survey *s)
{
    for (size_t i = s->count; i-- > 0;) {
        struct vhd_survey_image *const image = &s->images[i];
        if (image->parent == VHD_NO_IMAGE)
            continue;
        struct vhd_survey_image *const parent = &s->images[image->parent];
        image->next_sibling = parent->first_child;
        parent->first_child = i;
        parent->children++;
    }
}

static int link_parents(struct survey_work *w, struct xk_err *err)
{
    struct vhd_survey *const s = w->s;
    struct survey_index index;

    const int code = survey_index_make(&index, s->count, err);
    if (code < 0)
        return code;
    for (size_t i = 0; i < s->count; i++)
        (void)survey_index_find(&index, s, s->images[i].dev, s->images[i].ino, i);
    for (size_t i = 0; i < s->count; i++) {
        const struct survey_link *const link = &w->links[i];
        if (link->has_parent && !vhd_uuid_is_null(s->images[i].header.parent_uuid))
            s->images[i].parent = survey_index_find(&index, s, link->parent_dev, link->parent_ino, VHD_NO_IMAGE);
    }
    survey_index_done(&index);
    list_children(s);
    return 0;
}

enum mark { UNSEEN, WALKING, DONE };

static unsigned root_depth(const struct survey_work *w, size_t n)
{
    const bool raw_parent = w->links[n].has_parent && vhd_uuid_is_null(w->s->images[n].header.parent_uuid);
    return raw_parent ? 2 : 1;
}

/* Give depths to the path from the root down: stack[count - 1] is the highest. depth is that of what lies below it. */
static void number_path(struct survey_work *w, const size_t *stack, size_t count, unsigned depth, uint8_t *marks)
{
    for (size_t i = count; i-- > 0;) {
        if (depth)
            depth++;
        w->s->images[stack[i]].depth = depth;
        marks[stack[i]] = DONE;
    }
}

static void report_loop(struct survey_work *w, size_t first)
{
    struct vhd_survey *const s = w->s;
    size_t length = 0;

    for (size_t n = first; length == 0 || n != first; n = s->images[n].parent)
        length++;
    for (size_t n = first, i = 0; i < length; n = s->images[n].parent, i++)
        vhd_problem_add(s->images[n].problems, VHD_P_LOOP, XK_CRITICAL, length,
                        length == 1 ? "it names itself (%s) as its parent"
                                    : "its parent %s leads back to it: the loop has %zu images",
                        s->images[s->images[n].parent].path, length);
}

static int find_depths(struct survey_work *w, struct xk_err *err)
{
    struct vhd_survey *const s = w->s;
    xk_autofree uint8_t *marks = xk_array_alloc(s->count, sizeof(*marks));
    xk_autofree size_t *stack = xk_array_alloc(s->count, sizeof(*stack));

    if (!marks || !stack)
        return xk_fail_memory(err);
    for (size_t i = 0; i < s->count; i++) {
        size_t count = 0, n = i;
        while (n != VHD_NO_IMAGE && marks[n] == UNSEEN) {
            marks[n] = WALKING;
            stack[count++] = n;
            n = s->images[n].parent;
        }
        if (count == 0)
            continue;
        if (n == VHD_NO_IMAGE) {
            const size_t root = stack[--count];
            s->images[root].depth = root_depth(w, root);
            marks[root] = DONE;
            number_path(w, stack, count, s->images[root].depth, marks);
        } else if (marks[n] == DONE) {
            number_path(w, stack, count, s->images[n].depth, marks);
        } else {
            report_loop(w, n);
            number_path(w, stack, count, 0, marks);
        }
    }
    return 0;
}

/* ---- an image and its parent ---- */

static void check_touched(struct survey_work *w, size_t n, const struct vhd_survey_image *parent)
{
    const struct vhd_survey_image *const image = &w->s->images[n];
    const int64_t stamp = vhd_unix_time(image->header.parent_timestamp);
    const int64_t after = w->links[n].parent_mtime - stamp;

    /*
     * XenServer hides a parent right after the snapshot and coalesces into hidden ones: their stamps say nothing. Other
     * writers store the parent's creation instead of its last change.
     */
    if (!image->header.parent_timestamp || parent->footer.hidden ||
        image->header.parent_timestamp == parent->footer.timestamp)
        return;
    if (after > TIME_SLACK_SECONDS)
        vhd_problem_add(image->problems, VHD_P_PARENT_TOUCHED, XK_NOTE, 1,
                        "the parent %.120s was changed at %s, %s after the snapshot: written to, or copied",
                        parent->path, xk_iso_time(w->links[n].parent_mtime).s,
                        xk_duration((uint64_t)after * XK_NS_PER_S).s);
}

static void check_parent(struct survey_work *w, size_t n)
{
    struct vhd_survey_image *const image = &w->s->images[n];
    const struct vhd_survey_image *const parent = &w->s->images[image->parent];

    if (!parent->usable) {
        vhd_problem_add(image->problems, VHD_P_PARENT_CHANGED, XK_CRITICAL, 1, "the parent %s is damaged or no VHD",
                        parent->path);
        return;
    }
    if (memcmp(image->header.parent_uuid, parent->footer.uuid, sizeof(parent->footer.uuid)) != 0) {
        vhd_problem_add(image->problems, VHD_P_PARENT_CHANGED, XK_CRITICAL, 1,
                        "made on the parent with UUID %s, but %.160s has %s", xk_uuid_text(image->header.parent_uuid).s,
                        parent->path, xk_uuid_text(parent->footer.uuid).s);
        return;
    }
    if (image->depth)
        check_touched(w, n, parent);
    if (image->footer.current_bytes < parent->footer.current_bytes)
        vhd_problem_add(image->problems, VHD_P_PARENT_SIZE, XK_WARNING,
                        parent->footer.current_bytes - image->footer.current_bytes,
                        "the disk has %" PRIu64 " bytes, its parent %.120s %" PRIu64, image->footer.current_bytes,
                        parent->path, parent->footer.current_bytes);
}

static void check_position(struct survey_work *w, size_t n)
{
    struct vhd_survey_image *const image = &w->s->images[n];

    if (image->depth > VHD_SURVEY_DEEP && image->children == 0)
        vhd_problem_add(image->problems, VHD_P_DEEP, XK_WARNING, image->depth,
                        "the chain has %u images, XenServer allows %d", image->depth, VHD_SURVEY_DEEP);
    if (image->usable && image->footer.hidden && image->children == 0 && image->from_folder && !image->outside)
        vhd_problem_add(image->problems, VHD_P_HIDDEN_LEAF, XK_WARNING, 1,
                        "it is hidden, which parents of snapshots are, but nothing is based on it; it takes %s",
                        xk_size(image->used_bytes).s);
    if (image->usable && image->footer.type == VHD_FIXED && image->used_bytes + SPARSE_SLACK < image->file_bytes)
        vhd_problem_add(image->problems, VHD_P_SPARSE, XK_NOTE, image->file_bytes - image->used_bytes,
                        "of its %s only %s have space on the file system", xk_size(image->file_bytes).s,
                        xk_size(image->used_bytes).s);
    if (image->depth == 0 && image->parent != VHD_NO_IMAGE) {
        for (size_t i = 0; i < image->problems->count; i++) {
            if (image->problems->items[i].kind == VHD_P_LOOP)
                return;
        }
        vhd_problem_add(image->problems, VHD_P_LOOP, XK_CRITICAL, 1, "the ancestors of its parent %s form a loop",
                        w->s->images[image->parent].path);
    }
}

/* ---- equal UUIDs ---- */

static uint64_t uuid_hash(const uint8_t uuid[16])
{
    uint64_t a, b;

    memcpy(&a, uuid, sizeof(a));
    memcpy(&b, uuid + sizeof(a), sizeof(b));
    a = (a ^ (b << 1)) * UINT64_C(0x9e3779b97f4a7c15);
    return a ^ a >> 29;
}

static int find_doubles(struct survey_work *w, struct xk_err *err)
{
    struct vhd_survey *const s = w->s;
    struct survey_index index;

    const int code = survey_index_make(&index, s->count, err);
    if (code < 0)
        return code;
    for (size_t i = 0; i < s->count; i++) {
        const struct vhd_survey_image *const image = &s->images[i];
        if (!image->usable || vhd_uuid_is_null(image->footer.uuid))
            continue;
        size_t slot = (size_t)uuid_hash(image->footer.uuid) & index.mask;
        while (index.slots[slot] && memcmp(s->images[index.slots[slot] - 1].footer.uuid, image->footer.uuid,
                                           sizeof(image->footer.uuid)) != 0)
            slot = (slot + 1) & index.mask;
        if (index.slots[slot] == 0) {
            index.slots[slot] = i + 1;
            continue;
        }
        vhd_problem_add(image->problems, VHD_P_DUPLICATE_UUID, XK_WARNING, 1, "UUID %s is that of %s, too",
                        xk_uuid_text(image->footer.uuid).s, s->images[index.slots[slot] - 1].path);
    }
    survey_index_done(&index);
    return 0;
}

/* ---- space ---- */

static uint64_t block_file_bytes(const struct vhd_survey_image *image)
{
    const uint64_t bitmap = XK_DIV_UP(XK_DIV_UP((uint64_t)image->header.block_bytes / VHD_SECTOR, 8), VHD_SECTOR);
    return image->header.block_bytes + bitmap * VHD_SECTOR;
}

static bool is_sparse(const struct vhd_survey_image *image)
{
    return image->usable && image->footer.type != VHD_FIXED;
}

static uint32_t count_shared(const struct survey_work *w, size_t n, size_t parent)
{
    const struct vhd_survey_image *const image = &w->s->images[n];
    const struct vhd_survey_image *const below = &w->s->images[parent];
    const uint8_t *const map = w->links[n].map;
    const uint8_t *const below_map = w->links[parent].map;
    const uint32_t blocks = XK_MIN(image->blocks, below->blocks);
    uint32_t shared = 0;

    if (blocks == 0 || image->header.block_bytes != below->header.block_bytes)
        return 0;
    if (!map || !below_map)
        return (uint32_t)((uint64_t)image->allocated * below->allocated / below->blocks);
    for (uint32_t i = 0; i < blocks / 8; i++)
        shared += (uint32_t)__builtin_popcount(map[i] & below_map[i]);
    for (uint32_t b = blocks / 8 * 8; b < blocks; b++)
        shared += vhd_bit(map, b) && vhd_bit(below_map, b);
    return shared;
}

uint64_t vhd_survey_coalesce_gain(const struct vhd_survey *s, size_t n)
{
    const struct vhd_survey_image *const image = &s->images[n];

    if (image->parent == VHD_NO_IMAGE || !is_sparse(image))
        return 0;
    /* Its file goes; the blocks that the parent has not got yet move over. */
    const uint64_t moved =
        (uint64_t)(image->allocated - XK_MIN(image->shared, image->allocated)) * block_file_bytes(image);
    return image->used_bytes > moved ? image->used_bytes - moved : 0;
}

static void check_coalesce(struct survey_work *w, size_t n)
{
    struct vhd_survey_image *const image = &w->s->images[n];
    const struct vhd_survey_image *const parent = &w->s->images[image->parent];

    if (!is_sparse(image) || !parent->usable || image->depth == 0 || !w->options->tables)
        return;
    image->shared = count_shared(w, n, image->parent);
    const uint64_t gain = vhd_survey_coalesce_gain(w->s, n);
    if (parent->footer.hidden && parent->children == 1 && !parent->outside && gain >= image->header.block_bytes)
        vhd_problem_add(image->problems, VHD_P_COALESCE, XK_NOTE, gain,
                        "it is the only child of the hidden %.120s; merging it down would free about %s (%" PRIu32
                        " of its %" PRIu32 " blocks are in both)",
                        parent->name, xk_size(gain).s, image->shared, image->allocated);
}

/* What the file can still grow by when the guest writes everywhere. Only leaves are written to. */
static uint64_t growth_of(const struct vhd_survey_image *image)
{
    if (!image->usable || image->children || image->outside || image->footer.hidden)
        return 0;
    uint64_t full;
    if (!is_sparse(image))
        full = image->footer.current_bytes;
    else if (image->data_end)
        full = image->data_end +
               (uint64_t)(image->blocks - XK_MIN(image->allocated, image->blocks)) * block_file_bytes(image);
    else if (xk_mul((uint64_t)image->blocks, block_file_bytes(image), &full))
        return 0;
    return full > image->used_bytes ? full - image->used_bytes : 0;
}

static int by_device(const void *one, const void *other)
{
    const struct vhd_survey_fs *const a = one;
    const struct vhd_survey_fs *const b = other;
    return (a->dev > b->dev) - (a->dev < b->dev);
}

static int sum_space(struct survey_work *w, struct xk_err *err)
{
    struct vhd_survey *const s = w->s;
    struct vhd_survey_fs *const list = xk_array_alloc(s->count, sizeof(*list));
    size_t count = 0, kept = 0;

    if (!list)
        return xk_fail_memory(err);
    for (size_t i = 0; i < s->count; i++) {
        const struct vhd_survey_image *const image = &s->images[i];
        if (image->usable && !image->outside)
            list[count++] =
                (struct vhd_survey_fs){.dev = image->dev, .example = image->path, .growth_bytes = growth_of(image)};
    }
    qsort(list, count, sizeof(*list), by_device);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || list[kept - 1].dev != list[i].dev) {
            list[kept++] = list[i];
        } else if (xk_add(list[kept - 1].growth_bytes, list[i].growth_bytes, &list[kept - 1].growth_bytes)) {
            list[kept - 1].growth_bytes = UINT64_MAX;
        }
    }
    for (size_t i = 0; i < kept; i++) {
        struct statvfs fs;
        if (statvfs(list[i].example, &fs) == 0) {
            list[i].free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
            list[i].total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
        }
    }
    s->file_systems = list;
    s->file_system_count = kept;
    return 0;
}

/* ---- all of it ---- */

/* Parents from elsewhere that were only looked at leave again. Their `depth` stays in those above them. */
static void forget_outside(struct survey_work *w, size_t *renumber)
{
    struct vhd_survey *const s = w->s;
    size_t kept = 0;

    for (size_t i = 0; i < s->count; i++) {
        renumber[i] = VHD_NO_IMAGE;
        if (s->images[i].outside) {
            vhd_problems_done(s->images[i].problems);
            free(XK_TAKE(w->links[i].map));
            continue;
        }
        renumber[i] = kept;
        s->images[kept] = s->images[i];
        w->links[kept] = w->links[i];
        kept++;
    }
    s->count = kept;
    for (size_t i = 0; i < kept; i++) {
        struct vhd_survey_image *const image = &s->images[i];
        if (image->parent != VHD_NO_IMAGE)
            image->parent = renumber[image->parent];
        image->first_child = image->next_sibling = VHD_NO_IMAGE;
        image->children = 0;
    }
    list_children(s);
}

int survey_link_trees(struct survey_work *w, struct xk_err *err)
{
    struct vhd_survey *const s = w->s;

    int code = link_parents(w, err);
    if (code == 0)
        code = find_depths(w, err);
    if (code == 0)
        code = find_doubles(w, err);
    if (code < 0)
        return code;
    for (size_t i = 0; i < s->count; i++) {
        check_position(w, i);
        if (s->images[i].parent != VHD_NO_IMAGE) {
            check_parent(w, i);
            check_coalesce(w, i);
        }
    }
    code = sum_space(w, err);
    if (code < 0)
        return code;
    if (!w->options->follow_parents) {
        xk_autofree size_t *renumber = xk_array_alloc(s->count, sizeof(*renumber));
        if (!renumber)
            return xk_fail_memory(err);
        forget_outside(w, renumber);
    }
    for (size_t i = 0; i < s->count; i++) {
        if (s->images[i].problems->error)
            return xk_fail_memory(err);
    }
    return 0;
}
