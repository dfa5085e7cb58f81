/*
 * The options of the classic `iperf3`.
 *
 * One table gives them to the C library's getopt_long() and to the help. That parser is taken as it is, with its
 * abbreviations and its messages, since the stock program uses the same; only one command line is parsed in a process.
 */
#include "rooms/net/iperf3.h"

#include "core/secret.h"
#include "core/text.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define INTERVAL_MIN_S     0.1
#define INTERVAL_MAX_S     60
#define RCV_TIMEOUT_MIN_MS 100
#define TIMESTAMP_FORMAT   "%c "
#define MULTI_MAX          128

/* Options without a letter. */
enum {
    OPT_FIRST = 1000,
    OPT_BIDIR,
    OPT_BIND_DEV,
    OPT_CNTL_KA,
    OPT_CONNECT_TIMEOUT,
    OPT_CPORT,
    OPT_DONT_FRAGMENT,
    OPT_DSCP,
    OPT_EXTRA_DATA,
    OPT_FAST,
    OPT_FORCEFLUSH,
    OPT_FQ_RATE,
    OPT_GET_SERVER_OUTPUT,
    OPT_GSRO,
    OPT_IDLE_TIMEOUT,
    OPT_JSON_STREAM,
    OPT_JSON_STREAM_FULL,
    OPT_LOGFILE,
    OPT_MULTI,
    OPT_NO_FQ,
    OPT_NSTREAMS,
    OPT_PACING_TIMER,
    OPT_PKCS1,
    OPT_PRIVATE_KEY,
    OPT_PUBLIC_KEY,
    OPT_RATE_LIMIT,
    OPT_RCV_TIMEOUT,
    OPT_REPEATING,
    OPT_SCTP,
    OPT_MAX_DURATION,
    OPT_SKEW,
    OPT_SKIP_RX_COPY,
    OPT_SND_TIMEOUT,
    OPT_TIMESTAMPS,
    OPT_UDP_64BIT,
    OPT_USERNAME,
    OPT_USERS,
};

enum role { BOTH, SERVER, CLIENT };

