/*
 * Whether the certificate that the far side of a TLS connection showed is to be trusted, and if not, why.
 *
 * One of, in this order: anything (asked for); one of the given fingerprints; a chain to one of the given authorities;
 * the fingerprint that was kept at the first use, else a chain to one of this machine's authorities, else this is the
 * first use.
 */
#ifndef LIB_HTTP_TRUST_H
#define LIB_HTTP_TRUST_H

#include "core/clock.h"
#include "core/fs.h"
#include "core/log.h"

#include <openssl/ssl.h>

#define HTTP_PIN_BYTES       32 /* of a SHA-256 */
#define HTTP_PIN_TEXT        (2 * HTTP_PIN_BYTES + 1)
#define HTTP_KNOWN_BYTES_MAX (4u << 20) /* of the file of kept fingerprints */

struct http_pin {
    uint8_t bytes[HTTP_PIN_BYTES];
};

struct http_trust {
    bool insecure;
    const struct http_pin *pins;
    size_t pin_count;
    const struct http_pin *vouched; /* somebody trusted said that this is the one; may be NULL */
    const char *ca_file;            /* NULL: none given */
    const char *known_file;         /* fingerprints of first uses; NULL: there is no place for one */
    const struct xk_fs *fs;
    const struct xk_clock *clock;
    struct xk_log *log; /* told of a first use */
};

/* "ab:cd…", "sha-256:abcd…" or "abcd…", 64 hexadecimal digits. returns   0; -EINVAL. */
int http_pin_parse(struct http_pin *ret, const char *text, struct xk_err *err);
void http_pin_text(char ret[HTTP_PIN_TEXT], const struct http_pin *pin);

/* Look a server up in the text of a file of kept fingerprints. returns   whether it is there. */
bool http_known_find(struct http_pin *ret, const char *text, const char *host, uint16_t port);

/*
 * Judge the connection; a first use is kept in the file.
 *
 * host, port   whom we meant to reach.
 * ret_pin      the certificate's fingerprint; also written when it is not trusted.
 * returns      0; -EKEYREJECTED with what is wrong and what to do; -ENOMEM.
 */
int http_trust_check(struct http_pin *ret_pin, const struct http_trust *trust, SSL *ssl, const char *host,
                     uint16_t port, struct xk_err *err);

#endif
