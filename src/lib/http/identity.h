/*
 * Who a TLS server is: a key and a certificate that it signed itself, for its addresses and its name.
 */
#ifndef LIB_HTTP_IDENTITY_H
#define LIB_HTTP_IDENTITY_H

#include "core/buf.h"
#include "core/err.h"
#include "lib/resolve/resolve.h"

#define HTTP_IDENTITY_BYTES_MAX 65536 /* of a saved one */

struct http_identity;
struct ssl_ctx_st;
struct evp_pkey_st;
struct x509_st;

struct http_identity_wish {
    const char *name; /* the subject's common name, and the first DNS name */
    const char *also; /* one more DNS name; NULL: none */
    struct resolve_address address;
    int64_t from_s, to_s; /* valid between, seconds since 1970 */
};

/* P-256, SHA-256: made in well under a millisecond. */
int http_identity_make(struct http_identity **ret, const struct http_identity_wish *wish, struct xk_err *err);
/*
 * One that somebody else made.
 *
 * key, certificate  taken over by the identity when it is made.
 * chain             PEM of the certificates that lead to its authority; NULL: none.
 * returns           0; -EBADMSG: the key is another certificate's, or the chain has none; -ENOMEM.
 */
int http_identity_take(struct http_identity **ret, struct evp_pkey_st *key, struct x509_st *certificate,
                       const char *chain, struct xk_err *err);
/* Key and certificate as bytes that http_identity_load() takes. They hold the private key. */
int http_identity_save(struct xk_buf *ret, const struct http_identity *id, struct xk_err *err);
/* returns   0; -EBADMSG: those bytes are none, or the key is not that of the certificate; -ENOMEM. */
int http_identity_load(struct http_identity **ret, const void *bytes, size_t count, struct xk_err *err);
void http_identity_free(struct http_identity *id); /* NULL is fine */

enum http_digest { HTTP_SHA1, HTTP_SHA256 };
#define HTTP_FINGERPRINT_BYTES 96
/* "AB:CD:…" as certificates are compared by people. */
void http_identity_fingerprint(char ret[HTTP_FINGERPRINT_BYTES], const struct http_identity *id,
                               enum http_digest digest);
void http_identity_times(const struct http_identity *id, int64_t *ret_from_s, int64_t *ret_to_s);
/* Whether the certificate names that address. */
bool http_identity_is_for(const struct http_identity *id, const struct resolve_address *address);
/* The certificate, without the key; the caller frees. NULL: no memory. */
char *http_identity_pem(const struct http_identity *id) XK_MUST_USE;
/* What the server accepts connections with: TLS 1.2 and later. NULL: no memory. */
struct ssl_ctx_st *http_identity_context(struct http_identity *id);

#endif
