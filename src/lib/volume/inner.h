/*
 * What the formats of a volume share.
 */
#ifndef VOLUME_INNER_H
#define VOLUME_INNER_H

#include "lib/volume/volume.h"

#include <pthread.h>

/* Ranges are checked before: never empty, never past the end. */
struct volume_ops {
    int (*map)(const struct volume *v, uint64_t start, uint64_t bytes, volume_visit *visit, void *context,
               struct xk_err *err);
    /* Bytes of a DATA extent of this volume without a plain file. NULL: there are none. */
    int (*read_stored)(const struct volume *v, void *buf, uint64_t start, size_t bytes, struct xk_err *err);
    const struct xk_file *(*layer_file)(const struct volume *v, int layer);
    void (*close)(struct volume *v);
};

/* NULL: there is no such layer. */
const struct xk_file *volume_layer_file(const struct volume *v, int layer);

/* The images above one that is being opened, for limits on the way down. */
struct volume_trail {
    const struct volume_trail *above;
    const char *path;
    dev_t dev;
    ino_t ino;
};

int volume_open_below(struct volume **ret, const struct xk_fs *fs, const char *path,
                      const struct volume_options *options, const struct volume_trail *above, struct xk_err *err);

int volume_raw_open(struct volume **ret, const struct xk_fs *fs, const char *path, const struct volume_options *options,
                    const struct volume_trail *above, struct xk_err *err);
int volume_vhd_open(struct volume **ret, const struct xk_fs *fs, const char *path, const struct volume_options *options,
                    const struct volume_trail *above, struct xk_err *err);
int volume_vhdx_open(struct volume **ret, const struct xk_fs *fs, const char *path,
                     const struct volume_options *options, const struct volume_trail *above, struct xk_err *err);
int volume_qcow2_open(struct volume **ret, const struct xk_fs *fs, const char *path,
                      const struct volume_options *options, const struct volume_trail *above, struct xk_err *err);

/* Add a file to the trail: -ELOOP when it is there already, or when the trail is long enough. */
int volume_trail_add(struct volume_trail *ret, const struct volume_trail *above, const struct xk_file *file,
                     const struct volume_options *options, struct xk_err *err);
size_t volume_trail_length(const struct volume_trail *t);
/* How many more images a chain may have. */
size_t volume_depth_left(const struct volume_options *options, const struct volume_trail *above);
/*
 * The real path of a parent named in a child: `name` as it is when absolute, else from the child's real folder.
 * ret       the caller frees it. -ENOENT; -EXDEV: outside root.
 */
int volume_parent_path(char **ret, const char *child, const char *name, const char *root, struct xk_err *err);
/* A regular file or a block device, opened without waiting. */
int volume_file_open(struct xk_file *ret, const struct xk_fs *fs, const char *path, uint64_t *ret_bytes,
                     struct xk_err *err);

/* Joins neighbours before they reach a visitor; ends with volume_join_flush(). */
struct volume_join {
    volume_visit *visit;
    void *context;
    struct volume_extent pending; /* bytes 0: none */
};
int volume_join_add(struct volume_join *j, const struct volume_extent *e);
int volume_join_flush(struct volume_join *j);
/* The extents that a parent (NULL: none) has for a range, as those of the next layers; holes behind its end. */
int volume_join_parent(struct volume_join *j, const struct volume *parent, uint64_t start, uint64_t bytes,
                       struct xk_err *err);
int volume_read_parent(const struct volume *parent, uint8_t *buf, uint64_t start, size_t bytes, struct xk_err *err);

/*
 * The run of data of one file that was found last. Asking for its end costs a walk over all of it on some file systems,
 * so a disk that is mapped piece by piece asks once.
 */
struct volume_runs {
    pthread_mutex_t lock;
    uint64_t from, to; /* bytes of the file; to 0: none */
};
struct volume_runs *volume_runs_new(void) XK_MUST_USE;
void volume_runs_free(struct volume_runs *r);
/*
 * A stored run of a file, split into what the file system has and its holes. A file system that cannot tell has no
 * holes.
 */
int volume_split_holes(const struct volume_extent *e, struct volume_runs *runs, volume_visit *visit, void *context);

#endif
