/*
 * Some thousand damaged images through the real binary: it must answer each within a few seconds and 256 MiB, with an
 * exit status of its own choice and never by a signal. In a sanitizer build a report ends the program by a status
 * (99) that is none of ours.
 *
 *     test-mutate [FIRST [COUNT]]
 *
 * makes only those mutants: each depends on its number alone. XENKIT_MUTANTS says how many where COUNT does not, and
 * has more commands look at them, the last ones writers. Images are sparse and small; commands that take several see a
 * folder of them at a time, since starting a process costs more than looking at an image.
 */
#include "core/clock.h"
#include "core/text.h"
#include "lib/vhd/create.h"
#include "lib/vhd/write.h"

#include <dirent.h>
#include <endian.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MUTANTS     2000u
#define BATCH       25u
#define WAIT_MS_MAX 20000
#define WORDS_MAX   8
#define NAME_BYTES  96
#define ERRNO_MAX   133 /* a classic command ends with an errno value */
#define REPORTED    99  /* as the sanitizers are told */
#define CPU_SECONDS (LIMIT_AS ? 5u : 10u)
#define AS_BYTES    (256 * XK_MIB)
#define PATH_BYTES  512
#define PAGE        4096u
#define BLOCK       (UINT64_C(1) << 21)

#if defined(__SANITIZE_ADDRESS__)
#define LIMIT_AS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LIMIT_AS 0
#endif
#endif
#ifndef LIMIT_AS
#define LIMIT_AS 1
#endif

static _Noreturn void bail(const char *what)
{
    printf("Bail out! %s: %s\n", what, strerror(errno));
    exit(1);
}

static void path_in(char ret[PATH_BYTES], const char *dir, const char *name)
{
    if (snprintf(ret, PATH_BYTES, "%s/%s", dir, name) >= PATH_BYTES)
        bail("a path is too long");
}

/* ---- sound images ---- */

/* What a sound image holds, without its holes. */
struct base {
    const char *name;
    uint64_t bytes;
    uint8_t *data; /* pages that are not zero, one after the other */
    uint64_t *pages;
    size_t page_count;
};

static const char *const base_names[] = {"base.vhd", "child.vhd", "fixed.vhd", "reserved.vhd", "largest.vhd"};
#define BASES XK_COUNT(base_names)

static void must(int code, const struct xk_err *err)
{
    if (code < 0) {
        printf("Bail out! %s\n", err->text);
        exit(1);
    }
}

static void make_image(const char *dir, const char *name, enum vhd_type type, uint64_t bytes, uint64_t reserve)
{
    char path[PATH_BYTES];
    struct xk_random random;
    struct xk_err err = {0};
    path_in(path, dir, name);
    xk_random_seed(&random, strlen(name) * bytes);
    const struct vhd_create how = {.path = path,
                                   .bytes = bytes,
                                   .type = type,
                                   .reserve_bytes = reserve,
                                   .unix_seconds = 1700000000,
                                   .random = &random};
    must(vhd_create(xk_fs_posix(), &how, &err), &err);
}

static void put_data(const char *dir, const char *name, uint64_t sector, uint64_t count)
{
    char path[PATH_BYTES];
    struct xk_err err = {0};
    struct vhd v;
    struct vhd_writer w;
    uint8_t data[16 * VHD_SECTOR];

    path_in(path, dir, name);
    memset(data, 0x77, sizeof(data));
    must(vhd_open(&v, xk_fs_posix(), path, VHD_WRITE, &err), &err);
    must(vhd_writer_begin(&w, &v, &err), &err);
    must(vhd_writer_write(&w, data, sector, count, &err), &err);
    must(vhd_writer_commit(&w, &err), &err);
    vhd_writer_done(&w);
    vhd_close(&v);
}

