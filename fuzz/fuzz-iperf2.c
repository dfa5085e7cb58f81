/*
 * What a peer of iperf 2 may send: the header of a connection, as it comes byte by byte, and that of a datagram; the
 * report, the acknowledgement and a burst. A header that is read is written and read once more.
 */
#include "lib/iperf/iperf2-wire.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void headers(const uint8_t *data, size_t bytes, bool datagram)
{
    uint8_t out[IPERF2_HEADER_MAX + IPERF2_DATAGRAM_BYTES] = {0};
    struct iperf2_header h, again;

    if (iperf2_header_decode(&h, data, bytes, datagram, NULL) < 0)
        return;
    if (h.isochronous || h.periodic || h.layer2 || h.bounce_back || h.version_upper == 0)
        return; /* is not written */
    const size_t n = iperf2_header_encode(out, sizeof(out), &h, datagram);
    if (n > sizeof(out) || iperf2_header_decode(&again, out, n, datagram, NULL) < 0)
        abort();
    if (again.amount != h.amount || again.rate != h.rate || again.reverse != h.reverse || again.dual != h.dual ||
        strcmp(again.key, h.key) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct iperf2_datagram d;
    struct iperf2_report report;
    struct iperf2_ack ack;
    struct iperf2_burst burst;
    uint8_t out[IPERF2_REPORT_BYTES];
    size_t have = 0;

    for (int need; (need = iperf2_header_need(data, have)) > (int)have;) {
        if (need > IPERF2_HEADER_MAX)
            abort();
        if ((size_t)need > bytes)
            break;
        have = (size_t)need;
    }
    headers(data, bytes, false);
    headers(data, bytes, true);
    (void)iperf2_datagram_decode(&d, data, bytes, bytes & 1);
    if (iperf2_report_decode(&report, data, bytes, NULL) == 0)
        iperf2_report_encode(out, &report);
    (void)iperf2_ack_decode(&ack, data, bytes, NULL);
    if (bytes >= IPERF2_BURST_BYTES)
        (void)iperf2_burst_decode(&burst, data, NULL);
    return 0;
}
