/*
 * Blobs and secrets.
 *
 * The bytes of a blob are kept beside the database, under its ref, and move through PUT and GET /blob. They live as
 * long as the pool runs; a blob that went by itself leaves bytes that go when the next ones come.
 */
#include "lib/simpool/ops.h"
#include "lib/simpool/transfer.h"

#define BLOBS_BYTES_MAX (16u << 20) /* of all of them */

struct sim_blob {
    char ref[SIM_REF_BYTES];
    char *bytes;
    size_t size;
    struct sim_blob *next;
};

/* ---- bytes ---- */

static void blob_free(struct sim_blob *b)
{
    free(b->bytes);
    free(b);
}

void sim_blobs_close(struct simpool *p)
{
    while (p->blobs) {
        struct sim_blob *const b = p->blobs;
        p->blobs = b->next;
        blob_free(b);
    }
}

/* Forget what no object is for; returns what is left. */
static size_t sweep(struct simpool *p, const char *except)
{
    size_t bytes = 0;

    for (struct sim_blob **at = &p->blobs; *at;) {
        struct sim_blob *const b = *at;
        if (sim_same(b->ref, except) || !sim_find(p, b->ref, NULL)) {
            *at = b->next;
            blob_free(b);
            continue;
        }
        bytes += b->size;
        at = &b->next;
    }
    return bytes;
}

static struct sim_blob *content_of(const struct simpool *p, const char *ref)
{
    struct sim_blob *b = p->blobs;

    while (b && !sim_same(b->ref, ref))
        b = b->next;
    return b;
}

static int store(struct simpool *p, struct sim_object *blob, const char *bytes, size_t size)
{
    if (sweep(p, blob->ref) + size > BLOBS_BYTES_MAX)
        return -ENOSPC;
    struct sim_blob *const b = xk_zalloc(sizeof(*b));
    char *const copy = xk_array_alloc(size + 1, 1);
    if (!b || !copy) {
        free(b);
        free(copy);
        return -ENOMEM;
    }
    memcpy(copy, bytes, size);
    *b = (struct sim_blob){.bytes = copy, .size = size, .next = p->blobs};
    snprintf(b->ref, sizeof(b->ref), "%s", blob->ref);
    p->blobs = b;
    sim_put_int(p, blob, "size", (int64_t)size);
    sim_put_time(p, blob, "last_updated", sim_now_s(p));
    return 0;
}

/* ---- /blob ---- */

/* The blob that a request names and may see. NULL: answered. */
static struct sim_object *asked(struct simpool *p, struct http_exchange *x, const char *action, unsigned roles)
{
    const struct xapi_class *const row = xapi_class_find("blob");
    struct sim_error error;
    char word[64];

    struct sim_object *blob = sim_http_param(x, "ref", word, sizeof(word)) ? sim_find(p, word, row) : NULL;
    if (!*word && sim_http_param(x, "uuid", word, sizeof(word)))
        blob = sim_find_uuid(p, word, row);
    if (!*word) {
        http_refuse(x, 400);
        return NULL;
    }
    /* A public one is for everybody to read. */
    if (!(blob && sim_bool(blob, "public") && sim_same(http_method(x), "GET")) &&
        !sim_http_allowed(p, x, action, roles))
        return NULL;
    if (!blob) {
        sim_error_set(&error, "INTERNAL_ERROR", "Xapi_blob.Unknown_blob", NULL);
        sim_request_fail(p, x, 404, &error);
    }
    return blob;
}

void sim_blob_get(struct simpool *p, struct http_exchange *x)
{
    const struct sim_object *const blob = asked(p, x, "get_blob", ~0u);
    const struct sim_blob *const content = blob ? content_of(p, blob->ref) : NULL;
    struct xk_buf body = XK_BUF_INIT(BLOBS_BYTES_MAX);

    if (!blob)
        return;
    if (!content)
        return http_refuse(x, 404);
    xk_buf_add(&body, content->bytes, content->size);
    sim_request_answer(p, x, &(struct http_reply){.status = 200, .type = sim_text(blob, "mime_type"), .close = true},
                       &body);
}

