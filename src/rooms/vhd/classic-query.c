/*
 * vhd-util query: single facts, always in the order v s p f m d a S whatever the order of the letters. A fact that
 * cannot be had prints its error in its place and the others go on; the status is the first error's.
 */
#include "rooms/vhd/classic-image.h"

#include <inttypes.h>

struct query {
    const char *name;
    bool size, physical, parent, fields, marker, depth, allocated, fast_resize, unresolved;
};

static int query_physical(struct vhd_classic *c, struct vhd_classic_image *i)
{
    uint64_t end;
    const int code = vhd_classic_end_of_data(i, &end);
    if (code < 0)
        vhd_classic_say(c, "failed to get physical size: %d\n", code);
    else
        vhd_classic_say(c, "%" PRIu64 "\n", end + VHD_FOOTER_BYTES);
    return code;
}

static int query_parent(struct vhd_classic *c, const struct vhd_classic_image *i, const struct query *q)
{
    xk_autofree char *parent = NULL;

    if (i->footer.type != VHD_DIFFERENCING) {
        vhd_classic_say(c, "%s has no parent\n", q->name);
        return 0;
    }
    const int code = vhd_classic_parent(i, !q->unresolved, &parent);
    vhd_classic_say(c, "%s\n", code < 0 ? "query failed" : vhd_classic_clean(c, parent));
    return code;
}

static int query_fields(struct vhd_classic *c, struct vhd_classic_image *i)
{
    uint8_t hidden;
    const int code = vhd_classic_image_hidden(i, &hidden);
    if (code < 0)
        vhd_classic_say(c, "error checking 'hidden' field: %d\n", code);
    else
        vhd_classic_say(c, "hidden: %d\n", (int8_t)hidden);
    return code;
}

static int query_marker(struct vhd_classic *c, struct vhd_classic_image *i)
{
    uint8_t marker;
    const int code = vhd_classic_image_marker(i, &marker);
    if (code < 0)
        vhd_classic_say(c, "error checking 'marker' field: %d\n", code);
    else
        vhd_classic_say(c, "marker: %d\n", (int8_t)marker);
    return code;
}

static int query_depth(struct vhd_classic *c, struct vhd_classic_image *i)
{
    unsigned depth;
    const int code = vhd_classic_depth(i, &depth);
    if (code < 0)
        vhd_classic_say(c, "error checking chain depth: %d\n", code);
    else
        vhd_classic_say(c, "chain depth: %u\n", depth);
    return code;
}

static int query_allocated(struct vhd_classic *c, struct vhd_classic_image *i)
{
    const int code = vhd_classic_image_read_bat(i);
    if (code < 0) {
        vhd_classic_say(c, "error reading bat: %d\n", code);
        return code;
    }
    uint32_t used = 0;
    for (uint32_t n = 0; n < i->blocks; n++)
        used += i->bat[n] != VHD_BAT_FREE;
    vhd_classic_say(c, "%u\n", used);
    return 0;
}

static int first(int result, int code)
{
    return result ? result : code;
}

static int answer(struct vhd_classic *c, struct vhd_classic_image *i, const struct query *q)
{
    int result = 0;

    if (q->size)
        vhd_classic_say(c, "%" PRIu64 "\n", i->footer.current_bytes / XK_MIB);
    if (q->physical)
        result = query_physical(c, i);
    if (q->parent)
        result = first(result, query_parent(c, i, q));
    if (q->fields)
        result = first(result, query_fields(c, i));
    if (q->marker)
        result = first(result, query_marker(c, i));
    if (q->depth)
        result = first(result, query_depth(c, i));
    if (q->allocated)
        result = first(result, query_allocated(c, i));
    if (q->fast_resize)
        vhd_classic_say(c, "%" PRIu64 "\n", (uint64_t)i->header.max_entries * i->header.block_bytes / XK_MIB);
    return result;
}

static int usage(struct vhd_classic *c, int result)
{
    vhd_classic_say(c, "options: <-n name> [-v print virtual size (in MB)] "
                       "[-s print physical utilization (bytes)] [-p print parent] "
                       "[-f print fields] [-m print marker] [-d print chain depth] "
                       "[-S print max virtual size (MB) for fast resize] "
                       "[-a print allocated block count] "
                       "[-u don't resolve parent path] "
                       "[-h help]\n");
    return result;
}

int vhd_classic_query(struct vhd_classic *c, int argc, char **argv)
{
    struct query q = {0};
    struct vhd_classic_image image;
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:vspfdSmauh");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            q.name = o.value;
            break;
        case 'v':
            q.size = true;
            break;
        case 's':
            q.physical = true;
            break;
        case 'p':
            q.parent = true;
            break;
        case 'f':
            q.fields = true;
            break;
        case 'd':
            q.depth = true;
            break;
        case 'S':
            q.fast_resize = true;
            break;
        case 'm':
            q.marker = true;
            break;
        case 'a':
            q.allocated = true;
            break;
        case 'u':
            q.unresolved = true;
            break;
        case 'h':
            return usage(c, 0);
        default:
            return usage(c, -EINVAL);
        }
    }
    if (!q.name || o.operand_count > 0)
        return usage(c, -EINVAL);

    const int code = vhd_classic_image_open(&image, c, q.name, VHD_CLASSIC_READ | VHD_CLASSIC_POISONED);
    if (code < 0) {
        vhd_classic_say(c, "error opening %s: %d\n", q.name, code);
        return code;
    }
    const int result = answer(c, &image, &q);
    vhd_classic_image_close(&image);
    return result;
}
