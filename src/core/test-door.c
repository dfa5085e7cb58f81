/* The door, with one small room behind it: dispatch, refusals, endings, help, --describe, completion, links. */
#include "core/door.h"
#include "core/testing/fault.h"

#include <json-c/json.h>
#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- a room ---- */

struct show {
    bool parent;
    int format;
    uint64_t count;
};

static const char *const formats[] = {"raw", "vhd", NULL};
static const struct xk_opt show_opts[] = {
    XK_OPT_FLAG('p', "parent", struct show, parent, "show the parent"),
    XK_OPT_CHOICE('f', "format", struct show, format, "FORMAT", formats, "which kind [raw]"),
    XK_OPT_U64(0, "count", struct show, count, "N", 1, 9, "how many [3]"),
    XK_OPT_END,
};
static const struct show show_defaults = {.count = 3};

static int run_show(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct show *const opts = args->opts;

    xk_out_record(app->out, "shown");
    xk_put_str(app->out, "name", args->operands[0]);
    xk_put_u64(app->out, "count", opts->count);
    xk_put_str(app->out, "format", formats[opts->format]);
    xk_put_bool(app->out, "parent", opts->parent);
    xk_out_end(app->out);
    xk_log(app->log, XK_LOG_WARN, "a warning");
    xk_log(app->log, XK_LOG_INFO, "a detail");
    xk_log(app->log, XK_LOG_DEBUG, "all of it");
    return 0;
}

static int run_fail(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    xk_out_rows(app->out, "rows");
    xk_row(app->out);
    xk_put_u64(app->out, "n", 1);
    (void)xk_fail(err, -EBADMSG, "disk\n\033[2J: it is damaged");
    xk_err_hint(err, "restore it");
    return -EBADMSG;
}

static int run_bad(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    return XK_EXIT_BAD;
}

static int run_bytes(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    xk_out_raw(app->out, "a\0b", 3);
    return 0;
}

static int run_stop(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    xk_out_record(app->out, "partial");
    xk_put_u64(app->out, "n", 1);
    xk_out_end(app->out);
    (void)kill(getpid(), SIGTERM);
    return 0;
}

static int run_old(struct xk_app *app, int argc, char **argv)
{
    xk_out_rawf(app->out, "%s called with %d\n", argv[0], argc - 1);
    return 77;
}

static const struct xk_exit_row bad_exits[] = {{XK_EXIT_BAD, "no good"}, {9, "its own"}, {0, NULL}};
static const struct xk_command show_verb = {.name = "show",
                                            .summary = "show a thing",
                                            .operands = "NAME",
                                            .min_operands = 1,
                                            .max_operands = 1,
                                            .opts = show_opts,
                                            .opts_bytes = sizeof(struct show),
                                            .defaults = &show_defaults,
                                            .run = run_show,
                                            .help = "More about it.",
                                            .example = (const char *const[]){"thing", NULL}};
static const struct xk_command fail_verb = {.name = "fail", .summary = "fail", .run = run_fail};
static const struct xk_command bad_verb = {.name = "bad", .summary = "be bad", .run = run_bad, .exits = bad_exits};
static const struct xk_command bytes_verb = {.name = "bytes", .summary = "bytes", .run = run_bytes, .raw = true};
static const struct xk_command stop_verb = {.name = "stop", .summary = "be stopped", .run = run_stop};
static const struct xk_command serve_verb = {
    .name = "serve", .summary = "run until stopped", .run = run_stop, .kind = XK_SERVER, .max_operands = -1};
static const struct xk_classic old_tool = {.name = "old-tool", .summary = "the old tool", .run = run_old};
static const struct xk_room toys = {
    .name = "toys",
    .summary = "things to try",
    .commands = (const struct xk_command *const[]){&show_verb, &fail_verb, &bad_verb, &bytes_verb, &stop_verb,
                                                   &serve_verb, NULL},
    .classics = (const struct xk_classic *const[]){&old_tool, NULL},
};
static const struct xk_room alone = {
    .name = "alone",
    .summary = "one verb only",
    .commands = (const struct xk_command *const[]){&show_verb, NULL},
    .plain = true,
};
static const struct xk_room *const rooms[] = {&toys, &alone, NULL};