/* ---- PUT: the client hears 200 before it sends, what came counts, also when that was less than it said ---- */

struct blob_put {
    struct sim_transfer t;
    char ref[SIM_REF_BYTES];
    struct xk_buf bytes;
};

static const struct sim_transfer_kind put_kind;
static const char no_space[] = "Unix.Unix_error(Unix.ENOSPC, \"write\", \"\")";

static enum sim_transfer_step put_fails(struct blob_put *b, const char *why)
{
    struct sim_error error;

    sim_error_set(&error, "INTERNAL_ERROR", why, NULL);
    return sim_transfer_fail(&b->t, &error);
}

/* Of all blobs that are on their way: together they may take as much again as those that are there. */
static size_t bytes_coming(const struct simpool *p)
{
    size_t bytes = 0;

    for (const struct sim_transfer *t = p->transfers; t; t = t->next)
        if (t->kind == &put_kind)
            bytes += ((const struct blob_put *)t)->bytes.len;
    return bytes;
}

static enum sim_transfer_step put_take(struct sim_transfer *t, const uint8_t *bytes, size_t count, size_t *ret_taken)
{
    struct blob_put *const b = (struct blob_put *)t;

    if (bytes_coming(t->pool) + count > BLOBS_BYTES_MAX)
        return put_fails(b, no_space);
    xk_buf_add(&b->bytes, bytes, count);
    *ret_taken = count;
    return b->bytes.error ? put_fails(b, "Out_of_memory") : SIM_TRANSFER_MORE;
}

static enum sim_transfer_step put_end(struct sim_transfer *t)
{
    struct blob_put *const b = (struct blob_put *)t;
    struct sim_object *const blob = sim_find(t->pool, b->ref, xapi_class_find("blob"));
    struct sim_error error;

    if (!blob) {
        sim_error_set(&error, "HANDLE_INVALID", "blob", b->ref, NULL);
        return sim_transfer_fail(t, &error);
    }
    const int code = store(t->pool, blob, xk_buf_str(&b->bytes), b->bytes.len);
    if (code < 0)
        return put_fails(b, code == -ENOSPC ? no_space : "Out_of_memory");
    return sim_transfer_succeed(t, NULL);
}

static void put_free(struct sim_transfer *t)
{
    struct blob_put *const b = (struct blob_put *)t;

    xk_buf_done(&b->bytes);
    free(b);
}

static const struct sim_transfer_kind put_kind = {.take = put_take, .end = put_end, .free = put_free};

void sim_blob_put(struct simpool *p, struct http_exchange *x)
{
    const struct sim_object *const blob = asked(p, x, "put_blob", XAPI_ROLE_PA | XAPI_ROLE_PO | XAPI_ROLE_VPA);
    struct sim_error error;

    if (!blob)
        return;
    if (http_unread(x) < 0) {
        sim_error_set(&error, "INTERNAL_ERROR", "Failure(\"Need content length\")", NULL);
        return sim_request_fail(p, x, 500, &error);
    }
    struct blob_put *const b = xk_zalloc(sizeof(*b));
    if (!b)
        return http_refuse(x, 500);
    b->bytes = XK_BUF_INIT(BLOBS_BYTES_MAX);
    memcpy(b->ref, blob->ref, sizeof(b->ref));
    if (sim_transfer_begin(&b->t, p, x, &put_kind))
        (void)sim_transfer_accept(&b->t, NULL, "Access-Control-Allow-Origin: *\r\n");
}

/* ---- messages ---- */

static struct sim_object *blob_create(struct simpool *p, const char *mime_type, bool public)
{
    struct sim_object *const blob = sim_create(p, "blob");

    if (!blob)
        return NULL;
    sim_put_text(p, blob, "mime_type", *mime_type ? mime_type : "application/octet-stream");
    sim_put_bool(p, blob, "public", public);
    return blob;
}

