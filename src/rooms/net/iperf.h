/* What the files of the classic `iperf` (2.x) share: its options, and what draws a test as text. */
#ifndef NET_IPERF_H
#define NET_IPERF_H

#include "core/room.h"
#include "lib/iperf/iperf2.h"

#define IPERF2_TEXT_MAX (64u << 10) /* of one line, or of some that belong together */

struct iperf2 {
    struct xk_app *app;
    struct iperf2_settings settings;
    char format; /* b k m g B K M G, or 'a': whichever fits */
    bool csv, hide_addresses, print_mss, single_udp, daemon;
    bool no_connections, no_data, no_sums, no_settings, no_relays; /* -x */
    const char *output;
    int fd;            /* of --output; -1: standard output and error */
    uint32_t headings; /* that were shown since all was idle */
    struct xk_buf line;
};

extern const struct iperf2_events iperf2_text_events;
/* A line to where errors go. */
void iperf2_text_complain(struct iperf2 *o, const char *format, ...) XK_PRINTF(2, 3);

extern const struct xk_classic net_classic_iperf;

#endif
