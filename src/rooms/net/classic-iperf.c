/*
 * The classic `iperf` (2.x): its options, and what becomes of them.
 *
 * One table gives the options to the C library's getopt_long(), and the help. Its messages are our own, since the stock
 * program carries an older getopt with other quotes. Options mean what they mean in any order, so what several of them
 * say together is looked at when all are read; in the order in which the stock program looks.
 */
#include "rooms/net/iperf.h"

#include "core/text.h"

#include <ctype.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define VERSION_TEXT     "iperf version 2.1.8 (12 August 2022) pthreads"
#define LATER_MAX_S      3600 /* that a start may lie ahead */
#define GAP_MAX_S        60
#define KEY_LIFE_S       20
#define KEY_RANDOM       16
#define SMALL_WINDOW     2048
#define TTL_MAX          255
#define TRIP_LEAST_BYTES 128 /* of a datagram with times of its test */
#define WORD_MAX         256

/* Options without a letter. */
enum {
    OPT_FIRST = 1000,
    OPT_CLAMP,
    OPT_CONNECT_ONLY,
    OPT_CONNECT_RETRIES,
    OPT_DELAY,
    OPT_FQ_RATE,
    OPT_FULL_DUPLEX,
    OPT_HIDE_IPS,
    OPT_INCR_DSTIP,
    OPT_INCR_DSTPORT,
    OPT_INCR_SRCIP,
    OPT_INCR_SRCPORT,
    OPT_IPG,
    OPT_LOCAL_ONLY,
    OPT_NO_CONNECT_SYNC,
    OPT_NO_UDP_FIN,
    OPT_PERMIT_KEY,
    OPT_PERMIT_KEY_TIMEOUT,
    OPT_PREFETCH,
    OPT_QUICKACK,
    OPT_START,
    OPT_SUM_DSTIP,
    OPT_SUM_ONLY,
    OPT_TOS_OVERRIDE,
    OPT_TRIP_TIMES,
    OPT_WRITE_TIMES,
    OPT_REFUSED, /* known, and not there */
};

enum role { BOTH, SERVER, CLIENT };