static const struct row {
    int key;
    const char *name;
    int has_argument;
    enum role role;
    const char *argument, *help;
} rows[] = {
    {'p', "port", required_argument, BOTH, "N", "port of the server [5201]"},
    {'f', "format", required_argument, BOTH, "[kmgtKMGT]", "unit of rates: Kbits … Tbits, KBytes … TBytes"},
    {'i', "interval", required_argument, BOTH, "SECONDS", "between two reports; 0: none [1]"},
    {'I', "pidfile", required_argument, BOTH, "FILE", "write the process number to a file"},
    {'F', "file", required_argument, BOTH, "FILE", "send its bytes, or write to it what comes"},
    {'A', "affinity", required_argument, BOTH, "N[,M]", "run on processor N; the server on M"},
    {'B', "bind", required_argument, BOTH, "HOST[%DEV]", "own address"},
    {OPT_BIND_DEV, "bind-dev", required_argument, BOTH, "DEV", "own network device"},
    {'V', "verbose", no_argument, BOTH, NULL, "tell more"},
    {'J', "json", no_argument, BOTH, NULL, "one JSON document at the end"},
    {OPT_JSON_STREAM, "json-stream", no_argument, BOTH, NULL, "a JSON object a line, as things happen"},
    {OPT_JSON_STREAM_FULL, "json-stream-full-output", no_argument, BOTH, NULL, "the whole document behind them, too"},
    {OPT_LOGFILE, "logfile", required_argument, BOTH, "FILE", "append the output to a file"},
    {OPT_FORCEFLUSH, "forceflush", no_argument, BOTH, NULL, "write out at every interval"},
    {OPT_TIMESTAMPS, "timestamps", optional_argument, BOTH, "FORMAT", "time before each line, as strftime [%c ]"},
    {OPT_RCV_TIMEOUT, "rcv-timeout", required_argument, BOTH, "MS", "give up when nothing is received [120000]"},
    {OPT_SND_TIMEOUT, "snd-timeout", required_argument, BOTH, "MS", "give up when nothing is acknowledged"},
    {OPT_CNTL_KA, "cntl-ka", optional_argument, BOTH, "IDLE/INTV/N", "keepalive on the control connection"},
    {'m', "mptcp", no_argument, BOTH, NULL, "Multipath TCP"},
    {'d', "debug", optional_argument, BOTH, "LEVEL", "show what goes over the control connection"},
    {'v', "version", no_argument, BOTH, NULL, "show the version"},
    {'h', "help", no_argument, BOTH, NULL, "show this"},
    {OPT_FAST, "fast", no_argument, BOTH, NULL, "receive without copying (xenkit's own)"},
    {'s', "server", no_argument, SERVER, NULL, "be the server"},
    {'D', "daemon", no_argument, SERVER, NULL, "go into the background"},
    {'1', "one-off", no_argument, SERVER, NULL, "end after one test"},
    {OPT_RATE_LIMIT, "server-bitrate-limit", required_argument, SERVER, "RATE[/S]", "end tests that are faster"},
    {OPT_IDLE_TIMEOUT, "idle-timeout", required_argument, SERVER, "S", "listen anew after S idle seconds"},
    {OPT_MAX_DURATION, "server-max-duration", required_argument, SERVER, "S", "refuse longer tests"},
    {OPT_PRIVATE_KEY, "rsa-private-key-path", required_argument, SERVER, "FILE", "key for authentication"},
    {OPT_USERS, "authorized-users-path", required_argument, SERVER, "FILE", "lines USER,SHA256 of {USER}PASSWORD"},
    {OPT_SKEW, "time-skew-threshold", required_argument, SERVER, "S", "between the two clocks [10]"},
    {OPT_PKCS1, "use-pkcs1-padding", no_argument, BOTH, NULL, "for servers before 3.17; ours reads both"},
    {OPT_MULTI, "multi", required_argument, SERVER, "N", "tests at the same time [1] (xenkit's own)"},
    {'c', "client", required_argument, CLIENT, "HOST[%DEV]", "be the client of a server"},
    {OPT_SCTP, "sctp", no_argument, CLIENT, NULL, "SCTP (refused: not built in)"},
    {'X', "xbind", required_argument, CLIENT, "NAME", "SCTP (refused: not built in)"},
    {OPT_NSTREAMS, "nstreams", required_argument, CLIENT, "N", "SCTP (refused: not built in)"},
    {'u', "udp", no_argument, CLIENT, NULL, "UDP"},
    {OPT_CONNECT_TIMEOUT, "connect-timeout", required_argument, CLIENT, "MS", "for the control connection"},
    {'b', "bitrate", required_argument, CLIENT, "RATE[/N]", "of each stream, in bursts of N; 0: all [UDP 1M]"},
    {'b', "bandwidth", required_argument, CLIENT, "RATE[/N]", "the same"},
    {OPT_PACING_TIMER, "pacing-timer", required_argument, CLIENT, "US", "for servers before 3.18"},
    {OPT_FQ_RATE, "fq-rate", required_argument, CLIENT, "RATE", "the kernel paces the connection"},
    {OPT_NO_FQ, "no-fq-socket-pacing", no_argument, CLIENT, NULL, "the kernel does not"},
    {'t', "time", required_argument, CLIENT, "S", "duration [10]"},
    {'n', "bytes", required_argument, CLIENT, "SIZE", "end after so many bytes"},
    {'k', "blockcount", required_argument, CLIENT, "N", "end after so many blocks"},
    {'l', "length", required_argument, CLIENT, "SIZE", "of a block [TCP 128K, UDP what fits]"},
    {OPT_CPORT, "cport", required_argument, CLIENT, "PORT", "own port of the first stream"},
    {'P', "parallel", required_argument, CLIENT, "N", "streams [1]"},
    {'R', "reverse", no_argument, CLIENT, NULL, "the server sends"},
    {OPT_BIDIR, "bidir", no_argument, CLIENT, NULL, "both send"},
    {'w', "window", required_argument, CLIENT, "SIZE", "of the socket buffers"},
    {'C', "congestion", required_argument, CLIENT, "NAME", "congestion control"},
    {'C', "linux-congestion", required_argument, CLIENT, "NAME", "the same"},
    {'M', "set-mss", required_argument, CLIENT, "BYTES", "TCP's largest segment"},
    {'N', "no-delay", no_argument, CLIENT, NULL, "without Nagle's delay"},
    {'4', "version4", no_argument, BOTH, NULL, "IPv4 only"},
    {'6', "version6", no_argument, BOTH, NULL, "IPv6 only"},
    {'S', "tos", required_argument, CLIENT, "N", "type of service, 0 to 255, also octal or hexadecimal"},
    {OPT_DSCP, "dscp", required_argument, CLIENT, "N|NAME", "0 to 63, or af11 … af43, cs0 … cs7, ef, va"},
    {'L', "flowlabel", required_argument, CLIENT, "N", "IPv6 flow label"},
    {'Z', "zerocopy", no_argument, CLIENT, NULL, "send from a file in memory"},
    {OPT_SKIP_RX_COPY, "skip-rx-copy", no_argument, CLIENT, NULL, "the receiver does not copy"},
    {'O', "omit", required_argument, CLIENT, "S", "leave out the first seconds"},
    {'T', "title", required_argument, CLIENT, "TEXT", "before each line"},
    {OPT_EXTRA_DATA, "extra-data", required_argument, CLIENT, "TEXT", "goes into the JSON of both sides"},
    {OPT_GET_SERVER_OUTPUT, "get-server-output", no_argument, CLIENT, NULL, "show what the server showed"},
    {OPT_UDP_64BIT, "udp-counters-64bit", no_argument, CLIENT, NULL, "longer numbers in datagrams"},
    {OPT_GSRO, "gsro", no_argument, CLIENT, NULL, "say that segmentation is wanted; ours does it anyway"},
    {OPT_REPEATING, "repeating-payload", no_argument, CLIENT, NULL, "digits instead of noise"},
    {OPT_DONT_FRAGMENT, "dont-fragment", no_argument, CLIENT, NULL, "IPv4's flag"},
    {OPT_USERNAME, "username", required_argument, CLIENT, "USER", "for authentication; IPERF3_PASSWORD, or asked for"},
    {OPT_PUBLIC_KEY, "rsa-public-key-path", required_argument, CLIENT, "FILE", "of the server"},
};

