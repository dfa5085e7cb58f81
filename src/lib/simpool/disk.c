/*
 * What disks hold, in memory: for each disk an ascending list of pieces that are not all zeros. A piece counts its
 * users, so that a snapshot or a clone of a disk costs a list, and a piece is copied when one of several users writes.
 *
 * A disk with a hash of pieces was weighed: imports write from front to back, which for a list is an append, and a
 * list tells by itself what comes next.
 */
#include "lib/simpool/disk.h"
#include "lib/simpool/ops.h"

#include "core/bytes.h"

struct block {
    uint32_t users;
    uint8_t bytes[SIM_DISK_PIECE];
};

struct piece {
    uint64_t number;
    struct block *block;
};

struct sim_disk {
    struct piece *pieces;
    size_t count, capacity;
};

static void block_unref(struct simpool *p, struct block *b)
{
    if (--b->users > 0)
        return;
    p->disk_bytes -= sizeof(b->bytes);
    free(b);
}

static struct block *block_new(struct simpool *p)
{
    struct block *const b = p->disk_bytes + SIM_DISK_PIECE > SIM_DISKS_MEMORY_MAX ? NULL : xk_zalloc(sizeof(*b));

    if (!b)
        return NULL;
    b->users = 1;
    p->disk_bytes += sizeof(b->bytes);
    return b;
}

void sim_disk_free(struct simpool *p, struct sim_disk *disk)
{
    if (!disk)
        return;
    for (size_t i = 0; i < disk->count; i++)
        block_unref(p, disk->pieces[i].block);
    free(disk->pieces);
    free(disk);
}

