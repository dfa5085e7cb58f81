/*
 * A disk that comes through a pipe: raw, or a fixed VHD, which is a raw disk with its footer behind it.
 */
#ifndef ROOM_VHD_PIPE_H
#define ROOM_VHD_PIPE_H

#include "rooms/vhd/room.h"

#include "lib/vhd/format.h"
#include "lib/volume/volume.h"

#define PIPE_MARK_BYTES 8

struct pipe_input {
    int fd;
    enum volume_format format; /* as the user said; VOLUME_AUTO becomes what it was when the end has come */
    struct xk_log *log;

    uint8_t mark[PIPE_MARK_BYTES]; /* how it begins */
    size_t marked;
    uint8_t held[VHD_FOOTER_BYTES]; /* the last bytes that came: perhaps a footer */
    size_t held_bytes;
    uint64_t came;
    bool ended;
};

/*
 * For struct convert: the next bytes of the disk.
 * context   a struct pipe_input
 * returns   how many there are, 0 at the end; or -EINVAL: it is an image that cannot be read from a pipe; -EBADMSG: it
 *           was said to be a VHD and does not end like one, or an unfinished resize disabled it
 */
ssize_t vhd_pipe_pull(void *context, void *buf, size_t bytes, struct xk_err *err);

#endif