/* What only matters while options are read. */
struct parse {
    struct iperf3 *o;
    bool client, server_only, client_only, has_rate, has_time, has_rcv_timeout, done;
    uint64_t block_bytes;
    bool has_block;
};

/* ---- words ---- */

/* "5", "1.5M": units of `step`; the whole word. returns false when it is none. */
static bool read_units(uint64_t *ret, const char *word, double step)
{
    static const char letters[] = "kmgt";
    char number[64];
    size_t length = strlen(word);
    double factor = 1, v;

    if (length == 0 || length >= sizeof(number))
        return false;
    memcpy(number, word, length + 1);
    const char *const at = strchr(letters, number[length - 1] | 0x20);
    if (at) {
        factor = pow(step, (double)(at - letters + 1));
        number[length - 1] = '\0';
    }
    if (xk_parse_double(&v, number) < 0 || v < 0 || v * factor >= 9.2e18)
        return false;
    *ret = (uint64_t)(v * factor);
    return true;
}

static int size_of(uint64_t *ret, const char *word, struct xk_err *err)
{
    if (read_units(ret, word, 1024))
        return 0;
    return xk_fail(err, -(IPERF_FAIL + IPERF_E_UNITVAL), "invalid unit value or suffix: '%s'", word);
}

static int rate_of(uint64_t *ret, const char *word, struct xk_err *err)
{
    if (read_units(ret, word, 1000))
        return 0;
    return xk_fail(err, -(IPERF_FAIL + IPERF_E_UNITVAL), "invalid unit value or suffix: '%s'", word);
}

static int number_of(uint32_t *ret, const char *word, int64_t least, int64_t most, int error, struct xk_err *err)
{
    int64_t v;

    if (xk_parse_i64(&v, word) < 0 || v < least || v > most)
        return iperf_fail(err, error, 0);
    *ret = (uint32_t)v;
    return 0;
}

