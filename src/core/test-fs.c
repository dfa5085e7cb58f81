/* Files: whole reads and writes, sizes, replacement, links, small text files. Faults are in testing/test-newfile.c. */
#include "core/fs.h"
#include "core/text.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <cmocka.h>

struct folder {
    char path[64];
    char name[400];
};

/* A path in the test's folder, valid until the next call. */
static const char *in(struct folder *folder, const char *name)
{
    const int length = snprintf(folder->name, sizeof(folder->name), "%s/%s", folder->path, name);
    assert_in_range(length, 1, sizeof(folder->name) - 1);
    return folder->name;
}

static int make_folder(void **state)
{
    static struct folder folder;
    strcpy(folder.path, "/tmp/xk-test-fs-XXXXXX");
    *state = &folder;
    return mkdtemp(folder.path) ? 0 : -1;
}

/* Also checks that nothing was left: the test removes what it made, and nobody made more. */
static int remove_folder(void **state)
{
    struct folder *folder = *state;
    return rmdir(folder->path);
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void assert_content(const char *path, const char *text)
{
    xk_autofree char *content = NULL;
    assert_int_equal(xk_slurp(&content, "", path, 100000, NULL), 0);
    assert_string_equal(content, text);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void a_missing_file_is_named(void **state)
{
    struct folder *folder = *state;
    struct xk_file f = {0};
    struct xk_err err;
    assert_int_equal(xk_file_open(&f, xk_fs_posix(), in(folder, "none"), O_RDONLY, 0, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/none: No such file or directory"));
    assert_int_equal(err.exit, XK_EXIT_IO);
    xk_file_close(&f);
    xk_file_close(NULL);
}

static void reads_and_writes_are_whole(void **state)
{
    struct folder *folder = *state;
    struct xk_file f;
    struct xk_err err;
    assert_int_equal(xk_file_open(&f, xk_fs_posix(), in(folder, "a"), O_RDWR | O_CREAT | O_EXCL, 0600, &err), 0);
    assert_int_equal(fcntl(f.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(xk_file_write(&f, "hello", 5, 10, &err), 0);
    uint64_t bytes;
    assert_int_equal(xk_file_size(&bytes, &f, &err), 0);
    assert_int_equal(bytes, 15);
    char got[16];
    assert_int_equal(xk_file_read(&f, got, 15, 0, &err), 0);
    assert_memory_equal(got, "\0\0\0\0\0\0\0\0\0\0hello", 15);
    assert_int_equal(xk_file_read_some(&f, got, 16, 12, &err), 3);
    assert_int_equal(xk_file_read_some(&f, got, 16, 100, &err), 0);
    assert_int_equal(xk_file_read(&f, got, 16, 0, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "ends early"));
    assert_int_equal(err.exit, XK_EXIT_DAMAGED);
    assert_int_equal(xk_file_truncate(&f, 4, &err), 0);
    assert_int_equal(xk_file_size(&bytes, &f, &err), 0);
    assert_int_equal(bytes, 4);
    assert_int_equal(xk_file_sync(&f, &err), 0);
    xk_file_close(&f);
    assert_false(f.open);
    xk_file_close(&f);
    assert_int_equal(unlink(in(folder, "a")), 0);
}

static void impossible_positions(void **state)
{
    struct folder *folder = *state;
    put(in(folder, "a"), "x");
    struct xk_file f;
    struct xk_err err;
    assert_int_equal(xk_file_open(&f, xk_fs_posix(), in(folder, "a"), O_RDWR, 0, &err), 0);
    char got[16];
    static const uint64_t offsets[] = {INT64_MAX - 8, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - 8, UINT64_MAX};
    for (size_t i = 0; i < XK_COUNT(offsets); i++) {
        assert_int_equal(xk_file_read_some(&f, got, sizeof(got), offsets[i], &err), 0);
        assert_int_equal(xk_file_read(&f, got, sizeof(got), offsets[i], &err), -EBADMSG);
        assert_int_equal(xk_file_write(&f, got, sizeof(got), offsets[i], &err), -EFBIG);
        assert_int_equal(err.exit, XK_EXIT_IO); /* the system's EFBIG is no damaged image */
    }
    assert_int_equal(xk_file_truncate(&f, UINT64_MAX, &err), -EFBIG);
    xk_file_close(&f);
    assert_content(in(folder, "a"), "x");
    unlink(in(folder, "a"));
}

static void what_has_no_size(void **state)
{
    struct folder *folder = *state;
    struct xk_file f;
    struct xk_err err;
    uint64_t bytes;
    assert_int_equal(xk_file_open(&f, xk_fs_posix(), folder->path, O_RDONLY, 0, &err), 0);
    assert_int_equal(xk_file_size(&bytes, &f, &err), -EISDIR);
    xk_file_close(&f);
    assert_int_equal(xk_file_open(&f, xk_fs_posix(), "/dev/null", O_RDWR, 0, &err), 0);
    assert_int_equal(xk_file_size(&bytes, &f, &err), -ENOTSUP);
    assert_int_equal(xk_file_sync(&f, &err), 0); /* nothing there to be made safe */
    xk_file_close(&f);
    assert_int_equal(mkfifo(in(folder, "fifo"), 0600), 0);
    assert_int_equal(xk_file_open(&f, xk_fs_posix(), in(folder, "fifo"), O_RDWR | O_NONBLOCK, 0, &err), 0);
    assert_int_equal(xk_file_size(&bytes, &f, &err), -ENOTSUP);
    xk_file_close(&f);
    unlink(in(folder, "fifo"));
}

static int fstat_block_device(const struct xk_fs *fs, int fd, struct stat *ret)
{
    *ret = (struct stat){.st_mode = S_IFBLK | 0600};
    return 0;
}

static int64_t seek_block_device(const struct xk_fs *fs, int fd, uint64_t offset, int whence)
{
    return whence == SEEK_END ? *(const int64_t *)fs->state : -EINVAL;
}

static void a_block_device_is_as_long_as_it_says(void **state)
{
    int64_t end = INT64_C(5) << 30;
    struct xk_fs_ops ops = *xk_fs_posix()->ops;
    ops.fstat = fstat_block_device;
    ops.seek = seek_block_device;
    const struct xk_fs fs = {.ops = &ops, .state = &end};
    struct xk_file f;
    struct xk_err err;
    uint64_t bytes = 0;
    assert_int_equal(xk_file_open(&f, &fs, "/dev/null", O_RDONLY, 0, &err), 0);
    assert_int_equal(xk_file_size(&bytes, &f, &err), 0);
    assert_true(bytes == UINT64_C(5) << 30);
    end = -EIO;
    assert_int_equal(xk_file_size(&bytes, &f, &err), -EIO);
    xk_file_close(&f);
}

static void space_and_holes(void **state)
{
    struct folder *folder = *state;
    const struct xk_fs *fs = xk_fs_posix();
    struct xk_file f;
    struct xk_err err;
    uint64_t bytes;
    assert_int_equal(xk_file_open(&f, fs, in(folder, "a"), O_RDWR | O_CREAT, 0600, &err), 0);
    assert_int_equal(fs->ops->allocate(fs, f.fd, 0, UINT64_MAX, 1), -EFBIG);
    assert_int_equal(fs->ops->allocate(fs, f.fd, 0, 1, INT64_MAX), -EFBIG);
    const int r = fs->ops->allocate(fs, f.fd, 0, 0, 65536);
    assert_true(r == 0 || r == -EOPNOTSUPP);
    assert_int_equal(xk_file_size(&bytes, &f, &err), 0);
    assert_int_equal(bytes, r == 0 ? 65536 : 0);
    assert_int_equal(xk_file_write(&f, "x", 1, 1000000, &err), 0);
    assert_int_equal(fs->ops->seek(fs, f.fd, 0, SEEK_END), 1000001);
    const int64_t data = fs->ops->seek(fs, f.fd, 900000, SEEK_DATA);
    assert_in_range(data, 900000, 1000000); /* a file system without holes says 900000 */
    assert_int_equal(fs->ops->seek(fs, f.fd, 1000001, SEEK_DATA), -ENXIO);
    assert_int_equal(fs->ops->seek(fs, f.fd, UINT64_MAX, SEEK_HOLE), -EINVAL);
    xk_file_close(&f);
    unlink(in(folder, "a"));
}

static void a_replacement_keeps_the_mode(void **state)
{
    struct folder *folder = *state;
    struct xk_err err;
    const mode_t mask = umask(022);
    assert_int_equal(xk_file_replace(xk_fs_posix(), in(folder, "a"), "first", 5, 0666, &err), 0);
    assert_int_equal(mode_of(in(folder, "a")), 0644); /* the mask applies to a new file */
    assert_int_equal(chmod(in(folder, "a"), 06751), 0);
    assert_int_equal(xk_file_replace(xk_fs_posix(), in(folder, "a"), "second", 6, 0600, &err), 0);
    assert_int_equal(mode_of(in(folder, "a")), 06751);
    assert_content(in(folder, "a"), "second");
    if (geteuid() == 0) {
        assert_int_equal(chown(in(folder, "a"), 12, 34), 0);
        assert_int_equal(chmod(in(folder, "a"), 04700), 0);
        assert_int_equal(xk_file_replace(xk_fs_posix(), in(folder, "a"), "", 0, 0600, &err), 0);
        struct stat st;
        assert_int_equal(stat(in(folder, "a"), &st), 0);
        assert_int_equal(st.st_uid, 12);
        assert_int_equal(st.st_gid, 34);
        assert_int_equal(st.st_mode & 07777, 04700); /* chown would have dropped the set-user bit */
        assert_int_equal(st.st_size, 0);
    }
    umask(mask);
    unlink(in(folder, "a"));
}

static void the_old_file_stays_until_commit(void **state)
{
    struct folder *folder = *state;
    struct xk_newfile n;
    struct xk_err err;
    put(in(folder, "a"), "old");
    assert_int_equal(xk_newfile_begin(&n, xk_fs_posix(), in(folder, "a"), 0644, false, &err), 0);
    assert_int_equal(mode_of(n.temp) & 077, 0); /* nobody else reads along */
    const char *base = strrchr(n.temp, '/') + 1;
    assert_int_equal(strncmp(base, ".a.xk-", 6), 0);
    assert_int_equal(strlen(base), 12);
    assert_int_equal(xk_file_write(&n.file, "new", 3, 0, &err), 0);
    assert_content(in(folder, "a"), "old");
    assert_int_equal(xk_newfile_commit(&n, &err), 0);
    assert_content(in(folder, "a"), "new");
    xk_newfile_abort(&n);
    assert_content(in(folder, "a"), "new");
    assert_int_equal(xk_newfile_begin(&n, xk_fs_posix(), in(folder, "a"), 0644, false, &err), 0);
    xk_newfile_abort(&n);
    assert_content(in(folder, "a"), "new");
    struct xk_newfile zeroed = {0};
    xk_newfile_abort(&zeroed);
    xk_newfile_abort(NULL);
    unlink(in(folder, "a"));
}

static void exclusive_replaces_nothing(void **state)
{
    struct folder *folder = *state;
    struct xk_newfile n;
    struct xk_err err;
    put(in(folder, "a"), "old");
    assert_int_equal(xk_newfile_begin(&n, xk_fs_posix(), in(folder, "a"), 0644, true, &err), -EEXIST);
    xk_newfile_abort(&n);
    assert_int_equal(xk_newfile_begin(&n, xk_fs_posix(), in(folder, "b"), 0644, true, &err), 0);
    put(in(folder, "b"), "meanwhile"); /* somebody was faster */
    assert_int_equal(xk_newfile_commit(&n, &err), -EEXIST);
    assert_content(in(folder, "b"), "meanwhile");
    assert_int_equal(symlink("nowhere", in(folder, "c")), 0);
    assert_int_equal(xk_newfile_begin(&n, xk_fs_posix(), in(folder, "c"), 0644, true, &err), -EEXIST);
    assert_int_equal(xk_newfile_begin(&n, xk_fs_posix(), in(folder, "d"), 0640, true, &err), 0);
    assert_int_equal(xk_file_write(&n.file, "new", 3, 0, &err), 0);
    assert_int_equal(xk_newfile_commit(&n, &err), 0);
    assert_content(in(folder, "d"), "new");
    struct stat st;
    assert_int_equal(stat(in(folder, "d"), &st), 0);
    assert_int_equal(st.st_nlink, 1); /* the temporary name is gone */
    for (const char *name = "abcd"; *name; name++)
        assert_int_equal(unlink(in(folder, (char[]){*name, '\0'})), 0);
}

static void links_stay_links(void **state)
{
    struct folder *folder = *state;
    struct xk_err err;
    assert_int_equal(mkdir(in(folder, "sub"), 0755), 0);
    put(in(folder, "sub/real"), "old");
    assert_int_equal(symlink("sub/middle", in(folder, "link")), 0);
    assert_int_equal(symlink("real", in(folder, "sub/middle")), 0);
    assert_int_equal(xk_file_replace(xk_fs_posix(), in(folder, "link"), "new", 3, 0644, &err), 0);
    assert_content(in(folder, "sub/real"), "new");
    struct stat st;
    assert_int_equal(lstat(in(folder, "link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(lstat(in(folder, "sub/middle"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));

    assert_int_equal(unlink(in(folder, "sub/real")), 0); /* a link to what is not there yet */
    assert_int_equal(xk_file_replace(xk_fs_posix(), in(folder, "link"), "made", 4, 0644, &err), 0);
    assert_content(in(folder, "sub/real"), "made");

    assert_int_equal(symlink("loop", in(folder, "loop")), 0);
    assert_int_equal(xk_file_replace(xk_fs_posix(), in(folder, "loop"), "x", 1, 0644, &err), -ELOOP);
    unlink(in(folder, "loop"));
    unlink(in(folder, "link"));
    unlink(in(folder, "sub/middle"));
    unlink(in(folder, "sub/real"));
    rmdir(in(folder, "sub"));
}

static void only_files_are_replaced(void **state)
{
    struct folder *folder = *state;
    struct xk_err err;
    assert_int_equal(xk_file_replace(xk_fs_posix(), "/dev/null", "x", 1, 0644, &err), -ENOTSUP);
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(xk_file_replace(xk_fs_posix(), folder->path, "x", 1, 0644, &err), -EISDIR);
    assert_int_equal(symlink("/dev/null", in(folder, "device")), 0);
    assert_int_equal(xk_file_replace(xk_fs_posix(), in(folder, "device"), "x", 1, 0644, &err), -ENOTSUP);
    assert_int_equal(unlink(in(folder, "device")), 0);
    int ends[2];
    assert_int_equal(pipe(ends), 0); /* such as /dev/stdout in a pipeline */
    char name[64];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", ends[1]);
    assert_int_equal(xk_file_replace(xk_fs_posix(), name, "x", 1, 0644, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, name));
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(xk_file_replace(xk_fs_posix(), in(folder, "none/a"), "x", 1, 0644, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/none/a: No such file"));
}

/* As on FAT: there are no links, so the posix operation moves. */
static int link_by_moving(const struct xk_fs *fs, const char *from, const char *to)
{
    return access(to, F_OK) == 0 ? -EEXIST : rename(from, to) == 0 ? 0 : -errno;
}

static void a_link_may_be_a_move(void **state)
{
    struct folder *folder = *state;
    struct xk_fs_ops ops = *xk_fs_posix()->ops;
    ops.link = link_by_moving;
    const struct xk_fs fs = {.ops = &ops};
    struct xk_newfile n;
    struct xk_err err;
    assert_int_equal(xk_newfile_begin(&n, &fs, in(folder, "a"), 0644, true, &err), 0);
    assert_int_equal(xk_file_write(&n.file, "new", 3, 0, &err), 0);
    assert_int_equal(xk_newfile_commit(&n, &err), 0);
    assert_content(in(folder, "a"), "new");
    unlink(in(folder, "a"));
}

static const char *fifo_of_handler;
static int fd_of_handler = -1;

static void open_the_other_end(int signal_number)
{
    fd_of_handler = open(fifo_of_handler, O_RDWR);
}

static void an_interrupted_open_is_tried_again(void **state)
{
    struct folder *folder = *state;
    fifo_of_handler = in(folder, "fifo");
    assert_int_equal(mkfifo(fifo_of_handler, 0600), 0);
    const struct sigaction action = {.sa_handler = open_the_other_end}; /* no SA_RESTART */
    struct sigaction before;
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    const struct itimerval soon = {.it_value.tv_usec = 20000};
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    struct xk_file f;
    struct xk_err err;
    assert_int_equal(xk_file_open(&f, xk_fs_posix(), fifo_of_handler, O_RDONLY, 0, &err), 0);
    xk_file_close(&f);
    assert_true(fd_of_handler >= 0);
    close(fd_of_handler);
    sigaction(SIGALRM, &before, NULL);
    unlink(in(folder, "fifo"));
}

static void long_names_have_room_for_a_temporary_one(void **state)
{
    struct folder *folder = *state;
    struct xk_err err;
    char name[256];
    for (size_t length = 240; length <= 255; length++) {
        memset(name, 'n', length);
        name[length] = '\0';
        assert_int_equal(xk_file_replace(xk_fs_posix(), in(folder, name), "x", 1, 0644, &err), 0);
        assert_int_equal(unlink(in(folder, name)), 0);
    }
    for (size_t length = 0; length < 254; length += 2) /* one byte off, the cut would split a letter */
        memcpy(name + length, "ü", 2);
    name[254] = '\0';
    struct xk_newfile n;
    assert_int_equal(xk_newfile_begin(&n, xk_fs_posix(), in(folder, name), 0644, true, &err), 0);
    assert_true(strlen(xk_base_name(n.temp)) >= 253);
    assert_int_equal(xk_display_width(n.temp), strlen(folder->path) + strlen("/..xk-") + 6 + 121);
    xk_newfile_abort(&n);
}

static void a_name_without_folder(void **state)
{
    struct folder *folder = *state;
    struct xk_err err;
    char before[4096];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(folder->path), 0);
    assert_int_equal(xk_file_replace(xk_fs_posix(), "here", "x", 1, 0644, &err), 0);
    assert_content("here", "x");
    assert_int_equal(unlink("here"), 0);
    assert_int_equal(chdir(before), 0);
}

static void small_text_files(void **state)
{
    struct folder *folder = *state;
    struct xk_err err;
    put(in(folder, "text"), "first line\nsecond\n");
    char *content = NULL;
    assert_int_equal(xk_slurp(&content, folder->path, "/text", 18, &err), 0);
    assert_string_equal(content, "first line\nsecond\n");
    free(content);
    content = NULL;
    assert_int_equal(xk_slurp(&content, folder->path, "/text", 17, &err), -EFBIG);
    assert_null(content);
    assert_int_equal(xk_slurp(&content, folder->path, "/none", 17, &err), -ENOENT);
    assert_int_equal(xk_slurp(&content, "", folder->path, 17, &err), -EISDIR);

    xk_autofree char *line = xk_slurp_line(folder->path, "/text");
    assert_string_equal(line, "first line");
    xk_autofree char *nothing = xk_slurp_line(folder->path, "/none");
    assert_string_equal(nothing, "");
    put(in(folder, "text"), "");
    xk_autofree char *empty = xk_slurp_line(folder->path, "/text");
    assert_string_equal(empty, "");
    put(in(folder, "text"), "no newline");
    xk_autofree char *open_line = xk_slurp_line(folder->path, "/text");
    assert_string_equal(open_line, "no newline");
    unlink(in(folder, "text"));

    assert_true(xk_exists("", "/proc/self"));
    assert_false(xk_exists(folder->path, "/none"));
    xk_autofree char *proc = NULL; /* files that say they have no bytes */
    assert_int_equal(xk_slurp(&proc, "", "/proc/self/status", 65536, &err), 0);
    assert_non_null(strstr(proc, "Pid:"));
}

static void the_first_line_of_a_huge_file(void **state)
{
    struct folder *folder = *state;
    FILE *f = fopen(in(folder, "huge"), "w");
    assert_non_null(f);
    fputs("begin\n", f);
    for (int i = 0; i < 20000; i++)
        fputs("0123456789\n", f);
    fclose(f);
    xk_autofree char *line = xk_slurp_line(folder->path, "/huge");
    assert_string_equal(line, "begin");
    unlink(in(folder, "huge"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_missing_file_is_named),
        TEST(reads_and_writes_are_whole),
        TEST(impossible_positions),
        TEST(what_has_no_size),
        TEST(a_block_device_is_as_long_as_it_says),
        TEST(space_and_holes),
        TEST(a_replacement_keeps_the_mode),
        TEST(the_old_file_stays_until_commit),
        TEST(exclusive_replaces_nothing),
        TEST(links_stay_links),
        TEST(only_files_are_replaced),
        TEST(long_names_have_room_for_a_temporary_one),
        TEST(a_link_may_be_a_move),
        TEST(an_interrupted_open_is_tried_again),
        TEST(a_name_without_folder),
        TEST(small_text_files),
        TEST(the_first_line_of_a_huge_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
