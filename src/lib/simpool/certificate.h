/* What the files of certificates share: reading them, and their records. */
#ifndef LIB_SIMPOOL_CERTIFICATE_H
#define LIB_SIMPOOL_CERTIFICATE_H

#include "lib/simpool/hosts.h"
#include "lib/simpool/keep.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#define SIM_HEX_BYTES (EVP_MAX_MD_SIZE * 3 + 1)

/* The first certificate of a text; X509_free() it. NULL: there is none. */
X509 *sim_certificate_parse(const char *pem);
/* The same when it is valid now; the error, which begins with the prefix CA, TRUSTED or SERVER, is recorded else. */
X509 *sim_certificate_take(struct sim_call *c, const char *pem, const char *prefix);
void sim_certificate_fingerprint(const X509 *x, const EVP_MD *type, char ret[SIM_HEX_BYTES]);
/*
 * A record of it, and its text where hosts keep such texts.
 *
 * host      whose own it is; NULL: one that the pool trusts.
 * returns   NULL: no memory.
 */
struct sim_object *sim_certificate_add(struct simpool *p, X509 *x, const char *name, const char *type,
                                       const struct sim_object *host);
/* The record and the text go. */
void sim_certificate_remove(struct simpool *p, struct sim_object *o);
struct sim_object *sim_certificate_find(const struct simpool *p, const char *field, const char *text);
/* Whether a name can be that of a file in a folder of certificates. */
bool sim_certificate_name_is_safe(const char *name);
bool sim_is_crl(const char *pem);

extern const struct sim_row sim_own_certificate_rows[], sim_trade_rows[];

#endif