static int tos_of(uint32_t *ret, const char *word, int64_t most, int error, struct xk_err *err)
{
    char *end;

    errno = 0;
    const long v = strtol(word, &end, 0);
    if (end == word || *end || errno || v < 0 || v > most)
        return iperf_fail(err, error, 0);
    *ret = (uint32_t)v;
    return 0;
}

static int dscp_of(uint32_t *ret_tos, const char *word, struct xk_err *err)
{
    static const struct {
        const char *name;
        uint32_t tos;
    } names[] = {{"af11", 0x28}, {"af12", 0x30}, {"af13", 0x38},     {"af21", 0x48},       {"af22", 0x50},
                 {"af23", 0x58}, {"af31", 0x68}, {"af32", 0x70},     {"af33", 0x78},       {"af41", 0x88},
                 {"af42", 0x90}, {"af43", 0x98}, {"cs0", 0x00},      {"cs1", 0x20},        {"cs2", 0x40},
                 {"cs3", 0x60},  {"cs4", 0x80},  {"cs5", 0xa0},      {"cs6", 0xc0},        {"cs7", 0xe0},
                 {"ef", 0xb8},   {"va", 0xb0},   {"lowdelay", 0x10}, {"throughput", 0x08}, {"reliability", 0x04}};

    for (size_t i = 0; i < XK_COUNT(names); i++) {
        if (strcasecmp(names[i].name, word) == 0) {
            *ret_tos = names[i].tos;
            return 0;
        }
    }
    const int code = tos_of(ret_tos, word, 63, IPERF_E_BADTOS, err);
    *ret_tos <<= 2;
    return code;
}

/* "10M/5": a rate, and a number behind a slash. */
static int rate_and_more(uint64_t *ret, const char **ret_more, char *word, struct xk_err *err)
{
    char *const slash = strchr(word, '/');

    if (slash)
        *slash = '\0';
    *ret_more = slash ? slash + 1 : NULL;
    return rate_of(ret, word, err);
}

/* "HOST%DEV", where the host is no IPv6 address of this link, which needs its device itself. */
static int host_and_device(char **ret_host, const char **ret_device, const char *word)
{
    char *const copy = xk_strdup(word);

    if (!copy)
        return -ENOMEM;
    free(*ret_host);
    *ret_host = copy;
    char *const percent = strchr(copy, '%');
    if (percent && strncasecmp(copy, "fe80:", 5) != 0) {
        *percent = '\0';
        *ret_device = percent + 1;
    }
    return 0;
}

static int keepalive_of(struct iperf_settings *s, char *word, struct xk_err *err)
{
    uint32_t *const fields[] = {&s->keepalive_idle_s, &s->keepalive_interval_s, &s->keepalive_count};

    s->keepalive = true;
    for (size_t i = 0; word && i < XK_COUNT(fields); i++) {
        char *const slash = strchr(word, '/');
        if (slash)
            *slash = '\0';
        if (*word && number_of(fields[i], word, 0, 32767, IPERF_E_CNTLKA, err) < 0)
            return err->code;
        word = slash ? slash + 1 : NULL;
    }
    if (s->keepalive_idle_s && s->keepalive_idle_s <= s->keepalive_count * s->keepalive_interval_s)
        return iperf_fail(err, IPERF_E_CNTLKA, 0);
    return 0;
}

static int affinity_of(struct iperf_settings *s, char *word, struct xk_err *err)
{
    char *const comma = strchr(word, ',');
    uint32_t v;

    if (comma)
        *comma = '\0';
    int code = number_of(&v, word, 0, 1024, IPERF_E_AFFINITY, err);
    if (code < 0)
        return code;
    s->affinity = (int)v;
    if (comma) {
        code = number_of(&v, comma + 1, 0, 1024, IPERF_E_AFFINITY, err);
        s->params.affinity = code == 0 ? (int)v : -1;
    }
    return code;
}

/* ---- options ---- */

