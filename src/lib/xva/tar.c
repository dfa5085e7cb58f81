/*
 * The parts that readers and writers of archives share: heads of members, checksums.
 *
 * libarchive was weighed: it wants a file or blocks to ask for, where a server is given bytes as they come.
 */
#include "lib/xva/parts.h"

#include "core/text.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <xxhash.h>
#pragma GCC diagnostic pop

const char *const xva_sum_suffixes[] = {".checksum", ".xxhash"};

int xva_sum_text(char ret[XVA_SUM_TEXT], enum xva_sum kind, const void *bytes, size_t count)
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned got = 0;

    if (kind == XVA_XXHASH) {
        snprintf(ret, XVA_SUM_TEXT, "%016llX", (unsigned long long)XXH64(bytes, count, 0));
        return 0;
    }
    if (!EVP_Digest(bytes, count, sum, &got, EVP_sha1(), NULL))
        return -ENOMEM;
    for (unsigned i = 0; i < got && 2 * i + 2 < XVA_SUM_TEXT; i++)
        snprintf(ret + 2 * (size_t)i, 3, "%02x", sum[i]);
    return 0;
}

struct head {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6], version[2],
        user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct head) == XVA_BLOCK, "a head is a block");

/* Of a head, with the field itself taken for blanks. */
static unsigned sum_of(const struct head *h)
{
    const uint8_t *const bytes = (const uint8_t *)h;
    const size_t from = offsetof(struct head, sum), to = from + sizeof(h->sum);
    unsigned sum = 0;

    for (size_t i = 0; i < sizeof(*h); i++)
        sum += i >= from && i < to ? ' ' : bytes[i];
    return sum;
}

void xva_tar_head(uint8_t ret[XVA_BLOCK], const char *name, uint64_t bytes, int64_t unix_seconds)
{
    struct head h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};

    snprintf(h.name, sizeof(h.name), "%s", name);
    snprintf(h.mode, sizeof(h.mode), "%07o", 0400);
    snprintf(h.uid, sizeof(h.uid), "%07o", 0);
    snprintf(h.gid, sizeof(h.gid), "%07o", 0);
    snprintf(h.size, sizeof(h.size), "%011llo", (unsigned long long)bytes & 077777777777);
    snprintf(h.mtime, sizeof(h.mtime), "%011llo", (unsigned long long)unix_seconds & 077777777777);
    snprintf(h.sum, sizeof(h.sum), "%06o", sum_of(&h));
    h.sum[7] = ' ';
    memcpy(ret, &h, sizeof(h));
}

/* An octal number between blanks, or (by its first bit) a binary one. returns   false: it is none. */
static bool number_of(uint64_t *ret, const char *field, size_t bytes)
{
    size_t i = 0;

    *ret = 0;
    if ((uint8_t)field[0] & 0x80) {
        for (i = 0; i < bytes; i++) {
            const uint8_t digit = (uint8_t)field[i] & (i == 0 ? 0x7f : 0xff);
            if (*ret >> 55)
                return false;
            *ret = *ret << 8 | digit;
        }
        return true;
    }
    while (i < bytes && field[i] == ' ')
        i++;
    for (; i < bytes && field[i] >= '0' && field[i] <= '7'; i++)
        *ret = *ret << 3 | (uint64_t)(field[i] - '0');
    for (; i < bytes; i++)
        if (field[i] != ' ' && field[i] != '\0')
            return false;
    return true;
}

enum tar_kind xva_tar_read(struct tar_member *ret, const uint8_t block[XVA_BLOCK])
{
    struct head h;
    uint64_t sum;

    memcpy(&h, block, sizeof(h));
    if (!number_of(&sum, h.sum, sizeof(h.sum)) || !number_of(&ret->bytes, h.size, sizeof(h.size)) || sum != sum_of(&h))
        return TAR_BAD;
    const bool prefixed = memcmp(h.magic, "ustar", 6) == 0 && h.prefix[0] != '\0';
    snprintf(ret->name, sizeof(ret->name), "%.155s%s%.100s", prefixed ? h.prefix : "", prefixed ? "/" : "", h.name);
    switch (h.type) {
    case 'L':
        return TAR_LONG_NAME;
    case 'K':
    case 'x':
    case 'g':
        return TAR_SIDE;
    default:
        return TAR_FILE;
    }
}
