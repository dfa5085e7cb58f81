/*
 * Mounts and file systems, from /proc/self/mountinfo.
 *
 * A path's mount is found as the kernel finds it: down the path, at each component stepping into the mount that lies
 * there on top of the current one. The longest mount point that is a prefix of the path was weighed; it names a covered
 * mount when something was mounted over its parent.
 */
#include "lib/environment/environment.h"

#include "core/fs.h"
#include "core/text.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define MOUNTINFO_BYTES_MAX (8 * XK_MIB)
#define STACKED_MAX         64 /* mounts on one and the same point that are followed */

/* Undo \NNN in place. */
static void decode_octal(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        const bool octal = from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' &&
                           from[3] >= '0' && from[3] <= '7';
        const int byte = octal ? (from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0') : 0;
        *to = byte > 0 ? (char)byte : *from;
        from += byte > 0 ? 4 : 1;
    }
    *to = '\0';
}

static bool parse_unsigned(unsigned *ret, const char *word)
{
    uint64_t v;
    if (!isdigit((unsigned char)word[0]) || xk_parse_u64(&v, word) < 0 || v > UINT_MAX)
        return false;
    *ret = (unsigned)v;
    return true;
}

/*
 * 36 35 98:0 /inside /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 * The number of optional fields before the lone dash varies. The fields are cut out of `line` in place.
 */
static bool parse_line(struct environment_mount *ret, char *line)
{
    enum { ID, PARENT, DEVICE, INSIDE, POINT, OPTIONS, TYPE, SOURCE, SUPER_OPTIONS, FIELDS };
    char *field[FIELDS];
    for (size_t i = 0; i < FIELDS; i++) {
        if (i == TYPE) {
            const char *optional;
            do
                optional = strsep(&line, " ");
            while (optional && strcmp(optional, "-") != 0);
        }
        field[i] = strsep(&line, " ");
        if (!field[i])
            return false;
    }
    char *minor = field[DEVICE];
    const char *major = strsep(&minor, ":");
    if (!minor || field[POINT][0] != '/' || !parse_unsigned(&ret->id, field[ID]) ||
        !parse_unsigned(&ret->parent, field[PARENT]) || !parse_unsigned(&ret->major, major) ||
        !parse_unsigned(&ret->minor, minor))
        return false;
    for (size_t i = INSIDE; i < FIELDS; i++)
        decode_octal(field[i]);
    ret->inside = field[INSIDE];
    ret->point = field[POINT];
    ret->options = field[OPTIONS];
    ret->type = field[TYPE];
    ret->source = field[SOURCE];
    ret->super_options = field[SUPER_OPTIONS];
    return true;
}

int environment_mounts_read(struct environment_mounts *ret, const char *root, struct xk_err *err)
{
    *ret = (struct environment_mounts){.arena = XK_ARENA_INIT(2 * MOUNTINFO_BYTES_MAX)};
    xk_autofree char *text = NULL;
    const int rc = xk_slurp(&text, root, "/proc/self/mountinfo", MOUNTINFO_BYTES_MAX, err);
    if (rc < 0)
        return rc;
    size_t lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    char *kept = xk_arena_strdup(&ret->arena, text);
    ret->items = xk_arena_alloc(&ret->arena, XK_MIN(lines + 1, (size_t)ENVIRONMENT_MOUNTS_MAX) * sizeof(*ret->items));
    if (!kept || !ret->items)
        return xk_fail_memory(err);
    for (char *line; (line = strsep(&kept, "\n"));) {
        if (line[0] == '\0')
            continue;
        if (ret->count < ENVIRONMENT_MOUNTS_MAX && parse_line(&ret->items[ret->count], line))
            ret->count++;
        else
            ret->left_off++;
    }
    return 0;
}

void environment_mounts_done(struct environment_mounts *m)
{
    xk_arena_done(&m->arena);
    *m = (struct environment_mounts){0};
}