static const struct row {
    int key;
    const char *name;
    int has_argument;
    enum role role;
    const char *argument, *help, *variable; /* of the environment */
} rows[] = {
    {'b', "bandwidth", required_argument, BOTH, "N[kmgKMG|pps]", "bits, or packets, a second", "IPERF_BANDWIDTH"},
    {'e', "enhanced", no_argument, BOTH, NULL, "tell more", "IPERF_ENHANCEDREPORTS"},
    {'f', "format", required_argument, BOTH, "[bkmgaBKMGA]", "unit of rates: bits or Bytes", "IPERF_FORMAT"},
    {OPT_HIDE_IPS, "hide-ips", no_argument, BOTH, NULL, "show the last part of IPv4 addresses only", NULL},
    {'i', "interval", required_argument, BOTH, "SECONDS", "between two reports", "IPERF_INTERVAL"},
    {'l', "len", required_argument, BOTH, "N[kmKM]", "bytes of a block [TCP 128K, UDP 1470, over IPv6 1450]",
     "IPERF_LEN"},
    {'m', "print_mss", no_argument, BOTH, NULL, "show TCP's segment size", "IPERF_PRINT_MSS"},
    {'o', "output", required_argument, BOTH, "FILE", "write output and errors to a file", NULL},
    {'p', "port", required_argument, BOTH, "N[-N]", "port, or ports, of the server [5001]", "IPERF_PORT"},
    {OPT_PERMIT_KEY, "permit-key", optional_argument, BOTH, "KEY", "both sides must say the same (TCP)", NULL},
    {OPT_SUM_ONLY, "sum-only", no_argument, BOTH, NULL, "show sums only", NULL},
    {'u', "udp", no_argument, BOTH, NULL, "UDP", "IPERF_UDP"},
    {'w', "window", required_argument, BOTH, "N[KM]", "bytes of the socket's buffer", "TCP_WINDOW_SIZE"},
    {'z', "realtime", no_argument, BOTH, NULL, "ask for the real-time scheduler", NULL},
    {'B', "bind", required_argument, BOTH, "HOST[:PORT][%DEV]", "own address", "IPERF_BIND"},
    {'C', "compatibility", no_argument, BOTH, NULL, "send no header", "IPERF_COMPAT"},
    {'M', "mss", required_argument, BOTH, "N", "TCP's largest segment", "IPERF_MSS"},
    {'N', "nodelay", no_argument, BOTH, NULL, "without Nagle's delay", "IPERF_NODELAY"},
    {'S', "tos", required_argument, BOTH, "N|NAME", "type of service: a number, af11 … ef, lowdelay …", "IPERF_TOS"},
    {'Z', "tcp-congestion", required_argument, BOTH, "NAME", "congestion control", "IPERF_CONGESTION_CONTROL"},
    {'x', "reportexclude", required_argument, BOTH, "[CDMSV]",
     "leave out connections, data, sums, settings, server reports", "IPERF_REPORTEXCLUDE"},
    {'y', "reportstyle", required_argument, BOTH, "C", "comma-separated values", "IPERF_REPORTSTYLE"},
    {'V', "ipv6_domain", no_argument, BOTH, NULL, "IPv6; a server takes both", "IPERF_IPV6_DOMAIN"},
    {'t', "time", required_argument, BOTH, "SECONDS", "to send for [10]; to serve for", "IPERF_TIME"},
    {'P', "parallel", required_argument, BOTH, "N", "streams; connections that a server takes", "IPERF_PARALLEL"},
    {'T', "ttl", required_argument, BOTH, "N", "time to live", "IPERF_TTL"},
    {'h', "help", no_argument, BOTH, NULL, "show this", NULL},
    {'v', "version", no_argument, BOTH, NULL, "show the version", NULL},
    {'s', "server", no_argument, SERVER, NULL, "be the server", "IPERF_SERVER"},
    {'1', "singleclient", no_argument, SERVER, NULL, "one client at a time", "IPERF_SINGLECLIENT"},
    {'D', "daemon", no_argument, SERVER, NULL, "go into the background", "IPERF_DAEMON"},
    {'U', "single_udp", no_argument, SERVER, NULL, "UDP, one client at a time", "IPERF_SINGLE_UDP"},
    {OPT_PERMIT_KEY_TIMEOUT, "permit-key-timeout", required_argument, SERVER, "SECONDS",
     "until when the key holds [20]; 0: always", NULL},
    {OPT_SUM_DSTIP, "sum-dstip", no_argument, SERVER, NULL, "sums by own address", NULL},
    {OPT_CLAMP, "tcp-rx-window-clamp", required_argument, SERVER, "N[kmKM]", "most bytes of the receive window", NULL},
    {OPT_TOS_OVERRIDE, "tos-override", required_argument, SERVER, "N|NAME", "type of service on the way back", NULL},
    {'c', "client", required_argument, CLIENT, "HOST[%DEV]", "be the client of a server", "IPERF_CLIENT"},
    {'d', "dualtest", no_argument, CLIENT, NULL, "the server connects back at once", "IPERF_DUALTEST"},
    {'r', "tradeoff", no_argument, CLIENT, NULL, "the server connects back afterwards", "IPERF_TRADEOFF"},
    {'L', "listenport", required_argument, CLIENT, "N", "port for that [as -p]", "IPERF_LISTENPORT"},
    {'R', "reverse", no_argument, CLIENT, NULL, "the server sends", NULL},
    {OPT_FULL_DUPLEX, "full-duplex", no_argument, CLIENT, NULL, "both send over one connection", NULL},
    {'n', "num", required_argument, CLIENT, "N[kmgKMG]", "bytes to send, instead of -t", "IPERF_NUM"},
    {'F', "file_input", required_argument, CLIENT, "FILE", "send its bytes", "IPERF_FILE_INPUT"},
    {'I', "stdin_input", no_argument, CLIENT, NULL, "send what comes on standard input", "IPERF_STDIN_INPUT"},
    {'X', "peer-detect", no_argument, CLIENT, NULL, "wait for the server's version", "IPERF_PEER_DETECT"},
    {OPT_CONNECT_ONLY, "connect-only", optional_argument, CLIENT, "N", "connect N times, send nothing", NULL},
    {OPT_CONNECT_RETRIES, "connect-retries", required_argument, CLIENT, "N", "tries after the first", NULL},
    {OPT_FQ_RATE, "fq-rate", required_argument, CLIENT, "N[kmgKMG]", "the kernel paces the socket", NULL},
    {OPT_INCR_DSTIP, "incr-dstip", no_argument, CLIENT, NULL, "streams of -P go to one address after the other", NULL},
    {OPT_INCR_DSTPORT, "incr-dstport", no_argument, CLIENT, NULL, "and ports", NULL},
    {OPT_INCR_SRCIP, "incr-srcip", no_argument, CLIENT, NULL, "come from one address after the other", NULL},
    {OPT_INCR_SRCPORT, "incr-srcport", no_argument, CLIENT, NULL, "and port", NULL},
    {OPT_IPG, "ipg", required_argument, CLIENT, "MS", "time between two datagrams", NULL},
    {OPT_LOCAL_ONLY, "local-only", optional_argument, CLIENT, "1|0", "do not route", NULL},
    {OPT_NO_CONNECT_SYNC, "no-connect-sync", no_argument, CLIENT, NULL, "streams do not wait for each other", NULL},
    {OPT_NO_UDP_FIN, "no-udp-fin", no_argument, CLIENT, NULL, "no server's report in the end", NULL},
    {OPT_QUICKACK, "tcp-quickack", no_argument, CLIENT, NULL, "acknowledge at once", NULL},
    {OPT_PREFETCH, "tcp-write-prefetch", required_argument, CLIENT, "N[kmKM]", "most bytes that wait unsent", NULL},
    {OPT_WRITE_TIMES, "tcp-write-times", no_argument, CLIENT, NULL, "measure the time of each write", NULL},
    {OPT_TRIP_TIMES, "trip-times", no_argument, CLIENT, NULL, "measure one-way delays; the clocks must agree", NULL},
    {OPT_DELAY, "txdelay-time", required_argument, CLIENT, "SECONDS", "before the first byte", NULL},
    {OPT_START, "txstart-time", required_argument, CLIENT, "S.US", "since 1970, of the first byte", NULL},
    {'4', NULL, no_argument, BOTH, NULL, "IPv4", NULL},
    {'6', NULL, no_argument, BOTH, NULL, "IPv6", NULL},
    {'W', "suggest_win_size", no_argument, BOTH, NULL, "(refused, as by 2.1.8)", NULL},
    {'A', "awdl", no_argument, BOTH, NULL, "(refused)", NULL},
    {'H', "ssm-host", required_argument, BOTH, "HOST", "(refused: multicast)", NULL},
    {OPT_REFUSED, "bounceback", optional_argument, CLIENT, "N", "(refused)", NULL},
    {OPT_REFUSED, "bounceback-congest", optional_argument, CLIENT, "N", "(refused)", NULL},
    {OPT_REFUSED, "bounceback-hold", required_argument, CLIENT, "N", "(refused)", NULL},
    {OPT_REFUSED, "bounceback-no-quickack", no_argument, CLIENT, NULL, "(refused)", NULL},
    {OPT_REFUSED, "bounceback-period", required_argument, CLIENT, "N", "(refused)", NULL},
    {OPT_REFUSED, "bounceback-txdelay", required_argument, CLIENT, "N", "(refused)", NULL},
    {OPT_REFUSED, "burst-period", required_argument, CLIENT, "N", "(refused)", NULL},
    {OPT_REFUSED, "burst-size", required_argument, CLIENT, "N", "(refused)", NULL},
    {OPT_REFUSED, "histograms", optional_argument, BOTH, "N", "(refused)", NULL},
    {OPT_REFUSED, "isochronous", optional_argument, CLIENT, "N", "(refused)", NULL},
    {OPT_REFUSED, "l2checks", no_argument, CLIENT, NULL, "(refused)", NULL},
    {OPT_REFUSED, "near-congestion", optional_argument, CLIENT, "N", "(refused)", NULL},
    {OPT_REFUSED, "NUM_REPORT_STRUCTS", required_argument, BOTH, "N", "(refused)", NULL},
    {OPT_REFUSED, "tap-dev", optional_argument, SERVER, "DEV", "(refused)", NULL},
    {OPT_REFUSED, "tun-dev", optional_argument, SERVER, "DEV", "(refused)", NULL},
    {OPT_REFUSED, "udp-histograms", optional_argument, BOTH, "N", "(refused)", NULL},
};

