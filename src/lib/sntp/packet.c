/* The packet. Times are unsigned seconds since 1900 in 32 bits, which wrap in 2036: only differences are taken. */
#include "lib/sntp/sntp.h"

#include "core/bytes.h"

#include <stdio.h>
#include <string.h>

#define LEAP_UNKNOWN    3
#define VERSION         4
#define MODE_CLIENT     3
#define MODE_SERVER     4
#define STRATUM_MAX     15
#define SHORT_UNIT      65536.0
#define UNIX_SINCE_1900 UINT32_C(2208988800)

void sntp_question(uint8_t ret[SNTP_PACKET_BYTES], const uint8_t stamp[8])
{
    memset(ret, 0, SNTP_PACKET_BYTES);
    ret[0] = VERSION << 3 | MODE_CLIENT;
    memcpy(ret + SNTP_PACKET_BYTES - 8, stamp, 8);
}

/* Letters for a kiss and for reference clocks, else the address of the server's server. */
static void show_reference(char ret[16], const uint8_t id[4], unsigned stratum)
{
    if (stratum >= 2) {
        snprintf(ret, 16, "%u.%u.%u.%u", id[0], id[1], id[2], id[3]);
        return;
    }
    size_t n = 0;
    for (; n < 4 && id[n] > ' ' && id[n] < 0x7f; n++)
        ret[n] = (char)id[n];
    ret[n] = '\0';
}

enum sntp_verdict sntp_reply_decode(struct sntp_reply *ret, const uint8_t *packet, size_t bytes, const uint8_t stamp[8])
{
    struct xk_reader r = xk_reader(packet, bytes);
    uint8_t id[4], origin[8];

    *ret = (struct sntp_reply){0};
    const uint8_t head = xk_u8(&r);
    ret->stratum = xk_u8(&r);
    xk_skip(&r, 2);
    const double delay_s = xk_be32(&r) / SHORT_UNIT;
    const double dispersion_s = xk_be32(&r) / SHORT_UNIT;
    xk_take_bytes(&r, id, sizeof(id));
    xk_skip(&r, 8);
    xk_take_bytes(&r, origin, sizeof(origin));
    ret->received = xk_be64(&r);
    ret->sent = xk_be64(&r);
    if (r.bad || (head & 7) != MODE_SERVER || (head >> 3 & 7) < 1 || (head >> 3 & 7) > VERSION ||
        memcmp(origin, stamp, sizeof(origin)) != 0)
        return SNTP_STRANGE;
    ret->root_distance_s = delay_s / 2 + dispersion_s;
    show_reference(ret->reference, id, ret->stratum);
    if (ret->stratum == 0) /* chronyd without a source says 0, too, and no code */
        return *ret->reference ? SNTP_KISS : SNTP_UNSYNCHRONISED;
    if (head >> 6 == LEAP_UNKNOWN || ret->stratum > STRATUM_MAX)
        return SNTP_UNSYNCHRONISED;
    if (!ret->received || !ret->sent)
        return SNTP_ZERO;
    return ret->root_distance_s < SNTP_DISTANCE_MAX ? SNTP_GOOD : SNTP_DISTANT;
}

/* From a local time to the server's, in seconds. Seconds are subtracted modulo 2^32, which picks the nearest era. */
static double seconds_from(int64_t local_ns, uint64_t stamp)
{
    const int64_t second = local_ns / (int64_t)XK_NS_PER_S - (local_ns % (int64_t)XK_NS_PER_S < 0);
    const int64_t ns = local_ns - second * (int64_t)XK_NS_PER_S;
    const int32_t seconds = (int32_t)((uint32_t)(stamp >> 32) - ((uint32_t)second + UNIX_SINCE_1900));

    return seconds + ((double)(uint32_t)stamp / 4294967296.0 - (double)ns / 1e9);
}

void sntp_weigh(double *ret_offset_s, double *ret_delay_s, const struct sntp_reply *reply, int64_t sent_ns,
                int64_t arrived_ns)
{
    const double there = seconds_from(sent_ns, reply->received);
    const double back = seconds_from(arrived_ns, reply->sent);

    *ret_offset_s = (there + back) / 2;
    *ret_delay_s = there - back;
}
