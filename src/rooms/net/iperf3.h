/* What the files of the classic `iperf3` share: its options, and what draws a test as text or as JSON. */
#ifndef NET_IPERF3_H
#define NET_IPERF3_H

#include "core/json.h"
#include "core/room.h"
#include "lib/iperf/iperf.h"

#define IPERF3_OUTPUT_MAX (256u << 20) /* text or JSON of one test */
#define IPERF3_VERSION    "3.12" /* whose options, texts and protocol these are; the JSON has what came until 3.21 */

struct iperf3 {
    struct xk_app *app;
    struct iperf_settings settings;
    bool server, verbose, json, json_stream, json_full, forceflush, debug, daemon, timestamps;
    char format; /* of rates: k K m M g G t T, or 'a': whichever fits */
    const char *timestamp_format, *pidfile, *logfile;
    int log_fd;                   /* -1: standard output */
    char *host, *bind, *password; /* what the settings point into; freed by the caller of iperf3_options() */
    struct xk_buf line;
};

/*
 * Read the command line into `o`, or show help or version.
 *
 * returns   0; 1: something was shown, and that is all; what iperf_fail() gives; -EINVAL: getopt has complained itself.
 */
int iperf3_options(struct iperf3 *o, int argc, char **argv, struct xk_err *err);

void iperf3_options_help(struct xk_buf *b);

/* ---- iperf3-words.c: all return 0, or what iperf_fail() gives ---- */

int iperf3_read_size(uint64_t *ret, const char *word, struct xk_err *err); /* "1.5M": 1024 to a step */
int iperf3_read_rate(uint64_t *ret, const char *word, struct xk_err *err); /* 1000 to a step */
/* "10M/5": a rate, and behind the slash *ret_more, or NULL. */
int iperf3_read_rate_and_more(uint64_t *ret, const char **ret_more, char *word, struct xk_err *err);
int iperf3_read_number(uint32_t *ret, const char *word, int64_t least, int64_t most, int error, struct xk_err *err);
/* Whole seconds; of "2.5" the whole ones, as the stock program reads it, unless there are none. */
int iperf3_read_time(uint32_t *ret, const char *word, struct xk_err *err);
/* Decimal, octal or hexadecimal. */
int iperf3_read_byte(uint32_t *ret, const char *word, int64_t most, int error, struct xk_err *err);
int iperf3_read_service(uint32_t *ret_tos, const char *word, struct xk_err *err);
/* "HOST%DEV"; a former *ret_host is freed. */
int iperf3_read_host(char **ret_host, const char **ret_device, const char *word);
int iperf3_read_keepalive(struct iperf_settings *s, char *word, struct xk_err *err);
int iperf3_read_affinity(struct iperf_settings *s, char *word, struct xk_err *err);

/* ---- what is drawn ---- */

/* Of one test: what has been drawn so far. */
struct iperf3_view {
    struct xk_buf captured; /* server: text that the client asked for */
    struct xk_buf start, intervals, end;
    bool has_interval;
};

/* returns NULL when memory is out. */
struct iperf3_view *iperf3_view_of(struct iperf_test *t);
void iperf3_view_done(struct iperf_test *t);

/* A line or lines of text, with title and time before each. t: the test it belongs to, or NULL. */
void iperf3_say(struct iperf3 *o, struct iperf_test *t, const char *format, ...) XK_PRINTF(3, 4);
/* An error: to the log, else to the standard error. */
void iperf3_complain(struct iperf3 *o, const char *kind, const char *text);
/* Bytes as they are, to where the output goes. */
void iperf3_put(struct iperf3 *o, const char *text, size_t bytes);
void iperf3_flush(struct iperf3 *o);
/* "1.25 GBytes", "10.7 Gbits/sec" without its "/sec": `what` is 'A' for bytes, 'a' or a fixed unit for rates. */
struct iperf3_word {
    char s[32];
};
struct iperf3_word iperf3_units(double bytes, char what);
/* Of nothing: 0. */
double iperf3_percent(int64_t part, int64_t whole);
/* Which streams come first, second: a test both ways is told one way after the other. */
unsigned iperf3_ways(const struct iperf_test *t, bool ret_sending[2]);
const char *iperf3_role(const struct iperf_test *t, bool sending); /* "[TX-C]", "" */
struct iperf3_system {
    char s[400];
};
struct iperf3_system iperf3_system_info(void); /* as uname -a, in short */
struct iperf3_time {
    char s[64];
};
struct iperf3_time iperf3_rfc1123(int64_t utc_ns);

extern const struct iperf_events iperf3_text_events, iperf3_json_events;
/* Lay compact JSON out with tabs: members on lines of their own, lists on one. */
void iperf3_json_lay_out(struct xk_buf *ret, const char *json);
/* An error as JSON: with whatever of the document there is. */
void iperf3_json_error(struct iperf3 *o, struct iperf_test *t, const char *text);

extern const struct xk_classic net_classic_iperf3;

#endif
