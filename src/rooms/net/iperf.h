/* What the files of the classic `iperf` (2.x) share: its options, and what draws a test as text. */
#ifndef NET_IPERF_H
#define NET_IPERF_H

#include "core/room.h"
#include "lib/iperf/iperf2.h"
#include "rooms/net/classic-options.h"

#define IPERF2_TEXT_MAX (64u << 10) /* of one line, or of some that belong together */

struct iperf2 {
    struct xk_app *app;
    struct iperf2_settings settings;
    char format; /* b k m g B K M G, or 'a': whichever fits */
    bool csv, hide_addresses, print_mss, single_udp, daemon;
    bool no_connections, no_data, no_sums, no_settings, no_relays; /* -x */
    const char *output;
    int fd;            /* of --output; -1: standard output and error */
    uint32_t headings; /* that were shown since all was idle */
    struct xk_buf line;
};

/* Options without a letter. */
enum iperf2_option {
    IPERF2_OPT_CLAMP = CLASSIC_OPTION_FIRST,
    IPERF2_OPT_CONNECT_ONLY,
    IPERF2_OPT_CONNECT_RETRIES,
    IPERF2_OPT_DELAY,
    IPERF2_OPT_FQ_RATE,
    IPERF2_OPT_FULL_DUPLEX,
    IPERF2_OPT_HIDE_IPS,
    IPERF2_OPT_INCR_DSTIP,
    IPERF2_OPT_INCR_DSTPORT,
    IPERF2_OPT_INCR_SRCIP,
    IPERF2_OPT_INCR_SRCPORT,
    IPERF2_OPT_IPG,
    IPERF2_OPT_LOCAL_ONLY,
    IPERF2_OPT_NO_CONNECT_SYNC,
    IPERF2_OPT_NO_UDP_FIN,
    IPERF2_OPT_PERMIT_KEY,
    IPERF2_OPT_PERMIT_KEY_TIMEOUT,
    IPERF2_OPT_PREFETCH,
    IPERF2_OPT_QUICKACK,
    IPERF2_OPT_START,
    IPERF2_OPT_SUM_DSTIP,
    IPERF2_OPT_SUM_ONLY,
    IPERF2_OPT_TOS_OVERRIDE,
    IPERF2_OPT_TRIP_TIMES,
    IPERF2_OPT_WRITE_TIMES,
    IPERF2_OPT_REFUSED, /* known, and not there */
};

/* What only matters while options are read. */
struct iperf2_parse {
    struct iperf2 *o;
    bool client, server, reverse, full_duplex, dual, tradeoff, v4, key_asked, has_port_range, trip, endless;
    bool set_time, next_own_port;
    double key_timeout_s; /* -1: not said */
    char *host, *bind, *device;
    int status; /* to end with, once `done` */
    bool done;
};

/* An option that has no letter or one; `word` is NULL where there is none. What it cannot be ends the reading. */
void iperf2_option_take_both(struct iperf2_parse *p, int key, const char *word);
void iperf2_option_take_server(struct iperf2_parse *p, int key, const char *word);
void iperf2_option_take_client(struct iperf2_parse *p, int key, const char *word);
/* The whole word as a number between two others; else refused. */
int64_t iperf2_option_number(struct iperf2_parse *p, const char *word, const char *option, int64_t least, int64_t most);
/* What several options say together; in the order in which the stock program looks. */
void iperf2_option_check(struct iperf2_parse *p);
/* Say why, and end with status 1. */
void iperf2_refuse(struct iperf2_parse *p, const char *format, ...) XK_PRINTF(2, 3);

extern const struct iperf2_events iperf2_text_events;

/* ---- iperf-text.c, for iperf-text-connections.c ---- */

struct iperf2_word {
    char s[48];
};
enum iperf2_stamp { IPERF2_COMPACT, IPERF2_PLAIN, IPERF2_WITH_ZONE };
/* "1.25 GBytes": an upper-case unit is of bytes, a lower-case one of bits; 'A' and 'a' are whichever fits. */
struct iperf2_word iperf2_text_units(double bytes, char format);
/* "[  1] ", "[ *1] ", "[key(1)] " */
struct iperf2_word iperf2_text_id(const struct iperf2 *o, const struct iperf2_about *f);
/* Whether it is shown with more; a client's wishes count. */
bool iperf2_text_is_enhanced(const struct iperf2 *o, const struct iperf2_about *f);
struct iperf2_word iperf2_text_date(int64_t utc_ns, enum iperf2_stamp stamp);
/* "192.0.2.1", or only its last part. */
struct iperf2_name iperf2_text_end(const struct iperf2 *o, const struct iperf2_end *e);
/* What was drawn into o->line goes out. */
void iperf2_text_send(struct iperf2 *o);

/* ---- iperf-text-connections.c: events ---- */

void iperf2_text_socket(void *context, const struct iperf2_socket *s);
void iperf2_text_connected(void *context, const struct iperf2_about *f);
void iperf2_text_connects(void *context, const struct iperf2_spread *ms, unsigned failed);
void iperf2_text_clocks(void *context, const struct iperf2_about *f, const struct iperf2_ack *a, double arrived_s);

/* A line to where errors go. */
void iperf2_text_complain(struct iperf2 *o, const char *format, ...) XK_PRINTF(2, 3);

extern const struct xk_classic net_classic_iperf;

#endif
