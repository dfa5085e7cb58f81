/*
 * vhd-util key: the hash that says which key an encrypted disk needs. The original asks a library of tapdisk's for the
 * hash (and fails without it); here it is computed as that library does: SHA-256 of the nonce followed by the key.
 */
#include "rooms/vhd/classic-image.h"

#include "core/text.h"
#include "lib/vhd/key.h"

#include <stdio.h>
#include <string.h>

struct key_words {
    const char *name, *key_path, *nonce, *hash;
    bool set, check, calculate, print;
};

static int usage(struct vhd_classic *c, int result)
{
    vhd_classic_complain(c, "usage:\n"
                            "-C -k KEYPATH [-N NONCE]: calculate keyhash for KEYPATH\n"
                            "-s -n NAME <-k KEYPATH> | -H HASH> [-N NONCE]: set keyhash for NAME\n"
                            "-c -n NAME <-k KEYPATH>: check keyhash for NAME\n"
                            "-p -n NAME: print keyhash for NAME\n"
                            "-h help\n");
    return result;
}

static void say_hex(struct vhd_classic *c, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        vhd_classic_say(c, "%02x", bytes[i]);
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static int parse_hex(struct vhd_classic *c, uint8_t ret[32], const char *text)
{
    if (strlen(text) != 64) {
        vhd_classic_complain(c, "vhd_util_set_hex: invalid size for hex string\n");
        return -EINVAL;
    }
    for (size_t i = 0; i < 32; i++) {
        const int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            vhd_classic_complain(c, "vhd_util_set_hex: invalid hex digit\n");
            return -EINVAL;
        }
        ret[i] = (uint8_t)(high * 16 + low);
    }
    return 0;
}

/*
 * The key file of an image is called after it: BASE,aes-xts-plain,512.key or …,256.key.
 * returns   the number of key bytes that its name promises; -EPERM: another name.
 */
static int bytes_by_name(const char *image, const char *key_path)
{
    static const int bits[] = {512, 256};
    const char *base = xk_base_name(image);
    const char *end = strstr(base, ".vhd");
    const int length = (int)(end ? (size_t)(end - base) : strlen(base));
    char expected[256];

    for (size_t i = 0; i < XK_COUNT(bits); i++) {
        snprintf(expected, sizeof(expected), "%.*s,aes-xts-plain,%d.key", length, base, bits[i]);
        if (xk_has_prefix(xk_base_name(key_path), expected))
            return bits[i] / 8;
    }
    return -EPERM;
}

/* k->hash from k->nonce and the file. `want` 0: any size of key. */
static int hash_key(struct vhd_classic *c, struct vhd_keyhash *k, const char *path, int want)
{
    uint8_t key[VHD_KEY_BYTES_MAX];
    struct xk_err err = {0};

    int code = vhd_key_load(key, c->app->fs, path, &err);
    if (code < 0) {
        if (code != -EINVAL)
            vhd_classic_complain(c, "vhd_util_read_key: failed to open %s: %d\n", path, -code);
        vhd_classic_complain(c, "vhd_util_calculate_keyhash: failed to read key: %d\n", code);
        return code;
    }
    vhd_classic_complain(c, "vhd_util_read_key: using keyfile %s, Size (bytes) %d\n", path, code);
    if (want && code != want) {
        vhd_classic_complain(c, "vhd_util_calculate_keyhash: incorrect key size: %d != %d\n", want, code);
        code = -EINVAL;
    } else {
        code = vhd_keyhash_compute(k, key, (size_t)code, &err);
    }
    explicit_bzero(key, sizeof(key));
    return code;
}

static int calculate(struct vhd_classic *c, const struct key_words *w)
{
    struct vhd_keyhash k = {0};
    int code = w->nonce ? parse_hex(c, k.nonce, w->nonce) : 0;

    if (code == 0 && !w->key_path)
        return usage(c, -EINVAL);
    if (code == 0) {
        code = hash_key(c, &k, w->key_path, 0);
        if (code < 0)
            vhd_classic_complain(c, "vhd_util_set_keyhash: failed to calculate keyhash: %d\n", code);
    }
    if (code < 0) {
        vhd_classic_complain(c, "vhd_util_key: calculating keyhash failed: %d\n", code);
        return code;
    }
    say_hex(c, k.hash, sizeof(k.hash));
    vhd_classic_say(c, "\n");
    return 0;
}

