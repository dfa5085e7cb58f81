/*
 * An NBD server: a disk for any client of the Network Block Device protocol, on a Unix socket or on loopback.
 *
 *     struct nbd_server *s = NULL;
 *     int code = nbd_listen(&s, &settings, err);
 *     if (code == 0) {
 *         … tell nbd_uri(s) …
 *         code = nbd_run(s, err);
 *     }
 *     nbd_close(s);
 *
 * Fixed newstyle handshake; structured replies; block status in the contexts "base:allocation" and "xenkit:layer". The
 * latter's flags are the number of the layer that holds the bytes plus 1 (1: the image itself, 2: its parent, …); 0: no
 * layer has them.
 *
 * source   https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 */
#ifndef NBD_H
#define NBD_H

#include "core/clock.h"
#include "core/log.h"
#include "lib/volume/overlay.h"

#define NBD_PORT               10809 /* registered */
#define NBD_NAME_MAX           4096u /* bytes of any string, as the protocol has it */
#define NBD_REQUEST_BYTES_MAX  (32u << 20)
#define NBD_CONNECTIONS_MAX    16384u
#define NBD_CONNECTIONS        1024u /* usual */
#define NBD_LAYER_CONTEXT      "xenkit:layer"
#define NBD_ALLOCATION_CONTEXT "base:allocation"

struct nbd_export {
    const char *name;        /* clients may ask for this name, or for none */
    const char *description; /* NULL: none */
    const struct volume *volume;
    struct volume_overlay *overlay; /* NULL: read-only; else `volume` is its view */
};

struct nbd_settings {
    struct nbd_export export;
    const char *socket; /* path of a Unix socket; NULL: TCP on 127.0.0.1 */
    uint16_t port;      /* 0: any that is free */
    unsigned connections_max;
    uint64_t idle_ns;   /* a client that asks for nothing is disconnected after that; 0: never */
    uint64_t commit_ns; /* how long changes may wait for stable storage when nobody flushes */
    bool once;          /* end after the last client that opened the export, as qemu-nbd does without -t */
    struct xk_log *log;
    const struct xk_clock *clock;
};

struct nbd_totals {
    uint64_t clients, refused, broken; /* broken: disconnected for what they sent, or did not send in time */
    uint64_t requests, read_bytes, written_bytes;
};

struct nbd_server;

/*
 * Take the address. A socket file without anybody behind it is replaced; one that is in use is not.
 *
 * settings  copied; what it points to is borrowed.
 * returns   0; -EADDRINUSE; -ENAMETOOLONG: the socket's path; other errors of binding; -ENOMEM.
 */
int nbd_listen(struct nbd_server **ret, const struct nbd_settings *settings, struct xk_err *err);
/* nbd+unix:///NAME?socket=PATH or nbd://127.0.0.1:PORT/NAME; borrowed. */
const char *nbd_uri(const struct nbd_server *s);
uint16_t nbd_port(const struct nbd_server *s); /* 0: a Unix socket */
/*
 * Serve until a signal asks for an end (or, with once, until the last client that opened it is gone). Requests that are
 * being worked on are finished and answered; changes are flushed.
 *
 * returns   0; errors of polling and of the last flush.
 */
int nbd_run(struct nbd_server *s, struct xk_err *err);
struct nbd_totals nbd_totals(const struct nbd_server *s);
/* Accepts NULL. */
void nbd_close(struct nbd_server *s);

#endif
