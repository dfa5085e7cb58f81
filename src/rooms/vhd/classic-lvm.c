/*
 * Volumes of an inactive group have no device node. LVM says where each lies on its physical volume, and the image is
 * read there. vgs and lvs are asked, because reading LVM's own metadata from the disks would have to follow its locking
 * and its formats.
 *
 * The group's name is an argument of execvp(), never text for a shell.
 */
#include "rooms/vhd/classic-scan.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define ANSWER_BYTES_MAX (64u * XK_MIB)
#define VOLUMES_MAX      1000000u
#define PHYSICAL_MAX     10000u

/* ---- asking ---- */

static void become(const char *const *argv, int out)
{
    const int nothing = open("/dev/null", O_RDWR);
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(nothing, STDERR_FILENO) < 0 ||
        dup2(out, STDOUT_FILENO) < 0)
        _exit(127);
    execvp(argv[0], (char *const *)(uintptr_t)argv); /* which does not change them */
    _exit(127);
}

static int read_all(struct xk_buf *ret, int fd)
{
    char piece[16384];
    ssize_t got;

    while ((got = read(fd, piece, sizeof(piece))) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        xk_buf_add(ret, piece, (size_t)got);
    }
    return ret->error;
}

/* What a program prints on stdout; its errors and its status are not looked at, as the text shows what it could say. */
static int ask(struct xk_buf *ret, const char *const *argv)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    const pid_t child = fork();
    if (child == 0)
        become(argv, ends[1]);
    int code = child < 0 ? -errno : 0;
    close(ends[1]);
    if (code == 0)
        code = read_all(ret, ends[0]);
    close(ends[0]);
    if (child > 0) {
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    return code;
}

/* ---- understanding ---- */

/* The next line of a text, its words split off at blanks; false at the end. Too many words are left together. */
struct line {
    char *words[16];
    size_t count;
};

static bool next_line(char **text, struct line *ret)
{
    ret->count = 0;
    while (ret->count == 0) {
        char *line = strsep(text, "\n"), *rest = NULL;
        if (!line)
            return false;
        for (char *word = strtok_r(line, " \t", &rest); word && ret->count < XK_COUNT(ret->words);
             word = strtok_r(NULL, " \t", &rest))
            ret->words[ret->count++] = word;
    }
    return true;
}

struct physical {
    const char *name;
    uint64_t start;
};

struct group {
    const char *name;
    uint64_t extent_bytes, volumes, physical_count, known;
    struct physical *physical;
};

/* VG EXTENT-SIZE VOLUMES PHYSICAL-VOLUMES PHYSICAL-VOLUME START, one line for each physical volume. */
static int parse_group(struct group *ret, struct vhd_classic_group *g, char *text)
{
    struct line line;

    while (next_line(&text, &line)) {
        uint64_t start;
        if (line.count != 6 || strcmp(line.words[0], ret->name) != 0 ||
            !vhd_classic_number(&ret->extent_bytes, line.words[1]) ||
            !vhd_classic_number(&ret->volumes, line.words[2]) ||
            !vhd_classic_number(&ret->physical_count, line.words[3]) || !vhd_classic_number(&start, line.words[5]))
            return -EINVAL;
        if (ret->physical_count > PHYSICAL_MAX || ret->volumes > VOLUMES_MAX)
            return -EINVAL;
        if (!ret->physical)
            ret->physical = xk_arena_alloc(&g->arena, (size_t)(ret->physical_count + 1) * sizeof(*ret->physical));
        if (!ret->physical || ret->known >= ret->physical_count)
            return -ENOMEM;
        for (uint64_t n = 0; n < ret->known; n++) {
            if (strcmp(ret->physical[n].name, line.words[4]) == 0)
                return -EEXIST;
        }
        ret->physical[ret->known++] = (struct physical){line.words[4], start};
    }
    return ret->known > 0 && ret->known == ret->physical_count ? 0 : -EINVAL;
}

