/* What the option tables of both classic tools, `iperf3` and `iperf`, share: help, getopt_long(), names of services. */
#ifndef NET_CLASSIC_OPTIONS_H
#define NET_CLASSIC_OPTIONS_H

#include "core/buf.h"

#include <getopt.h>

#define CLASSIC_OPTION_FIRST 1000 /* keys from here on have no letter */

enum classic_role { CLASSIC_BOTH, CLASSIC_SERVER, CLASSIC_CLIENT, CLASSIC_ROLES };

/* One spelling of an option. Several rows may have the same key: other names for it. */
struct classic_row {
    int key;
    const char *name; /* NULL: only the letter */
    int has_argument; /* as in struct option */
    enum classic_role role;
    const char *argument, *help;
    const char *variable; /* of the environment, which gives it, too; NULL: none */
};

struct classic_table {
    const char *program;
    const char *titles[CLASSIC_ROLES];
    const struct classic_row *rows;
    size_t count;
    int width; /* of the options in the help */
};

/* Usage, and a line for each option. */
void classic_help(struct xk_buf *b, const struct classic_table *t);
/*
 * Both tables of getopt_long(). A long option's value is its row's place, counted from CLASSIC_OPTION_FIRST.
 *
 * ret_letters   room for 2 * t->count + 2.
 * ret_options   room for t->count + 1.
 * mark          ':' at the beginning, which tells what is missing from what is unknown.
 */
void classic_getopt(const struct classic_table *t, bool mark, char *ret_letters, struct option *ret_options);
/* The row of what getopt_long() returned; NULL: none. */
const struct classic_row *classic_row_of(const struct classic_table *t, int value);

/* "af11", "ef", "lowdelay" …: the byte in the packet. returns false: no such name, or not with that program. */
enum classic_program { CLASSIC_IPERF3 = 1, CLASSIC_IPERF2 = 2 };
bool classic_service(uint8_t *ret_tos, const char *name, enum classic_program program);

#endif
