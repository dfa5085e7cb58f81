/* What failed is kept until the end: a section cannot begin while the results' own is open. */
#include "rooms/vhd/several.h"

#include "core/text.h"

int vhd_several_begin(struct vhd_several *ret, struct xk_app *app, size_t images, struct xk_err *err)
{
    *ret = (struct vhd_several){.app = app, .images = images};
    ret->failures = xk_array_alloc(images, sizeof(*ret->failures));
    return ret->failures ? 0 : xk_fail_memory(err);
}

int vhd_several_take(struct vhd_several *s, const char *path, int code, struct xk_err *err)
{
    if (code >= 0)
        return 0;
    if (s->images == 1 || code == -EINTR || code == -ENOMEM || xk_out_error(s->app->out) < 0)
        return code;
    char *const message = xk_strdup(err->text);
    if (!message)
        return xk_fail_memory(err);
    xk_log_err(s->app->log, err);
    if (s->failed == 0)
        s->first = *err;
    s->failures[s->failed++] = (struct vhd_failure){.path = path, .exit = err->exit, .message = message};
    return 0;
}

static void put_failures(const struct vhd_several *s)
{
    struct xk_out *const out = s->app->out;

    xk_out_rows(out, "failures");
    for (size_t i = 0; i < s->failed; i++) {
        xk_row(out);
        xk_put_str(out, "path", s->failures[i].path);
        xk_put_i64(out, "exit", s->failures[i].exit);
        xk_put_str(out, "message", s->failures[i].message);
    }
    xk_out_end(out);
}

int vhd_several_end(struct vhd_several *s, int code, struct xk_err *err)
{
    if (s->failed > 0 && xk_out_format(s->app->out) == XK_OUT_JSON)
        put_failures(s);
    if (s->failed > 0 && code == 0) {
        code = xk_fail(err, s->first.code, "%zu of %zu images failed", s->failed, s->images);
        xk_err_exit(err, (enum xk_exit)s->first.exit);
    }
    for (size_t i = 0; i < s->failed; i++)
        free(s->failures[i].message);
    free(s->failures);
    return code;
}

int vhd_each_image(struct xk_app *app, const struct xk_args *args, const struct vhd_each *how, struct xk_err *err)
{
    struct vhd_several several;

    int code = vhd_several_begin(&several, app, (size_t)args->count, err);
    if (code < 0)
        return code;
    (how->cards ? xk_out_cards : xk_out_rows)(app->out, how->section);
    for (int i = 0; i < args->count && code == 0; i++) {
        const char *const path = args->operands[i];
        code = vhd_several_take(&several, path, how->one(app, path, args->opts, err), err);
    }
    xk_out_end(app->out);
    return vhd_several_end(&several, code, err);
}