/* ---- calling it ---- */

#define WORDS_MAX 16

struct called {
    int status;
    char out[32 * 1024], err[8 * 1024];
};

static void read_back(int fd, char *ret, size_t bytes)
{
    const ssize_t got = pread(fd, ret, bytes - 1, 0);

    assert_true(got >= 0 && (size_t)got < bytes - 1);
    ret[got] = '\0';
    close(fd);
}

static void call_with(struct called *c, char **env, const char *const *words)
{
    char *argv[WORDS_MAX + 1] = {NULL};
    int argc = 0;
    const int out = memfd_create("out", 0), err = memfd_create("err", 0), stdout_before = dup(STDOUT_FILENO);
    struct xk_log log = {.fd = err, .level = XK_LOG_WARN, .color = true};
    struct xk_random random;

    for (; words[argc]; argc++) {
        assert_true(argc < WORDS_MAX);
        argv[argc] = (char *)(uintptr_t)words[argc];
    }
    xk_random_seed(&random, 1);
    const struct xk_app app = {.log = &log,
                               .clock = xk_clock_system(),
                               .random = &random,
                               .fs = xk_fs_posix(),
                               .root = "",
                               .env = env,
                               .rooms = rooms,
                               .summary = "toys for all"};
    (void)fflush(stdout);
    assert_true(dup2(out, STDOUT_FILENO) >= 0);
    c->status = xk_door(&app, argc, argv);
    assert_true(dup2(stdout_before, STDOUT_FILENO) >= 0);
    close(stdout_before);
    read_back(out, c->out, sizeof(c->out));
    read_back(err, c->err, sizeof(c->err));
}

#define CALL(c, ...) call_with((c), NULL, (const char *const[]){"/usr/bin/xenkit", ##__VA_ARGS__, NULL})

static void assert_refused(const struct called *c, const char *text)
{
    assert_string_equal(c->out, "");
    assert_string_equal(c->err, text);
    assert_int_equal(c->status, XK_EXIT_USAGE);
}

/* ---- finding the way ---- */

static void a_room_and_a_verb_run(void **state)
{
    struct called c;

    CALL(&c, "toys", "show", "x", "--count=5", "-fvhd", "--json");
    assert_string_equal(c.out, "{\"shown\":{\"name\":\"x\",\"count\":5,\"format\":\"vhd\",\"parent\":false}}\n");
    assert_string_equal(c.err, "xenkit: a warning\n");
    assert_int_equal(c.status, 0);
    CALL(&c, "alone", "-p", "y", "--plain");
    assert_string_equal(c.out, "name\ty\ncount\t3\nformat\traw\nparent\ttrue\n");
    CALL(&c, "toys", "bad");
    assert_int_equal(c.status, XK_EXIT_BAD);
}

static void a_classic_name_gets_all_words(void **state)
{
    struct called c;

    CALL(&c, "old-tool", "--json", "-x");
    assert_string_equal(c.out, "old-tool called with 2\n");
    assert_int_equal(c.status, 77);
    call_with(&c, NULL, (const char *const[]){"/opt/bin/old-tool", "--help", NULL});
    assert_string_equal(c.out, "/opt/bin/old-tool called with 1\n");
    assert_int_equal(c.status, 77);
}