/* The place of the first piece with that number or a higher one. */
static size_t place_of(const struct sim_disk *disk, uint64_t number)
{
    size_t from = 0, to = disk ? disk->count : 0;

    while (from < to) {
        const size_t middle = from + (to - from) / 2;
        if (disk->pieces[middle].number < number)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct piece *piece_at(const struct sim_disk *disk, uint64_t number)
{
    const size_t at = place_of(disk, number);

    return disk && at < disk->count && disk->pieces[at].number == number ? &disk->pieces[at] : NULL;
}

static int reserve(struct sim_disk *disk, size_t count)
{
    if (count <= disk->capacity)
        return 0;
    const size_t more = XK_MAX(count, 2 * disk->capacity + 16);
    struct piece *const pieces = xk_realloc(disk->pieces, more * sizeof(*pieces));
    if (!pieces)
        return -ENOMEM;
    disk->pieces = pieces;
    disk->capacity = more;
    return 0;
}

/* A block that the disk alone has, for one of its pieces. returns   0; -ENOSPC; -ENOMEM. */
static int own_block(struct simpool *p, struct sim_disk *disk, uint64_t number, struct block **ret)
{
    struct piece *const old = piece_at(disk, number);

    if (old && old->block->users == 1) {
        *ret = old->block;
        return 0;
    }
    if (!old && reserve(disk, disk->count + 1) < 0)
        return -ENOMEM;
    struct block *const b = block_new(p);
    if (!b)
        return -ENOSPC;
    if (old) {
        memcpy(b->bytes, old->block->bytes, sizeof(b->bytes));
        block_unref(p, old->block);
        old->block = b;
    } else {
        const size_t at = place_of(disk, number);
        memmove(disk->pieces + at + 1, disk->pieces + at, (disk->count - at) * sizeof(*disk->pieces));
        disk->pieces[at] = (struct piece){.number = number, .block = b};
        disk->count++;
    }
    *ret = b;
    return 0;
}

static void piece_remove(struct simpool *p, struct sim_disk *disk, uint64_t number)
{
    const size_t at = place_of(disk, number);

    if (at >= disk->count || disk->pieces[at].number != number)
        return;
    block_unref(p, disk->pieces[at].block);
    memmove(disk->pieces + at, disk->pieces + at + 1, (disk->count - at - 1) * sizeof(*disk->pieces));
    disk->count--;
}

static int memory_write(struct simpool *p, struct sim_object *vdi, const uint8_t *bytes, size_t count, uint64_t start)
{
    struct block *b;

    if (!vdi->disk && !(vdi->disk = xk_zalloc(sizeof(*vdi->disk))))
        return -ENOMEM;
    for (size_t part; count > 0; bytes += part, count -= part, start += part) {
        const uint64_t number = start / SIM_DISK_PIECE;
        const size_t inside = (size_t)(start % SIM_DISK_PIECE);
        part = XK_MIN(count, SIM_DISK_PIECE - inside);
        const bool zeros = xk_is_zero(bytes, part);
        if (zeros && (part == SIM_DISK_PIECE || !piece_at(vdi->disk, number))) {
            piece_remove(p, vdi->disk, number);
            continue;
        }
        const int code = own_block(p, vdi->disk, number, &b);
        if (code < 0)
            return code;
        memcpy(b->bytes + inside, bytes, part);
    }
    return 0;
}

static void memory_read(const struct sim_object *vdi, uint8_t *ret, size_t bytes, uint64_t start)
{
    for (size_t part; bytes > 0; ret += part, bytes -= part, start += part) {
        const size_t inside = (size_t)(start % SIM_DISK_PIECE);
        part = XK_MIN(bytes, SIM_DISK_PIECE - inside);
        const struct piece *const piece = piece_at(vdi->disk, start / SIM_DISK_PIECE);
        if (piece)
            memcpy(ret, piece->block->bytes + inside, part);
        else
            memset(ret, 0, part);
    }
}

static int memory_share(struct simpool *p, const struct sim_object *from, struct sim_object *to)
{
    struct sim_disk *const copy = from->disk ? xk_zalloc(sizeof(*copy)) : NULL;

    if (from->disk && (!copy || reserve(copy, from->disk->count) < 0)) {
        free(copy);
        return -ENOMEM;
    }
    for (size_t i = 0; copy && i < from->disk->count; i++) {
        copy->pieces[copy->count] = from->disk->pieces[i];
        copy->pieces[copy->count++].block->users++;
    }
    sim_disk_free(p, to->disk);
    to->disk = copy;
    return 0;
}

/* ---- either way ---- */

static const char *name_of(const struct sim_object *vdi)
{
    return sim_text(vdi, "uuid");
}

int sim_disk_read(const struct simpool *p, const struct sim_object *vdi, void *ret, size_t bytes, uint64_t start)
{
    if (p->disk_folder)
        return sim_disk_file_read(p, name_of(vdi), ret, bytes, start);
    memory_read(vdi, ret, bytes, start);
    return 0;
}

int sim_disk_write(struct simpool *p, struct sim_object *vdi, const void *bytes, size_t count, uint64_t start)
{
    return p->disk_folder ? sim_disk_file_write(p, name_of(vdi), bytes, count, start)
                          : memory_write(p, vdi, bytes, count, start);
}

bool sim_disk_next(const struct simpool *p, const struct sim_object *vdi, uint64_t from, uint64_t *ret_start,
                   uint64_t *ret_end)
{
    if (p->disk_folder)
        return sim_disk_file_next(p, name_of(vdi), from, ret_start, ret_end);
    const size_t at = place_of(vdi->disk, from / SIM_DISK_PIECE);
    if (!vdi->disk || at >= vdi->disk->count)
        return false;
    const uint64_t start = vdi->disk->pieces[at].number * SIM_DISK_PIECE;
    *ret_start = XK_MAX(start, from);
    *ret_end = start + SIM_DISK_PIECE;
    return true;
}

uint64_t sim_disk_held(const struct simpool *p, const struct sim_object *vdi)
{
    if (p->disk_folder)
        return sim_disk_file_held(p, name_of(vdi));
    return vdi->disk ? (uint64_t)vdi->disk->count * SIM_DISK_PIECE : 0;
}

int sim_disk_share(struct simpool *p, const struct sim_object *from, struct sim_object *to)
{
    return p->disk_folder ? sim_disk_file_share(p, name_of(from), name_of(to)) : memory_share(p, from, to);
}
