/*
 * Is it all zeros? Data mostly differs in its first bytes, so each step asks once about 256 bytes; zeros run at the
 * speed of memory. Which instructions there are is asked anew each time, which costs a load: no state to initialise.
 */
#include "core/bytes.h"

#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>

#define STEP 256u

__attribute__((target("avx2"))) static size_t zeros_avx2(const uint8_t *at, size_t count)
{
    size_t done = 0;

    for (; count - done >= STEP; done += STEP) {
        __m256i any = _mm256_setzero_si256();
        for (size_t i = 0; i < STEP; i += 32)
            any = _mm256_or_si256(any, _mm256_loadu_si256((const __m256i *)(const void *)(at + done + i)));
        if (!_mm256_testz_si256(any, any))
            break;
    }
    return done;
}

/* Every x86-64 has SSE2. */
static size_t zeros_sse2(const uint8_t *at, size_t count)
{
    const __m128i none = _mm_setzero_si128();
    size_t done = 0;

    for (; count - done >= STEP; done += STEP) {
        __m128i any = none;
        for (size_t i = 0; i < STEP; i += 16)
            any = _mm_or_si128(any, _mm_loadu_si128((const __m128i *)(const void *)(at + done + i)));
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(any, none)) != 0xffff)
            break;
    }
    return done;
}
#endif

static bool is_zero_plain(const uint8_t *at, size_t count)
{
    uint64_t words[4];

    for (; count >= sizeof(words); at += sizeof(words), count -= sizeof(words)) {
        memcpy(words, at, sizeof(words));
        if (words[0] | words[1] | words[2] | words[3])
            return false;
    }
    for (; count; count--) {
        if (*at++)
            return false;
    }
    return true;
}

bool xk_is_zero(const void *bytes, size_t count)
{
    const uint8_t *const at = bytes;
    size_t known = 0;

#ifdef __x86_64__
    known = __builtin_cpu_supports("avx2") ? zeros_avx2(at, count) : zeros_sse2(at, count);
#endif
    return is_zero_plain(at + known, count - known);
}
