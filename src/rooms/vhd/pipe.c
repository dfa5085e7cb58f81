/*
 * What a stream is shows at its end, where a fixed VHD has its footer. The last 512 bytes that came are always held
 * back, and handed on only when the end has shown that they belong to the disk. The other way, cutting the target
 * when it is done, would not do for a target that is a pipe, or one whose tables have the size in them.
 *
 * A disk may hold anything at its end, another disk's footer, too: only one that names exactly the bytes that stand
 * before it is taken away.
 */
#include "rooms/vhd/pipe.h"

#include "core/clock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A pipe with a qcow2 in it would become a disk that begins with a qcow2 header. */
static int check_mark(const struct pipe_input *in, struct xk_err *err)
{
    const bool image = memcmp(in->mark, "vhdxfile", 8) == 0 || memcmp(in->mark, VHD_COOKIE, 8) == 0 ||
                       memcmp(in->mark, VHD_COOKIE_POISON, 8) == 0 || memcmp(in->mark, "QFI\xfb", 4) == 0;

    if (!image)
        return 0;
    return xk_fail(err, -EINVAL,
                   "standard input is a disk image, not a raw disk; only a raw disk or a fixed VHD can be read from "
                   "a pipe (--from raw takes it as it is)");
}

static int note_mark(struct pipe_input *in, const uint8_t *bytes, size_t count, struct xk_err *err)
{
    if (in->marked == sizeof(in->mark))
        return 0;
    const size_t more = XK_MIN(count, sizeof(in->mark) - in->marked);
    memcpy(in->mark + in->marked, bytes, more);
    in->marked += more;
    return in->marked == sizeof(in->mark) ? check_mark(in, err) : 0;
}

static ssize_t read_some(const struct pipe_input *in, void *buf, size_t bytes, struct xk_err *err)
{
    ssize_t got;

    do
        got = read(in->fd, buf, bytes);
    while (got < 0 && errno == EINTR && !xk_stop_signal());
    return got < 0 ? xk_fail_sys(err, -errno, "standard input") : got;
}

/* ---- the end ---- */

/* A footer at the end of the stream. returns its bytes, or 0. */
static size_t find_footer(struct vhd_footer *ret, const struct pipe_input *in)
{
    const size_t bytes =
        in->came % VHD_SECTOR == VHD_SHORT_FOOTER_BYTES ? VHD_SHORT_FOOTER_BYTES : (size_t)VHD_FOOTER_BYTES;
    uint8_t sector[VHD_FOOTER_BYTES] = {0};
    char text[128];

    if (in->held_bytes < bytes)
        return 0;
    memcpy(sector, in->held + in->held_bytes - bytes, bytes);
    vhd_footer_decode(ret, sector);
    return vhd_footer_problem(ret, text, sizeof(text)) ? 0 : bytes;
}

static int take_footer(struct pipe_input *in, const struct vhd_footer *f, size_t bytes, struct xk_err *err)
{
    const uint64_t disk_bytes = in->came - bytes;

    if (f->type == VHD_FIXED && f->current_bytes == disk_bytes) {
        if (memcmp(f->cookie, VHD_COOKIE_POISON, sizeof(f->cookie)) == 0)
            return xk_fail(err, -EBADMSG, "standard input: an unfinished resize disabled the image; revert it first");
        if (in->format == VOLUME_AUTO)
            xk_log(in->log, XK_LOG_WARN,
                   "standard input is a fixed VHD: its footer was left away (--from raw keeps it)");
        in->format = VOLUME_VHD;
        in->held_bytes -= bytes;
        return 0;
    }
    if (in->format == VOLUME_VHD)
        return xk_fail(err, -EBADMSG, "standard input: its footer is that of a %s VHD of %llu bytes, and %llu came",
                       vhd_type_name(f->type), (unsigned long long)f->current_bytes, (unsigned long long)disk_bytes);
    xk_log(in->log, XK_LOG_WARN,
           "standard input ends in the footer of a %s VHD of %llu bytes, and %llu came before it: taken for a raw disk",
           vhd_type_name(f->type), (unsigned long long)f->current_bytes, (unsigned long long)disk_bytes);
    return 0;
}

static int look_at_end(struct pipe_input *in, struct xk_err *err)
{
    struct vhd_footer f;
    int code = 0;

    in->ended = true;
    const size_t bytes = find_footer(&f, in);
    if (bytes)
        code = take_footer(in, &f, bytes, err);
    else if (in->format == VOLUME_VHD)
        code = xk_fail(err, -EBADMSG, "standard input does not end in the footer of a fixed VHD");
    if (in->format == VOLUME_AUTO)
        in->format = VOLUME_RAW;
    return code;
}

/* ---- holding back ---- */

/* Up to `bytes` of what is held. */
static size_t give_held(struct pipe_input *in, void *buf, size_t bytes)
{
    const size_t given = XK_MIN(bytes, in->held_bytes);

    memcpy(buf, in->held, given);
    in->held_bytes -= given;
    memmove(in->held, in->held + given, in->held_bytes);
    return given;
}

/*
 * Read behind what is held, and hold the last bytes of both.
 * buf       has room for more than can be held
 * ret       how many bytes at its start are the disk's
 * returns   as read(2)
 */
static ssize_t read_behind(struct pipe_input *in, uint8_t *buf, size_t bytes, size_t *ret, struct xk_err *err)
{
    const ssize_t got = read_some(in, buf + in->held_bytes, bytes - in->held_bytes, err);

    if (got <= 0)
        return got;
    const int code = note_mark(in, buf + in->held_bytes, (size_t)got, err);
    if (code < 0)
        return code;
    memcpy(buf, in->held, in->held_bytes);
    in->came += (size_t)got;
    const size_t all = in->held_bytes + (size_t)got;
    in->held_bytes = XK_MIN(all, sizeof(in->held));
    *ret = all - in->held_bytes;
    memcpy(in->held, buf + *ret, in->held_bytes);
    return got;
}

ssize_t vhd_pipe_pull(void *context, void *buf, size_t bytes, struct xk_err *err)
{
    struct pipe_input *const in = context;
    uint8_t small[2 * sizeof(in->held)];
    size_t given = 0;

    if (in->format == VOLUME_RAW && !in->ended)
        return read_some(in, buf, bytes, err);
    while (!in->ended && given == 0) {
        const bool roomy = bytes > sizeof(in->held);
        ssize_t got = read_behind(in, roomy ? buf : small, roomy ? bytes : in->held_bytes + bytes, &given, err);
        if (got == 0)
            got = look_at_end(in, err);
        if (got < 0)
            return got;
        if (!roomy)
            memcpy(buf, small, given);
    }
    return given ? (ssize_t)given : (ssize_t)give_held(in, buf, bytes);
}