static void show_help(struct xk_out *out)
{
    static const char *const titles[] = {
        [BOTH] = "Server or Client:", [SERVER] = "Server specific:", [CLIENT] = "Client specific:"};

    xk_say(out, "Usage: iperf3 [-s|-c host] [options]\n       iperf3 [-h|--help] [-v|--version]\n");
    for (enum role role = BOTH; role <= CLIENT; role++) {
        xk_say(out, "\n%s\n", titles[role]);
        for (size_t i = 0; i < XK_COUNT(rows); i++) {
            char words[64];
            if (rows[i].role != role)
                continue;
            const bool letter = rows[i].key < OPT_FIRST;
            snprintf(words, sizeof(words), "%c%c%s --%s%s%s", letter ? '-' : ' ', letter ? rows[i].key : ' ',
                     letter ? "," : " ", rows[i].name, rows[i].argument ? " " : "",
                     rows[i].argument ? rows[i].argument : "");
            xk_say(out, "  %-40s %s\n", words, rows[i].help);
        }
    }
    xk_say(out, "\nSizes take K, M, G, T for powers of 1024, rates for powers of 1000.\n");
}

static void show_version(struct xk_out *out)
{
    xk_say(
        out,
        "iperf " IPERF3_VERSION " (xenkit " XK_VERSION ")\n%s\nOptional features available: CPU affinity setting, "
        "IPv6 flow label, TCP congestion algorithm setting, sendfile / zerocopy, socket pacing, authentication, bind "
        "to device, support IPv4 don't fragment\n",
        iperf3_system_info().s);
}

static int take_text(char *ret, size_t bytes, const char *word)
{
    snprintf(ret, bytes, "%s", word);
    return 0;
}

/* Options that only a client has. */
static int take_client(struct parse *p, int key, char *word, struct xk_err *err)
{
    struct iperf_settings *const s = &p->o->settings;
    struct iperf_params *const q = &s->params;
    const char *more;
    uint64_t v;
    int code;

    switch (key) {
    case 'u':
        q->protocol = IPERF_UDP;
        return 0;
    case OPT_SCTP:
    case OPT_NSTREAMS:
    case 'X':
        return iperf_fail(err, IPERF_E_NOSCTP, 0);
    case OPT_CONNECT_TIMEOUT:
        return number_of(&s->connect_timeout_ms, word, 0, INT32_MAX, IPERF_E_UNITVAL, err);
    case 'b':
        p->has_rate = true;
        code = rate_and_more(&q->rate_bps, &more, word, err);
        return code == 0 && more ? number_of(&q->burst, more, 1, IPERF_BURST_MAX, IPERF_E_BURST, err) : code;
    case OPT_PACING_TIMER:
        code = size_of(&v, word, err);
        q->pacing_timer_us = (uint32_t)XK_MIN(v, (uint64_t)UINT32_MAX);
        return code;
    case OPT_FQ_RATE:
        return rate_of(&q->fq_rate_bps, word, err);
    case OPT_NO_FQ:
        q->fq_rate_bps = 0;
        return 0;
    case 't':
        p->has_time = true;
        return number_of(&q->time_s, word, 0, IPERF_TIME_MAX, IPERF_E_DURATION, err);
    case 'n':
        return size_of(&q->bytes, word, err);
    case 'k':
        return size_of(&q->blocks, word, err);
    case 'l':
        p->has_block = true;
        return size_of(&p->block_bytes, word, err);
    case OPT_CPORT:
        code = number_of(&(uint32_t){0}, word, 1, 65535, IPERF_E_BADPORT, err);
        s->client_port = code == 0 ? (uint16_t)atoi(word) : 0;
        return code;
    case 'P':
        return number_of(&q->parallel, word, 1, IPERF_STREAMS_MAX, IPERF_E_NUMSTREAMS, err);
    case 'R':
        q->reverse = true;
        return q->bidirectional ? iperf_fail(err, IPERF_E_REVERSEBIDIR, 0) : 0;
    case OPT_BIDIR:
        q->bidirectional = true;
        return q->reverse ? iperf_fail(err, IPERF_E_REVERSEBIDIR, 0) : 0;
    case 'w':
        code = size_of(&v, word, err);
        if (code == 0 && v > IPERF_BUFFER_MAX)
            return iperf_fail(err, IPERF_E_BUFSIZE, 0);
        q->window_bytes = (uint32_t)v;
        return code;
    case 'C':
        return take_text(q->congestion, sizeof(q->congestion), word);
    case 'M':
        return number_of(&q->mss, word, 0, IPERF_MSS_MAX, IPERF_E_MSS, err);
    case 'N':
        q->nodelay = true;
        return 0;
    case 'S':
        return tos_of(&q->tos, word, 255, IPERF_E_BADTOS, err);
    case OPT_DSCP:
        return dscp_of(&q->tos, word, err);
    case 'L':
        code = tos_of(&q->flowlabel, word, 0xfffff, IPERF_E_SETFLOW, err);
        return code == 0 && q->flowlabel == 0 ? iperf_fail(err, IPERF_E_SETFLOW, 0) : code;
    case 'Z':
        q->zerocopy = true;
        return 0;
    case OPT_SKIP_RX_COPY:
        q->skip_rx_copy = true;
        return 0;
    case 'O':
        return number_of(&q->omit_s, word, 0, IPERF_OMIT_MAX, IPERF_E_OMIT, err);
    case 'T':
        return take_text(q->title, sizeof(q->title), word);
    case OPT_EXTRA_DATA:
        return take_text(q->extra_data, sizeof(q->extra_data), word);
    case OPT_GET_SERVER_OUTPUT:
        q->get_server_output = true;
        return 0;
    case OPT_UDP_64BIT:
        q->counters_64bit = true;
        return 0;
    case OPT_GSRO:
        q->gso = q->gro = true;
        return 0;
    case OPT_REPEATING:
        q->repeating_payload = true;
        return 0;
    case OPT_DONT_FRAGMENT:
        q->dont_fragment = true;
        return 0;
    case OPT_USERNAME:
        s->user = word;
        return 0;
    case OPT_PUBLIC_KEY:
        s->public_key = word;
        return 0;
    default: /* 'c' */
        p->client = true;
        return p->o->server ? iperf_fail(err, IPERF_E_SERVCLIENT, 0)
                            : host_and_device(&p->o->host, &s->bind_device, word);
    }
}

