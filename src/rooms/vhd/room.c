/* The room of VHD images: which commands it has, under which classic name it answers, and what they share. */
#include "rooms/vhd/room.h"

static const struct xk_command *const commands[] = {
    &vhd_cmd_info,     &vhd_cmd_check,
    &vhd_cmd_scan,     &vhd_cmd_chain,
    &vhd_cmd_read,     &vhd_cmd_query,
    &vhd_cmd_create,   &vhd_cmd_snapshot,
    &vhd_cmd_coalesce, &vhd_cmd_map,
    &vhd_cmd_diff,     &vhd_cmd_compare,
    &vhd_cmd_hash,     &vhd_cmd_export_delta,
    &vhd_cmd_serve,    &vhd_cmd_mount,
    &vhd_cmd_convert,  &vhd_cmd_set,
    &vhd_cmd_modify,   &vhd_cmd_resize,
    &vhd_cmd_revert,   &vhd_cmd_fill,
    &vhd_cmd_copy,     &vhd_cmd_key,
    &vhd_cmd_repair,   NULL,
};

static const struct xk_classic *const classics[] = {
    &vhd_classic_vhd_util,
    NULL,
};

const struct xk_room vhd_room = {
    .name = "vhd",
    .summary = "VHD disk images: look, check, read, create, snapshot, merge, resize, repair",
    .commands = commands,
    .classics = classics,
};

void vhd_show_bytes(void *context, uint64_t done, uint64_t total)
{
    struct xk_prog *const progress = context;

    progress->total = total;
    xk_prog_set(progress, done);
}

void vhd_show_sectors(void *context, uint64_t done, uint64_t total)
{
    vhd_show_bytes(context, done * VHD_SECTOR, total * VHD_SECTOR);
}