static void make_bases(const char *dir)
{
    char path[PATH_BYTES], parent[PATH_BYTES];
    struct xk_random random;
    struct xk_err err = {0};
    struct vhd_snapshot_made made = {0};

    make_image(dir, "base.vhd", VHD_DYNAMIC, 8 * BLOCK, 0);
    put_data(dir, "base.vhd", 5, 9);
    put_data(dir, "base.vhd", 4096 * 6 + 100, 3);
    make_image(dir, "fixed.vhd", VHD_FIXED, BLOCK, 0);
    make_image(dir, "reserved.vhd", VHD_DYNAMIC, 2 * BLOCK, 512 * BLOCK);
    make_image(dir, "largest.vhd", VHD_DYNAMIC, 600 * BLOCK, 0);
    put_data(dir, "largest.vhd", 599 * 4096, 2);
    path_in(path, dir, "child.vhd");
    path_in(parent, dir, "base.vhd");
    xk_random_seed(&random, 4711);
    const struct vhd_snapshot how = {
        .path = path, .parent = parent, .keep_empty = true, .unix_seconds = 1700000000, .random = &random};
    must(vhd_snapshot(xk_fs_posix(), &how, &made, &err), &err);
    free(made.parent);
    put_data(dir, "child.vhd", 4096, 16);
}

static void load_base(struct base *b, const char *dir, const char *name)
{
    char path[PATH_BYTES];
    static const uint8_t zeros[PAGE] = {0};
    struct stat st;

    path_in(path, dir, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        bail(path);
    *b = (struct base){.name = name, .bytes = (uint64_t)st.st_size};
    const size_t pages = (size_t)XK_DIV_UP(b->bytes, (uint64_t)PAGE);
    b->data = malloc(pages * PAGE);
    b->pages = malloc(pages * sizeof(*b->pages));
    if (!b->data || !b->pages)
        bail("memory");
    for (uint64_t p = 0; p < pages; p++) {
        uint8_t page[PAGE] = {0};
        if (pread(fd, page, PAGE, (off_t)(p * PAGE)) < 0)
            bail(path);
        if (memcmp(page, zeros, PAGE) == 0)
            continue;
        memcpy(b->data + b->page_count * PAGE, page, PAGE);
        b->pages[b->page_count++] = p;
    }
    close(fd);
}

/* ---- mutants ---- */

static void put(int fd, const void *bytes, size_t count, uint64_t at)
{
    if (pwrite(fd, bytes, count, (off_t)at) != (ssize_t)count)
        bail("writing a mutant");
}

static void write_base(const struct base *b, int fd)
{
    if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)b->bytes) < 0)
        bail("truncating");
    for (size_t i = 0; i < b->page_count; i++) {
        const uint64_t at = b->pages[i] * PAGE;
        put(fd, b->data + i * PAGE, (size_t)XK_MIN((uint64_t)PAGE, b->bytes - at), at);
    }
}

/* Where it hurts: the first 8 KiB, the last sector, some page that is not empty; seldom anywhere. */
static uint64_t pick_place(const struct base *b, struct xk_random *random)
{
    switch (xk_random_below(random, 8)) {
    case 0:
        return xk_random_below(random, b->bytes);
    case 1:
    case 2:
        return b->pages[xk_random_below(random, b->page_count)] * PAGE + xk_random_below(random, PAGE);
    case 3:
    case 4:
        return b->bytes - 1 - xk_random_below(random, VHD_FOOTER_BYTES);
    default:
        return xk_random_below(random, XK_MIN(b->bytes, UINT64_C(8192)));
    }
}

static void flip(int fd, uint64_t at, struct xk_random *random)
{
    uint8_t byte = 0;
    if (pread(fd, &byte, 1, (off_t)at) < 0)
        bail("reading a mutant");
    byte ^= (uint8_t)(1 + xk_random_below(random, 255));
    put(fd, &byte, 1, at);
}

/* A number that is at or beside some edge. */
static uint64_t edge(struct xk_random *random)
{
    static const uint64_t edges[] = {0,          1,          511,        512,        513,
                                     1536,       4096,       65536,      1u << 21,   0x7fffffff,
                                     0x80000000, 0xff000000, 0xfffffffe, 0xffffffff, 1ull << 32,
                                     1ull << 40, 1ull << 62, 1ull << 63, UINT64_MAX, UINT64_MAX - 511};
    const uint64_t e = edges[xk_random_below(random, XK_COUNT(edges))];
    return xk_random_below(random, 3) ? e : e + xk_random_below(random, 5) - 2;
}

