/*
 * Lines of messages over a descriptor.
 */
#ifndef MESH_LINE_H
#define MESH_LINE_H

#include "lib/mesh/message.h"

/* What has come and is no whole line yet. */
struct mesh_reader {
    char bytes[MESH_LINE_BYTES];
    size_t count;
};

/*
 * Read once what is there.
 *
 * returns   1; 0: the far side has ended; -EAGAIN; -EMSGSIZE: more than a line without its end; other errno values.
 */
int mesh_reader_fill(struct mesh_reader *r, int fd);
/* Take the next whole line. returns 1; 0: none yet; -EBADMSG with err filled, the line is gone. */
int mesh_reader_take(struct mesh_reader *r, struct mesh_message *ret, struct xk_err *err);
/* Write a message whole; waits for room. returns 0; a negative errno value. */
int mesh_write(int fd, const struct mesh_message *m);

#endif
