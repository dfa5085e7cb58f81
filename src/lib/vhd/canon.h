/*
 * The one name of a file under which images know each other.
 */
#ifndef VHD_CANON_H
#define VHD_CANON_H

#include "core/base.h"

/*
 * Like realpath(3), but logical volumes keep a name that survives a reboot: /dev/VG/LV and /dev/mapper/VG-LV both
 * become /dev/mapper/VG-LV, where realpath would give /dev/dm-7. A DRBD volume named below /dev/drbd/by-res keeps that
 * name.
 *
 * path      must exist.
 * returns   the caller frees it; NULL with errno set.
 */
char *vhd_canonical_path(const char *path) XK_MUST_USE;

#endif
