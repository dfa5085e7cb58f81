/*
 * What the files of the classic `vhd-util` share: its output, its options, its commands.
 *
 * The original is vhd-util of xapi-project/blktap; classic.t compares every text and status with a real one when the
 * environment names it in VHD_UTIL, and with recorded answers otherwise.
 */
#ifndef ROOMS_VHD_CLASSIC_H
#define ROOMS_VHD_CLASSIC_H

#include "core/room.h"
#include "lib/vhd/format.h"

/* As stdio of the original: text for a pipe or file leaves in pieces of this many bytes. */
#define VHD_CLASSIC_TEXT_BYTES 4096

struct vhd_classic {
    struct xk_app *app;
    bool debug; /* --debug: reasons go to the system log */
    size_t text_bytes;
    char text[VHD_CLASSIC_TEXT_BYTES];
};

/* A command's result is 0 or a negative errno value; its absolute value is the exit status. */
typedef int vhd_classic_command(struct vhd_classic *c, int argc, char **argv);

vhd_classic_command vhd_classic_create, vhd_classic_snapshot, vhd_classic_query, vhd_classic_read, vhd_classic_set,
    vhd_classic_repair, vhd_classic_modify, vhd_classic_scan, vhd_classic_check, vhd_classic_resize, vhd_classic_revert,
    vhd_classic_coalesce, vhd_classic_fill, vhd_classic_copy, vhd_classic_key;

/* ---- output ---- */

/* Text on stdout. */
void vhd_classic_say(struct vhd_classic *c, const char *format, ...) XK_PRINTF(2, 3);
/* Text on stderr, at once. */
void vhd_classic_complain(struct vhd_classic *c, const char *format, ...) XK_PRINTF(2, 3);
/*
 * Bytes on stdout, at once: they overtake text that still waits, as write(2) does beside stdio.
 * returns   0; the output's first write error, negative.
 */
int vhd_classic_data(struct vhd_classic *c, const void *bytes, size_t count);
void vhd_classic_flush(struct vhd_classic *c);
/* A reason for the system log; nothing without --debug. */
void vhd_classic_debug(const struct vhd_classic *c, const char *format, ...) XK_PRINTF(2, 3);
/* The library's errors as the original numbers them; the sentence goes to the system log. */
int vhd_classic_code(struct vhd_classic *c, int code, const struct xk_err *err);
/* Foreign text: as it is, but made safe when stdout is a terminal. Valid until the third next call. */
const char *vhd_classic_clean(struct vhd_classic *c, const char *text);

/*
 * Is the failure point set that a storage manager's own tests ask for by an environment variable? Says so; the original
 * ends there.
 */
bool vhd_classic_fails_at(struct vhd_classic *c, const char *point);

/* ---- options ---- */

/* getopt(3) as in the GNU library: operands are moved behind the options unless POSIXLY_CORRECT is set. */
struct vhd_classic_options {
    struct vhd_classic *classic;
    int argc;
    char **argv;
    const char *letters; /* "n:vs": a colon says that a value follows */
    char **operands;     /* when vhd_classic_option() has given -1 */
    int operand_count;
    const char *value;
    /* private */
    int at, first_operand, last_operand;
    const char *in_word;
};

struct vhd_classic_options vhd_classic_options(struct vhd_classic *c, int argc, char **argv, const char *letters);
/* returns   the next letter; '?' after a message on stderr; -1 at the end. */
int vhd_classic_option(struct vhd_classic_options *o);
/* The whole word as a decimal number; false otherwise. The original took what strtoull() made of it. */
bool vhd_classic_number(uint64_t *ret, const char *word);
bool vhd_classic_signed_number(int64_t *ret, const char *word);
/* MiB to bytes; false when that overflows. */
bool vhd_classic_mib(uint64_t *ret_bytes, const char *word);

#endif
