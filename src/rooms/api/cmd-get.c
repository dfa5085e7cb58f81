/* `xenkit api get`: what a pool gives by plain HTTP, such as its metrics, with the session that this takes. */
#include "rooms/api/api.h"

#define BODY_BYTES_MAX (UINT64_C(1) << 30)

struct get {
    struct client_access access;
};

static const struct xk_opt get_opts[] = {CLIENT_ACCESS_OPTS(struct get, access), XK_OPT_END};

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct get *const opts = args->opts;
    xk_auto(xk_buf_done) struct xk_buf body = XK_BUF_INIT(BODY_BYTES_MAX);
    xk_auto(client_closep) struct client *c = NULL;

    int code = client_open(&c, app, args->count > 1 ? args->operands[0] : NULL, &opts->access,
                           &(struct client_manner){.originator = API_ORIGINATOR}, err);
    if (code == 0)
        code = client_get(c, &body, args->operands[args->count - 1], err);
    if (code == 0 && body.len)
        xk_out_raw(app->out, body.data, body.len);
    return code;
}

static const struct get defaults = {.access = CLIENT_ACCESS_DEFAULTS};
static const char *const example[] = {"/host_rrd", NULL};

const struct xk_command api_cmd_get = {
    .name = "get",
    .summary = "fetch what a pool gives by plain HTTP, such as /rrd_updates",
    .operands = "[POOL] PATH",
    .min_operands = 1,
    .max_operands = 2,
    .opts = get_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct get),
    .run = run,
    .example = example,
    .raw = true,
};
