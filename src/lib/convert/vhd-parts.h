/*
 * What both kinds of VHD targets need.
 */
#ifndef CONVERT_VHD_PARTS_H
#define CONVERT_VHD_PARTS_H

#include "lib/convert/inner.h"
#include "lib/vhd/format.h"

int convert_check_vhd_size(uint64_t disk_bytes, struct xk_err *err);
int convert_too_small(const struct convert_target *t, uint64_t needed, struct xk_err *err);
/* A fresh UUID each time. */
void convert_vhd_footer(uint8_t ret[VHD_FOOTER_BYTES], const struct convert *how, enum vhd_type type,
                        uint64_t disk_bytes);

#endif