/* What only matters while options are read. */
struct parse {
    struct iperf2 *o;
    bool client, server, reverse, full_duplex, dual, tradeoff, v4, key_asked, has_port_range, trip, endless;
    bool set_time, next_own_port;
    double key_timeout_s; /* -1: not said */
    char *host, *bind, *device;
    int status; /* to end with, once `done` */
    bool done;
};

/* ---- words ---- */

static void end(struct parse *p, int status)
{
    p->done = true;
    p->status = status;
}

#define REFUSE(p, ...) (iperf2_text_complain((p)->o, __VA_ARGS__), end(p, 1))

/* "5", "1.5M": upper-case units are powers of 1024, lower-case ones of 1000, or bits where `bits` tells. */
static bool read_units(double *ret, const char *word, bool bits)
{
    static const char letters[] = "kmg";
    char number[WORD_MAX];
    size_t length = strlen(word);
    double factor = 1;

    if (length == 0 || length >= sizeof(number))
        return false;
    memcpy(number, word, length + 1);
    const char last = number[length - 1];
    const char *const at = strchr(letters, tolower((unsigned char)last));
    if (at) {
        const double power = (double)(at - letters + 1);
        factor = isupper((unsigned char)last) && !bits ? pow(1024, power) : pow(1000, power);
        factor *= isupper((unsigned char)last) && bits ? 8 : 1;
        number[length - 1] = '\0';
    }
    if (xk_parse_double(ret, number) < 0 || *ret < 0 || *ret * factor > 9e18)
        return false;
    *ret *= factor;
    return true;
}

static uint64_t size_of(struct parse *p, const char *word, const char *option, uint64_t most)
{
    double v = 0;

    if (!p->done && (!read_units(&v, word, false) || v > (double)most))
        REFUSE(p, "Invalid value of '%s' for %s", word, option);
    return p->done ? 0 : (uint64_t)v;
}

static int64_t number_of(struct parse *p, const char *word, const char *option, int64_t least, int64_t most)
{
    int64_t v = 0;

    if (!p->done && (xk_parse_i64(&v, word) < 0 || v < least || v > most))
        REFUSE(p, "Invalid value of '%s' for %s", word, option);
    return v;
}

static double seconds_of(struct parse *p, const char *word, const char *option)
{
    double v = 0;

    if (!p->done && (xk_parse_double(&v, word) < 0 || v < 0))
        REFUSE(p, "Invalid value of '%s' for %s", word, option);
    return v;
}

static bool tos_of(int *ret, const char *word)
{
    static const struct {
        const char *name;
        int tos;
    } names[] = {{"af11", 0x28},       {"af12", 0x30},  {"af13", 0x38},  {"af21", 0x48},     {"af22", 0x50},
                 {"af23", 0x58},       {"af31", 0x68},  {"af32", 0x70},  {"af33", 0x78},     {"af41", 0x88},
                 {"af42", 0x90},       {"af43", 0x98},  {"cs0", 0x00},   {"cs1", 0x20},      {"cs2", 0x40},
                 {"cs3", 0x60},        {"cs4", 0x80},   {"cs5", 0xa0},   {"cs6", 0xc0},      {"cs7", 0xe0},
                 {"ef", 0xb8},         {"le", 0x01},    {"nqb", 0x05},   {"nqb2", 0x2d},     {"ac_be", 0x00},
                 {"ac_bk", 0x20},      {"ac_vi", 0x80}, {"ac_vo", 0xb8}, {"lowdelay", 0x10}, {"throughput", 0x08},
                 {"reliability", 0x04}};
    char *rest;

    for (size_t i = 0; i < XK_COUNT(names); i++) {
        if (strcasecmp(names[i].name, word) == 0) {
            *ret = names[i].tos;
            return true;
        }
    }
    const long v = strtol(word, &rest, 0);
    *ret = (int)v;
    return *word && !*rest && v >= 0 && v <= 255;
}

static void take_rate(struct parse *p, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;
    const char *const packets = strpbrk(word, "pP");
    char number[WORD_MAX];
    double v = 0;

    if (strchr(word, ','))
        return REFUSE(p, "iperf: a load that varies (-b MEAN,DEVIATION) is not supported");
    snprintf(number, sizeof(number), "%.*s",
             packets ? (int)XK_MIN(packets - word, (ptrdiff_t)WORD_MAX - 1) : WORD_MAX - 1, word);
    if (!read_units(&v, number, false))
        return REFUSE(p, "Invalid value of '%s' for -b bandwidth", word);
    s->has_rate = true;
    s->rate = (uint64_t)v;
    s->rate_in_packets = packets;
}

static void take_interval(struct parse *p, const char *word)
{
    double v;

    if (*word == 'f' || *word == 'F')
        return REFUSE(p, "iperf: reports by frame (-i f) are not supported");
    if (xk_parse_double(&v, word) < 0)
        return REFUSE(p, "Invalid value of '%s' for -i interval", word);
    if (v > UINT32_MAX / 1e6)
        return REFUSE(p, "Too large value of '%s' for -i interval, max is %f", word, UINT32_MAX / 1e6);
    p->o->settings.interval_ns = v > 0 ? (uint64_t)ceil(v * 1e6) * 1000 : 0;
    if (p->o->settings.interval_ns && p->o->settings.interval_ns < IPERF2_INTERVAL_NS) {
        p->o->settings.interval_ns = IPERF2_INTERVAL_NS;
        iperf2_text_complain(p->o, "WARNING: interval too small, increasing to %3.4f milliseconds.",
                             IPERF2_INTERVAL_NS / 1e6);
    }
}

static void take_time(struct parse *p, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;
    double v;

    if (xk_parse_double(&v, word) < 0 || v > (double)IPERF2_AMOUNT_MAX / 100)
        return REFUSE(p, "ERROR: -t value of '%s' not recognized", word);
    s->timed = p->set_time = true;
    p->endless = v <= 0;
    if (v > 0)
        s->hundredths = XK_MAX((uint64_t)(v * 100), UINT64_C(1));
}

