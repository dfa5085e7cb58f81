/*
 * Hash and cipher are libcrypto's. A comparison takes the same time wherever the difference is.
 */
#include "lib/vhd/key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/xattr.h>

#define XATTR_KEYHASH "user.com.citrix.xenclient.backend.keyhash"
#define STORED_BYTES  65 /* "set", nonce, hash */

static int no_batmap_header(const struct vhd *v, struct xk_err *err)
{
    return xk_fail(err, -EBADMSG, "%s: the batmap that should hold the key's hash is damaged", v->path);
}

static bool header_is_good(const struct vhd *v)
{
    return v->batmap_header_offset && memcmp(v->batmap.cookie, VHD_BATMAP_COOKIE, sizeof(v->batmap.cookie)) == 0;
}

int vhd_keyhash_read(struct vhd_keyhash *ret, const struct vhd *v, struct xk_err *err)
{
    uint8_t stored[STORED_BYTES] = {0};

    *ret = (struct vhd_keyhash){0};
    if (vhd_has_batmap(&v->footer) && v->batmap_state != VHD_ABSENT) {
        if (!header_is_good(v))
            return no_batmap_header(v, err);
        ret->set = v->batmap.keyhash_set == 1;
        memcpy(ret->nonce, v->batmap.nonce, sizeof(ret->nonce));
        memcpy(ret->hash, v->batmap.hash, sizeof(ret->hash));
        return 0;
    }
    if (fgetxattr(v->file.fd, XATTR_KEYHASH, stored, sizeof(stored)) < 0) {
        if (errno == ENODATA || errno == ENOTSUP)
            return 0;
        return xk_fail_sys(err, -errno, "%s: reading the key's hash from its extended attribute", v->path);
    }
    ret->set = stored[0] == 1;
    memcpy(ret->nonce, stored + 1, sizeof(ret->nonce));
    memcpy(ret->hash, stored + 33, sizeof(ret->hash));
    return 0;
}

int vhd_keyhash_check(const struct vhd *v, struct xk_err *err)
{
    if (!vhd_is_sparse(v))
        return xk_fail(err, -EINVAL, "%s: a fixed image has no place for a key's hash", v->path);
    if (v->bat_state != VHD_GOOD)
        return xk_fail(err, -EBADMSG, "%s: its block table is damaged", v->path);
    if (vhd_allocated(v) > 0)
        return xk_fail(err, -EINVAL, "%s: holds data already; a key is set before anything is written", v->path);
    return v->batmap_state == VHD_ABSENT || header_is_good(v) ? 0 : no_batmap_header(v, err);
}

int vhd_keyhash_write(struct vhd *v, const struct vhd_keyhash *k, struct xk_err *err)
{
    int code = vhd_keyhash_check(v, err);
    if (code < 0)
        return code;
    if (v->batmap_state == VHD_ABSENT) {
        uint8_t stored[STORED_BYTES] = {k->set};
        memcpy(stored + 1, k->nonce, sizeof(k->nonce));
        memcpy(stored + 33, k->hash, sizeof(k->hash));
        if (fsetxattr(v->file.fd, XATTR_KEYHASH, stored, sizeof(stored), 0) < 0)
            return xk_fail_sys(err, -errno, "%s: storing the key's hash as an extended attribute", v->path);
        code = xk_file_sync(&v->file, err);
        return code < 0 ? code : xk_file_check_name(&v->file, err);
    }

    struct vhd_batmap b = v->batmap;
    uint8_t sector[VHD_SECTOR];
    b.keyhash_set = k->set;
    memcpy(b.nonce, k->nonce, sizeof(b.nonce));
    memcpy(b.hash, k->hash, sizeof(b.hash));
    vhd_batmap_encode(sector, &b);
    code = xk_file_write(&v->file, sector, sizeof(sector), v->batmap_header_offset, err);
    if (code == 0)
        code = xk_file_sync(&v->file, err);
    if (code < 0)
        return code;
    v->batmap = b;
    return xk_file_check_name(&v->file, err);
}

