/*
 * The options of the classic `iperf3`.
 *
 * One table gives them to the C library's getopt_long() and to the help. That parser is taken as it is, with its
 * abbreviations and its messages, since the stock program uses the same; only one command line is parsed in a process.
 */
#include "rooms/net/classic-options.h"
#include "rooms/net/iperf3.h"

#include "core/secret.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define INTERVAL_MIN_S     0.1
#define INTERVAL_MAX_S     60
#define RCV_TIMEOUT_MIN_MS 100
#define TIMESTAMP_FORMAT   "%c "
#define MULTI_MAX          128

/* Options without a letter. */
enum {
    OPT_BIDIR = CLASSIC_OPTION_FIRST,
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

static const struct classic_row rows[] = {
    {'p', "port", required_argument, CLASSIC_BOTH, "N", "port of the server [5201]", NULL},
    {'f', "format", required_argument, CLASSIC_BOTH, "[kmgtKMGT]", "unit of rates: Kbits … Tbits, KBytes … TBytes",
     NULL},
    {'i', "interval", required_argument, CLASSIC_BOTH, "SECONDS", "between two reports; 0: none [1]", NULL},
    {'I', "pidfile", required_argument, CLASSIC_BOTH, "FILE", "write the process number to a file", NULL},
    {'F', "file", required_argument, CLASSIC_BOTH, "FILE", "send its bytes, or write to it what comes", NULL},
    {'A', "affinity", required_argument, CLASSIC_BOTH, "N[,M]", "run on processor N; the server on M", NULL},
    {'B', "bind", required_argument, CLASSIC_BOTH, "HOST[%DEV]", "own address", NULL},
    {'X', "xbind", required_argument, CLASSIC_BOTH, "HOST", "own address of SCTP; may be given several times", NULL},
    {OPT_BIND_DEV, "bind-dev", required_argument, CLASSIC_BOTH, "DEV", "own network device", NULL},
    {'V', "verbose", no_argument, CLASSIC_BOTH, NULL, "tell more", NULL},
    {'J', "json", no_argument, CLASSIC_BOTH, NULL, "one JSON document at the end", NULL},
    {OPT_JSON_STREAM, "json-stream", no_argument, CLASSIC_BOTH, NULL, "a JSON object a line, as things happen", NULL},
    {OPT_JSON_STREAM_FULL, "json-stream-full-output", no_argument, CLASSIC_BOTH, NULL,
     "the whole document behind them, too", NULL},
    {OPT_LOGFILE, "logfile", required_argument, CLASSIC_BOTH, "FILE", "append the output to a file", NULL},
    {OPT_FORCEFLUSH, "forceflush", no_argument, CLASSIC_BOTH, NULL, "write out at every interval", NULL},
    {OPT_TIMESTAMPS, "timestamps", optional_argument, CLASSIC_BOTH, "FORMAT",
     "time before each line, as strftime [%c ]", NULL},
    {OPT_RCV_TIMEOUT, "rcv-timeout", required_argument, CLASSIC_BOTH, "MS", "give up when nothing is received [120000]",
     NULL},
    {OPT_SND_TIMEOUT, "snd-timeout", required_argument, CLASSIC_BOTH, "MS", "give up when nothing is acknowledged",
     NULL},
    {OPT_CNTL_KA, "cntl-ka", optional_argument, CLASSIC_BOTH, "IDLE/INTV/N", "keepalive on the control connection",
     NULL},
    {'m', "mptcp", no_argument, CLASSIC_BOTH, NULL, "Multipath TCP", NULL},
    {'d', "debug", optional_argument, CLASSIC_BOTH, "LEVEL", "show what goes over the control connection", NULL},
    {'v', "version", no_argument, CLASSIC_BOTH, NULL, "show the version", NULL},
    {'h', "help", no_argument, CLASSIC_BOTH, NULL, "show this", NULL},
    {OPT_FAST, "fast", no_argument, CLASSIC_BOTH, NULL, "receive without copying (xenkit's own)", NULL},
    {'s', "server", no_argument, CLASSIC_SERVER, NULL, "be the server", NULL},
    {'D', "daemon", no_argument, CLASSIC_SERVER, NULL, "go into the background", NULL},
    {'1', "one-off", no_argument, CLASSIC_SERVER, NULL, "end after one test", NULL},
    {OPT_RATE_LIMIT, "server-bitrate-limit", required_argument, CLASSIC_SERVER, "RATE[/S]", "end tests that are faster",
     NULL},
    {OPT_IDLE_TIMEOUT, "idle-timeout", required_argument, CLASSIC_SERVER, "S", "listen anew after S idle seconds",
     NULL},
    {OPT_MAX_DURATION, "server-max-duration", required_argument, CLASSIC_SERVER, "S", "refuse longer tests", NULL},
    {OPT_PRIVATE_KEY, "rsa-private-key-path", required_argument, CLASSIC_SERVER, "FILE", "key for authentication",
     NULL},
    {OPT_USERS, "authorized-users-path", required_argument, CLASSIC_SERVER, "FILE",
     "lines USER,SHA256 of {USER}PASSWORD", NULL},
    {OPT_SKEW, "time-skew-threshold", required_argument, CLASSIC_SERVER, "S", "between the two clocks [10]", NULL},
    {OPT_PKCS1, "use-pkcs1-padding", no_argument, CLASSIC_BOTH, NULL, "for servers before 3.17; ours reads both", NULL},
    {OPT_MULTI, "multi", required_argument, CLASSIC_SERVER, "N", "tests at the same time [1] (xenkit's own)", NULL},
    {'c', "client", required_argument, CLASSIC_CLIENT, "HOST[%DEV]", "be the client of a server", NULL},
    {OPT_SCTP, "sctp", no_argument, CLASSIC_CLIENT, NULL, "SCTP", NULL},
    {OPT_NSTREAMS, "nstreams", required_argument, CLASSIC_CLIENT, "N", "outgoing streams of an SCTP association", NULL},
    {'u', "udp", no_argument, CLASSIC_CLIENT, NULL, "UDP", NULL},
    {OPT_CONNECT_TIMEOUT, "connect-timeout", required_argument, CLASSIC_CLIENT, "MS", "for the control connection",
     NULL},
    {'b', "bitrate", required_argument, CLASSIC_CLIENT, "RATE[/N]", "of each stream, in bursts of N; 0: all [UDP 1M]",
     NULL},
    {'b', "bandwidth", required_argument, CLASSIC_CLIENT, "RATE[/N]", "the same", NULL},
    {OPT_PACING_TIMER, "pacing-timer", required_argument, CLASSIC_CLIENT, "US", "for servers before 3.18", NULL},
    {OPT_FQ_RATE, "fq-rate", required_argument, CLASSIC_CLIENT, "RATE", "the kernel paces the connection", NULL},
    {OPT_NO_FQ, "no-fq-socket-pacing", no_argument, CLASSIC_CLIENT, NULL, "the kernel does not", NULL},
    {'t', "time", required_argument, CLASSIC_CLIENT, "S", "duration [10]", NULL},
    {'n', "bytes", required_argument, CLASSIC_CLIENT, "SIZE", "end after so many bytes", NULL},
    {'k', "blockcount", required_argument, CLASSIC_CLIENT, "N", "end after so many blocks", NULL},
    {'l', "length", required_argument, CLASSIC_CLIENT, "SIZE", "of a block [TCP 128K, UDP what fits]", NULL},
    {OPT_CPORT, "cport", required_argument, CLASSIC_CLIENT, "PORT", "own port of the first stream", NULL},
    {'P', "parallel", required_argument, CLASSIC_CLIENT, "N", "streams [1]", NULL},
    {'R', "reverse", no_argument, CLASSIC_CLIENT, NULL, "the server sends", NULL},
    {OPT_BIDIR, "bidir", no_argument, CLASSIC_CLIENT, NULL, "both send", NULL},
    {'w', "window", required_argument, CLASSIC_CLIENT, "SIZE", "of the socket buffers", NULL},
    {'C', "congestion", required_argument, CLASSIC_CLIENT, "NAME", "congestion control", NULL},
    {'C', "linux-congestion", required_argument, CLASSIC_CLIENT, "NAME", "the same", NULL},
    {'M', "set-mss", required_argument, CLASSIC_CLIENT, "BYTES", "TCP's largest segment", NULL},
    {'N', "no-delay", no_argument, CLASSIC_CLIENT, NULL, "without Nagle's delay", NULL},
    {'4', "version4", no_argument, CLASSIC_BOTH, NULL, "IPv4 only", NULL},
    {'6', "version6", no_argument, CLASSIC_BOTH, NULL, "IPv6 only", NULL},
    {'S', "tos", required_argument, CLASSIC_CLIENT, "N", "type of service, 0 to 255, also octal or hexadecimal", NULL},
    {OPT_DSCP, "dscp", required_argument, CLASSIC_CLIENT, "N|NAME", "0 to 63, or af11 … af43, cs0 … cs7, ef, va", NULL},
    {'L', "flowlabel", required_argument, CLASSIC_CLIENT, "N", "IPv6 flow label", NULL},
    {'Z', "zerocopy", no_argument, CLASSIC_CLIENT, NULL, "send from a file in memory", NULL},
    {OPT_SKIP_RX_COPY, "skip-rx-copy", no_argument, CLASSIC_CLIENT, NULL, "the receiver does not copy", NULL},
    {'O', "omit", required_argument, CLASSIC_CLIENT, "S", "leave out the first seconds", NULL},
    {'T', "title", required_argument, CLASSIC_CLIENT, "TEXT", "before each line", NULL},
    {OPT_EXTRA_DATA, "extra-data", required_argument, CLASSIC_CLIENT, "TEXT", "goes into the JSON of both sides", NULL},
    {OPT_GET_SERVER_OUTPUT, "get-server-output", no_argument, CLASSIC_CLIENT, NULL, "show what the server showed",
     NULL},
    {OPT_UDP_64BIT, "udp-counters-64bit", no_argument, CLASSIC_CLIENT, NULL, "longer numbers in datagrams", NULL},
    {OPT_GSRO, "gsro", no_argument, CLASSIC_CLIENT, NULL, "say that segmentation is wanted; ours does it anyway", NULL},
    {OPT_REPEATING, "repeating-payload", no_argument, CLASSIC_CLIENT, NULL, "digits instead of noise", NULL},
    {OPT_DONT_FRAGMENT, "dont-fragment", no_argument, CLASSIC_CLIENT, NULL, "IPv4's flag", NULL},
    {OPT_USERNAME, "username", required_argument, CLASSIC_CLIENT, "USER",
     "for authentication; IPERF3_PASSWORD, or asked for", NULL},
    {OPT_PUBLIC_KEY, "rsa-public-key-path", required_argument, CLASSIC_CLIENT, "FILE", "of the server", NULL},
};

/* What only matters while options are read. */
struct parse {
    struct iperf3 *o;
    bool client, server_only, client_only, has_rate, has_time, has_rcv_timeout, done;
    uint64_t block_bytes;
};

/* ---- options ---- */

static const struct classic_table table = {
    .program = "iperf3",
    .titles = {"Server or Client:", "Server specific:", "Client specific:"},
    .rows = rows,
    .count = XK_COUNT(rows),
    .width = 40,
};

void iperf3_options_help(struct xk_buf *b)
{
    classic_help(b, &table);
    xk_buf_add_str(b, "\nSizes take K, M, G, T for powers of 1024, rates for powers of 1000.\n");
}

static void show_help(struct xk_out *out)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF3_OUTPUT_MAX);

    iperf3_options_help(&b);
    xk_out_raw(out, xk_buf_str(&b), b.len);
}