/* A field of footer, header, table or batmap header set to an edge. */
static void edit_table(const struct base *b, int fd, struct xk_random *random)
{
    static const uint16_t fields[] = {8,    12,   16,   24,   28,   32,   36,   40,   48,   56,   60,   84, /* footer */
                                      520,  528,  536,  540,  544,  552,  568,  1088, 1092, 1096, 1104, 1116,
                                      1120, 1128, /* header */
                                      1536, 1540, 1544, 1552, 2048, 2056, 2068, 2560, 2568, 2576, 2580};
    const uint64_t at = fields[xk_random_below(random, XK_COUNT(fields))];
    const uint64_t v64 = htobe64(edge(random));
    const uint32_t v32 = htobe32((uint32_t)edge(random));
    const bool wide = xk_random_below(random, 2);

    put(fd, wide ? (const void *)&v64 : &v32, wide ? 8 : 4, at);
    if (at < VHD_FOOTER_BYTES && xk_random_below(random, 4))
        put(fd, wide ? (const void *)&v64 : &v32, wide ? 8 : 4, b->bytes - VHD_FOOTER_BYTES + at);
}

static void renew_checksum(int fd, uint64_t at, size_t bytes, size_t field)
{
    uint8_t buf[VHD_HEADER_BYTES];
    if (pread(fd, buf, bytes, (off_t)at) != (ssize_t)bytes)
        return;
    memset(buf + field, 0, 4);
    const uint32_t sum = htobe32(vhd_checksum(buf, bytes));
    put(fd, &sum, sizeof(sum), at + field);
}

static void cut(const struct base *b, int fd, struct xk_random *random)
{
    const uint64_t bytes = xk_random_below(random, 3) ? xk_random_below(random, b->bytes + 1)
                                                      : b->bytes - XK_MIN(b->bytes, xk_random_below(random, 1100)) +
                                                            xk_random_below(random, 600);
    if (ftruncate(fd, (off_t)bytes) < 0)
        bail("cutting a mutant");
}

static void mutate(const struct base *b, int fd, struct xk_random *random)
{
    uint8_t noise[VHD_SECTOR];
    bool is_cut = false;

    switch (xk_random_below(random, 6)) {
    case 0:
        flip(fd, pick_place(b, random), random);
        break;
    case 1:
        for (uint64_t n = 2 + xk_random_below(random, 15); n > 0; n--)
            flip(fd, pick_place(b, random), random);
        break;
    case 2:
        cut(b, fd, random);
        is_cut = true;
        break;
    case 3:
        xk_random_bytes(random, noise, sizeof(noise));
        put(fd, noise, sizeof(noise), pick_place(b, random) / VHD_SECTOR * VHD_SECTOR);
        break;
    default:
        for (uint64_t n = 1 + xk_random_below(random, 3); n > 0; n--)
            edit_table(b, fd, random);
        break;
    }
    /* With good checksums the nonsense gets past the first door. */
    if (!is_cut && xk_random_below(random, 4)) {
        renew_checksum(fd, b->bytes - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES, 64);
        if (strcmp(b->name, "fixed.vhd") != 0) {
            renew_checksum(fd, 0, VHD_FOOTER_BYTES, 64);
            renew_checksum(fd, VHD_FOOTER_BYTES, VHD_HEADER_BYTES, 36);
        }
    }
}

static void make_mutant(const struct base *bases, unsigned number, const char *path)
{
    struct xk_random random;
    xk_random_seed(&random, UINT64_C(20251123) * (number + 1));
    const struct base *const b = &bases[xk_random_below(&random, BASES)];
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        bail(path);
    write_base(b, fd);
    mutate(b, fd, &random);
    close(fd);
}

/* ---- the binary ---- */

struct runner {
    const char *binary;
    int messages; /* a file with the standard error of the last run */
    char why[128];
};

/* What the binary (or a sanitizer) said, as comments. */
static void show_messages(const struct runner *r)
{
    char text[4096];
    const ssize_t got = pread(r->messages, text, sizeof(text) - 1, 0);
    if (got <= 0)
        return;
    text[got] = '\0';
    char *rest = text;
    for (const char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
        printf("#   %s\n", line);
}

static _Noreturn void run_child(const struct runner *r, char *const argv[])
{
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(r->messages, 2) < 0)
        _exit(126);
    const struct rlimit cpu = {CPU_SECONDS, CPU_SECONDS}, as = {AS_BYTES, AS_BYTES}, core = {0, 0};
    if (setrlimit(RLIMIT_CPU, &cpu) < 0 || setrlimit(RLIMIT_CORE, &core) < 0 ||
        (LIMIT_AS && setrlimit(RLIMIT_AS, &as) < 0))
        _exit(126);
    execv(r->binary, argv);
    _exit(126);
}