static int take_server(struct parse *p, int key, char *word, struct xk_err *err)
{
    struct iperf_settings *const s = &p->o->settings;
    const char *more;
    int code;

    switch (key) {
    case 's':
        p->o->server = true;
        return p->client ? iperf_fail(err, IPERF_E_SERVCLIENT, 0) : 0;
    case 'D':
        p->o->daemon = true;
        return 0;
    case '1':
        s->one_off = true;
        return 0;
    case OPT_RATE_LIMIT:
        code = rate_and_more(&s->rate_limit_bps, &more, word, err);
        if (code == 0 && more &&
            (xk_parse_double(&s->rate_limit_s, more) < 0 ||
             (s->rate_limit_s != 0 && (s->rate_limit_s < INTERVAL_MIN_S || s->rate_limit_s > INTERVAL_MAX_S))))
            return iperf_fail(err, IPERF_E_TOTALINTERVAL, 0);
        return code;
    case OPT_IDLE_TIMEOUT:
        return number_of(&s->idle_timeout_s, word, 1, IPERF_TIME_MAX, IPERF_E_IDLETIMEOUT, err);
    case OPT_MAX_DURATION:
        return number_of(&s->max_duration_s, word, 0, IPERF_TIME_MAX, IPERF_E_DURATION, err);
    case OPT_PRIVATE_KEY:
        s->private_key = word;
        return 0;
    case OPT_USERS:
        s->users_file = word;
        return 0;
    case OPT_SKEW:
        return number_of(&s->skew_s, word, 1, INT32_MAX, IPERF_E_SKEWTHRESHOLD, err);
    default: /* OPT_MULTI */
        return number_of(&s->multi, word, 1, MULTI_MAX, IPERF_E_NUMSTREAMS, err);
    }
}

