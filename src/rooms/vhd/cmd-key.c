/*
 * `xenkit vhd key`: what an image says of the key that its data are encrypted with. The key itself comes from a file,
 * never from the command line; its hash is no secret.
 */
#include "rooms/vhd/room.h"
#include "rooms/vhd/several.h"

#include "core/text.h"
#include "lib/vhd/key.h"

#include <stdio.h>
#include <string.h>

#define HEX_BYTES 32

struct key {
    bool set, check, dry_run;
    const char *key_file, *hash, *nonce;
};

static const struct xk_opt key_opts[] = {
    XK_OPT_FLAG(0, "set", struct key, set, "store the hash of --key-file, or --hash, in an empty image"),
    XK_OPT_FLAG(0, "check", struct key, check, "compare --key-file with what the image says"),
    XK_OPT_TEXT('k', "key-file", struct key, key_file, "FILE", "the key: 32 or 64 bytes"),
    XK_OPT_TEXT(0, "hash", struct key, hash, "HEX", "with --set: the hash itself, 64 digits"),
    XK_OPT_TEXT(0, "nonce", struct key, nonce, "HEX", "64 digits that the hash begins with [random]"),
    XK_OPT_FLAG(0, "dry-run", struct key, dry_run, "with --set: say what would be stored, write nothing"),
    XK_OPT_END,
};

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static int parse_hex(uint8_t ret[HEX_BYTES], const char *option, const char *text, struct xk_err *err)
{
    const size_t length = strlen(text);

    for (size_t i = 0; i < HEX_BYTES; i++) {
        const int high = length == 2 * HEX_BYTES ? digit_of(text[2 * i]) : -1;
        const int low = high < 0 ? -1 : digit_of(text[2 * i + 1]);
        if (low < 0)
            return xk_fail(err, -EINVAL, "%s takes %d hexadecimal digits", option, 2 * HEX_BYTES);
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

static void put_hex(struct xk_out *out, const char *name, const uint8_t bytes[HEX_BYTES])
{
    char text[2 * HEX_BYTES + 1];
    for (size_t i = 0; i < HEX_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    xk_put_str(out, name, text);
}

static void put_keyhash(struct xk_out *out, const struct vhd_keyhash *k)
{
    if (k->set) {
        put_hex(out, "nonce", k->nonce);
        put_hex(out, "hash", k->hash);
    } else {
        xk_put_none(out, "nonce");
        xk_put_none(out, "hash");
    }
}

static int check_opts(const struct key *opts, int images, struct xk_err *err)
{
    const char *wrong = NULL;

    if (opts->set && opts->check)
        wrong = "--set and --check are two things";
    else if ((opts->set || opts->check) && images != 1)
        wrong = "--set and --check take one image";
    else if (opts->set && !opts->key_file == !opts->hash)
        wrong = "--set takes either --key-file or --hash";
    else if (opts->check && (!opts->key_file || opts->hash || opts->nonce))
        wrong = "--check takes --key-file, and nothing else: the image has the rest";
    else if (!opts->set && !opts->check && images > 0 && (opts->key_file || opts->hash || opts->nonce))
        wrong = "what is to be done with the key: --set or --check?";
    else if (images == 0 && (!opts->key_file || opts->hash))
        wrong = "an image is needed, or --key-file alone to see its hash";
    else if (opts->dry_run && !opts->set)
        wrong = "--dry-run goes with --set";
    return wrong ? xk_fail(err, -EINVAL, "%s", wrong) : 0;
}

/* The hash over the key in a file, which leaves memory again. matches: NULL, or only compare. */
static int use_key_file(struct vhd_keyhash *k, bool *matches, const struct xk_fs *fs, const char *path,
                        struct xk_err *err)
{
    uint8_t key[VHD_KEY_BYTES_MAX];

    int code = vhd_key_load(key, fs, path, err);
    if (code < 0)
        return code;
    code = matches ? vhd_keyhash_matches(k, key, (size_t)code, err) : vhd_keyhash_compute(k, key, (size_t)code, err);
    explicit_bzero(key, sizeof(key));
    if (matches)
        *matches = code == 1;
    return code < 0 ? code : 0;
}

/* What is to be stored, or shown when there is no image. */
static int make_keyhash(struct vhd_keyhash *k, struct xk_app *app, const struct key *opts, struct xk_err *err)
{
    int code = 0;

    *k = (struct vhd_keyhash){.set = true};
    if (opts->nonce)
        code = parse_hex(k->nonce, "--nonce", opts->nonce, err);
    else if (!opts->hash)
        xk_random_bytes(app->random, k->nonce, sizeof(k->nonce));
    if (code < 0)
        return code;
    return opts->hash ? parse_hex(k->hash, "--hash", opts->hash, err)
                      : use_key_file(k, NULL, app->fs, opts->key_file, err);
}

static int set(struct xk_app *app, const char *path, const struct key *opts, struct xk_err *err)
{
    struct vhd_keyhash k;
    struct vhd v;

    int code = make_keyhash(&k, app, opts, err);
    if (code < 0)
        return code;
    code = vhd_open(&v, app->fs, path, (opts->dry_run ? VHD_READ : VHD_WRITE) | VHD_DEVICES, err);
    if (code < 0)
        return code;
    code = opts->dry_run ? vhd_keyhash_check(&v, err) : vhd_keyhash_write(&v, &k, err);
    vhd_close(&v);
    if (code < 0)
        return code;
    xk_out_record(app->out, "key");
    xk_put_str(app->out, "path", path);
    put_keyhash(app->out, &k);
    xk_put_bool(app->out, "written", !opts->dry_run);
    xk_out_end(app->out);
    return 0;
}

static int read_image(struct vhd_keyhash *k, const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    struct vhd v;

    int code = vhd_open(&v, fs, path, VHD_DEVICES, err);
    if (code < 0)
        return code;
    code = vhd_keyhash_read(k, &v, err);
    vhd_close(&v);
    return code;
}

static int check(struct xk_app *app, const char *path, const struct key *opts, struct xk_err *err)
{
    struct vhd_keyhash k;
    bool matches = false;

    int code = read_image(&k, app->fs, path, err);
    if (code == 0 && !k.set)
        code = xk_fail(err, -EINVAL, "%s: says nothing of a key", path);
    if (code == 0)
        code = use_key_file(&k, &matches, app->fs, opts->key_file, err);
    if (code < 0)
        return code;
    xk_out_record(app->out, "key");
    xk_put_str(app->out, "path", path);
    xk_put_bool(app->out, "matches", matches);
    xk_out_color(app->out, matches ? XK_COLOR_GOOD : XK_COLOR_BAD);
    xk_out_end(app->out);
    return matches ? XK_EXIT_OK : XK_EXIT_BAD;
}

static int compute(struct xk_app *app, const struct key *opts, struct xk_err *err)
{
    struct vhd_keyhash k;

    const int code = make_keyhash(&k, app, opts, err);
    if (code < 0)
        return code;
    xk_out_record(app->out, "key");
    put_keyhash(app->out, &k);
    xk_out_end(app->out);
    return 0;
}

static int show_image(struct xk_app *app, const char *path, const void *opts, struct xk_err *err)
{
    struct vhd_keyhash k;

    (void)opts;
    const int code = read_image(&k, app->fs, path, err);
    if (code < 0)
        return code;
    xk_row(app->out);
    xk_put_str(app->out, "path", path);
    xk_put_bool(app->out, "encrypted", k.set);
    put_keyhash(app->out, &k);
    return 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    static const struct vhd_each shown = {.section = "images", .one = show_image};
    const struct key *opts = args->opts;

    const int code = check_opts(opts, args->count, err);
    if (code < 0)
        return code;
    if (opts->set)
        return set(app, args->operands[0], opts, err);
    if (opts->check)
        return check(app, args->operands[0], opts, err);
    return args->count == 0 ? compute(app, opts, err) : vhd_each_image(app, args, &shown, err);
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_BAD, "--check: the key does not belong to the image"},
    {0, NULL},
};
static const char *const example[] = {"sample.vhd", NULL};

const struct xk_command vhd_cmd_key = {
    .name = "key",
    .summary = "show, set or check the hash of an encrypted disk's key",
    .operands = "[FILE…]",
    .min_operands = 0,
    .max_operands = -1,
    .opts = key_opts,
    .opts_bytes = sizeof(struct key),
    .run = run,
    .exits = exits,
    .example = example,
};
