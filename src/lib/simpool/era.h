/* The differences between releases that clients and logs show: one row for each that `--era` knows. */
#ifndef LIB_SIMPOOL_ERA_H
#define LIB_SIMPOOL_ERA_H

#include "lib/simpool/simpool.h"

/* What becomes of control characters that a client sends into a log line, such as in its user name. */
enum sim_escape {
    SIM_ESCAPE_NONE,   /* nothing: a line feed starts a line that looks like any other */
    SIM_ESCAPE_SPLIT,  /* each piece becomes a line of its own, after the prefix of the syslog */
    SIM_ESCAPE_SYSLOG, /* the syslog writes #012 */
    SIM_ESCAPE_HEX,    /* the server itself writes \x0A, and every byte past ASCII in the same way */
};

struct sim_era {
    const char *product, *platform;
    uint8_t api_major, api_minor;
    unsigned named_limit; /* sessions of one originator or user; 0: there are no such groups */
    int64_t refresh_s;    /* a session's last_active is written again only when it is older */
    /* the log */
    bool stamp_inside; /* no prefix of a syslog: the time stands inside the brackets */
    bool hostname;
    bool originator; /* session lines name it */
    bool groups;     /* lines of the collector name the group, and it tells counts every ten minutes */
    bool backtrace;  /* a call that failed leaves its exception */
    bool client;     /* the thread's name begins with the client's address */
    bool checks;     /* a session that is none leaves a line */
    bool pid;        /* so does the start */
    const char *socket, *session_brand, *gc_brand, *success;
    enum sim_escape escape;
    /* the wire */
    bool json2;       /* answers JSON-RPC 2.0 in its own form */
    bool rrd_numbers; /* JSON from RRDs has numbers, newer ones have texts */
};

const struct sim_era *sim_era(unsigned index);

#endif