/* returns NULL when the answer was in order; else what was wrong with it. */
static const char *wrong_with(struct runner *r, bool classic, bool may_refuse, char *const argv[])
{
    if (ftruncate(r->messages, 0) < 0)
        bail("messages");
    const pid_t pid = fork();
    if (pid < 0)
        bail("fork");
    if (pid == 0)
        run_child(r, argv);
    const int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    bool hung = false;
    if (pidfd >= 0) {
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        hung = poll(&p, 1, WAIT_MS_MAX) == 0;
        close(pidfd);
    }
    if (hung)
        (void)kill(pid, SIGKILL);
    int status = 0;
    if (waitpid(pid, &status, 0) < 0)
        bail("waitpid");
    if (hung) {
        snprintf(r->why, sizeof(r->why), "no answer within %d s", WAIT_MS_MAX / 1000);
        return r->why;
    }
    if (WIFSIGNALED(status)) {
        snprintf(r->why, sizeof(r->why), "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        return r->why;
    }
    const int code = WEXITSTATUS(status);
    if (classic ? code <= ERRNO_MAX && code != REPORTED : code <= XK_EXIT_IO && (code != XK_EXIT_USAGE || may_refuse))
        return NULL;
    snprintf(r->why, sizeof(r->why), "exit status %d", code);
    return r->why;
}

struct verb {
    const char *words[WORDS_MAX]; /* the images follow */
    bool one_file;
    bool deep;       /* only when a number of mutants was asked for */
    bool may_refuse; /* a kind of image: as wrong usage */
};
static const struct verb verbs[] = {
    {.words = {"vhd", "info", "--json"}},
    {.words = {"vhd", "check", "--data"}},
    {.words = {"vhd", "chain"}},
    {.words = {"vhd", "read"}, .one_file = true},
    {.words = {"vhd", "map"}, .one_file = true, .deep = true},
    {.words = {"vhd", "hash"}, .deep = true},
    {.words = {"vhd", "repair", "--dry-run"}, .deep = true},
    {.words = {"vhd", "coalesce", "--dry-run"}, .one_file = true, .deep = true, .may_refuse = true},
    {.words = {"vhd-util", "check", "-b", "-s", "-n"}, .one_file = true, .deep = true},
    {.words = {"vhd-util", "query", "-vspfmdaS", "-n"}, .one_file = true, .deep = true},
    {.words = {"vhd-util", "read", "-p", "-B", "-M", "-n"}, .one_file = true, .deep = true},
    {.words = {"vhd-util", "scan", "-c", "-p", "-a", "-M"}, .deep = true},
    {.words = {"vhd-util", "set", "-f", "marker", "-v", "7", "-n"}, .one_file = true, .deep = true},
    {.words = {"vhd", "resize", "--size", "40M"}, .one_file = true, .deep = true},
    {.words = {"vhd", "repair", "--apply"}, .deep = true},
    {.words = {"vhd-util", "fill", "-b", "-n"}, .one_file = true, .deep = true},
    {.words = {"vhd-util", "repair", "-n"}, .one_file = true, .deep = true},
};

static bool is_classic(const struct verb *verb)
{
    return strcmp(verb->words[0], "vhd") != 0;
}

/* As a person would type it. */
static const char *text_of(const struct verb *verb, char text[NAME_BYTES])
{
    text[0] = '\0';
    for (size_t i = 0; i < WORDS_MAX && verb->words[i]; i++) {
        const size_t at = strlen(text);
        snprintf(text + at, NAME_BYTES - at, i ? " %s" : "%s", verb->words[i]);
    }
    return text;
}

/* returns the number of wrong answers, each one told. */
static unsigned ask(struct runner *r, const struct verb *verb, char (*paths)[PATH_BYTES], unsigned first,
                    unsigned count)
{
    char *argv[1 + WORDS_MAX + BATCH + 1] = {(char *)(uintptr_t)r->binary};
    char text[NAME_BYTES];
    int words = 1;

    for (size_t i = 0; i < WORDS_MAX && verb->words[i]; i++)
        argv[words++] = (char *)(uintptr_t)verb->words[i];
    for (unsigned i = 0; i < count; i++)
        argv[words++] = paths[i];
    argv[words] = NULL;
    const char *const why = wrong_with(r, is_classic(verb), verb->may_refuse, argv);
    if (!why)
        return 0;
    if (count == 1) {
        printf("# mutant %u: %s: %s\n", first, text_of(verb, text), why);
        show_messages(r);
        return 1;
    }
    /* Which one was it? When none alone, it takes the whole batch. */
    unsigned wrong = 0;
    for (unsigned i = 0; i < count; i++)
        wrong += ask(r, verb, &paths[i], first + i, 1);
    if (wrong == 0)
        printf("# mutants %u to %u together: %s: %s\n", first, first + count - 1, text_of(verb, text), why);
    return wrong ? wrong : 1;
}

static void remove_folder(const char *dir)
{
    DIR *const d = opendir(dir);
    if (!d)
        return;
    const struct dirent *entry;
    while ((entry = readdir(d)) != NULL)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    (void)rmdir(dir);
}

static unsigned run_all(struct runner *r, const struct base *bases, const char *dir, unsigned first, unsigned count,
                        bool deep, unsigned *wrong)
{
    char paths[BATCH][PATH_BYTES];
    unsigned done = 0;

    while (done < count) {
        const unsigned part = XK_MIN(BATCH, count - done);
        for (unsigned i = 0; i < part; i++) {
            char name[32];
            snprintf(name, sizeof(name), "m%02u.vhd", i);
            path_in(paths[i], dir, name);
            make_mutant(bases, first + done + i, paths[i]);
        }
        for (size_t v = 0; v < XK_COUNT(verbs); v++) {
            if (verbs[v].deep && !deep)
                continue;
            const unsigned at_once = verbs[v].one_file ? 1 : part;
            for (unsigned i = 0; i < part; i += at_once)
                wrong[v] += ask(r, &verbs[v], &paths[i], first + done + i, at_once);
        }
        done += part;
    }
    return done;
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/xenkit-mutate-XXXXXX";
    char path[PATH_BYTES];
    struct base bases[BASES];
    struct runner r = {.binary = getenv("XENKIT")};
    unsigned wrong[XK_COUNT(verbs)] = {0};
    uint64_t first = 0, count = MUTANTS;
    const char *const asked = getenv("XENKIT_MUTANTS");

    if (!r.binary || (asked && xk_parse_u64(&count, asked) < 0) || (argc > 1 && xk_parse_u64(&first, argv[1]) < 0) ||
        (argc > 2 && xk_parse_u64(&count, argv[2]) < 0)) {
        fprintf(stderr, "usage: XENKIT=path/of/xenkit %s [FIRST [COUNT]]\n", argv[0]);
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)setenv("ASAN_OPTIONS", "exitcode=99:allocator_may_return_null=1", 0);
    (void)setenv("UBSAN_OPTIONS", "exitcode=99:halt_on_error=1:print_stacktrace=1", 0);
    if (!mkdtemp(dir))
        bail(dir);
    path_in(path, dir, "messages");
    r.messages = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (r.messages < 0)
        bail(path);
    make_bases(dir);
    for (size_t i = 0; i < BASES; i++)
        load_base(&bases[i], dir, base_names[i]);

    const unsigned done = run_all(&r, bases, dir, (unsigned)first, (unsigned)count, asked != NULL, wrong);
    size_t told = 0;
    bool good = true;
    for (size_t v = 0; v < XK_COUNT(verbs); v++) {
        char text[NAME_BYTES];
        if (verbs[v].deep && !asked)
            continue;
        printf("%s %zu - %s answers %u damaged images\n", wrong[v] ? "not ok" : "ok", ++told, text_of(&verbs[v], text),
               done);
        good = good && !wrong[v];
    }
    printf("1..%zu\n", told);
    for (size_t i = 0; i < BASES; i++) {
        free(bases[i].data);
        free(bases[i].pages);
    }
    remove_folder(dir);
    return good ? 0 : 1;
}