static int take_both(struct parse *p, int key, char *word, struct xk_err *err)
{
    struct iperf3 *const o = p->o;
    struct iperf_settings *const s = &o->settings;
    uint32_t v = 0;
    int code;

    switch (key) {
    case 'p':
        code = number_of(&v, word, 1, 65535, IPERF_E_BADPORT, err);
        s->port = (uint16_t)v;
        return code;
    case 'f':
        o->format = word[0];
        return word[0] && strchr("kmgtKMGT", word[0]) ? 0 : iperf_fail(err, IPERF_E_BADFORMAT, 0);
    case 'i':
        if (xk_parse_double(&s->interval_s, word) < 0 ||
            (s->interval_s != 0 && (s->interval_s < INTERVAL_MIN_S || s->interval_s > INTERVAL_MAX_S)))
            return iperf_fail(err, IPERF_E_INTERVAL, 0);
        return 0;
    case 'I':
        o->pidfile = word;
        return 0;
    case 'F':
        s->file = word;
        return 0;
    case 'A':
        return affinity_of(s, word, err);
    case 'B':
        code = host_and_device(&p->o->bind, &s->bind_device, word);
        s->bind_host = p->o->bind;
        return code;
    case OPT_BIND_DEV:
        s->bind_device = word;
        return 0;
    case 'V':
        o->verbose = true;
        return 0;
    case 'J':
        o->json = true;
        return 0;
    case OPT_JSON_STREAM:
        o->json = o->json_stream = true;
        return 0;
    case OPT_JSON_STREAM_FULL:
        o->json_full = true;
        return 0;
    case OPT_LOGFILE:
        o->logfile = word;
        return 0;
    case OPT_FORCEFLUSH:
        o->forceflush = true;
        return 0;
    case OPT_TIMESTAMPS:
        o->timestamps = true;
        o->timestamp_format = word ? word : TIMESTAMP_FORMAT;
        return 0;
    case OPT_RCV_TIMEOUT:
        p->has_rcv_timeout = true;
        return number_of(&s->rcv_timeout_ms, word, RCV_TIMEOUT_MIN_MS, IPERF_TIME_MAX * INT64_C(1000),
                         IPERF_E_RCVTIMEOUT, err);
    case OPT_SND_TIMEOUT:
        return number_of(&s->snd_timeout_ms, word, 0, IPERF_TIME_MAX * INT64_C(1000), IPERF_E_SNDTIMEOUT, err);
    case OPT_CNTL_KA:
        return keepalive_of(s, word, err);
    case 'm':
        s->params.mptcp = true;
        return 0;
    case '4':
        s->family = AF_INET;
        return 0;
    case '6':
        s->family = AF_INET6;
        return 0;
    case OPT_PKCS1:
        s->pkcs1 = true;
        return 0;
    case OPT_FAST:
        s->fast = true;
        return 0;
    default: /* 'd' */
        o->debug = true;
        return 0;
    }
}

static const struct row *row_of(int key)
{
    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        if (rows[i].key == key)
            return &rows[i];
    }
    return NULL;
}

/* Both tables of getopt_long() from ours. */
static void make_getopt(char *ret_letters, struct option *ret_options)
{
    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        ret_options[i] = (struct option){rows[i].name, rows[i].has_argument, NULL, rows[i].key};
        if (rows[i].key >= OPT_FIRST || (i > 0 && rows[i - 1].key == rows[i].key))
            continue;
        *ret_letters++ = (char)rows[i].key;
        /* -d takes its level only in the long form. */
        if (rows[i].has_argument == required_argument)
            *ret_letters++ = ':';
    }
    *ret_letters = '\0';
    ret_options[XK_COUNT(rows)] = (struct option){0};
}