static bool is_key_size(size_t bytes)
{
    return bytes == VHD_KEY_BYTES_MAX || bytes == VHD_KEY_BYTES_MAX / 2;
}

static int wrong_size(size_t bytes, struct xk_err *err)
{
    return xk_fail(err, -EINVAL, "a key has 32 or 64 bytes, this one %zu", bytes);
}

int vhd_keyhash_compute(struct vhd_keyhash *k, const uint8_t *key, size_t bytes, struct xk_err *err)
{
    if (!is_key_size(bytes))
        return wrong_size(bytes, err);
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    const bool done = sha && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) &&
                      EVP_DigestUpdate(sha, k->nonce, sizeof(k->nonce)) && EVP_DigestUpdate(sha, key, bytes) &&
                      EVP_DigestFinal_ex(sha, k->hash, NULL);
    EVP_MD_CTX_free(sha);
    if (!done)
        return xk_fail_memory(err);
    k->set = true;
    return 0;
}

int vhd_keyhash_matches(const struct vhd_keyhash *k, const uint8_t *key, size_t bytes, struct xk_err *err)
{
    struct vhd_keyhash own = *k;

    const int code = vhd_keyhash_compute(&own, key, bytes, err);
    return code < 0 ? code : CRYPTO_memcmp(own.hash, k->hash, sizeof(own.hash)) == 0;
}

int vhd_key_load(uint8_t ret[VHD_KEY_BYTES_MAX], const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    uint8_t bytes[VHD_KEY_BYTES_MAX + 1]; /* one more shows a file that is too long */
    struct xk_file f;

    const int code = xk_file_open(&f, fs, path, O_RDONLY | O_NONBLOCK, 0, err);
    if (code < 0)
        return code;
    const ssize_t got = xk_file_read_some(&f, bytes, sizeof(bytes), 0, err);
    xk_file_close(&f);
    if (got >= 0 && is_key_size((size_t)got))
        memcpy(ret, bytes, (size_t)got);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    if (got < 0)
        return (int)got;
    return is_key_size((size_t)got) ? (int)got
                                    : xk_fail(err, -EINVAL, "%s: a key file has 32 or 64 bytes, this one %s", path,
                                              got > VHD_KEY_BYTES_MAX ? "more" : "another number");
}

/* ---- the cipher ---- */

struct vhd_cipher {
    EVP_CIPHER_CTX *context;
};

int vhd_cipher_open(struct vhd_cipher **ret, const uint8_t *key, size_t bytes, struct xk_err *err)
{
    if (!is_key_size(bytes))
        return wrong_size(bytes, err);
    struct vhd_cipher *c = xk_zalloc(sizeof(*c));
    if (!c)
        return xk_fail_memory(err);
    c->context = EVP_CIPHER_CTX_new();
    if (!c->context) {
        vhd_cipher_close(c);
        return xk_fail_memory(err);
    }
    const EVP_CIPHER *type = bytes == VHD_KEY_BYTES_MAX ? EVP_aes_256_xts() : EVP_aes_128_xts();
    if (!EVP_EncryptInit_ex(c->context, type, NULL, key, NULL)) {
        vhd_cipher_close(c);
        return xk_fail(err, -EINVAL, "this is no key for AES-XTS (its halves must differ)");
    }
    *ret = c;
    return 0;
}

int vhd_cipher_encrypt(struct vhd_cipher *c, uint8_t *data, uint64_t sector, uint64_t count, struct xk_err *err)
{
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t number = sector + i;
        uint8_t tweak[16] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16), (uint8_t)(number >> 24)};
        uint8_t *const at = data + i * VHD_SECTOR;
        int bytes;
        if (!EVP_EncryptInit_ex(c->context, NULL, NULL, NULL, tweak) ||
            !EVP_EncryptUpdate(c->context, at, &bytes, at, VHD_SECTOR) || bytes != (int)VHD_SECTOR)
            return xk_fail(err, -EIO, "encrypting sector %llu failed", (unsigned long long)number);
    }
    return 0;
}

void vhd_cipher_close(struct vhd_cipher *c)
{
    if (!c)
        return;
    EVP_CIPHER_CTX_free(c->context);
    free(c);
}