static int set(struct vhd_classic *c, struct vhd *v, const struct key_words *w)
{
    struct vhd_keyhash k = {.set = true};
    struct xk_err err = {0};

    if (v->footer.type == VHD_FIXED) {
        vhd_classic_complain(c, "vhd_util_set_key: can't save key hashes for fixed vhds\n");
        return -EINVAL;
    }
    if (vhd_allocated(v) > 0) {
        vhd_classic_complain(c, "vhd_util_set_key: can't save key hashes for non-empty vhds\n");
        return -EINVAL;
    }
    int code = w->nonce ? parse_hex(c, k.nonce, w->nonce) : 0;
    if (code == 0 && w->hash)
        code = parse_hex(c, k.hash, w->hash);
    if (code == 0 && !w->hash) {
        const int want = bytes_by_name(w->name, w->key_path);
        if (want < 0) {
            vhd_classic_complain(c, "vhd_util_set_keyhash: Invalid key name %s\n", w->key_path);
            return want;
        }
        code = hash_key(c, &k, w->key_path, want);
        if (code < 0)
            vhd_classic_complain(c, "vhd_util_set_keyhash: failed to calculate keyhash: %d\n", code);
    }
    if (code < 0)
        return code;
    code = vhd_classic_code(c, vhd_keyhash_write(v, &k, &err), &err);
    if (code < 0)
        vhd_classic_complain(c, "vhd_util_set_key: failed to set keyhash: %d\n", code);
    return code;
}

static int check(struct vhd_classic *c, const struct vhd *v, const struct key_words *w)
{
    struct vhd_keyhash stored, computed;
    struct xk_err err = {0};

    int code = vhd_classic_code(c, vhd_keyhash_read(&stored, v, &err), &err);
    if (code < 0) {
        vhd_classic_complain(c, "vhd_util_check_key: failed to read keyhash: %d\n", code);
        return code;
    }
    if (!stored.set) {
        vhd_classic_complain(c, "vhd_util_check_key: this vhd has no keyhash\n");
        return -EINVAL;
    }
    const int want = bytes_by_name(w->name, w->key_path);
    if (want < 0) {
        vhd_classic_complain(c, "vhd_util_check_key: Invalid key name %s\n", w->key_path);
        return want;
    }
    computed = stored;
    code = hash_key(c, &computed, w->key_path, want);
    if (code < 0) {
        vhd_classic_complain(c, "vhd_util_check_key: failed to calculate keyhash: %d\n", code);
    } else if (memcmp(computed.hash, stored.hash, sizeof(stored.hash)) != 0) {
        vhd_classic_complain(c, "vhd_util_check_key: vhd hash doesn't match key hash\n");
        code = -EINVAL;
    }
    return code;
}

static int print(struct vhd_classic *c, const struct vhd *v)
{
    struct vhd_keyhash k;
    struct xk_err err = {0};

    const int code = vhd_classic_code(c, vhd_keyhash_read(&k, v, &err), &err);
    if (code < 0) {
        vhd_classic_complain(c, "failed to read keyhash: %d\n", code);
        return code;
    }
    if (!k.set) {
        vhd_classic_say(c, "none\n");
        return 0;
    }
    say_hex(c, k.nonce, sizeof(k.nonce));
    vhd_classic_say(c, " ");
    say_hex(c, k.hash, sizeof(k.hash));
    vhd_classic_say(c, "\n");
    return 0;
}

static bool words_fit(const struct key_words *w)
{
    if (!w->name)
        return false;
    if (w->set)
        return !w->check && !w->key_path != !w->hash;
    if (w->check)
        return w->key_path && !w->nonce && !w->hash;
    return w->print;
}

int vhd_classic_key(struct vhd_classic *c, int argc, char **argv)
{
    struct key_words w = {0};
    struct xk_err err = {0};
    struct vhd v;
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:k:N:H:scCph");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            w.name = o.value;
            break;
        case 'k':
            w.key_path = o.value;
            break;
        case 'N':
            w.nonce = o.value;
            break;
        case 'H':
            w.hash = o.value;
            break;
        case 's':
            w.set = true;
            break;
        case 'c':
            w.check = true;
            break;
        case 'C':
            w.calculate = true;
            break;
        case 'p':
            w.print = true;
            break;
        default:
            return usage(c, letter == 'h' ? 0 : -EINVAL);
        }
    }
    if (o.operand_count > 0)
        return usage(c, -EINVAL);
    if (w.calculate)
        return calculate(c, &w);
    if (!words_fit(&w))
        return usage(c, -EINVAL);

    int code = vhd_classic_image_try(c, w.name, w.set ? VHD_CLASSIC_WRITE : VHD_CLASSIC_READ);
    if (code == 0)
        code = vhd_open(&v, c->app->fs, w.name, VHD_DEVICES | VHD_BACKUP_OK | (w.set ? VHD_WRITE : 0), &err);
    if (code < 0) {
        code = vhd_classic_code(c, code, &err);
        vhd_classic_complain(c, "failed to open %s: %d\n", w.name, code);
        return code;
    }
    if (w.set && (code = set(c, &v, &w)) < 0)
        vhd_classic_complain(c, "setting key failed: %d\n", code);
    else if (!w.set && w.check && (code = check(c, &v, &w)) < 0)
        vhd_classic_complain(c, "key check failed: %d\n", code);
    if (w.print)
        code = print(c, &v);
    vhd_close(&v);
    return code;
}