/* DEVICE(EXTENT), the first of a list with commas. */
static int parse_place(struct vhd_classic_volume *v, const struct group *group, char *devices)
{
    uint64_t extent, bytes;

    char *const comma = strchr(devices, ',');
    if (comma)
        *comma = '\0';
    char *const open = strchr(devices, '('), *const close = open ? strchr(open, ')') : NULL;
    if (!close)
        return -EINVAL;
    *open = *close = '\0';
    if (!vhd_classic_number(&extent, open + 1) || xk_mul(extent, group->extent_bytes, &bytes))
        return -EINVAL;
    for (uint64_t n = 0; n < group->known; n++) {
        if (strcmp(group->physical[n].name, devices) != 0)
            continue;
        v->device = group->physical[n].name;
        return xk_add(bytes, group->physical[n].start, &v->start) ? -EINVAL : 0;
    }
    return -EINVAL;
}

/* NAME SIZE TYPE SEGMENTS SEGMENT-START SEGMENT-SIZE DEVICES, one line for each segment. */
static int parse_volumes(struct vhd_classic_group *g, const struct group *group, char *text)
{
    struct line line;

    g->volumes = xk_arena_alloc(&g->arena, (size_t)(group->volumes + 1) * sizeof(*g->volumes));
    if (!g->volumes)
        return -ENOMEM;
    while (g->count < group->volumes && next_line(&text, &line)) {
        struct vhd_classic_volume *v = &g->volumes[g->count];
        uint64_t segment_start;
        if (line.count != 7 || !vhd_classic_number(&v->bytes, line.words[1]) ||
            !vhd_classic_number(&segment_start, line.words[4]) || !vhd_classic_number(&v->segment_bytes, line.words[5]))
            return -EINVAL;
        if (segment_start)
            continue;
        const int code = parse_place(v, group, line.words[6]);
        if (code < 0)
            return code;
        v->name = line.words[0];
        v->linear = strcmp(line.words[2], "linear") == 0;
        g->count++;
    }
    return 0;
}

static int ask_and_keep(char **ret, struct vhd_classic_group *g, const char *const *argv)
{
    xk_auto(xk_buf_done) struct xk_buf answer = XK_BUF_INIT(ANSWER_BYTES_MAX);

    const int code = ask(&answer, argv);
    if (code < 0)
        return code;
    *ret = xk_arena_strdup(&g->arena, xk_buf_str(&answer));
    return *ret ? 0 : -ENOMEM;
}

int vhd_classic_group_open(struct vhd_classic_group *ret, const struct vhd_classic *c, const char *name)
{
    struct group group = {.name = name};
    char *text = NULL;
    const char *const vgs[] = {"vgs",          name,
                               "--noheadings", "--nosuffix",
                               "--units=b",    "--options=vg_name,vg_extent_size,lv_count,pv_count,pv_name,pe_start",
                               "--unbuffered", NULL};
    const char *const lvs[] = {"lvs",          name,
                               "--noheadings", "--nosuffix",
                               "--units=b",    "--options=lv_name,lv_size,segtype,seg_count,seg_start,seg_size,devices",
                               "--unbuffered", NULL};

    *ret = (struct vhd_classic_group){.arena = XK_ARENA_INIT(4 * ANSWER_BYTES_MAX)};
    if (name[0] == '-') /* no group is called so, and the programs would take it for an option */
        return -EINVAL;
    int code = ask_and_keep(&text, ret, vgs);
    if (code == 0)
        code = parse_group(&group, ret, text);
    if (code == 0)
        code = ask_and_keep(&text, ret, lvs);
    if (code == 0)
        code = parse_volumes(ret, &group, text);
    if (code < 0) {
        vhd_classic_debug(c, "lvm: cannot make out volume group %s: %d", name, code);
        vhd_classic_group_close(ret);
    }
    return code;
}

void vhd_classic_group_close(struct vhd_classic_group *g)
{
    xk_arena_done(&g->arena);
    *g = (struct vhd_classic_group){0};
}
