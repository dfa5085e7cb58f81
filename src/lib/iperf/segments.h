/* Many datagrams in one call of the kernel. */
#ifndef LIB_IPERF_SEGMENTS_H
#define LIB_IPERF_SEGMENTS_H

#include "core/base.h"

#include <sys/types.h>

/*
 * Send `count` datagrams of `block` bytes each, which lie behind each other at `data` (UDP_SEGMENT).
 *
 * returns   how many left; -1 with errno: EIO, EINVAL, EMSGSIZE, EOPNOTSUPP and ENOPROTOOPT where that is not possible.
 */
ssize_t iperf_send_segments(int fd, uint8_t *data, uint16_t block, unsigned count);

#endif
