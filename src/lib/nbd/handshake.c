/*
 * The handshake: options until the client chooses the export. An option is read whole before it is looked at, since
 * every answer, refusals included, needs its data out of the way.
 */
#include "lib/nbd/inner.h"

#include <string.h>

#define REPLY_BYTES 20u

enum { GO_ON = 0, CHOSEN = 1, LEAVE = 2 };

bool nbd_is_export(const struct nbd_export *e, const uint8_t *name, size_t bytes)
{
    return bytes == 0 || (bytes == strlen(e->name) && memcmp(name, e->name, bytes) == 0);
}

uint16_t nbd_transmission_flags(const struct nbd_client *c)
{
    unsigned flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE | NBD_FLAG_SEND_FLUSH;

    if (c->structured)
        flags |= NBD_FLAG_SEND_DF;
    if (c->export->overlay)
        flags |= NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES;
    else
        flags |= NBD_FLAG_READ_ONLY;
    return (uint16_t)flags;
}

int nbd_skip(struct nbd_client *c, uint64_t bytes)
{
    int code = 0;

    while (bytes && code == 0) {
        const size_t part = (size_t)XK_MIN(bytes, (uint64_t)NBD_BUFFER_BYTES);
        code = c->wire.receive(c->wire.context, c->buffer, part, false);
        bytes -= part;
    }
    return code;
}

/* ---- replies ---- */

static int reply(struct nbd_client *c, uint32_t option, uint32_t type, const void *data, size_t bytes)
{
    uint8_t header[REPLY_BYTES];
    struct xk_writer w = xk_writer(header, sizeof(header));

    xk_write_be64(&w, NBD_OPTION_REPLY_MAGIC);
    xk_write_be32(&w, option);
    xk_write_be32(&w, type);
    xk_write_be32(&w, (uint32_t)bytes);
    const int code = c->wire.send(c->wire.context, header, sizeof(header));
    return code == 0 && bytes ? c->wire.send(c->wire.context, data, bytes) : code;
}

static int refuse(struct nbd_client *c, uint32_t option, uint32_t type, const char *why)
{
    return reply(c, option, type, why, strlen(why));
}

static int reply_text(struct nbd_client *c, uint32_t option, uint16_t info, const char *text)
{
    uint8_t data[2 + NBD_NAME_MAX];
    struct xk_writer w = xk_writer(data, sizeof(data));

    xk_write_be16(&w, info);
    xk_write_raw(&w, text, strnlen(text, NBD_NAME_MAX));
    return reply(c, option, NBD_REP_INFO, data, w.at);
}

/* ---- options ---- */

static int list_exports(struct nbd_client *c)
{
    uint8_t data[4 + NBD_NAME_MAX];
    struct xk_writer w = xk_writer(data, sizeof(data));
    const size_t bytes = strnlen(c->export->name, NBD_NAME_MAX);

    xk_write_be32(&w, (uint32_t)bytes);
    xk_write_raw(&w, c->export->name, bytes);
    const int code = reply(c, NBD_OPT_LIST, NBD_REP_SERVER, data, w.at);
    return code ? code : reply(c, NBD_OPT_LIST, NBD_REP_ACK, NULL, 0);
}

static int tell_block_size(struct nbd_client *c, uint32_t option)
{
    uint8_t data[14];
    struct xk_writer w = xk_writer(data, sizeof(data));

    xk_write_be16(&w, NBD_INFO_BLOCK_SIZE);
    xk_write_be32(&w, 1);
    xk_write_be32(&w, 4096);
    xk_write_be32(&w, NBD_REQUEST_BYTES_MAX);
    return reply(c, option, NBD_REP_INFO, data, w.at);
}

static int tell_export(struct nbd_client *c, uint32_t option)
{
    uint8_t data[12];
    struct xk_writer w = xk_writer(data, sizeof(data));

    xk_write_be16(&w, NBD_INFO_EXPORT);
    xk_write_be64(&w, c->export->volume->size_bytes);
    xk_write_be16(&w, nbd_transmission_flags(c));
    return reply(c, option, NBD_REP_INFO, data, w.at);
}

