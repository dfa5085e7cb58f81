/*
 * What the three files of the survey share; nobody else includes this. walk finds files, survey examines them in
 * parallel, tree links them by parent and finds what only shows between images.
 */
#ifndef VHD_SURVEY_PARTS_H
#define VHD_SURVEY_PARTS_H

#include "lib/vhd/survey.h"

#include <pthread.h>

/* Beside each image while the survey runs. */
struct survey_link {
    bool probe;   /* it does not call itself .vhd: taken only when it is one */
    bool symlink; /* found through a symbolic link */
    bool named;   /* a target itself */
    bool drop;
    bool has_parent; /* the parent file exists; its identity follows */
    dev_t parent_dev;
    ino_t parent_ino;
    int64_t parent_mtime;
    uint8_t *map; /* bit per block: allocated. NULL: not known */
};

struct survey_work {
    struct vhd_survey *s;
    const struct xk_fs *fs;
    const struct vhd_survey_options *options;
    struct survey_link *links; /* beside s->images */
    size_t capacity;

    pthread_mutex_t lock; /* guards what follows, and s->arena */
    size_t next, done;
    uint64_t map_bytes;
    int code; /* the first failure that ends the survey */
    struct xk_err *err;
    pthread_mutex_t large; /* only one image with tables beyond any sound disk's at a time */
};

/* Text that lives as long as the survey; not while threads run. NULL: no memory. */
static inline char *survey_keep(struct survey_work *w, const char *text)
{
    return xk_arena_strdup(&w->s->arena, text);
}

/* The next free image, zeroed but for its path (which must live as long as the survey) and its links. */
int survey_add(struct survey_work *w, const char *path, const struct survey_link *link, struct xk_err *err);

/* walk.c: add a target, or what lies in it. */
int survey_walk(struct survey_work *w, const char *target, struct xk_err *err);

/* Hash from (device, inode) to the image. */
struct survey_index {
    size_t *slots; /* image + 1; 0: free */
    size_t mask;
};
int survey_index_make(struct survey_index *ret, size_t images, struct xk_err *err);
/* The image that has this identity, or VHD_NO_IMAGE. With `add` not VHD_NO_IMAGE, that one is put in when none has. */
size_t survey_index_find(struct survey_index *index, const struct vhd_survey *s, dev_t dev, ino_t ino, size_t add);
void survey_index_done(struct survey_index *index);

/* tree.c: parents, children, depths, and problems between images. The images have got their final places. */
int survey_link_trees(struct survey_work *w, struct xk_err *err);

#endif
