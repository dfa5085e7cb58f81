/*
 * What the files of the NBD server share: numbers of the protocol, and one client's conversation over any transport.
 */
#ifndef NBD_INNER_H
#define NBD_INNER_H

#include "core/bytes.h"
#include "lib/nbd/nbd.h"

#include <stdatomic.h>

/* ---- the protocol's numbers ---- */

#define NBD_MAGIC              UINT64_C(0x4e42444d41474943) /* NBDMAGIC */
#define NBD_OPTION_MAGIC       UINT64_C(0x49484156454f5054) /* IHAVEOPT */
#define NBD_OPTION_REPLY_MAGIC UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC      0x25609513u
#define NBD_SIMPLE_MAGIC       0x67446698u
#define NBD_STRUCTURED_MAGIC   0x668e33efu

enum { NBD_FIXED_NEWSTYLE = 1, NBD_NO_ZEROES = 2 };

enum nbd_option {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ACK          1u
#define NBD_REP_SERVER       2u
#define NBD_REP_INFO         3u
#define NBD_REP_META_CONTEXT 4u
#define NBD_REP_ERR_UNSUP    0x80000001u
#define NBD_REP_ERR_INVALID  0x80000003u
#define NBD_REP_ERR_UNKNOWN  0x80000006u
#define NBD_REP_ERR_TOO_BIG  0x80000009u

enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_DESCRIPTION = 2, NBD_INFO_BLOCK_SIZE = 3 };

#define NBD_FLAG_HAS_FLAGS         (1u << 0)
#define NBD_FLAG_READ_ONLY         (1u << 1)
#define NBD_FLAG_SEND_FLUSH        (1u << 2)
#define NBD_FLAG_SEND_FUA          (1u << 3)
#define NBD_FLAG_SEND_TRIM         (1u << 5)
#define NBD_FLAG_SEND_WRITE_ZEROES (1u << 6)
#define NBD_FLAG_SEND_DF           (1u << 7)
#define NBD_FLAG_CAN_MULTI_CONN    (1u << 8)
#define NBD_FLAG_SEND_CACHE        (1u << 10)

enum nbd_command {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};

#define NBD_CMD_FLAG_FUA       (1u << 0)
#define NBD_CMD_FLAG_NO_HOLE   (1u << 1)
#define NBD_CMD_FLAG_DF        (1u << 2)
#define NBD_CMD_FLAG_REQ_ONE   (1u << 3)

#define NBD_REPLY_DONE         1u
#define NBD_REPLY_NONE         0u
#define NBD_REPLY_DATA         1u
#define NBD_REPLY_HOLE         2u
#define NBD_REPLY_BLOCK_STATUS 5u
#define NBD_REPLY_ERROR        0x8001u

enum { NBD_EPERM = 1, NBD_EIO = 5, NBD_ENOMEM = 12, NBD_EINVAL = 22, NBD_ENOSPC = 28, NBD_ENOTSUP = 95 };

/* The numbers under which the contexts are known in replies. */
enum { NBD_CONTEXT_ALLOCATION = 1, NBD_CONTEXT_LAYER = 2 };

enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 };

/* ---- one client ---- */

#define NBD_BUFFER_BYTES (64u * 1024) /* data of one piece; also the longest option that is looked at */
#define NBD_HEADER_BYTES 32u          /* room before it, so that a header and its data go out together */
#define NBD_OPTIONS_MAX  64u          /* in one handshake */
#define NBD_OPTION_SKIP  (1u << 20)   /* a longer one is no option */

/* Where bytes come from and go to. All or nothing: 0, or a negative errno value. */
struct nbd_wire {
    /* -ENODATA: the other side ended before the first byte; -ETIMEDOUT. may_wait: nothing needs to come soon. */
    int (*receive)(void *context, void *buf, size_t bytes, bool may_wait);
    int (*send)(void *context, const void *buf, size_t bytes);
    void *context;
};

struct nbd_counters {
    atomic_ullong requests, read_bytes, written_bytes;
};

struct nbd_client {
    const struct nbd_export *export;
    struct nbd_wire wire;
    struct nbd_counters *counters;
    uint8_t *room;   /* NBD_HEADER_BYTES + NBD_BUFFER_BYTES */
    uint8_t *buffer; /* room + NBD_HEADER_BYTES */
    bool fixed, no_zeroes, structured;
    bool allocation, layer; /* contexts that were chosen */
    struct xk_err *err;     /* why the conversation ended, when it did not end well */
};

/* What the client asks for a name with: is it this export? */
bool nbd_is_export(const struct nbd_export *e, const uint8_t *name, size_t bytes);
uint16_t nbd_transmission_flags(const struct nbd_client *c);
/* returns 1: go on with requests; 0: the client wants nothing more; negative: it broke the rules or went away. */
int nbd_handshake(struct nbd_client *c);
/* Answer requests until the client is done. returns 0; negative as above. */
int nbd_answer(struct nbd_client *c);

/* Read and drop. */
int nbd_skip(struct nbd_client *c, uint64_t bytes);

#endif