/* INFO and GO: name, then the numbers of what the client would like to be told. */
static int info_or_go(struct nbd_client *c, uint32_t option, size_t bytes)
{
    struct xk_reader r = xk_reader(c->buffer, bytes);
    const uint32_t name_bytes = xk_be32(&r);
    const size_t name_at = r.at;
    bool name = false, description = false, block_size = false;

    xk_skip(&r, name_bytes);
    const uint16_t count = xk_be16(&r);
    for (uint16_t i = 0; i < count && !r.bad; i++) {
        const uint16_t info = xk_be16(&r);
        name |= info == NBD_INFO_NAME;
        description |= info == NBD_INFO_DESCRIPTION;
        block_size |= info == NBD_INFO_BLOCK_SIZE;
    }
    if (r.bad || xk_left(&r) || name_bytes > NBD_NAME_MAX)
        return refuse(c, option, NBD_REP_ERR_INVALID, "lengths in the option contradict each other");
    if (!nbd_is_export(c->export, c->buffer + name_at, name_bytes))
        return refuse(c, option, NBD_REP_ERR_UNKNOWN, "there is no such export");
    int code = tell_export(c, option);
    if (code == 0 && name)
        code = reply_text(c, option, NBD_INFO_NAME, c->export->name);
    if (code == 0 && description && c->export->description)
        code = reply_text(c, option, NBD_INFO_DESCRIPTION, c->export->description);
    if (code == 0 && block_size)
        code = tell_block_size(c, option);
    if (code == 0)
        code = reply(c, option, NBD_REP_ACK, NULL, 0);
    return code == 0 && option == NBD_OPT_GO ? CHOSEN : code;
}

static int tell_context(struct nbd_client *c, uint32_t option, uint32_t id, const char *name)
{
    uint8_t data[4 + 32];
    struct xk_writer w = xk_writer(data, sizeof(data));

    xk_write_be32(&w, id);
    xk_write_raw(&w, name, strlen(name));
    return reply(c, option, NBD_REP_META_CONTEXT, data, w.at);
}

/* Does the query name the context? When listing, a namespace alone ("base:") names all of it. */
static bool names_context(const uint8_t *query, size_t bytes, const char *context, bool listing)
{
    const size_t space = (size_t)(strchr(context, ':') - context) + 1;

    if (listing && bytes == space)
        return memcmp(query, context, space) == 0;
    return bytes == strlen(context) && memcmp(query, context, bytes) == 0;
}

static int meta_contexts(struct nbd_client *c, uint32_t option, size_t bytes)
{
    const bool listing = option == NBD_OPT_LIST_META_CONTEXT;
    struct xk_reader r = xk_reader(c->buffer, bytes);
    const uint32_t name_bytes = xk_be32(&r);
    const size_t name_at = r.at;

    xk_skip(&r, name_bytes);
    const uint32_t queries = xk_be32(&r);
    bool allocation = listing && queries == 0, layer = allocation;
    for (uint32_t i = 0; i < queries && !r.bad; i++) {
        const uint32_t query_bytes = xk_be32(&r);
        const size_t at = r.at;
        xk_skip(&r, query_bytes);
        if (r.bad)
            break;
        allocation |= names_context(c->buffer + at, query_bytes, NBD_ALLOCATION_CONTEXT, listing);
        layer |= names_context(c->buffer + at, query_bytes, NBD_LAYER_CONTEXT, listing);
    }
    if (!listing)
        c->allocation = c->layer = false;
    if (!c->structured)
        return refuse(c, option, NBD_REP_ERR_INVALID, "contexts need structured replies");
    if (r.bad || xk_left(&r) || name_bytes > NBD_NAME_MAX)
        return refuse(c, option, NBD_REP_ERR_INVALID, "lengths in the option contradict each other");
    if (!nbd_is_export(c->export, c->buffer + name_at, name_bytes))
        return refuse(c, option, NBD_REP_ERR_UNKNOWN, "there is no such export");
    if (!listing) {
        c->allocation = allocation;
        c->layer = layer;
    }
    int code = allocation ? tell_context(c, option, NBD_CONTEXT_ALLOCATION, NBD_ALLOCATION_CONTEXT) : 0;
    if (code == 0 && layer)
        code = tell_context(c, option, NBD_CONTEXT_LAYER, NBD_LAYER_CONTEXT);
    return code ? code : reply(c, option, NBD_REP_ACK, NULL, 0);
}

