/*
 * Turn files into C arrays at build time:  embed OUT.c [NAME KIND FILE]…
 *
 * For each file: `const char NAME[]`, `const size_t NAME_len` (without the final NUL that is added) and, for a script,
 * `const char NAME_hash[]`, the source that a content security policy lists for it ('sha256-…' of exactly these bytes).
 * KIND is css or js. What must not happen is that the text ends its own <style> or <script> element. A script's
 * "</script" becomes "<\/script", which means the same inside a string; escaping every "</" would break expressions
 * such as dygraphs' /</g. Whatever cannot be made safe is refused. FILE "-" gives an empty array: not found at
 * configuration.
 *
 * A program of its own and not xxd or od: neither is sure to be there, and neither knows hashes or "</script".
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FILE_BYTES_MAX (4u << 20)

static _Noreturn void die(const char *what, const char *which)
{
    fprintf(stderr, "embed: %s: %s\n", which, what);
    exit(1);
}

struct text {
    char *data;
    size_t len;
};

static struct text text_read(const char *path)
{
    struct text t = {.data = malloc(FILE_BYTES_MAX)};
    if (t.data == NULL)
        die("no memory", path);
    if (strcmp(path, "-") == 0)
        return t;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        die(strerror(errno), path);
    t.len = fread(t.data, 1, FILE_BYTES_MAX, file);
    if (ferror(file))
        die("cannot read", path);
    if (t.len == FILE_BYTES_MAX)
        die("too large", path);
    fclose(file);
    return t;
}

static int at(const struct text *t, size_t i, const char *word)
{
    const size_t length = strlen(word);
    return t->len - i >= length && strncasecmp(t->data + i, word, length) == 0;
}

/* Copy `in` so that it can stand inside its element. */
static struct text text_safe(const struct text *in, int script, const char *path)
{
    struct text out = {.data = malloc(2 * in->len + 1)};
    if (out.data == NULL)
        die("no memory", path);
    for (size_t i = 0; i < in->len; i++) {
        if (in->data[i] == '\0' || in->data[i] == '\r')
            die("has a NUL or a carriage return, which an HTML parser would change", path);
        if (at(in, i, "<!--") || (!script && at(in, i, "</")))
            die("cannot be embedded: it would end its element", path);
        /* The map is not there, and a page that asks for nothing should not name it. */
        if (script && at(in, i, "//# sourceMappingURL=")) {
            while (i < in->len && in->data[i] != '\n')
                i++;
            continue;
        }
        out.data[out.len++] = in->data[i];
        if (script && at(in, i, "</script"))
            out.data[out.len++] = '\\';
    }
    return out;
}

/* ---- SHA-256, FIPS 180-4 ---- */

static uint32_t rotate(uint32_t x, unsigned bits)
{
    return x >> bits | x << (32 - bits);
}

static void sha256_block(uint32_t state[8], const uint8_t block[64])
{
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    };
    uint32_t w[64];
    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (unsigned i = 16; i < 64; i++) {
        const uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        const uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t v[8];
    memcpy(v, state, sizeof(v));
    for (unsigned i = 0; i < 64; i++) {
        const uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
        const uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
        const uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
        const uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += v[i];
}

static void sha256(uint8_t ret[32], const char *data, size_t len)
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    size_t done = 0;
    for (; len - done >= 64; done += 64)
        sha256_block(state, (const uint8_t *)data + done);
    uint8_t tail[128] = {0};
    const size_t rest = len - done, tail_len = rest < 56 ? 64 : 128;
    if (rest > 0)
        memcpy(tail, data + done, rest);
    tail[rest] = 0x80;
    for (unsigned i = 0; i < 8; i++)
        tail[tail_len - 1 - i] = (uint8_t)((uint64_t)len * 8 >> 8 * i);
    for (size_t i = 0; i < tail_len; i += 64)
        sha256_block(state, tail + i);
    for (unsigned i = 0; i < 32; i++)
        ret[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(char ret[45], const uint8_t digest[32])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned i = 0; i < 11; i++) {
        const uint32_t bits =
            (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 | (i < 10 ? digest[3 * i + 2] : 0u);
        for (unsigned j = 0; j < 4; j++)
            ret[4 * i + j] = digits[bits >> (18 - 6 * j) & 63];
    }
    ret[43] = '=';
    ret[44] = '\0';
}

/* A wrong hash would silently switch the page's scripts off, so a build machine that computes one must fail here. */
static void sha256_self_test(void)
{
    uint8_t digest[32];
    char word[45];
    sha256(digest, "abc", 3);
    base64(word, digest);
    if (strcmp(word, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=") != 0)
        die("SHA-256 of \"abc\" is wrong", "self-test");
}

static void text_write(FILE *out, const struct text *t, const char *name, int script)
{
    fprintf(out, "\nconst char %s[] = {", name);
    for (size_t i = 0; i < t->len; i++)
        fprintf(out, "%s%d,", i % 32 == 0 ? "\n    " : "", (signed char)t->data[i]);
    fprintf(out, "0};\nconst size_t %s_len = %zu;\n", name, t->len);
    if (!script)
        return;
    uint8_t digest[32];
    char word[45];
    sha256(digest, t->data, t->len);
    base64(word, digest);
    fprintf(out, "const char %s_hash[] = \"'sha256-%s'\";\n", name, word);
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc % 3 != 2)
        die("wants OUT.c and triples of NAME, KIND, FILE", "usage");
    sha256_self_test();
    FILE *out = fopen(argv[1], "wb");
    if (out == NULL)
        die(strerror(errno), argv[1]);
    fprintf(out, "/* Made by scripts/embed.c. */\n#include \"assets.h\"\n");
    for (int i = 2; i < argc; i += 3) {
        const int script = strcmp(argv[i + 1], "js") == 0;
        struct text in = text_read(argv[i + 2]);
        struct text safe = text_safe(&in, script, argv[i + 2]);
        text_write(out, &safe, argv[i], script);
        free(in.data);
        free(safe.data);
    }
    if (fclose(out) != 0)
        die(strerror(errno), argv[1]);
    return 0;
}