static void take_ports(struct parse *p, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;
    const char *const dash = strchr(word, '-');
    char first[WORD_MAX];

    snprintf(first, sizeof(first), "%.*s", dash ? (int)XK_MIN(dash - word, (ptrdiff_t)WORD_MAX - 1) : WORD_MAX - 1,
             word);
    s->port = (uint16_t)number_of(p, first, "-p port", 0, 65535);
    if (dash) {
        s->port_last = (uint16_t)number_of(p, dash + 1, "-p port", 1, 65535);
        s->next_port = true;
    }
}

static void take_exclude(struct parse *p, const char *word)
{
    struct iperf2 *const o = p->o;

    for (; *word; word++) {
        switch (toupper((unsigned char)*word)) {
        case 'S':
            o->no_settings = true;
            break;
        case 'C':
            o->no_connections = true;
            break;
        case 'D':
            o->no_data = true;
            break;
        case 'V':
            o->no_relays = true;
            break;
        case 'M':
            o->no_sums = true;
            break;
        default:
            iperf2_text_complain(o,
                                 "WARNING: unknown reporting type \"%c\", ignored\n valid options are:\n\t exclude: "
                                 "C(connection) D(data) M(multicast) S(settings) V(server) report\n",
                                 *word);
        }
    }
}

static void take_key(struct parse *p, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;

    p->key_asked = true;
    s->has_key = true;
    if (!word)
        return;
    if (strlen(word) < IPERF2_KEY_MIN)
        return REFUSE(p, "ERROR: value for --permit-key must have at least %d characters", IPERF2_KEY_MIN);
    if (strlen(word) > IPERF2_KEY_MAX)
        return REFUSE(p, "ERROR: value for --permit-key can't be more than %d characters ", IPERF2_KEY_MAX);
    snprintf(s->key, sizeof(s->key), "%s", word);
}

static void take_start(struct parse *p, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;

    s->enhanced = true;
    if (xk_parse_double(&s->start_s, word) < 0)
        iperf2_text_complain(p->o, "WARNING: invalid --txstart-time format");
    else if (s->start_s < 0)
        REFUSE(p, "ERROR: --txstart-time must be a positive value");
}

/* Options that a server does not know are told, and forgotten. returns whether it is one. */
static bool not_for_server(struct parse *p, int key)
{
    if (p->client)
        return false;
    iperf2_text_complain(p->o, "WARNING: option -%c is not valid for server mode", key);
    return true;
}

static char *keep(struct parse *p, char **where, const char *word)
{
    free(*where);
    *where = xk_strdup(word);
    if (!*where)
        REFUSE(p, "iperf: out of memory");
    return *where;
}

/* ---- options ---- */

static void show_help(struct iperf2 *o)
{
    static const char *const titles[] = {
        [BOTH] = "Client/Server:", [SERVER] = "Server specific:", [CLIENT] = "Client specific:"};

    iperf2_text_complain(o, "Usage: iperf [-s|-c host] [options]\n       iperf [-h|--help] [-v|--version]");
    for (enum role role = BOTH; role <= CLIENT; role++) {
        iperf2_text_complain(o, "\n%s", titles[role]);
        for (size_t i = 0; i < XK_COUNT(rows); i++) {
            char words[64];
            const bool letter = rows[i].key < OPT_FIRST, optional = rows[i].has_argument == optional_argument;
            if (rows[i].role != role)
                continue;
            snprintf(words, sizeof(words), "%c%c%s %s%s%s%s%s", letter ? '-' : ' ', letter ? rows[i].key : ' ',
                     letter && rows[i].name ? "," : " ", rows[i].name ? "--" : "", rows[i].name ? rows[i].name : "",
                     !rows[i].argument ? ""
                     : optional        ? "[="
                                       : " ",
                     rows[i].argument ? rows[i].argument : "", optional ? "]" : "");
            iperf2_text_complain(o, "  %-42s %s", words, rows[i].help);
        }
    }
    iperf2_text_complain(o, "\nLower-case units are powers of 1000, upper-case ones of 1024.");
}

static void take_both(struct parse *p, int key, const char *word)
{
    struct iperf2 *const o = p->o;
    struct iperf2_settings *const s = &o->settings;

    switch (key) {
    case 'b':
        return take_rate(p, word);
    case 'e':
        s->enhanced = true;
        return;
    case 'f':
        o->format = *word ? *word : 'a';
        return;
    case OPT_HIDE_IPS:
        o->hide_addresses = true;
        return;
    case 'i':
        return take_interval(p, word);
    case 'l':
        s->has_block = true;
        s->block_bytes = (uint32_t)size_of(p, word, "-l length", IPERF2_BLOCK_MAX);
        return;
    case 'm':
        o->print_mss = true;
        return;
    case 'o':
        o->output = word;
        return;
    case 'p':
        return take_ports(p, word);
    case OPT_PERMIT_KEY:
        return take_key(p, word);
    case OPT_SUM_ONLY:
        s->sum_only = true;
        return;
    case 'u':
        s->udp = true;
        return;
    case 'w':
        s->window_bytes = (uint32_t)size_of(p, word, "-w window", INT32_MAX);
        if (!p->done && s->window_bytes < SMALL_WINDOW)
            iperf2_text_complain(o,
                                 "WARNING: TCP window size set to %u bytes. A small window size\nwill give poor "
                                 "performance. See the Iperf documentation.",
                                 s->window_bytes);
        return;
    case 'z':
        s->real_time = true;
        return;
    case 'B':
        if (!p->bind)
            (void)keep(p, &p->bind, word);
        return;
    case 'C':
        s->compatible = true;
        if (p->dual || p->tradeoff)
            iperf2_text_complain(o, "WARNING: option -%c is not valid in compatibility mode", p->dual ? 'd' : 'r');
        p->dual = p->tradeoff = false;
        return;
    case 'M':
        s->mss = (uint32_t)size_of(p, word, "-M mss", 65535);
        o->print_mss = true;
        return;
    case 'N':
        s->nodelay = true;
        return;
    case 'S':
        if (!tos_of(&s->tos, word)) {
            iperf2_text_complain(o, "Invalid --tos value of %s", word);
            s->tos = 0;
        }
        return;
    case 'Z':
        s->congestion = word;
        return;
    case 'x':
        return take_exclude(p, word);
    case 'y':
        if (tolower((unsigned char)*word) == 'c')
            o->csv = o->no_settings = o->no_connections = true;
        else
            iperf2_text_complain(o, "WARNING: unknown reporting style \"%s\", switching to default", word);
        return;
    case 'V':
    case '6':
        s->ipv6 = true;
        return;
    case '4':
        p->v4 = true;
        return;
    case 't':
        return take_time(p, word);
    case 'P':
        s->parallel = (unsigned)number_of(p, word, "-P parallel", 0, IPERF2_STREAMS_MAX);
        return;
    case 'T':
        s->ttl = (int)number_of(p, word, "-T ttl", -1, INT32_MAX);
        return;
    case 'W':
        iperf2_text_complain(o, "The -W option is not available in this release");
        return;
    default:
        REFUSE(p, "iperf: option -%c is not supported", key);
    }
}