static void wrong_words_are_refused_with_the_nearest(void **state)
{
    struct called c;

    CALL(&c, "tosy");
    assert_refused(&c, "xenkit: there is no room \"tosy\"\n  hint: did you mean xenkit toys?\n");
    CALL(&c, "old-too");
    assert_refused(&c, "xenkit: there is no room \"old-too\"\n  hint: did you mean xenkit old-tool?\n");
    CALL(&c, "qqqqqqqqq");
    assert_refused(&c, "xenkit: there is no room \"qqqqqqqqq\"\n  hint: xenkit help lists the rooms\n");
    CALL(&c, "--verbose");
    assert_refused(&c, "xenkit: unknown option \"--verbose\"\n  hint: xenkit help lists the rooms\n");
    CALL(&c, "toys", "sho", "x");
    assert_refused(&c, "xenkit: toys has no verb \"sho\"\n  hint: did you mean xenkit toys show?\n");
    CALL(&c, "toys", "qqqqqqqqq");
    assert_refused(&c, "xenkit: toys has no verb \"qqqqqqqqq\"\n  hint: xenkit help toys lists the verbs\n");
    CALL(&c, "toys");
    assert_refused(&c, "xenkit: toys needs a verb\n  hint: xenkit help toys lists them\n");
    CALL(&c, "toys", "show", "x", "--par");
    assert_refused(&c, "xenkit: unknown option --par\n  hint: did you mean --parent?\n");
    CALL(&c, "");
    assert_int_equal(c.status, XK_EXIT_USAGE);
}

static void operands_are_counted(void **state)
{
    struct called c;

    CALL(&c, "toys", "show");
    assert_refused(&c, "xenkit: show: an operand is missing: NAME\n  hint: --help says how show is used\n");
    CALL(&c, "toys", "show", "a", "b");
    assert_refused(&c, "xenkit: show: too many operands, it takes NAME\n  hint: --help says how show is used\n");
    CALL(&c, "toys", "bad", "b");
    assert_refused(&c, "xenkit: bad takes no operands\n  hint: --help says how bad is used\n");
}

static void one_format_at_most(void **state)
{
    struct called c;

    CALL(&c, "toys", "show", "a", "--csv", "--plain");
    assert_refused(&c, "xenkit: only one of --json, --jsonl, --csv and --plain can be given\n");
    CALL(&c, "toys", "bytes", "--csv");
    assert_refused(&c, "xenkit: bytes prints no records, so it takes no output format\n");
    CALL(&c, "toys", "bytes", "--json");
    assert_int_equal(c.status, XK_EXIT_USAGE);
    assert_string_equal(c.out,
                        "{\"error\":{\"code\":\"EINVAL\",\"exit\":2,\"message\":\"bytes prints no records, so it "
                        "takes no output format\",\"hint\":null}}\n");
    CALL(&c, "toys", "bytes");
    assert_int_equal(c.status, 0);
    assert_memory_equal(c.out, "a\0b", 4);
}

/* ---- endings ---- */

static void a_failure_is_a_sentence_and_a_status(void **state)
{
    struct called c;

    CALL(&c, "toys", "fail");
    assert_string_equal(c.out, "N\n1\n");
    assert_string_equal(c.err, "xenkit: disk\\x0a\\x1b[2J: it is damaged\n  hint: restore it\n");
    assert_int_equal(c.status, XK_EXIT_DAMAGED);
    CALL(&c, "toys", "fail", "--json");
    assert_string_equal(c.out, "{\"rows\":[{\"n\":1}],\"error\":{\"code\":\"EBADMSG\",\"exit\":5,"
                               "\"message\":\"disk\\n\\u001b[2J: it is damaged\",\"hint\":\"restore it\"}}\n");
    assert_int_equal(c.status, XK_EXIT_DAMAGED);
}

static void a_usage_error_is_a_document_with_json(void **state)
{
    struct called c;

    CALL(&c, "toys", "show", "--json");
    assert_string_equal(c.out, "{\"error\":{\"code\":\"EINVAL\",\"exit\":2,\"message\":\"show: an operand is missing: "
                               "NAME\",\"hint\":\"--help says how show is used\"}}\n");
    assert_int_equal(c.status, XK_EXIT_USAGE);
    CALL(&c, "nowhere", "--json");
    assert_non_null(strstr(c.out, "{\"error\":"));
    CALL(&c, "toys", "show", "--", "--json");
    assert_int_equal(c.status, 0);
    assert_non_null(strstr(c.out, "--json"));
}

