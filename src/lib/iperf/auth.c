/*
 * iperf3's authentication: user, password and time, encrypted for the server's RSA key.
 *
 * Both paddings are read, OAEP first; PKCS#1 v1.5 is written only when asked for. Every refusal looks the same from
 * outside, and is compared in constant time.
 */
#include "lib/iperf/inner.h"

#include "core/fs.h"
#include "core/text.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define KEY_FILE_BYTES_MAX   (64u << 10)
#define USERS_FILE_BYTES_MAX (1u << 20)
#define SECRET_BYTES_MAX     1024

static void drop_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void drop_context(EVP_PKEY_CTX **context)
{
    EVP_PKEY_CTX_free(*context);
}

static EVP_PKEY *load_key(const char *path, bool private)
{
    char *text = NULL;
    EVP_PKEY *key = NULL;

    if (!path || xk_slurp(&text, "", path, KEY_FILE_BYTES_MAX, NULL) < 0)
        return NULL;
    BIO *const in = BIO_new_mem_buf(text, -1);
    if (in)
        key = private ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : PEM_read_bio_PUBKEY(in, NULL, NULL, NULL);
    BIO_free(in);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    return key;
}

bool iperf_auth_is_key(const char *path, bool private)
{
    xk_auto(drop_key) EVP_PKEY *key = load_key(path, private);

    return key;
}

int iperf_auth_make(char *ret, size_t bytes, const struct iperf_settings *s, int64_t utc_s, struct xk_err *err)
{
    xk_auto(drop_key) EVP_PKEY *key = load_key(s->public_key, false);
    xk_auto(drop_context) EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    unsigned char sealed[SECRET_BYTES_MAX];
    size_t sealed_bytes = sizeof(sealed);
    char text[SECRET_BYTES_MAX];

    const int n =
        snprintf(text, sizeof(text), "user: %s\npwd:  %s\nts:   %lld", s->user, s->password, (long long)utc_s);
    const bool ok = context && n > 0 && (size_t)n < sizeof(text) && EVP_PKEY_encrypt_init(context) > 0 &&
                    EVP_PKEY_CTX_set_rsa_padding(context, s->pkcs1 ? RSA_PKCS1_PADDING : RSA_PKCS1_OAEP_PADDING) > 0 &&
                    EVP_PKEY_encrypt(context, sealed, &sealed_bytes, (unsigned char *)text, (size_t)n) > 0 &&
                    sealed_bytes / 3 * 4 + 8 < bytes;
    OPENSSL_cleanse(text, sizeof(text));
    if (!ok)
        return iperf_fail(err, IPERF_E_SETCLIENTAUTH, 0);
    (void)EVP_EncodeBlock((unsigned char *)ret, sealed, (int)sealed_bytes);
    return 0;
}

/* returns whether the sealed bytes gave a text; PKCS#1 never says by itself that they were wrong. */
static bool unseal(char ret[SECRET_BYTES_MAX], EVP_PKEY *key, const unsigned char *sealed, size_t bytes, int padding)
{
    xk_auto(drop_context) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    unsigned char plain[SECRET_BYTES_MAX];
    size_t plain_bytes = sizeof(plain) - 1;

    if (!context || EVP_PKEY_decrypt_init(context) <= 0 || EVP_PKEY_CTX_set_rsa_padding(context, padding) <= 0 ||
        EVP_PKEY_decrypt(context, plain, &plain_bytes, sealed, bytes) <= 0)
        return false;
    memcpy(ret, plain, plain_bytes);
    ret[plain_bytes] = '\0';
    OPENSSL_cleanse(plain, sizeof(plain));
    return xk_has_prefix(ret, "user: ");
}

/* Take "user: U\npwd:  P\nts:   N" apart, in place. */
static bool split(char *text, const char **ret_user, const char **ret_password, int64_t *ret_utc_s)
{
    char *const password = strstr(text, "\npwd:  ");
    char *const ts = password ? strstr(password + 1, "\nts:   ") : NULL;

    if (!ts)
        return false;
    *password = *ts = '\0';
    *ret_user = text + strlen("user: ");
    *ret_password = password + strlen("\npwd:  ");
    return xk_parse_i64(ret_utc_s, ts + strlen("\nts:   ")) == 0;
}

/* The users file has a line "user,hex of sha256({user}password)" for each; lines after '#' are remarks. */
static bool known_user(const char *users, const char *user, const char *password)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char wanted[2 * SHA256_DIGEST_LENGTH + 1];
    xk_autofree char *salted = xk_asprintf("{%s}%s", user, password);
    const size_t user_bytes = strlen(user);
    bool known = false;

    if (!salted)
        return false;
    (void)SHA256((unsigned char *)salted, strlen(salted), digest);
    OPENSSL_cleanse(salted, strlen(salted));
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(wanted + 2 * i, 3, "%02x", digest[i]);
    for (const char *line = users; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        while (*line == ' ' || *line == '\t')
            line++;
        if (*line == '#' || strncmp(line, user, user_bytes) != 0 || line[user_bytes] != ',' ||
            strnlen(line + user_bytes + 1, sizeof(wanted) - 1) < sizeof(wanted) - 1)
            continue;
        const char *const hash = line + user_bytes + 1;
        const bool ends = !hash[64] || strchr("\r\n \t", hash[64]);
        known = known || (ends && CRYPTO_memcmp(hash, wanted, sizeof(wanted) - 1) == 0);
    }
    return known;
}

int iperf_auth_check(const struct iperf_settings *s, const char *token, int64_t utc_s, struct xk_err *err)
{
    xk_auto(drop_key) EVP_PKEY *key = load_key(s->private_key, true);
    xk_autofree unsigned char *sealed = xk_alloc(strlen(token) + 4);
    char *users = NULL;
    char text[SECRET_BYTES_MAX];
    const char *user, *password;
    int64_t sent_utc_s = 0;
    bool ok = false;

    const size_t token_bytes = strlen(token);
    if (key && sealed && token_bytes && token_bytes % 4 == 0 &&
        xk_slurp(&users, "", s->users_file, USERS_FILE_BYTES_MAX, NULL) == 0) {
        const int decoded = EVP_DecodeBlock(sealed, (const unsigned char *)token, (int)token_bytes);
        const size_t pads = token[token_bytes - 2] == '=' ? 2 : token[token_bytes - 1] == '=';
        const size_t sealed_bytes = decoded > 0 ? (size_t)decoded - pads : 0;
        ok = sealed_bytes && (unseal(text, key, sealed, sealed_bytes, RSA_PKCS1_OAEP_PADDING) ||
                              unseal(text, key, sealed, sealed_bytes, RSA_PKCS1_PADDING));
        ok = ok && split(text, &user, &password, &sent_utc_s) && known_user(users, user, password);
        const int64_t skew = sent_utc_s > utc_s ? sent_utc_s - utc_s : utc_s - sent_utc_s;
        ok = ok && skew <= (int64_t)s->skew_s;
        OPENSSL_cleanse(text, sizeof(text));
    }
    free(users);
    return ok ? 0 : iperf_fail(err, IPERF_E_AUTHTEST, 0);
}