static void take_server(struct parse *p, int key, const char *word)
{
    struct iperf2 *const o = p->o;
    struct iperf2_settings *const s = &o->settings;

    switch (key) {
    case 's':
        if (p->client)
            iperf2_text_complain(o, "WARNING: option -s is not valid for client mode");
        else
            p->server = true;
        return;
    case '1':
        s->single_client = true;
        return;
    case 'D':
        o->daemon = true;
        return;
    case 'U':
        s->udp = s->single_client = o->single_udp = true;
        return;
    case OPT_PERMIT_KEY_TIMEOUT:
        p->key_timeout_s = seconds_of(p, word, "--permit-key-timeout");
        return;
    case OPT_SUM_DSTIP:
        s->sum_by_destination = true;
        return;
    case OPT_CLAMP:
        s->clamp_bytes = (uint32_t)size_of(p, word, "--tcp-rx-window-clamp", INT32_MAX);
        return;
    default: /* OPT_TOS_OVERRIDE */
        s->override_tos = tos_of(&s->tos_back, word);
        if (!s->override_tos)
            iperf2_text_complain(o, "Invalid --tos-overide value of %s", word);
    }
}

static void take_client(struct parse *p, int key, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;
    double v = 0;

    switch (key) {
    case 'c':
        if (keep(p, &p->host, word) && !p->server) {
            p->client = true;
            s->parallel = XK_MAX(s->parallel, 1u);
        }
        return;
    case 'd':
        p->dual = !not_for_server(p, key);
        p->tradeoff &= !p->dual;
        return;
    case 'r':
        p->tradeoff = !not_for_server(p, key);
        p->dual &= !p->tradeoff;
        return;
    case 'L':
        if (!not_for_server(p, key))
            s->listen_port = (uint16_t)number_of(p, word, "-L listenport", 0, 65535);
        return;
    case 'R':
        p->reverse = true;
        return;
    case OPT_FULL_DUPLEX:
        p->full_duplex = true;
        return;
    case 'n':
        if (!read_units(&v, word, false) || v < 1)
            return REFUSE(p, "Invalid value for -n amount of '%s'", word);
        s->bytes = (uint64_t)v;
        s->timed = p->endless = false;
        return;
    case 'F':
        if (!not_for_server(p, key))
            s->file = word;
        return;
    case 'I':
        if (!not_for_server(p, key))
            s->file = "-";
        return;
    case 'X':
        s->peer_detect = true;
        return;
    case OPT_CONNECT_ONLY:
        s->connect_only = true;
        s->connects = word ? (int)number_of(p, word, "--connect-only", 0, INT32_MAX) : -1;
        return;
    case OPT_CONNECT_RETRIES:
        s->connect_retries = (int)number_of(p, word, "--connect-retries", 0, INT32_MAX);
        return;
    case OPT_FQ_RATE:
        if (!read_units(&v, word, true))
            return REFUSE(p, "Invalid value of '%s' for --fq-rate", word);
        s->pacing_bytes = (uint64_t)(v / 8);
        return;
    case OPT_INCR_DSTIP:
        s->next_host = true;
        return;
    case OPT_INCR_DSTPORT:
        s->next_port = true;
        return;
    case OPT_INCR_SRCIP:
        s->next_own_host = true;
        return;
    case OPT_INCR_SRCPORT:
        s->next_own_port = true;
        return;
    case OPT_IPG:
        if (xk_parse_double(&v, word) < 0)
            return REFUSE(p, "ERRPORE: Invalid value of '%s' for --ipg", word);
        s->gap_s = v / 1e3;
        return;
    case OPT_LOCAL_ONLY:
        s->dont_route = !word || strtol(word, NULL, 10) != 0;
        return;
    case OPT_NO_CONNECT_SYNC:
        s->no_connect_sync = true;
        return;
    case OPT_NO_UDP_FIN:
        s->no_fin = true;
        return;
    case OPT_QUICKACK:
        s->quick_ack = true;
        return;
    case OPT_PREFETCH:
        s->prefetch_bytes = (uint32_t)size_of(p, word, "--tcp-write-prefetch", INT32_MAX);
        s->enhanced = true;
        return;
    case OPT_WRITE_TIMES:
        s->write_times = true;
        return;
    case OPT_TRIP_TIMES:
        s->trip_times = true;
        return;
    case OPT_DELAY:
        s->delay_s = seconds_of(p, word, "--txdelay-time time");
        return;
    default: /* OPT_START */
        return take_start(p, word);
    }
}

static void take(struct parse *p, const struct row *row, const char *word)
{
    if (row->key == 'h') {
        show_help(p->o);
        end(p, 1);
    } else if (row->key == 'v') {
        iperf2_text_complain(p->o, "%s", VERSION_TEXT);
        end(p, 1);
    } else if (row->key == OPT_REFUSED) {
        REFUSE(p, "iperf: option --%s is not supported", row->name);
    } else {
        (row->role == CLIENT ? take_client : row->role == SERVER ? take_server : take_both)(p, row->key, word);
    }
}

/* Both tables of getopt_long() from ours; an option's value is its place in it. */
static void make_getopt(char *ret_letters, struct option *ret_options)
{
    *ret_letters++ = ':'; /* tell what is missing apart from what is unknown */
    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        if (rows[i].name)
            *ret_options++ = (struct option){rows[i].name, rows[i].has_argument, NULL, OPT_FIRST + (int)i};
        if (rows[i].key >= OPT_FIRST)
            continue;
        *ret_letters++ = (char)rows[i].key;
        if (rows[i].has_argument == required_argument)
            *ret_letters++ = ':';
    }
    *ret_letters = '\0';
    *ret_options = (struct option){0};
}

