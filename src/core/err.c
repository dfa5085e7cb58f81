/*
 * Errors in storage that the caller lends. A new text is made in a local buffer first, because the usual way to add
 * what was being done is xk_fail(err, code, "…: %s", err->text).
 */
#include "core/err.h"
#include "core/clock.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* What an errno value means to whoever waits for the exit status. What is not here is I/O or memory. */
static const struct {
    int code;
    enum xk_exit exit;
} exit_table[] = {
    {EINVAL, XK_EXIT_USAGE},
    {ERANGE, XK_EXIT_USAGE},
    {EDOM, XK_EXIT_USAGE},
    {E2BIG, XK_EXIT_USAGE},
    {EPERM, XK_EXIT_CANNOT},
    {EACCES, XK_EXIT_CANNOT},
    {EROFS, XK_EXIT_CANNOT},
    {ENOTSUP, XK_EXIT_CANNOT},
    {ENOSYS, XK_EXIT_CANNOT},
    {ENODEV, XK_EXIT_CANNOT},
    {ENOTTY, XK_EXIT_CANNOT},
    {EAFNOSUPPORT, XK_EXIT_CANNOT},
    {EPROTONOSUPPORT, XK_EXIT_CANNOT},
    {EADDRINUSE, XK_EXIT_CANNOT},
    {EADDRNOTAVAIL, XK_EXIT_CANNOT},
    {ECONNREFUSED, XK_EXIT_REMOTE},
    {ECONNRESET, XK_EXIT_REMOTE},
    {ECONNABORTED, XK_EXIT_REMOTE},
    {EHOSTUNREACH, XK_EXIT_REMOTE},
    {EHOSTDOWN, XK_EXIT_REMOTE},
    {ENETUNREACH, XK_EXIT_REMOTE},
    {ENETDOWN, XK_EXIT_REMOTE},
    {ENOTCONN, XK_EXIT_REMOTE},
    {EPROTO, XK_EXIT_REMOTE},
    {EREMOTEIO, XK_EXIT_REMOTE},
    {EKEYREJECTED, XK_EXIT_REMOTE},
    {EBADMSG, XK_EXIT_DAMAGED},
    {EUCLEAN, XK_EXIT_DAMAGED},
    {EILSEQ, XK_EXIT_DAMAGED},
    {EFBIG, XK_EXIT_DAMAGED},
    {ELOOP, XK_EXIT_DAMAGED}, /* of images; file systems' own are told as XK_EXIT_IO */
    {ETIMEDOUT, XK_EXIT_TIMEOUT},
    {ETIME, XK_EXIT_TIMEOUT},
};

int xk_exit_of(int code)
{
    if (code == 0)
        return XK_EXIT_OK;
    if (code == -EINTR || code == -ECANCELED) {
        const int signal_number = xk_stop_signal();
        return XK_EXIT_SIGNAL + (signal_number ? signal_number : SIGINT);
    }
    for (size_t i = 0; i < XK_COUNT(exit_table); i++)
        if (code == -exit_table[i].code)
            return (int)exit_table[i].exit;
    return XK_EXIT_IO;
}

/* Where a cut at `bytes` does not split a UTF-8 sequence. */
static size_t whole_letters(const char *text, size_t bytes)
{
    while (bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes--;
    return bytes;
}

static void XK_PRINTF(3, 0) put_text(char *ret, size_t size, const char *format, va_list args)
{
    char text[XK_ERR_TEXT_MAX + 1];
    assert(size < sizeof(text));
    const int length = vsnprintf(text, sizeof(text), format, args);
    if (length < 0)
        text[0] = '\0';
    size_t keep = strlen(text);
    if (keep >= size)
        keep = whole_letters(text, size - 1);
    memcpy(ret, text, keep);
    ret[keep] = '\0';
}

int xk_vfail(struct xk_err *err, int code, const char *format, va_list args)
{
    assert(code < 0);
    if (!err)
        return code;
    put_text(err->text, sizeof(err->text), format, args);
    err->code = code;
    err->exit = xk_exit_of(code);
    err->hint[0] = '\0';
    return code;
}

int xk_fail(struct xk_err *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    xk_vfail(err, code, format, args);
    va_end(args);
    return code;
}

int xk_fail_sys(struct xk_err *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    xk_vfail(err, code, format, args);
    va_end(args);
    if (err) {
        /* strerrordesc_np() is translated by nobody and safe in threads; it knows no text for made-up numbers. */
        const char *reason = strerrordesc_np(-code);
        char tail[96];
        if (reason)
            snprintf(tail, sizeof(tail), ": %s", reason);
        else
            snprintf(tail, sizeof(tail), ": error %d", -code);
        /* The reason says more than the end of a long name. */
        const size_t tail_length = strlen(tail);
        size_t length = strlen(err->text);
        if (length + tail_length >= sizeof(err->text))
            length = whole_letters(err->text, sizeof(err->text) - 1 - tail_length);
        memcpy(err->text + length, tail, tail_length + 1);
    }
    return code;
}

void xk_err_hint(struct xk_err *err, const char *format, ...)
{
    if (!err)
        return;
    va_list args;
    va_start(args, format);
    put_text(err->hint, sizeof(err->hint), format, args);
    va_end(args);
}

void xk_err_exit(struct xk_err *err, enum xk_exit status)
{
    if (err)
        err->exit = (int)status;
}

void xk_err_clear(struct xk_err *err)
{
    if (!err)
        return;
    err->code = 0;
    err->exit = XK_EXIT_OK;
    err->text[0] = '\0';
    err->hint[0] = '\0';
}

int xk_fail_memory(struct xk_err *err)
{
    return xk_fail(err, -ENOMEM, "out of memory");
}
