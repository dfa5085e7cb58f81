/* What the formats of disks as files share; what they are asked for stands in raw-disk.c. */
#ifndef LIB_SIMPOOL_RAW_DISK_H
#define LIB_SIMPOOL_RAW_DISK_H

#include "lib/simpool/disk.h"
#include "lib/simpool/transfer.h"

#include "lib/qcow2/qcow2.h"
#include "lib/vhd/stream.h"
#include "lib/xva/xva.h"

#define RAW_PIECE_BYTES (1u << 20)
#define RAW_CHUNK_BYTES 12u /* the head of a chunk */

enum raw_format { RAW_PLAIN, RAW_VHD, RAW_TAR, RAW_QCOW2, RAW_UNKNOWN };

/* A file without a name, for a format that has to be seen as a whole. What it takes counts as disks' bytes. */
struct raw_spool {
    struct simpool *pool;
    struct xk_fs fs;
    struct xk_fs_ops ops;
    struct xk_file file;
    uint64_t bytes, counted;
};

struct raw_disk {
    struct sim_transfer t;
    enum raw_format format;
    char vdi[SIM_REF_BYTES], base[SIM_REF_BYTES];
    bool made;     /* the disk was made for this; it goes when it fails */
    uint64_t at;   /* of the disk, or of the spool */
    uint64_t size; /* its bytes */
    /* a VHD that comes */
    struct vhd_stream *stream;
    bool whole;
    /* chunks */
    bool chunked;
    uint8_t head[RAW_CHUNK_BYTES];
    size_t head_bytes;
    uint64_t chunk_left;
    uint64_t held_at; /* of the disk: bytes that wait in `piece` */
    size_t held;
    /* a VHD or a qcow2 that goes */
    struct vhd_stream_head vhd;
    uint32_t *blocks; /* of VHD_BLOCK_BYTES */
    size_t block_count, block;
    bool begun, ended;
    /* tar */
    struct xva_reader *archive;
    /* qcow2 */
    struct raw_spool spool;
    struct qcow2 image;
    struct qcow2_writer writer;
    struct xk_buf out;
    uint8_t piece[VHD_BLOCK_BYTES], other[VHD_BLOCK_BYTES];
};

/* ---- raw-disk.c ---- */

struct sim_object *raw_vdi(const struct raw_disk *r);
const struct sim_object *raw_base(const struct raw_disk *r); /* NULL: none, or gone */
enum sim_transfer_step raw_broken(struct raw_disk *r);
/* Bytes for a place of the disk; raw_taken() writes what is still held. returns   whether they fit. */
bool raw_store(struct raw_disk *r, uint64_t start, const uint8_t *bytes, size_t count);
/* All of it came. */
enum sim_transfer_step raw_taken(struct raw_disk *r);

/* ---- raw-tar.c ---- */

int raw_tar_open(struct raw_disk *r);
enum sim_transfer_step raw_tar_take(struct raw_disk *r, const uint8_t *bytes, size_t count, size_t *ret_taken);
enum sim_transfer_step raw_tar_end(struct raw_disk *r);
enum sim_transfer_step raw_tar_send(struct raw_disk *r, const struct sim_object *vdi);

/* ---- raw-qcow2.c ---- */

int raw_qcow2_open(struct raw_disk *r, bool writes);
enum sim_transfer_step raw_qcow2_take(struct raw_disk *r, const uint8_t *bytes, size_t count, size_t *ret_taken);
/* Again and again until it is over, once the whole file is there. */
enum sim_transfer_step raw_qcow2_end(struct raw_disk *r);
enum sim_transfer_step raw_qcow2_send(struct raw_disk *r, const struct sim_object *vdi);
void raw_qcow2_close(struct raw_disk *r); /* harmless when it was not opened */

#endif
