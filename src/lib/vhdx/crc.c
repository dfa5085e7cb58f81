/*
 * Half a byte at a time from a table of 16, or the processor's own instruction where it has it. The usual tables of
 * 8 KiB would pay only where that instruction is missing, for the megabyte that a VHDX has to sum.
 */
#include "lib/vhdx/inner.h"

#include <string.h>

#ifdef __x86_64__
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const uint8_t *at, size_t count)
{
    uint64_t wide = crc;

    for (; count >= 8; count -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide; /* the instruction leaves the upper half zero */
    for (; count; count--)
        crc = _mm_crc32_u8(crc, *at++);
    return crc;
}
#endif

static uint32_t crc_plain(uint32_t crc, const uint8_t *at, size_t count)
{
    static const uint32_t of_nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };

    for (; count; count--) {
        crc ^= *at++;
        crc = of_nibble[crc & 15] ^ (crc >> 4);
        crc = of_nibble[crc & 15] ^ (crc >> 4);
    }
    return crc;
}

uint32_t vhdx_crc32c(uint32_t crc, const void *bytes, size_t count)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_sse42(~crc, bytes, count);
#endif
    return ~crc_plain(~crc, bytes, count);
}
