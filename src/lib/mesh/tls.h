/*
 * TLS with a shared key around the stream between a coordinator and an agent that listens.
 *
 * TLS 1.3 with a pre-shared key and no certificates (RFC 8446 §2.2): whoever does not have the key gets no further
 * than the handshake, on either side. The other end of the stream is an ordinary descriptor, so that nobody else needs
 * to know whether there is TLS.
 */
#ifndef MESH_TLS_H
#define MESH_TLS_H

#include "core/clock.h"
#include "core/err.h"

#define MESH_KEY_BYTES    32
#define MESH_KEY_TEXT_MIN 16 /* characters of the text that a key is made of */
#define MESH_HANDSHAKE_S  10

struct mesh_key {
    unsigned char bytes[MESH_KEY_BYTES];
};

/*
 * The key out of a file's one line.
 *
 * returns   0; -EINVAL: too short, more than a line; -EPERM: others may read the file; errors of reading.
 */
int mesh_key_read(struct mesh_key *ret, const char *path, struct xk_err *err);

/*
 * Shake hands over `net` as the server or the client, then carry bytes between it and `plain` until either ends.
 *
 * returns   0; -EACCES: the other side does not have the key; -ETIMEDOUT; -EINTR; errors of the sockets.
 */
int mesh_tls_carry(int net, int plain, bool server, const struct mesh_key *key, const struct xk_clock *clock,
                   struct xk_err *err);

#endif
