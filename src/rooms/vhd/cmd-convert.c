/* `xenkit vhd convert`: from one format into another, chains flattened, pipes on either side. */
#include "rooms/vhd/pipe.h"
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/convert/convert.h"

#include <strings.h>
#include <string.h>

#define STDIN_NAME "/dev/stdin"

struct convert_opts {
    int from, to; /* to: 0 is by name, else one more than enum convert_format without the fixed VHD; see target_of() */
    bool fixed, compare, sync, force, dry_run, use_copy;
    uint64_t threads, size;
    const char *chain_root;
};

static const char *const to_names[] = {"auto", "raw", "vhd", "qcow2", NULL};
enum { TO_AUTO, TO_RAW, TO_VHD, TO_QCOW2 };

static const struct xk_opt convert_opts[] = {
    XK_OPT_CHOICE('f', "from", struct convert_opts, from, "FORMAT", volume_format_names, "what SOURCE is [auto]"),
    XK_OPT_CHOICE('t', "to", struct convert_opts, to, "FORMAT", to_names,
                  "what TARGET becomes [by its name, else vhd]"),
    XK_OPT_FLAG(0, "fixed", struct convert_opts, fixed, "a fixed VHD instead of a dynamic one"),
    XK_OPT_FLAG(0, "compare", struct convert_opts, compare, "read the target back before it gets its name"),
    XK_OPT_FLAG(0, "sync", struct convert_opts, sync, "wait until the disk has TARGET, also when it is a new file"),
    XK_OPT_U64(0, "threads", struct convert_opts, threads, "N", 1, CONVERT_THREADS_MAX,
               "work with N threads [four more than processors, at most 8]"),
    XK_OPT_SIZE(0, "size", struct convert_opts, size, "SIZE", "SOURCE is a pipe: size of the disk [as much as comes]"),
    XK_OPT_FLAG(0, "use-copy", struct convert_opts, use_copy, "accept a VHD's footer copy when its footer is damaged"),
    VHD_OPT_CHAIN_ROOT(struct convert_opts),
    XK_OPT_FLAG(0, "force", struct convert_opts, force, "replace an existing TARGET, or write to a block device"),
    XK_OPT_FLAG(0, "dry-run", struct convert_opts, dry_run, "say what would be done, write nothing"),
    XK_OPT_END,
};

static bool is_dash(const char *word)
{
    return strcmp(word, "-") == 0;
}

/* ---- what to make ---- */

static int target_by_name(int *ret, const char *path, struct xk_err *err)
{
    static const struct {
        const char *suffix;
        int to;
    } known[] = {{".vhd", TO_VHD}, {".qcow2", TO_QCOW2}, {".raw", TO_RAW}, {".img", TO_RAW}, {".bin", TO_RAW}};
    const char *const dot = strrchr(xk_base_name(path), '.');

    *ret = is_dash(path) ? TO_RAW : TO_VHD;
    for (size_t i = 0; dot && i < XK_COUNT(known); i++) {
        if (strcasecmp(dot, known[i].suffix) == 0)
            *ret = known[i].to;
    }
    if (dot && strcasecmp(dot, ".vhdx") == 0)
        return xk_fail(err, -EINVAL,
                       "a VHDX can be read, not written; --to says what TARGET shall be in spite of its name");
    return 0;
}

static int target_of(enum convert_format *ret, const struct convert_opts *opts, const char *path, struct xk_err *err)
{
    int to = opts->to;

    if (to == TO_AUTO) {
        const int code = target_by_name(&to, path, err);
        if (code < 0)
            return code;
    }
    if (opts->fixed && to != TO_VHD)
        return xk_fail(err, -EINVAL, "--fixed is for a VHD target: --to vhd");
    *ret = to == TO_RAW ? CONVERT_RAW : to == TO_QCOW2 ? CONVERT_QCOW2 : opts->fixed ? CONVERT_VHD_FIXED : CONVERT_VHD;
    return 0;
}

static int check_pipes(struct xk_app *app, const struct convert_opts *opts, bool from_pipe, bool to_pipe,
                       struct xk_err *err)
{
    if (to_pipe && xk_out_is_terminal(app->out))
        return xk_fail(err, -EINVAL, "a disk image on a terminal helps nobody: redirect standard output");
    if (to_pipe && xk_out_format(app->out) != XK_OUT_TABLE)
        return xk_fail(err, -EINVAL,
                       "with TARGET - standard output is the image; --json and the like have no place in it");
    if (to_pipe && opts->compare)
        return xk_fail(err, -EINVAL, "--compare reads the target back, and standard output cannot be read");
    if (from_pipe && opts->compare)
        return xk_fail(err, -EINVAL, "--compare reads the source again, and a pipe cannot be read twice");
    if (from_pipe && opts->from != VOLUME_AUTO && opts->from != VOLUME_RAW && opts->from != VOLUME_VHD)
        return xk_fail(err, -EINVAL,
                       "only a raw disk or a fixed VHD can be read from a pipe; other formats need their tables first");
    if (from_pipe && opts->dry_run)
        return xk_fail(err, -EINVAL, "--dry-run cannot look into a pipe");
    if (!from_pipe && opts->size)
        return xk_fail(err, -EINVAL, "--size is for a pipe; a file has its size");
    return 0;
}

/* ---- pipes ---- */

static int push(void *context, const void *buf, size_t bytes, struct xk_err *err)
{
    struct xk_out *const out = context;

    xk_out_raw(out, buf, bytes);
    const int code = xk_out_error(out);
    return code < 0 ? xk_fail_sys(err, code, "standard output") : 0;
}