/* returns 0; iperf_fail() codes; -EINVAL: getopt has complained itself. */
static int read_options(struct parse *p, int argc, char **argv, struct xk_err *err)
{
    char letters[2 * XK_COUNT(rows) + 1];
    struct option options[XK_COUNT(rows) + 1];
    int key, code = 0;

    make_getopt(letters, options);
    optind = 0;
    while (code == 0 && !p->done && (key = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        const struct row *const row = row_of(key);
        if (!row)
            return -EINVAL;
        if (key == 'v' || key == 'h') {
            p->done = true;
            (key == 'v' ? show_version : show_help)(p->o->app->out);
            return 0;
        }
        code = (row->role == CLIENT ? take_client : row->role == SERVER ? take_server : take_both)(p, key, optarg, err);
        p->client_only |= row->role == CLIENT && key != 'c';
        p->server_only |= row->role == SERVER && key != 's';
    }
    return code;
}

static int read_password(struct parse *p, struct xk_err *err)
{
    struct iperf_settings *const s = &p->o->settings;
    const char *const given = xk_env(p->o->app, "IPERF3_PASSWORD");

    if (!s->user && !s->public_key)
        return 0;
    if (!s->user || !s->public_key)
        return iperf_fail(err, IPERF_E_SETCLIENTAUTH, 0);
    if (!given && xk_secret_ask(&p->o->password, "Password: ", NULL) < 0)
        return iperf_fail(err, IPERF_E_SETCLIENTAUTH, 0);
    s->password = given ? given : p->o->password;
    return 0;
}

/* What only the whole line can show; in the order in which the stock program looks. */
static int check_options(struct parse *p, struct xk_err *err)
{
    struct iperf_settings *const s = &p->o->settings;
    struct iperf_params *const q = &s->params;
    const bool server = p->o->server;

    if (p->client && p->server_only)
        return iperf_fail(err, IPERF_E_SERVERONLY, 0);
    if (server && p->client_only)
        return iperf_fail(err, IPERF_E_CLIENTONLY, 0);
    if (p->client) {
        const int code = read_password(p, err);
        if (code < 0)
            return code;
    }
    if (p->client && p->has_rcv_timeout && !q->reverse && !q->bidirectional)
        return iperf_fail(err, IPERF_E_RVRSONLYRCVTIMEOUT, 0);
    if (p->client && q->skip_rx_copy && !q->reverse && !q->bidirectional)
        return iperf_fail(err, IPERF_E_RVRSONLYSKIPRXCOPY, 0);
    if (server && !s->private_key != !s->users_file)
        return iperf_fail(err, IPERF_E_SETSERVERAUTH, 0);
    if (server && s->private_key && access(s->private_key, R_OK) < 0)
        return iperf_fail(err, IPERF_E_SETSERVERAUTH, 0);
    if (server && s->users_file && access(s->users_file, R_OK) < 0)
        return iperf_fail(err, IPERF_E_SERVERAUTHUSERS, 0);
    if (p->has_block && (p->block_bytes == 0 || p->block_bytes > IPERF_BLOCK_MAX) && q->protocol != IPERF_UDP)
        return iperf_fail(err, IPERF_E_BLOCKSIZE, 0);
    if (p->block_bytes > IPERF_BLOCK_MAX)
        return iperf_fail(err, IPERF_E_BLOCKSIZE, 0);
    if (q->protocol == IPERF_UDP && p->block_bytes &&
        (p->block_bytes < IPERF_UDP_BLOCK_MIN || p->block_bytes > IPERF_UDP_BLOCK_MAX))
        return iperf_fail(err, IPERF_E_UDPBLOCKSIZE, 0);
    if (q->protocol == IPERF_UDP && s->file)
        return iperf_fail(err, IPERF_E_UDPFILETRANSFER, 0);
    q->block_bytes = (uint32_t)p->block_bytes;
    if (q->protocol == IPERF_UDP && !p->has_rate)
        q->rate_bps = IPERF_UDP_RATE_BPS;
    if (!p->client && !server)
        return iperf_fail(err, IPERF_E_NOROLE, 0);
    if ((p->has_time && q->time_s) + (q->bytes > 0) + (q->blocks > 0) > 1)
        return iperf_fail(err, IPERF_E_ENDCONDITIONS, 0);
    if (q->bytes || q->blocks)
        q->time_s = 0;
    s->host = p->o->host;
    return 0;
}

int iperf3_options(struct iperf3 *o, int argc, char **argv, struct xk_err *err)
{
    struct parse p = {.o = o};

    const int code = read_options(&p, argc, argv, err);
    if (code < 0)
        return code;
    return p.done ? 1 : check_options(&p, err);
}