/* The old way to choose: no refusal is possible but hanging up. */
static int export_name(struct nbd_client *c, size_t bytes)
{
    uint8_t data[10 + 124];
    struct xk_writer w = xk_writer(data, sizeof(data));

    if (!nbd_is_export(c->export, c->buffer, bytes))
        return xk_fail(c->err, -ENOENT, "it asked for an export that there is not");
    xk_write_be64(&w, c->export->volume->size_bytes);
    xk_write_be16(&w, nbd_transmission_flags(c));
    xk_write_zeros(&w, c->no_zeroes ? 0 : 124);
    const int code = c->wire.send(c->wire.context, data, w.at);
    return code ? code : CHOSEN;
}

static int take_option(struct nbd_client *c, uint32_t option, size_t bytes)
{
    if (!c->fixed && option != NBD_OPT_EXPORT_NAME)
        return xk_fail(c->err, -EPROTO, "it sent option %u without the fixed newstyle handshake", option);
    switch (option) {
    case NBD_OPT_EXPORT_NAME:
        return export_name(c, bytes);
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        return info_or_go(c, option, bytes);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        return meta_contexts(c, option, bytes);
    case NBD_OPT_ABORT:
        (void)reply(c, option, NBD_REP_ACK, NULL, 0); /* the client may be gone already, and is free to be */
        return LEAVE;
    case NBD_OPT_LIST:
        return bytes ? refuse(c, option, NBD_REP_ERR_INVALID, "this option has no data") : list_exports(c);
    case NBD_OPT_STRUCTURED_REPLY:
        if (bytes)
            return refuse(c, option, NBD_REP_ERR_INVALID, "this option has no data");
        c->structured = true;
        return reply(c, option, NBD_REP_ACK, NULL, 0);
    default:
        return refuse(c, option, NBD_REP_ERR_UNSUP, "this option is not known here");
    }
}

static int next_option(struct nbd_client *c)
{
    uint8_t header[16];
    struct xk_reader r = xk_reader(header, sizeof(header));

    int code = c->wire.receive(c->wire.context, header, sizeof(header), false);
    if (code == -ENODATA)
        return LEAVE;
    if (code < 0)
        return code;
    const uint64_t magic = xk_be64(&r);
    const uint32_t option = xk_be32(&r), bytes = xk_be32(&r);
    if (magic != NBD_OPTION_MAGIC)
        return xk_fail(c->err, -EPROTO, "it sent %016llx where an option begins", (unsigned long long)magic);
    if (bytes > NBD_OPTION_SKIP)
        return xk_fail(c->err, -EPROTO, "it announced %u bytes of data for option %u", bytes, option);
    if (bytes > NBD_BUFFER_BYTES) {
        code = nbd_skip(c, bytes);
        return code < 0 ? code : refuse(c, option, NBD_REP_ERR_TOO_BIG, "the option is too long");
    }
    code = bytes ? c->wire.receive(c->wire.context, c->buffer, bytes, false) : 0;
    return code < 0 ? code : take_option(c, option, bytes);
}

static int greet(struct nbd_client *c)
{
    uint8_t hello[18], flags[4];
    struct xk_writer w = xk_writer(hello, sizeof(hello));
    struct xk_reader r = xk_reader(flags, sizeof(flags));

    xk_write_be64(&w, NBD_MAGIC);
    xk_write_be64(&w, NBD_OPTION_MAGIC);
    xk_write_be16(&w, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    int code = c->wire.send(c->wire.context, hello, sizeof(hello));
    if (code == 0)
        code = c->wire.receive(c->wire.context, flags, sizeof(flags), false);
    if (code < 0)
        return code;
    const uint32_t wanted = xk_be32(&r);
    if (wanted & ~(uint32_t)(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES))
        return xk_fail(c->err, -EPROTO, "it answered with the unknown flags %08x", wanted);
    c->fixed = wanted & NBD_FIXED_NEWSTYLE;
    c->no_zeroes = wanted & NBD_NO_ZEROES;
    return 0;
}

int nbd_handshake(struct nbd_client *c)
{
    int code = greet(c);

    if (code == -ENODATA)
        return 0;
    for (unsigned i = 0; code == GO_ON && i < NBD_OPTIONS_MAX; i++)
        code = next_option(c);
    if (code == GO_ON)
        return xk_fail(c->err, -EPROTO, "it sent more than %u options", NBD_OPTIONS_MAX);
    return code == LEAVE ? 0 : code;
}