/* A file that is redirected to standard input can be read anywhere, like any other. */
static bool stdin_is_file(void)
{
    struct stat st;

    return fstat(STDIN_FILENO, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
           lseek(STDIN_FILENO, 0, SEEK_CUR) == 0;
}

/* ---- the work ---- */

static void set_progress(void *context, uint64_t done_bytes)
{
    xk_prog_set(context, done_bytes);
}

static void begin_comparing(void *context)
{
    struct xk_prog *const p = context;
    const uint64_t total = p->total;

    xk_prog_end(p);
    xk_prog_begin(p, p->log, p->clock, "comparing", total, true);
}

static int count_data(void *context, const struct volume_extent *e)
{
    uint64_t *const data_bytes = context;

    *data_bytes += e->kind == VOLUME_DATA ? e->bytes : 0;
    return xk_stop_signal() ? -EINTR : 0;
}

struct job {
    struct convert how;
    const char *source_name;
    enum volume_format source_format;
    struct convert_made made;
    uint64_t elapsed_ns;
    bool dry_run;
};

static int do_job(struct xk_app *app, struct job *job, struct xk_err *err)
{
    const struct convert *const how = &job->how;
    struct xk_prog progress;

    if (job->dry_run) {
        job->made.disk_bytes = how->source->size_bytes;
        if (how->path && !how->overwrite && access(how->path, F_OK) == 0)
            return xk_fail(err, -EEXIST, "%s is there already", how->path);
        const int code = volume_map(how->source, 0, how->source->size_bytes, count_data, &job->made.data_bytes, err);
        return code == -EINTR ? xk_fail(err, code, "stopped") : code;
    }
    const uint64_t begun_ns = app->clock->monotonic_ns(app->clock);
    xk_prog_begin(&progress, app->log, app->clock, "converting",
                  how->source ? how->source->size_bytes : how->pull_bytes, true);
    job->how.progress = set_progress;
    job->how.comparing = begin_comparing;
    job->how.progress_context = &progress;
    const int code = convert(&job->made, how, err);
    xk_prog_end(&progress);
    job->elapsed_ns = app->clock->monotonic_ns(app->clock) - begun_ns;
    return code;
}

static void report(struct xk_out *out, const struct job *job)
{
    const struct convert *const how = &job->how;

    xk_out_record(out, "converted");
    xk_put_str(out, "source", job->source_name);
    xk_put_str(out, "source_format", volume_format_names[job->source_format]);
    xk_put_u64(out, "layers", how->source ? how->source->layers : 1);
    xk_put_str(out, "target", how->path);
    xk_put_str(out, "target_format", convert_format_names[how->to]);
    xk_put_bytes(out, "size", job->made.disk_bytes);
    xk_put_bytes(out, "data", job->made.data_bytes);
    if (job->dry_run) {
        xk_put_none(out, "file_bytes");
        xk_put_none(out, "duration_ns");
    } else {
        xk_put_bytes(out, "file", job->made.file_bytes);
        xk_put_duration(out, "duration", job->elapsed_ns);
    }
    xk_put_bool(out, "shared", job->made.cloned);
    xk_put_bool(out, "compared", how->compare && !job->dry_run);
    xk_put_bool(out, "written", !job->dry_run);
    xk_out_end(out);
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct convert_opts *opts = args->opts;
    const char *const source = args->operands[0];
    const char *const target = args->operands[1];
    const bool from_pipe = is_dash(source) && !stdin_is_file();
    const bool to_pipe = is_dash(target);
    const struct volume_options options = {
        .format = (enum volume_format)opts->from, .chain_root = opts->chain_root, .use_copy = opts->use_copy};
    struct pipe_input input = {.fd = STDIN_FILENO, .format = (enum volume_format)opts->from, .log = app->log};
    struct volume *opened = NULL;
    struct job job = {
        .how = {.fs = app->fs,
                .pull = vhd_pipe_pull,
                .pull_context = &input,
                .pull_bytes = opts->size,
                .path = to_pipe ? NULL : target,
                .push = push,
                .push_context = app->out,
                .overwrite = opts->force,
                .sync = opts->sync,
                .compare = opts->compare,
                .threads = (unsigned)opts->threads,
                .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
                .random = app->random},
        .source_name = source,
        .dry_run = opts->dry_run,
    };

    int code = target_of(&job.how.to, opts, target, err);
    if (code == 0)
        code = check_pipes(app, opts, from_pipe, to_pipe, err);
    if (code == 0 && !from_pipe)
        code = volume_open(&opened, app->fs, is_dash(source) ? STDIN_NAME : source, &options, err);
    job.how.source = opened;
    if (code == 0)
        code = do_job(app, &job, err);
    job.source_format = opened ? opened->format : input.format;
    if (code == 0 && !to_pipe)
        report(app->out, &job);
    volume_close(opened);
    return code;
}

static const char *const example[] = {"--dry-run", "sample.vhd", "sample.qcow2", NULL};

const struct xk_command vhd_cmd_convert = {
    .name = "convert",
    .summary = "turn an image into another format",
    .operands = "SOURCE TARGET",
    .min_operands = 2,
    .max_operands = 2,
    .opts = convert_opts,
    .opts_bytes = sizeof(struct convert_opts),
    .run = run,
    .help = "Reads raw, VHD, VHDX and qcow2 with their parents, writes raw, VHD and qcow2. SOURCE - and TARGET - are\n"
            "standard input and output. A new file is left to the page cache, as cp does; --sync waits for the disk.",
    .example = example,
};