static const struct row *row_of(int key)
{
    if (key >= OPT_FIRST && key < OPT_FIRST + (int)XK_COUNT(rows))
        return &rows[key - OPT_FIRST];
    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        if (rows[i].key == key)
            return &rows[i];
    }
    return NULL;
}

/* How many long options begin like this. */
static unsigned candidates(const char *word)
{
    const size_t length = strcspn(word, "=");
    unsigned n = 0;

    for (size_t i = 0; i < XK_COUNT(rows); i++)
        n += rows[i].name && strncmp(rows[i].name, word, length) == 0;
    return n;
}

/* What getopt has stumbled over. The stock program goes on. */
static void complain(struct parse *p, int key, const char *word)
{
    const bool is_long = strncmp(word, "--", 2) == 0;

    if (is_long && key == ':')
        iperf2_text_complain(p->o, "iperf: option `%s' requires an argument", word);
    else if (key == ':')
        iperf2_text_complain(p->o, "iperf: option requires an argument -- %c", optopt);
    else if (is_long && optopt != 0)
        iperf2_text_complain(p->o, "iperf: option `%.*s' doesn't allow an argument", (int)strcspn(word, "="), word);
    else if (is_long && candidates(word + 2) > 1)
        iperf2_text_complain(p->o, "iperf: option `%s' is ambiguous", word);
    else if (is_long)
        iperf2_text_complain(p->o, "iperf: unrecognized option `%s'", word);
    else
        iperf2_text_complain(p->o, "iperf: invalid option -- %c", optopt);
}

static void read_options(struct parse *p, int argc, char **argv)
{
    char letters[2 * XK_COUNT(rows) + 2];
    struct option options[XK_COUNT(rows) + 1];
    int key;

    for (size_t i = 0; i < XK_COUNT(rows) && !p->done; i++) {
        const char *const value = rows[i].variable ? xk_env(p->o->app, rows[i].variable) : NULL;
        if (value)
            take(p, &rows[i], value);
    }
    make_getopt(letters, options);
    optind = 0;
    opterr = 0;
    while (!p->done) {
        const int at = XK_MAX(optind, 1);
        key = getopt_long(argc, argv, letters, options, NULL);
        if (key == -1)
            break;
        const struct row *const row = key == '?' || key == ':' ? NULL : row_of(key);
        if (row)
            take(p, row, optarg);
        else
            complain(p, key, argv[XK_MIN(XK_MAX(optind - 1, at), argc - 1)]);
    }
    for (int i = optind; i < argc && !p->done; i++)
        iperf2_text_complain(p->o, "iperf: ignoring extra argument -- %s", argv[i]);
}

/* ---- what options say together ---- */

static void check_client_udp(struct parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;

    if (s->peer_detect)
        REFUSE(p, "ERROR: option of -X or --peer-detect not supported with -u UDP");
    if (s->connect_only)
        REFUSE(p, "ERROR: option of --connect-only not supported with -u UDP");
    if (s->gap_s != 0 && s->has_rate)
        REFUSE(p, "ERROR: options of --b and --ipg cannot be applied together");
    if (s->gap_s < 0)
        REFUSE(p, "ERROR: option --ipg must be a positive value");
    if (s->connect_retries > 0)
        REFUSE(p, "ERROR: option --connect-retries not supported with -u UDP");
    if (s->prefetch_bytes)
        iperf2_text_complain(p->o, "WARN: setting of option --tcp-write-prefetch is not supported with -u UDP");
    if (s->quick_ack)
        iperf2_text_complain(p->o, "WARN: setting of option --tcp-quickack is not supported with -u UDP");
    s->prefetch_bytes = 0;
    s->quick_ack = false;
    double gap_s = s->gap_s;
    if (gap_s <= 0 && s->rate)
        gap_s = s->rate_in_packets ? 1 / (double)s->rate : (double)s->block_bytes * 8 / (double)s->rate;
    if (gap_s > GAP_MAX_S)
        REFUSE(p, "ERROR: IPG delay target of %.1f secs too large (max value is %d secs)", gap_s, GAP_MAX_S);
    if (s->block_bytes < IPERF2_DATAGRAM_BYTES || s->block_bytes > IPERF2_UDP_MAX)
        REFUSE(p, "ERROR: option -l of %u, a datagram has %u to %u bytes", s->block_bytes, IPERF2_DATAGRAM_BYTES,
               IPERF2_UDP_MAX);
    if (s->trip_times && s->block_bytes < TRIP_LEAST_BYTES && (p->reverse || p->full_duplex || p->dual || p->tradeoff))
        REFUSE(p, "ERROR: payload (-l) size of %u too small for --trip-times, must be %d or greater", s->block_bytes,
               TRIP_LEAST_BYTES);
}

static void check_client_tcp(struct parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;

    if (s->has_rate && !s->rate_in_packets && s->rate / 8 < s->block_bytes)
        REFUSE(p, "ERROR: option -b and -l of %u are incompatible, consider setting -l to %llu or lower",
               s->block_bytes, (unsigned long long)s->rate / 8);
    if (s->gap_s != 0)
        REFUSE(p, "ERROR: option --ipg requires -u UDP");
    if (s->no_fin)
        REFUSE(p, "ERROR: option --no-udp-fin requires -u UDP");
    if (s->delay_s > 0 && s->connect_only)
        REFUSE(p, "ERROR: Fail because --txdelay-time and --connect-only cannot be applied together");
    if (s->rate_in_packets)
        REFUSE(p, "ERROR: units of pps not supported with TCP");
    if (s->block_bytes == 0)
        REFUSE(p, "ERROR: option -l of 0");
}

static void check_start(struct parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;
    const double now_s = (double)p->o->app->clock->utc_ns(p->o->app->clock) / 1e9;

    if (!s->udp && s->delay_s > 0 && s->start_s > 0)
        REFUSE(p, "ERROR: options of --txstart-time and --txdelay-time are mutually exclusive");
    else if (s->start_s > now_s + LATER_MAX_S)
        REFUSE(p, "ERROR: --txstart-time (%lld.%lld) exceeds max scheduled delay of %d secs", (long long)s->start_s,
               (long long)((s->start_s - floor(s->start_s)) * 1e6), LATER_MAX_S);
    else if (s->delay_s > LATER_MAX_S)
        REFUSE(p, "ERROR: --txdelay-time of %d seconds is more than the supported delay of %d seconds", (int)s->delay_s,
               LATER_MAX_S);
}