static void an_output_that_cannot_be_opened(void **state)
{
    struct called c;

    CALL(&c, "toys", "show", "x", "-o", "/nowhere/x", "--json");
    assert_int_equal(c.status, XK_EXIT_IO);
    assert_non_null(strstr(c.out, "\"code\":\"ENOENT\""));
    assert_non_null(strstr(c.err, "/nowhere/x"));
    CALL(&c, "toys", "show", "x", "-q", "-o", "/dev/full");
    assert_int_equal(c.status, XK_EXIT_IO);
    assert_string_equal(c.err, "xenkit: cannot write /dev/full: No space left on device\n");
}

/* The wish to stop stays for good, so it is tried in a process of its own. */
static void call_apart(struct called *c, const char *verb, const char *format)
{
    int ends[2], status = 0;

    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        xk_stop_install();
        CALL(c, "toys", verb, format);
        _exit(write(ends[1], c, sizeof(*c)) == (ssize_t)sizeof(*c) ? 0 : 1);
    }
    close(ends[1]);
    for (size_t at = 0; at < sizeof(*c);) {
        const ssize_t got = read(ends[0], (char *)c + at, sizeof(*c) - at);
        assert_true(got > 0);
        at += (size_t)got;
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_stop_gives_partial_results(void **state)
{
    struct called c;

    call_apart(&c, "stop", "--json");
    assert_int_equal(c.status, 128 + SIGTERM);
    assert_string_equal(c.out,
                        "{\"partial\":{\"n\":1},\"error\":{\"code\":\"EINTR\",\"exit\":143,\"message\":\"stopped by "
                        "signal 15; the results are partial\",\"hint\":null}}\n");
    assert_string_equal(c.err, "xenkit: stopped by signal 15; the results are partial\n");
    call_apart(&c, "stop", "--plain");
    assert_int_equal(c.status, 128 + SIGTERM);
    assert_string_equal(c.out, "n\t1\n");
    call_apart(&c, "serve", "--plain");
    assert_int_equal(c.status, 0);
    assert_string_equal(c.err, "");
}

static void nobody_reads_and_nothing_is_said(void **state)
{
    int ends[2];
    struct called c;

    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    const int before = dup(STDOUT_FILENO);
    struct xk_log log = {.fd = memfd_create("err", 0), .level = XK_LOG_ERROR};
    const struct xk_app app = {.log = &log,
                               .clock = xk_clock_system(),
                               .fs = xk_fs_posix(),
                               .root = "",
                               .rooms = rooms,
                               .summary = "toys for all"};
    char *argv[] = {(char[]){"xenkit"}, (char[]){"toys"}, (char[]){"show"}, (char[]){"x"}, NULL};
    (void)fflush(stdout);
    assert_true(dup2(ends[1], STDOUT_FILENO) >= 0);
    const int status = xk_door(&app, 4, argv);
    assert_true(dup2(before, STDOUT_FILENO) >= 0);
    close(before);
    close(ends[1]);
    assert_int_equal(status, 141);
    read_back(log.fd, c.err, sizeof(c.err));
    assert_string_equal(c.err, "");
}

/* Without memory there is a sentence and a status, whichever allocation it was; never a crash, never silence. */
static void memory_runs_out_at_every_moment(void **state)
{
    static const char *const lines[][6] = {
        {"xenkit", "toys", "show", "x", "--json", NULL}, {"xenkit", "toys", "show", "x", "--csv", NULL},
        {"xenkit", "toys", "show", "--help", NULL},      {"xenkit", "--describe", NULL},
        {"xenkit", "toys", "shwo", "--json", NULL},
    };
    struct called c, usual;

    for (size_t i = 0; i < XK_COUNT(lines); i++) {
        call_with(&usual, NULL, lines[i]);
        for (uint64_t round = 2;; round++) {
            const size_t live = xk_fault_alloc_live();
            xk_fault_alloc_arm(round / 2, round % 2);
            call_with(&c, NULL, lines[i]);
            (void)xk_fault_alloc_disarm();
            assert_int_equal(xk_fault_alloc_live(), live);
            if (!xk_fault_alloc_fired()) {
                assert_int_equal(c.status, usual.status);
                break;
            }
            assert_true(c.status == XK_EXIT_IO || c.status == usual.status);
            assert_true(c.status == 0 || c.err[0]);
            if (c.status == 0) /* what could be done without that memory is whole */
                assert_string_equal(c.out, usual.out);
            assert_true(round < 2000);
        }
    }
}

static void quiet_and_verbose_choose_what_is_told(void **state)
{
    struct called c;

    CALL(&c, "toys", "show", "x", "-q");
    assert_string_equal(c.err, "");
    CALL(&c, "toys", "show", "x", "-v");
    assert_non_null(strstr(c.err, "a detail"));
    assert_null(strstr(c.err, "all of it"));
    assert_non_null(strstr(c.err, " elapsed, "));
    CALL(&c, "toys", "show", "x", "-vv");
    assert_non_null(strstr(c.err, "all of it"));
    CALL(&c, "toys", "show", "x", "-qv");
    assert_refused(&c, "xenkit: --quiet and --verbose contradict each other\n");
}

/* ---- texts ---- */

static void help_goes_to_standard_output(void **state)
{
    struct called c, other;

    CALL(&c);
    assert_int_equal(c.status, 0);
    assert_non_null(strstr(c.out, "toys"));
    assert_non_null(strstr(c.out, "old-tool"));
    assert_non_null(strstr(c.out, ": toys for all\n"));
    assert_non_null(strstr(c.out, "\nExamples:\n  xenkit toys show thing\n  xenkit help toys\n"));
    assert_string_equal(c.err, "");
    CALL(&c, "toys", "show", "-h");
    assert_int_equal(c.status, 0);
    assert_string_equal(c.err, "");
    assert_non_null(strstr(c.out, "Usage: xenkit toys show [OPTIONS] NAME\n\n"));
    assert_non_null(strstr(c.out, "  -f, --format FORMAT         which kind [raw]; one of raw, vhd\n"));
    assert_non_null(strstr(c.out, "      --no-color "));
    assert_non_null(strstr(c.out, "\n  128+n "));
    assert_non_null(strstr(c.out, "\nMore about it.\n"));
    CALL(&other, "help", "toys", "show");
    assert_string_equal(c.out, other.out);
    CALL(&c, "toys", "bytes", "--help");
    assert_null(strstr(c.out, "--csv"));
    CALL(&c, "toys", "bad", "--help");
    assert_non_null(strstr(c.out, "  1      no good\n  9      its own\n"));
    assert_null(strstr(c.out, "the thing examined"));
    CALL(&c, "toys", "--help");
    CALL(&other, "help", "toys");
    assert_string_equal(c.out, other.out);
    assert_non_null(strstr(c.out, "serve"));
    CALL(&c, "help", "old-tool");
    assert_non_null(strstr(c.out, "the old tool"));
    CALL(&c, "help", "toys", "shw");
    assert_refused(&c, "xenkit: toys has no verb \"shw\"\n  hint: did you mean xenkit toys show?\n");
    CALL(&c, "alone", "--help");
    assert_non_null(strstr(c.out, "Usage: xenkit alone [OPTIONS] NAME\n"));
}

static void the_version_is_told_everywhere(void **state)
{
    struct called c;

    CALL(&c, "--version");
    assert_string_equal(c.out, "xenkit " XK_VERSION "\n");
    CALL(&c, "toys", "--version");
    assert_string_equal(c.out, "xenkit " XK_VERSION "\n");
    CALL(&c, "toys", "show", "--version");
    assert_string_equal(c.out, "xenkit " XK_VERSION "\n");
}

static struct json_object *member(struct json_object *o, const char *key)
{
    struct json_object *ret = NULL;

    assert_true(json_object_object_get_ex(o, key, &ret));
    return ret;
}

static void describe_tells_the_tables(void **state)
{
    struct called c;

    CALL(&c, "--describe");
    assert_int_equal(c.status, 0);
    struct json_object *const all = json_tokener_parse(c.out);
    assert_non_null(all);
    struct json_object *const room = json_object_array_get_idx(member(all, "rooms"), 0);
    assert_string_equal(json_object_get_string(member(room, "name")), "toys");
    struct json_object *const show = json_object_array_get_idx(member(room, "commands"), 0);
    assert_string_equal(json_object_get_string(member(show, "kind")), "one_shot");
    assert_int_equal(json_object_array_length(member(show, "words")), 2);
    assert_int_equal(json_object_array_length(member(show, "options")), 3);
    struct json_object *const choice = json_object_array_get_idx(member(show, "options"), 1);
    assert_string_equal(json_object_get_string(member(choice, "label")), "-f, --format FORMAT");
    assert_string_equal(json_object_to_json_string_ext(member(choice, "choices"), JSON_C_TO_STRING_PLAIN),
                        "[\"raw\",\"vhd\"]");
    struct json_object *const count = json_object_array_get_idx(member(show, "options"), 2);
    assert_int_equal(json_object_get_int(member(count, "max")), 9);
    assert_string_equal(json_object_to_json_string_ext(member(show, "example"), JSON_C_TO_STRING_PLAIN), "[\"thing\"]");
    struct json_object *const serve = json_object_array_get_idx(member(room, "commands"), 5);
    assert_string_equal(json_object_get_string(member(serve, "kind")), "server");
    assert_null(member(serve, "max_operands"));
    struct json_object *const plain = json_object_array_get_idx(member(all, "rooms"), 1);
    assert_int_equal(json_object_array_length(member(json_object_array_get_idx(member(plain, "commands"), 0), "words")),
                     1);
    assert_int_equal(json_object_array_length(member(all, "house")), 2);
    assert_int_equal(json_object_put(all), 1);
}

#define COMPLETE(c, wanted, ...)                                                                                       \
    do {                                                                                                               \
        CALL((c), "--complete", "--", ##__VA_ARGS__);                                                                  \
        assert_int_equal((c)->status, 0);                                                                              \
        assert_string_equal((c)->out, (wanted));                                                                       \
        assert_string_equal((c)->err, "");                                                                             \
    } while (0)

static void completion_knows_the_tables(void **state)
{
    struct called c;

    COMPLETE(&c, "toys\nold-tool\nalone\nhelp\ninstall-links\n", "");
    COMPLETE(&c, "toys\n", "t");
    COMPLETE(&c, "--help\n", "--h");
    COMPLETE(&c, "show\nfail\nbad\nbytes\nstop\nserve\n", "toys", "");
    COMPLETE(&c, "show\nstop\nserve\n", "toys", "s");
    COMPLETE(&c, "--parent\n--plain\n", "toys", "show", "--p");
    COMPLETE(&c, "--no-color\n", "toys", "fail", "--no-c");
    COMPLETE(&c, "--no-parent\n", "toys", "show", "--no-p");
    COMPLETE(&c, "raw\nvhd\n", "toys", "show", "-f", "");
    COMPLETE(&c, "vhd\n", "toys", "show", "x", "--format", "v");
    COMPLETE(&c, "--format=raw\n", "toys", "show", "--format=r");
    COMPLETE(&c, "raw\nvhd\n", "toys", "show", "--format", "=");
    COMPLETE(&c, "vhd\n", "toys", "show", "--format", "=", "v");
    COMPLETE(&c, "--count\n", "alone", "--co");
}

static void completion_leaves_files_to_the_shell(void **state)
{
    struct called c;

    COMPLETE(&c, "", "toys", "show", "");
    COMPLETE(&c, "", "toys", "show", "-o", "");
    COMPLETE(&c, "", "toys", "show", "--out=");
    COMPLETE(&c, "", "toys", "show", "--", "--p");
    COMPLETE(&c, "", "old-tool", "");
    COMPLETE(&c, "", "nowhere", "x", "y");
    COMPLETE(&c, "toys\n", "help", "to");
    COMPLETE(&c, "show\nstop\nserve\n", "help", "toys", "s");
    COMPLETE(&c, "", "help", "toys", "show", "");
}

static void raw_commands_offer_no_formats(void **state)
{
    struct called c;

    COMPLETE(&c, "", "toys", "bytes", "--cs");
    COMPLETE(&c, "--csv\n", "toys", "bad", "--cs");
}

/* ---- links ---- */

static void links_are_made_kept_and_not_forced(void **state)
{
    char dir[] = "/tmp/xk-links-XXXXXX", path[64], target[4096] = "";
    struct called c;

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/old-tool", dir);
    CALL(&c, "install-links", dir, "--dry-run", "--plain");
    assert_non_null(strstr(c.out, "old-tool\twould make\t"));
    assert_int_equal(access(path, F_OK), -1);
    CALL(&c, "install-links", dir, "--plain");
    assert_int_equal(c.status, 0);
    assert_non_null(strstr(c.out, "old-tool\tmade\t"));
    assert_true(readlink(path, target, sizeof(target) - 1) > 0);
    CALL(&c, "install-links", dir, "--plain");
    assert_non_null(strstr(c.out, "old-tool\tkept\t"));

    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/bin/true", path), 0);
    CALL(&c, "install-links", dir);
    assert_int_equal(c.status, XK_EXIT_CANNOT);
    assert_string_equal(c.out, "");
    assert_non_null(strstr(c.err, "--yes"));
    CALL(&c, "install-links", dir, "--yes", "--plain");
    assert_int_equal(c.status, 0);
    assert_non_null(strstr(c.out, "old-tool\treplaced\t"));

    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    CALL(&c, "install-links", dir, "--yes");
    assert_int_not_equal(c.status, 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(dir), 0); /* no temporary name stayed */
    CALL(&c, "install-links", dir);
    assert_int_not_equal(c.status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_room_and_a_verb_run),
        cmocka_unit_test(a_classic_name_gets_all_words),
        cmocka_unit_test(wrong_words_are_refused_with_the_nearest),
        cmocka_unit_test(operands_are_counted),
        cmocka_unit_test(one_format_at_most),
        cmocka_unit_test(a_failure_is_a_sentence_and_a_status),
        cmocka_unit_test(a_usage_error_is_a_document_with_json),
        cmocka_unit_test(an_output_that_cannot_be_opened),
        cmocka_unit_test(a_stop_gives_partial_results),
        cmocka_unit_test(nobody_reads_and_nothing_is_said),
        cmocka_unit_test(memory_runs_out_at_every_moment),
        cmocka_unit_test(quiet_and_verbose_choose_what_is_told),
        cmocka_unit_test(help_goes_to_standard_output),
        cmocka_unit_test(the_version_is_told_everywhere),
        cmocka_unit_test(describe_tells_the_tables),
        cmocka_unit_test(completion_knows_the_tables),
        cmocka_unit_test(completion_leaves_files_to_the_shell),
        cmocka_unit_test(raw_commands_offer_no_formats),
        cmocka_unit_test(links_are_made_kept_and_not_forced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