static void show_version(struct xk_out *out)
{
    xk_say(out,
           "iperf " IPERF3_VERSION " (xenkit " XK_VERSION ")\n%s\nOptional features available: CPU affinity setting, "
           "IPv6 flow label, SCTP, TCP congestion algorithm setting, sendfile / zerocopy, socket pacing, "
           "authentication, bind to "
           "device, support IPv4 don't fragment\n",
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
        q->protocol = IPERF_SCTP;
        return 0;
    case OPT_NSTREAMS:
        return iperf3_read_number(&s->sctp_streams, word, 0, UINT16_MAX, IPERF_E_SETSCTPNSTREAM, err);
    case OPT_CONNECT_TIMEOUT:
        return iperf3_read_number(&s->connect_timeout_ms, word, 0, INT32_MAX, IPERF_E_UNITVAL, err);
    case 'b':
        p->has_rate = true;
        code = iperf3_read_rate_and_more(&q->rate_bps, &more, word, err);
        return code == 0 && more ? iperf3_read_number(&q->burst, more, 1, IPERF_BURST_MAX, IPERF_E_BURST, err) : code;
    case OPT_PACING_TIMER:
        code = iperf3_read_size(&v, word, err);
        q->pacing_timer_us = (uint32_t)XK_MIN(v, (uint64_t)UINT32_MAX);
        return code;
    case OPT_FQ_RATE:
        return iperf3_read_rate(&q->fq_rate_bps, word, err);
    case OPT_NO_FQ:
        xk_out_rawf(p->o->app->out, "Warning:  --no-fq-socket-pacing is deprecated\n");
        q->fq_rate_bps = 0;
        return 0;
    case 't':
        p->has_time = true;
        return iperf3_read_time(&q->time_s, word, err);
    case 'n':
        return iperf3_read_size(&q->bytes, word, err);
    case 'k':
        return iperf3_read_size(&q->blocks, word, err);
    case 'l':
        return iperf3_read_size(&p->block_bytes, word, err);
    case OPT_CPORT:
        code = iperf3_read_number(&(uint32_t){0}, word, 1, 65535, IPERF_E_BADPORT, err);
        s->client_port = code == 0 ? (uint16_t)atoi(word) : 0;
        return code;
    case 'P':
        return iperf3_read_number(&q->parallel, word, 1, IPERF_STREAMS_MAX, IPERF_E_NUMSTREAMS, err);
    case 'R':
        q->reverse = true;
        return q->bidirectional ? iperf_fail(err, IPERF_E_REVERSEBIDIR, 0) : 0;
    case OPT_BIDIR:
        q->bidirectional = true;
        return q->reverse ? iperf_fail(err, IPERF_E_REVERSEBIDIR, 0) : 0;
    case 'w':
        code = iperf3_read_size(&v, word, err);
        if (code == 0 && v > IPERF_BUFFER_MAX)
            return iperf_fail(err, IPERF_E_BUFSIZE, 0);
        q->window_bytes = (uint32_t)v;
        return code;
    case 'C':
        return take_text(q->congestion, sizeof(q->congestion), word);
    case 'M':
        return iperf3_read_number(&q->mss, word, 0, IPERF_MSS_MAX, IPERF_E_MSS, err);
    case 'N':
        q->nodelay = true;
        return 0;
    case 'S':
        return iperf3_read_byte(&q->tos, word, 255, IPERF_E_BADTOS, err);
    case OPT_DSCP:
        return iperf3_read_service(&q->tos, word, err);
    case 'L':
        code = iperf3_read_byte(&q->flowlabel, word, 0xfffff, IPERF_E_SETFLOW, err);
        return code == 0 && q->flowlabel == 0 ? iperf_fail(err, IPERF_E_SETFLOW, 0) : code;
    case 'Z':
        q->zerocopy = true;
        return 0;
    case OPT_SKIP_RX_COPY:
        q->skip_rx_copy = true;
        return 0;
    case 'O':
        return iperf3_read_number(&q->omit_s, word, 0, IPERF_OMIT_MAX, IPERF_E_OMIT, err);
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
                            : iperf3_read_host(&p->o->host, &s->bind_device, word);
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
        code = iperf3_read_rate_and_more(&s->rate_limit_bps, &more, word, err);
        if (code == 0 && more &&
            (xk_parse_double(&s->rate_limit_s, more) < 0 ||
             (s->rate_limit_s != 0 && (s->rate_limit_s < INTERVAL_MIN_S || s->rate_limit_s > INTERVAL_MAX_S))))
            return iperf_fail(err, IPERF_E_TOTALINTERVAL, 0);
        return code;
    case OPT_IDLE_TIMEOUT:
        return iperf3_read_number(&s->idle_timeout_s, word, 1, IPERF_TIME_MAX, IPERF_E_IDLETIMEOUT, err);
    case OPT_MAX_DURATION:
        return iperf3_read_number(&s->max_duration_s, word, 0, IPERF_TIME_MAX, IPERF_E_DURATION, err);
    case OPT_PRIVATE_KEY:
        s->private_key = word;
        return 0;
    case OPT_USERS:
        s->users_file = word;
        return 0;
    case OPT_SKEW:
        return iperf3_read_number(&s->skew_s, word, 1, INT32_MAX, IPERF_E_SKEWTHRESHOLD, err);
    default: /* OPT_MULTI */
        return iperf3_read_number(&s->multi, word, 1, MULTI_MAX, IPERF_E_NUMSTREAMS, err);
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
        code = iperf3_read_number(&v, word, 1, 65535, IPERF_E_BADPORT, err);
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
        return iperf3_read_affinity(s, word, err);
    case 'B':
        code = iperf3_read_host(&p->o->bind, &s->bind_device, word);
        s->bind_host = p->o->bind;
        return code;
    case 'X':
        if (s->xbind_count == IPERF_XBIND_MAX)
            return iperf_fail(err, IPERF_E_SETSCTPBINDX, E2BIG);
        s->xbind[s->xbind_count++] = word;
        return 0;
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
        return iperf3_read_number(&s->rcv_timeout_ms, word, RCV_TIMEOUT_MIN_MS, IPERF_TIME_MAX * INT64_C(1000),
                                  IPERF_E_RCVTIMEOUT, err);
    case OPT_SND_TIMEOUT:
        return iperf3_read_number(&s->snd_timeout_ms, word, 0, IPERF_TIME_MAX * INT64_C(1000), IPERF_E_SNDTIMEOUT, err);
    case OPT_CNTL_KA:
        return iperf3_read_keepalive(s, word, err);
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

/* returns 0; iperf_fail() codes; -EINVAL: getopt has complained itself. */
static int read_options(struct parse *p, int argc, char **argv, struct xk_err *err)
{
    char letters[2 * XK_COUNT(rows) + 2];
    struct option options[XK_COUNT(rows) + 1];
    int key, code = 0;

    classic_getopt(&table, false, letters, options);
    optind = 0;
    while (code == 0 && !p->done && (key = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        const struct classic_row *const row = classic_row_of(&table, key);
        if (!row)
            return -EINVAL;
        if (row->key == 'v' || row->key == 'h') {
            p->done = true;
            (row->key == 'v' ? show_version : show_help)(p->o->app->out);
            return 0;
        }
        code = (row->role == CLASSIC_CLIENT   ? take_client
                : row->role == CLASSIC_SERVER ? take_server
                                              : take_both)(p, row->key, optarg, err);
        p->client_only |= row->role == CLASSIC_CLIENT && row->key != 'c';
        p->server_only |= row->role == CLASSIC_SERVER && row->key != 's';
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
    return iperf_auth_is_key(s->public_key, false) ? 0 : iperf_fail(err, IPERF_E_SETCLIENTAUTH, 0);
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
    if (server && s->private_key && !iperf_auth_is_key(s->private_key, true))
        return iperf_fail(err, IPERF_E_SETSERVERAUTH, 0);
    if (server && s->users_file && access(s->users_file, R_OK) < 0)
        return iperf_fail(err, IPERF_E_SERVERAUTHUSERS, 0);
    if (p->block_bytes > IPERF_BLOCK_MAX) /* 0: what it is by default */
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
