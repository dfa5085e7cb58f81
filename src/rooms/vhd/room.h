/*
 * What the files of this room share: its commands, and the words their options have in common.
 */
#ifndef ROOM_VHD_H
#define ROOM_VHD_H

#include "core/room.h"
#include "lib/vhd/survey.h"

extern const struct xk_room vhd_room;

extern const struct xk_command vhd_cmd_info, vhd_cmd_check, vhd_cmd_scan, vhd_cmd_chain, vhd_cmd_read, vhd_cmd_query,
    vhd_cmd_create, vhd_cmd_snapshot, vhd_cmd_coalesce, vhd_cmd_map, vhd_cmd_diff, vhd_cmd_compare, vhd_cmd_hash,
    vhd_cmd_export_delta, vhd_cmd_serve, vhd_cmd_convert, vhd_cmd_set, vhd_cmd_modify, vhd_cmd_resize, vhd_cmd_revert,
    vhd_cmd_fill, vhd_cmd_copy, vhd_cmd_key, vhd_cmd_repair, vhd_cmd_mount;
extern const struct xk_classic vhd_classic_vhd_util;

/* A library's progress for the progress line: context is the struct xk_prog. */
void vhd_show_bytes(void *context, uint64_t done, uint64_t total);
void vhd_show_sectors(void *context, uint64_t done, uint64_t total);

/* Where an option says the same in several commands, it is the same row. `type` is the command's struct. */
#define VHD_OPT_CHAIN_ROOT(type)                                                                                       \
    XK_OPT_TEXT(0, "chain-root", type, chain_root, "DIR", "refuse parents that lie outside DIR")
/* For commands that take any format; needs lib/volume/volume.h. */
#define VHD_OPT_FORMAT(type)                                                                                           \
    XK_OPT_CHOICE('f', "format", type, format, "FORMAT", volume_format_names, "what the image is [auto]")

#endif