static void set_mode(struct parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;

    if (p->reverse + p->full_duplex + (p->dual || p->tradeoff) > 1)
        REFUSE(p, "ERROR: options of --full-duplex, --reverse, -d and -r are mutually exclusive");
    s->mode = p->reverse       ? IPERF2_REVERSE
              : p->full_duplex ? IPERF2_FULL_DUPLEX
              : p->dual        ? IPERF2_DUAL
              : p->tradeoff    ? IPERF2_TRADEOFF
                               : IPERF2_NORMAL;
    if (s->mode != IPERF2_NORMAL && !s->timed && s->bytes > (uint64_t)IPERF2_AMOUNT_MAX)
        REFUSE(p, "ERROR: a server can be asked to send %lld bytes at most", (long long)IPERF2_AMOUNT_MAX);
}

static void check_client(struct parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;

    if (p->endless) {
        s->endless = true;
        s->timed = false;
        iperf2_text_complain(p->o, "WARNING: client will send traffic forever or until an external signal (e.g. "
                                   "SIGINT or SIGTERM) occurs to stop it");
    }
    if (p->full_duplex && s->congestion)
        iperf2_text_complain(p->o, "WARNING: tcp congestion control will only be applied on transmit traffic, use -Z "
                                   "on the server");
    if (s->compatible && (p->reverse || p->full_duplex || s->trip_times || s->enhanced || p->dual || p->tradeoff))
        REFUSE(p, "ERROR: compatibility mode not supported with the requested with options");
    if (s->next_own_host && !p->bind)
        REFUSE(p, "ERROR: option of --incr-srcip requires -B bind option to be set");
    if (s->sum_by_destination)
        iperf2_text_complain(p->o, "WARN: option of --sum-dstip not supported on the client");
    if (s->override_tos)
        iperf2_text_complain(p->o, "WARN: option of --tos-override not supported on the client");
    if (s->clamp_bytes)
        iperf2_text_complain(p->o, "WARN: option of --tcp-rx-window-clamp not supported on the client");
    s->sum_by_destination = s->override_tos = false;
    s->clamp_bytes = 0;
    if (s->ttl > TTL_MAX)
        REFUSE(p, "ERROR: option of -ttl (-T) must be less than %d", TTL_MAX);
    if (s->has_key && !s->key[0])
        REFUSE(p, "ERROR: option of --permit-key requires a value on the client");
    check_start(p);
    (s->udp ? check_client_udp : check_client_tcp)(p);
    if (s->congestion && p->reverse)
        REFUSE(p, "ERROR: tcp congestion control -Z and --reverse cannot be applied together");
    set_mode(p);
    if (s->next_own_port && !s->bind_port) {
        iperf2_text_complain(p->o, "WARN: option of --incr-srcport requires -B bind option w/port to be set");
        s->next_own_port = false;
    }
    if (s->trip_times && s->mode != IPERF2_NORMAL)
        s->enhanced = true;
    if (s->file && strcmp(s->file, "-") != 0 && access(s->file, R_OK) < 0) {
        iperf2_text_complain(p->o, "Unable to open the file stream\nWill use the default data stream");
        s->file = NULL;
    }
    if (s->port_last > s->port && s->parallel < s->port_last - s->port + 1u) {
        s->parallel = s->port_last - s->port + 1u;
        iperf2_text_complain(p->o, "WARNING: port-range and -P mismatch (adjusting -P to %u)", s->parallel);
    }
}

static void make_key(struct parse *p)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    struct iperf2_settings *const s = &p->o->settings;
    const int64_t utc_ns = p->o->app->clock->utc_ns(p->o->app->clock);

    int n = snprintf(s->key, sizeof(s->key), "%lld.%06lld-", (long long)(utc_ns / (int64_t)XK_NS_PER_S),
                     (long long)(utc_ns % (int64_t)XK_NS_PER_S / 1000));
    for (int i = 0; i < KEY_RANDOM; i++)
        s->key[n++] = letters[xk_random_below(p->o->app->random, sizeof(letters) - 1)];
    s->key[n] = '\0';
}

static void check_server(struct parse *p)
{
    static const char not_there[] = "WARN: option of %s is not supported on the server";
    struct iperf2_settings *const s = &p->o->settings;
    struct iperf2 *const o = p->o;

    s->server = true;
    if (s->port_last && s->port_last < s->port)
        REFUSE(p, "ERROR: invalid port range of %u-%u", s->port, s->port_last);
    if (s->has_key && !s->key[0])
        make_key(p);
    s->key_timeout_s = p->key_timeout_s >= 0 ? p->key_timeout_s : KEY_LIFE_S;
    if (s->trip_times)
        iperf2_text_complain(o, "WARN: setting of option --trip-times is not supported on the server");
    if (s->prefetch_bytes)
        iperf2_text_complain(o, "WARN: setting of option --tcp-write-prefetch is not supported on the server");
    if (s->next_own_host)
        iperf2_text_complain(o, "WARN: setting of option --incr-srcip is not supported on the server");
    if (s->start_s > 0)
        iperf2_text_complain(o, not_there, "--txstart-time");
    if (s->delay_s > 0)
        iperf2_text_complain(o, not_there, "--txdelay-time");
    if (s->gap_s != 0)
        iperf2_text_complain(o, not_there, "--ipg");
    if (p->full_duplex)
        iperf2_text_complain(o, not_there, "--full-duplex");
    if (p->reverse)
        iperf2_text_complain(o, not_there, "--reverse");
    if (s->next_host)
        iperf2_text_complain(o, not_there, "--incr-dstip");
    if (s->pacing_bytes)
        iperf2_text_complain(o, not_there, "--fq-rate");
    if (s->no_fin)
        iperf2_text_complain(o, not_there, "--no-udp-fin");
    if (s->peer_detect)
        iperf2_text_complain(o, "WARN: option of -X or --peer-detect not supported on the server");
    if (s->connect_retries > 0)
        iperf2_text_complain(o, "WARN: option --connect-retries not supported on the server");
    if (s->udp && s->clamp_bytes)
        iperf2_text_complain(o, "WARN: option of --tcp-rx-window-clamp not supported using -u UDP ");
    s->trip_times = s->no_fin = s->peer_detect = s->next_host = false;
    s->prefetch_bytes = 0;
    s->pacing_bytes = 0;
    s->delay_s = s->start_s = s->gap_s = 0;
    s->file = NULL;
    s->has_time = p->set_time && !p->endless;
    if (s->udp)
        s->clamp_bytes = 0;
    if (s->block_bytes == 0)
        REFUSE(p, "ERROR: option -l of 0");
}