/* A type goes into a header of replies: no control characters in it. */
static bool is_header_text(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 32 || (unsigned char)*text == 127)
            return false;
    return true;
}

static enum sim_outcome create(struct sim_call *c)
{
    if (!is_header_text(sim_arg_text(c, 0)))
        return sim_invalid(c, "mime_type", sim_arg_text(c, 0));
    return sim_done_ref(c, blob_create(c->pool, sim_arg_text(c, 0), c->args[1].truth));
}

static enum sim_outcome destroy(struct sim_call *c)
{
    static const char *const owners[] = {"VM", "SR", "host", "network", "pool", "VDI"};
    struct simpool *const p = c->pool;
    struct sim_object *const blob = sim_arg(c, 0);

    if (!blob)
        return SIM_FAILED;
    for (size_t i = 0; i < XK_COUNT(owners); i++) {
        for (struct sim_object *o = sim_first(p, owners[i]); o; o = o->class_next) {
            if (xapi_field_place(o->class_row, "blobs") == XAPI_NONE)
                break;
            const struct xapi_value *const map = sim_get(o, "blobs");
            for (size_t j = 0; j < map->count; j++) {
                char key[256];
                if (!sim_same(xapi_value_text(&map->items[2 * j + 1]), blob->ref))
                    continue;
                snprintf(key, sizeof(key), "%.255s", map->items[2 * j].text);
                sim_map_unset(p, o, xapi_field_place(o->class_row, "blobs"), key);
                break;
            }
        }
    }
    char ref[SIM_REF_BYTES];
    memcpy(ref, blob->ref, sizeof(ref));
    sim_delete(p, blob);
    (void)sweep(p, ref);
    return SIM_DONE;
}

/* Parameters: the object, a name under which its blobs have it, a type, public. */
static enum sim_outcome create_new_blob(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const owner = sim_arg(c, 0);
    const char *const name = sim_arg_text(c, 1);

    if (!owner)
        return SIM_FAILED;
    if (!is_header_text(sim_arg_text(c, 2)))
        return sim_invalid(c, "mime_type", sim_arg_text(c, 2));
    if (xapi_map_get(sim_get(owner, "blobs"), name))
        return sim_fail(c, "MAP_DUPLICATE_KEY", xapi_text(owner->class_row->name), "blobs", sim_text(owner, "uuid"),
                        name, NULL);
    struct sim_object *const blob = blob_create(p, sim_arg_text(c, 2), c->args[3].truth);
    if (!blob)
        return sim_no_memory(c);
    const struct xapi_value ref = xapi_str(blob->ref);
    sim_map_set(p, owner, xapi_field_place(owner->class_row, "blobs"), name, &ref);
    return sim_done_ref(c, blob);
}

static enum sim_outcome secret_introduce(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const uuid = sim_arg_text(c, 0);

    if (sim_find_uuid(p, uuid, xapi_class_find("secret")))
        return sim_fail(c, "INTERNAL_ERROR", "Db_exn.Uniqueness_constraint_violation(\"secret\", \"uuid\", _)", NULL);
    struct sim_object *const secret = sim_create(p, "secret");
    if (!secret)
        return sim_no_memory(c);
    sim_put_uuid(p, secret, uuid);
    sim_put(p, secret, "value", c->args[1]);
    sim_put(p, secret, "other_config", c->args[2]);
    return sim_done_ref(c, secret);
}

const struct sim_row sim_blob_rows[] = {
    {"blob.create", create},
    {"blob.destroy", destroy},
    {"VM.create_new_blob", create_new_blob},
    {"SR.create_new_blob", create_new_blob},
    {"network.create_new_blob", create_new_blob},
    {"host.create_new_blob", create_new_blob},
    {"pool.create_new_blob", create_new_blob},
    {"secret.introduce", secret_introduce},
    {NULL, NULL},
};
