/*
 * What the disks of the pool hold: the bytes that were imported into them, and what their copies have of those. Guests
 * that only look as if they ran write nothing, so every other disk reads as zeros, and takes no space.
 *
 * Without a state file all of it is in memory, with one in files beside it, in FILE.disks/, one for each disk.
 */
#ifndef LIB_SIMPOOL_DISK_H
#define LIB_SIMPOOL_DISK_H

#include "lib/simpool/inner.h"

#define SIM_DISKS_MEMORY_MAX (512u << 20)
#define SIM_DISKS_FILES_MAX  (UINT64_C(256) << 30)
#define SIM_DISK_PIECE       (64u << 10) /* what is kept or left out as one, in memory */

/* returns   0; -ENOSPC: past the limit, or the file system's; -EIO and so on; -ENOMEM. Past a disk's end are zeros. */
int sim_disk_read(const struct simpool *p, const struct sim_object *vdi, void *ret, size_t bytes, uint64_t start);
int sim_disk_write(struct simpool *p, struct sim_object *vdi, const void *bytes, size_t count, uint64_t start);
/*
 * The next run that may hold something else than zeros.
 *
 * from      where to look from.
 * returns   false: there is none.
 */
bool sim_disk_next(const struct simpool *p, const struct sim_object *vdi, uint64_t from, uint64_t *ret_start,
                   uint64_t *ret_end);
/* Bytes that a disk takes. */
uint64_t sim_disk_held(const struct simpool *p, const struct sim_object *vdi);
/* The disk holds from now on what another one does; no bytes are copied until one of them changes. */
int sim_disk_share(struct simpool *p, const struct sim_object *from, struct sim_object *to);
/* It is deleted: what it held goes, on the disk as soon as the state file knows. */
void sim_disk_drop(struct simpool *p, struct sim_object *vdi);

/* Of an object that is freed. */
void sim_disk_free(struct simpool *p, struct sim_disk *disk);
/* The folder beside the state: files of no disk in it are removed. */
int sim_disks_open(struct simpool *p, const char *state, struct xk_err *err);
/* What was dropped goes. */
void sim_disks_settle(struct simpool *p);
void sim_disks_close(struct simpool *p);

/* ---- disk-file.c ---- */

int sim_disk_file_read(const struct simpool *p, const char *name, void *ret, size_t bytes, uint64_t start);
int sim_disk_file_write(struct simpool *p, const char *name, const void *bytes, size_t count, uint64_t start);
bool sim_disk_file_next(const struct simpool *p, const char *name, uint64_t from, uint64_t *ret_start,
                        uint64_t *ret_end);
uint64_t sim_disk_file_held(const struct simpool *p, const char *name);
int sim_disk_file_share(struct simpool *p, const char *from, const char *to);

#endif
