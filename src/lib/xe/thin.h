/*
 * The thin protocol between the real `xe` and a server: the client sends its words, the server answers with messages
 * that tell it what to print, which files to send, when to end.
 *
 * Numbers are 32 bits, little endian; texts and lists carry their length before them. Everything decoded is untrusted.
 */
#ifndef LIB_XE_THIN_H
#define LIB_XE_THIN_H

#include "lib/xe/xe.h"

#define THIN_GREETING          "XenSource thin CLI protocol"
#define THIN_GREETING_BYTES    (sizeof(THIN_GREETING) - 1 + 8) /* with the version's two numbers */
#define THIN_MAJOR             0
#define THIN_MINOR             2
#define THIN_REQUEST_BYTES_MAX (200u << 10) /* of the words, as the real server */
#define THIN_MESSAGE_BYTES_MAX (64u << 10)  /* of a message from the client, without the data behind it */
#define THIN_TEXTS_MAX         64

enum thin_kind { THIN_COMMAND = 9, THIN_RESPONSE = 10, THIN_BLOB = 11 };

enum thin_tag {
    THIN_PRINT = 0,
    THIN_LOAD = 1,
    THIN_PROMPT = 3,
    THIN_EXIT = 4,
    THIN_OK = 5,
    THIN_FAILED = 6,
    THIN_CHUNK = 7, /* so many bytes follow the message */
    THIN_END = 8,
    THIN_HTTP_GET = 12,
    THIN_HTTP_PUT = 13,
    THIN_ERROR = 14,
    THIN_DEBUG = 15,
    THIN_COMPLAIN = 16,
    THIN_HTTP_CONNECT = 17,
    THIN_WAIT = 18, /* the client is still at it */
};

struct thin_text {
    const char *at;
    size_t bytes;
};

struct thin_message {
    enum thin_kind kind;
    enum thin_tag tag;
    uint32_t number; /* the status of an exit, the bytes of a chunk */
    struct thin_text texts[THIN_TEXTS_MAX];
    size_t text_count; /* an error's parameters come behind its code */
};

/* ---- bytes ---- */

void thin_put_greeting(struct xk_buf *b);
/* returns   0; -EBADMSG: somebody else's protocol; -ENOTSUP: another version. */
int thin_check_greeting(const uint8_t *bytes, struct xk_err *err);
/* Append a message with its length before it. */
void thin_put(struct xk_buf *b, const struct thin_message *message);
/*
 * Decode a message, without its length. Texts are borrowed from `bytes`.
 *
 * returns   0; -EBADMSG: it is none, or bytes are left over; -E2BIG: more than THIN_TEXTS_MAX texts.
 */
int thin_decode(struct thin_message *ret, const uint8_t *bytes, size_t count, struct xk_err *err);

/*
 * The words of a request's body: one a line, a CR before the line's end does not count.
 *
 * session   what the first line `session_id=` says, or NULL; it is not among the words.
 * returns   0; -E2BIG: more than XE_ARGS_MAX words; -EINVAL: a NUL; -ENOMEM.
 */
int thin_words(const char ***ret_words, size_t *ret_count, const char **ret_session, struct xk_arena *arena,
               const char *body, size_t bytes, struct xk_err *err);

/* ---- the server's side of one connection ---- */

/*
 * Serve a client that has been greeted and has greeted back: run its command line, tell it how to end.
 *
 * fd        a stream socket that blocks; closing is the caller's.
 * settings  without a terminal: the client is it. open() is told the user and the password of the words; when `session`
 *           was given it is for the remote to use that instead.
 * returns   0: the client was told; a negative errno value: it is gone, or the pool is.
 */
int thin_serve(int fd, const struct xe_settings *settings, const char *const *words, size_t count, struct xk_err *err);

#endif
