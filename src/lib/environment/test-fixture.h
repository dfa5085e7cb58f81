/*
 * A folder that stands for a machine's / in tests: made below $TMPDIR or /tmp, filled file by file, removed.
 * Mistakes of the test's own end it by assertion.
 */
#ifndef TEST_FIXTURE_H
#define TEST_FIXTURE_H

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char root[256];
};

static inline void fixture_make(struct fixture *f)
{
    const char *folder = getenv("TMPDIR");
    const int length = snprintf(f->root, sizeof(f->root), "%s/xenkit-fixture-XXXXXX", folder ? folder : "/tmp");
    assert(length > 0 && (size_t)length < sizeof(f->root));
    (void)length;
    const char *made = mkdtemp(f->root);
    assert(made);
    (void)made;
}

static inline void fixture_path(char *ret, size_t size, const struct fixture *f, const char *path)
{
    const int length = snprintf(ret, size, "%s%s", f->root, path);
    assert(length > 0 && (size_t)length < size);
    (void)length;
    for (char *slash = ret + strlen(f->root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        const int rc = mkdir(ret, 0755);
        assert(rc == 0 || errno == EEXIST);
        (void)rc;
        *slash = '/';
    }
}

static inline void fixture_bytes(const struct fixture *f, const char *path, const void *bytes, size_t count)
{
    char full[512];
    fixture_path(full, sizeof(full), f, path);
    FILE *file = fopen(full, "w");
    assert(file);
    const size_t written = count > 0 ? fwrite(bytes, 1, count, file) : 0;
    assert(written == count);
    (void)written;
    const int rc = fclose(file);
    assert(rc == 0);
    (void)rc;
}

/* Folders on the way are made; an old file is replaced. */
static inline void fixture_put(const struct fixture *f, const char *path, const char *text)
{
    fixture_bytes(f, path, text, strlen(text));
}

static inline void fixture_remove(const struct fixture *f, const char *path)
{
    char full[512];
    fixture_path(full, sizeof(full), f, path);
    (void)unlink(full);
}

static inline int fixture_remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

static inline void fixture_done(struct fixture *f)
{
    if (f->root[0] != '\0')
        (void)nftw(f->root, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    f->root[0] = '\0';
}

#endif
