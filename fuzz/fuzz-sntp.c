/* A packet from anybody: the stamp it has to repeat first, then the packet. */
#include "lib/sntp/sntp.h"

#include <assert.h>
#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sntp_reply reply;
    double offset_s, delay_s;

    if (size < 8)
        return 0;
    const enum sntp_verdict verdict = sntp_reply_decode(&reply, data + 8, size - 8, data);
    assert(strlen(reply.reference) < sizeof(reply.reference));
    if (verdict != SNTP_GOOD)
        return 0;
    assert(size - 8 >= SNTP_PACKET_BYTES && reply.stratum >= 1 && reply.stratum <= 15);
    sntp_weigh(&offset_s, &delay_s, &reply, INT64_C(1700000000000000000), INT64_C(1700000000100000000));
    assert(isfinite(offset_s) && fabs(offset_s) < 2.2e9 && isfinite(delay_s));
    return 0;
}