/* "HOST", "HOST%DEV", "HOST:PORT", "[IPV6]:PORT": cut where it stands. */
static void split_bind(struct parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;
    char *host = p->bind, *port = NULL;

    if (!host)
        return;
    char *const percent = strchr(host, '%');
    if (percent && !s->ipv6) {
        *percent = '\0';
        if (p->client)
            iperf2_text_complain(p->o, "WARNING: Client cannot set bind device %s via -B consider using -c",
                                 percent + 1);
        else
            s->device = percent + 1;
    }
    if (*host == '[') {
        char *const close = strchr(host, ']');
        if (close) {
            *close = '\0';
            port = close[1] == ':' ? close + 2 : NULL;
            host++;
        }
    } else if (!s->ipv6 && (port = strchr(host, ':'))) {
        *port++ = '\0';
    }
    s->bind_host = host;
    if (port && p->client)
        s->bind_port = (uint16_t)number_of(p, port, "-B port", 0, 65535);
    else if (port)
        iperf2_text_complain(p->o, "WARNING: port %s ignored - set receive port on server via -p or -L", port);
}

static void split_host(struct parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;
    char *host = p->host, *const percent = strchr(host, '%');

    if (percent && strncasecmp(host[0] == '[' ? host + 1 : host, "fe80:", 5) != 0) {
        *percent = '\0';
        s->device = percent + 1;
    }
    if (*host == '[') {
        host[strcspn(host, "]")] = '\0';
        host++;
    }
    s->host = host;
}

static bool is_multicast(const char *host)
{
    int64_t first = 0;
    char part[4];

    snprintf(part, sizeof(part), "%.*s", (int)XK_MIN(strcspn(host, "."), (size_t)3), host);
    return strncasecmp(host, "ff", 2) == 0 && strchr(host, ':')
               ? true
               : strchr(host, '.') && xk_parse_i64(&first, part) == 0 && first >= 224 && first <= 239;
}

static void check_options(struct parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;

    if (!p->client && !p->server) {
        iperf2_text_complain(p->o, "Usage: iperf [-s|-c host] [options]\nTry `iperf --help' for more information.");
        return end(p, 0);
    }
    if (s->ipv6 && p->v4) {
        iperf2_text_complain(p->o, "WARN: both ipv4 and ipv6 set");
        s->ipv6 = false;
    }
    if (!s->has_block)
        s->block_bytes = !s->udp ? IPERF2_TCP_BLOCK : s->ipv6 && p->client ? IPERF2_UDP6_BLOCK : IPERF2_UDP_BLOCK;
    if (s->udp && !s->has_rate && s->gap_s <= 0 && p->client)
        s->rate = IPERF2_UDP_RATE;
    if (p->key_asked && s->udp)
        REFUSE(p, "ERROR: Option of --permit-key not supported with UDP");
    split_bind(p);
    if (p->client)
        split_host(p);
    (p->client ? check_client : check_server)(p);
    if ((s->host && is_multicast(s->host)) || (s->bind_host && is_multicast(s->bind_host)))
        REFUSE(p, "iperf: multicast is not supported");
    if (p->o->daemon && p->client && !p->done) {
        iperf2_text_complain(p->o, "Iperf client cannot be run as a daemon");
        end(p, 0);
    }
}

/* ---- running ---- */

/* The parent ends at once; the child goes on without a terminal. returns 1 in the parent; -1. */
static int go_into_background(struct iperf2 *o)
{
    iperf2_text_complain(o, "Running Iperf Server as a daemon");
    xk_out_flush(o->app->out);
    const pid_t child = fork();
    if (child != 0)
        return child < 0 ? -1 : 1;
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (setsid() < 0 || null < 0)
        return -1;
    for (int fd = 0; fd < 3; fd++)
        (void)dup2(null, fd);
    if (null > 2)
        (void)close(null);
    return 0;
}

static int serve_or_test(struct iperf2 *o)
{
    struct iperf2_events events = iperf2_text_events;
    struct xk_err err = {0};

    events.context = o;
    if (o->output) {
        xk_out_rawf(o->app->out, "Output from stdout and stderr will be redirected to file %s\n", o->output);
        xk_out_flush(o->app->out);
        o->fd = open(o->output, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
        if (o->fd < 0) {
            iperf2_text_complain(o, "freopen stdout\n failed: %s", strerror(errno));
            return 1;
        }
    }
    if (o->daemon) {
        const int code = go_into_background(o);
        if (code != 0)
            return code < 0;
    }
    const int code = (o->settings.server ? iperf2_server : iperf2_client)(&o->settings, &events, o->app->clock, &err);
    if (code < 0 && code != -EINTR)
        iperf2_text_complain(o, "%s", err.text);
    return code != 0 && code != -EINTR;
}

static int run_iperf(struct xk_app *app, int argc, char **argv)
{
    struct iperf2 o = {
        .app = app,
        .format = 'a',
        .fd = -1,
        .line = XK_BUF_INIT(IPERF2_TEXT_MAX),
        .settings = {.port = IPERF2_PORT, .timed = true, .hundredths = 1000, .ttl = -1, .root = app->root},
    };
    struct parse p = {.o = &o, .key_timeout_s = -1};

    read_options(&p, argc, argv);
    if (!p.done)
        check_options(&p);
    const int status = p.done ? p.status : serve_or_test(&o);
    if (o.fd >= 0)
        (void)close(o.fd);
    xk_buf_done(&o.line);
    free(p.host);
    free(p.bind);
    return status;
}

static const struct xk_exit_row exits[] = {
    {0, "the test was done, a stop was asked for, or no role was given"},
    {1, "wrong options, or a part of the test failed; also after help and version"},
    {0, NULL},
};

const struct xk_classic net_classic_iperf = {
    .name = "iperf",
    .summary = "network throughput, with iperf 2's options, wire protocol and text",
    .run = run_iperf,
    .kind = XK_SERVER, /* and so, stopped as a client, too, it says how that went itself */
    .exits = exits,
};
