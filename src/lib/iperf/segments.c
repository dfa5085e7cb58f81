/* Segmentation by the kernel, or by the card: the wire does not show how the datagrams were handed over. */
#include "lib/iperf/segments.h"

#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

ssize_t iperf_send_segments(int fd, uint8_t *data, uint16_t block, unsigned count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec vector = {data, (size_t)block * count};
    struct msghdr m = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *const c = CMSG_FIRSTHDR(&m);

    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof(block));
    memcpy(CMSG_DATA(c), &block, sizeof(block));
    const ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
    return n < 0 ? n : n / block;
}