/* Does the mount point equal the first `bytes` of the path ("/" when there are none)? */
static bool is_at(const struct environment_mount *mount, const char *path, size_t bytes)
{
    if (bytes == 0)
        return strcmp(mount->point, "/") == 0;
    return strncmp(mount->point, path, bytes) == 0 && mount->point[bytes] == '\0';
}

/* The mount that lies on `below` at this point; NULL `below`: the one at the root of all that are listed. */
static const struct environment_mount *on_top(const struct environment_mounts *m, const struct environment_mount *below,
                                              const char *path, size_t bytes)
{
    const struct environment_mount *found = NULL;
    for (size_t i = 0; i < m->count; i++) {
        const struct environment_mount *mount = &m->items[i];
        if (mount == below || !is_at(mount, path, bytes))
            continue;
        if (below ? mount->parent == below->id : !found)
            found = mount;
    }
    return found;
}

const struct environment_mount *environment_mount_of(const struct environment_mounts *m, const char *path)
{
    const struct environment_mount *current = on_top(m, NULL, path, 0);
    unsigned stacked = STACKED_MAX;
    for (size_t end = 0;;) {
        const struct environment_mount *above = on_top(m, current, path, end);
        if (above && stacked > 0) {
            current = above;
            stacked--;
            continue;
        }
        stacked = STACKED_MAX;
        if (path[end] == '\0' || strcmp(path + end, "/") == 0)
            return current;
        const char *slash = strchr(path + end + 1, '/');
        end = slash ? (size_t)(slash - path) : strlen(path);
    }
}

bool environment_option_is_set(const char *options, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = options; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, length) == 0 && (at[length] == '\0' || at[length] == ','))
            return true;
    }
    return false;
}

int environment_file_system_read(struct environment_file_system *ret, const char *root,
                                 const struct environment_system *system, const char *path, struct xk_err *err)
{
    /* Below a root of fixtures links cannot be followed as the machine would, so the path is taken as it is. */
    xk_autofree char *resolved = root[0] == '\0' ? realpath(path, NULL) : xk_strdup(path);
    if (!resolved)
        return errno == ENOMEM ? xk_fail_memory(err) : xk_fail_sys(err, -errno, "%s: cannot be looked up", path);
    if (resolved[0] != '/')
        return xk_fail(err, -EINVAL, "%s: not an absolute path", path);
    struct statfs sizes;
    const int rc = system->statfs(system, resolved, &sizes);
    if (rc < 0)
        return xk_fail_sys(err, rc, "%s: cannot ask for the file system's size", path);

    xk_auto(environment_mounts_done) struct environment_mounts mounts;
    struct xk_err ignored;
    const int listed = environment_mounts_read(&mounts, root, &ignored);
    if (listed == -ENOMEM)
        return xk_fail_memory(err);
    const struct environment_mount *mount = environment_mount_of(&mounts, resolved);

    const uint64_t block = sizes.f_frsize > 0 ? (uint64_t)sizes.f_frsize : (uint64_t)sizes.f_bsize;
    *ret = (struct environment_file_system){
        .block_bytes = block,
        .inodes = sizes.f_files,
        .inodes_free = sizes.f_ffree,
        .magic = (uint64_t)sizes.f_type,
    };
    if (xk_mul(block, (uint64_t)sizes.f_blocks, &ret->size_bytes) ||
        xk_mul(block, (uint64_t)sizes.f_bfree, &ret->free_bytes) ||
        xk_mul(block, (uint64_t)sizes.f_bavail, &ret->available_bytes))
        return xk_fail(err, -EOVERFLOW, "%s: the file system says it is larger than a number of 64 bits", path);
    (void)snprintf(ret->path, sizeof(ret->path), "%s", resolved);
    if (mount) {
        (void)snprintf(ret->point, sizeof(ret->point), "%s", mount->point);
        (void)snprintf(ret->type, sizeof(ret->type), "%s", mount->type);
        (void)snprintf(ret->source, sizeof(ret->source), "%s", mount->source);
        (void)snprintf(ret->options, sizeof(ret->options), "%s,%s", mount->options, mount->super_options);
    }
    return 0;
}
