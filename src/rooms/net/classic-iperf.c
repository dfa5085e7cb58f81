/*
 * The classic `iperf` (2.x): its options, and what becomes of them.
 *
 * One table gives the options to the C library's getopt_long(), and the help. Its messages are our own, since the stock
 * program carries an older getopt with other quotes.
 */
#include "rooms/net/iperf.h"

#include "core/child.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define VERSION_TEXT "iperf version 2.1.8 (12 August 2022) pthreads"

static const struct classic_row rows[] = {
    {'b', "bandwidth", required_argument, CLASSIC_BOTH, "N[kmgKMG|pps]", "bits, or packets, a second",
     "IPERF_BANDWIDTH"},
    {'e', "enhanced", no_argument, CLASSIC_BOTH, NULL, "tell more", "IPERF_ENHANCEDREPORTS"},
    {'f', "format", required_argument, CLASSIC_BOTH, "[bkmgaBKMGA]", "unit of rates: bits or Bytes", "IPERF_FORMAT"},
    {IPERF2_OPT_HIDE_IPS, "hide-ips", no_argument, CLASSIC_BOTH, NULL, "show the last part of IPv4 addresses only",
     NULL},
    {'i', "interval", required_argument, CLASSIC_BOTH, "SECONDS", "between two reports", "IPERF_INTERVAL"},
    {'l', "len", required_argument, CLASSIC_BOTH, "N[kmKM]", "bytes of a block [TCP 128K, UDP 1470, over IPv6 1450]",
     "IPERF_LEN"},
    {'m', "print_mss", no_argument, CLASSIC_BOTH, NULL, "show TCP's segment size", "IPERF_PRINT_MSS"},
    {'o', "output", required_argument, CLASSIC_BOTH, "FILE", "write output and errors to a file", NULL},
    {'p', "port", required_argument, CLASSIC_BOTH, "N[-N]", "port, or ports, of the server [5001]", "IPERF_PORT"},
    {IPERF2_OPT_PERMIT_KEY, "permit-key", optional_argument, CLASSIC_BOTH, "KEY", "both sides must say the same (TCP)",
     NULL},
    {IPERF2_OPT_SUM_ONLY, "sum-only", no_argument, CLASSIC_BOTH, NULL, "show sums only", NULL},
    {'u', "udp", no_argument, CLASSIC_BOTH, NULL, "UDP", "IPERF_UDP"},
    {'w', "window", required_argument, CLASSIC_BOTH, "N[KM]", "bytes of the socket's buffer", "TCP_WINDOW_SIZE"},
    {'z', "realtime", no_argument, CLASSIC_BOTH, NULL, "ask for the real-time scheduler", NULL},
    {'B', "bind", required_argument, CLASSIC_BOTH, "HOST[:PORT][%DEV]", "own address", "IPERF_BIND"},
    {'C', "compatibility", no_argument, CLASSIC_BOTH, NULL, "send no header", "IPERF_COMPAT"},
    {'M', "mss", required_argument, CLASSIC_BOTH, "N", "TCP's largest segment", "IPERF_MSS"},
    {'N', "nodelay", no_argument, CLASSIC_BOTH, NULL, "without Nagle's delay", "IPERF_NODELAY"},
    {'S', "tos", required_argument, CLASSIC_BOTH, "N|NAME", "type of service: a number, af11 … ef, lowdelay …",
     "IPERF_TOS"},
    {'Z', "tcp-congestion", required_argument, CLASSIC_BOTH, "NAME", "congestion control", "IPERF_CONGESTION_CONTROL"},
    {'x', "reportexclude", required_argument, CLASSIC_BOTH, "[CDMSV]",
     "leave out connections, data, sums, settings, server reports", "IPERF_REPORTEXCLUDE"},
    {'y', "reportstyle", required_argument, CLASSIC_BOTH, "C", "comma-separated values", "IPERF_REPORTSTYLE"},
    {'V', "ipv6_domain", no_argument, CLASSIC_BOTH, NULL, "IPv6; a server takes both", "IPERF_IPV6_DOMAIN"},
    {'t', "time", required_argument, CLASSIC_BOTH, "SECONDS", "to send for [10]; to serve for", "IPERF_TIME"},
    {'P', "parallel", required_argument, CLASSIC_BOTH, "N", "streams; connections that a server takes",
     "IPERF_PARALLEL"},
    {'T', "ttl", required_argument, CLASSIC_BOTH, "N", "time to live", "IPERF_TTL"},
    {'h', "help", no_argument, CLASSIC_BOTH, NULL, "show this", NULL},
    {'v', "version", no_argument, CLASSIC_BOTH, NULL, "show the version", NULL},
    {'s', "server", no_argument, CLASSIC_SERVER, NULL, "be the server", "IPERF_SERVER"},
    {'1', "singleclient", no_argument, CLASSIC_SERVER, NULL, "one client at a time", "IPERF_SINGLECLIENT"},
    {'D', "daemon", no_argument, CLASSIC_SERVER, NULL, "go into the background", "IPERF_DAEMON"},
    {'U', "single_udp", no_argument, CLASSIC_SERVER, NULL, "UDP, one client at a time", "IPERF_SINGLE_UDP"},
    {IPERF2_OPT_PERMIT_KEY_TIMEOUT, "permit-key-timeout", required_argument, CLASSIC_SERVER, "SECONDS",
     "until when the key holds [20]; 0: always", NULL},
    {IPERF2_OPT_SUM_DSTIP, "sum-dstip", no_argument, CLASSIC_SERVER, NULL, "sums by own address", NULL},
    {IPERF2_OPT_CLAMP, "tcp-rx-window-clamp", required_argument, CLASSIC_SERVER, "N[kmKM]",
     "most bytes of the receive window", NULL},
    {IPERF2_OPT_TOS_OVERRIDE, "tos-override", required_argument, CLASSIC_SERVER, "N|NAME",
     "type of service on the way back", NULL},
    {'c', "client", required_argument, CLASSIC_CLIENT, "HOST[%DEV]", "be the client of a server", "IPERF_CLIENT"},
    {'d', "dualtest", no_argument, CLASSIC_CLIENT, NULL, "the server connects back at once", "IPERF_DUALTEST"},
    {'r', "tradeoff", no_argument, CLASSIC_CLIENT, NULL, "the server connects back afterwards", "IPERF_TRADEOFF"},
    {'L', "listenport", required_argument, CLASSIC_CLIENT, "N", "port for that [as -p]", "IPERF_LISTENPORT"},
    {'R', "reverse", no_argument, CLASSIC_CLIENT, NULL, "the server sends", NULL},
    {IPERF2_OPT_FULL_DUPLEX, "full-duplex", no_argument, CLASSIC_CLIENT, NULL, "both send over one connection", NULL},
    {'n', "num", required_argument, CLASSIC_CLIENT, "N[kmgKMG]", "bytes to send, instead of -t", "IPERF_NUM"},
    {'F', "file_input", required_argument, CLASSIC_CLIENT, "FILE", "send its bytes", "IPERF_FILE_INPUT"},
    {'I', "stdin_input", no_argument, CLASSIC_CLIENT, NULL, "send what comes on standard input", "IPERF_STDIN_INPUT"},
    {'X', "peer-detect", no_argument, CLASSIC_CLIENT, NULL, "wait for the server's version", "IPERF_PEER_DETECT"},
    {IPERF2_OPT_CONNECT_ONLY, "connect-only", optional_argument, CLASSIC_CLIENT, "N", "connect N times, send nothing",
     NULL},
    {IPERF2_OPT_CONNECT_RETRIES, "connect-retries", required_argument, CLASSIC_CLIENT, "N", "tries after the first",
     NULL},
    {IPERF2_OPT_FQ_RATE, "fq-rate", required_argument, CLASSIC_CLIENT, "N[kmgKMG]", "the kernel paces the socket",
     NULL},
    {IPERF2_OPT_INCR_DSTIP, "incr-dstip", no_argument, CLASSIC_CLIENT, NULL,
     "streams of -P go to one address after the other", NULL},
    {IPERF2_OPT_INCR_DSTPORT, "incr-dstport", no_argument, CLASSIC_CLIENT, NULL, "and ports", NULL},
    {IPERF2_OPT_INCR_SRCIP, "incr-srcip", no_argument, CLASSIC_CLIENT, NULL, "come from one address after the other",
     NULL},
    {IPERF2_OPT_INCR_SRCPORT, "incr-srcport", no_argument, CLASSIC_CLIENT, NULL, "and port", NULL},
    {IPERF2_OPT_IPG, "ipg", required_argument, CLASSIC_CLIENT, "MS", "time between two datagrams", NULL},
    {IPERF2_OPT_LOCAL_ONLY, "local-only", optional_argument, CLASSIC_CLIENT, "1|0", "do not route", NULL},
    {IPERF2_OPT_NO_CONNECT_SYNC, "no-connect-sync", no_argument, CLASSIC_CLIENT, NULL,
     "streams do not wait for each other", NULL},
    {IPERF2_OPT_NO_UDP_FIN, "no-udp-fin", no_argument, CLASSIC_CLIENT, NULL, "no server's report in the end", NULL},
    {IPERF2_OPT_QUICKACK, "tcp-quickack", no_argument, CLASSIC_CLIENT, NULL, "acknowledge at once", NULL},
    {IPERF2_OPT_PREFETCH, "tcp-write-prefetch", required_argument, CLASSIC_CLIENT, "N[kmKM]",
     "most bytes that wait unsent", NULL},
    {IPERF2_OPT_WRITE_TIMES, "tcp-write-times", no_argument, CLASSIC_CLIENT, NULL, "measure the time of each write",
     NULL},
    {IPERF2_OPT_TRIP_TIMES, "trip-times", no_argument, CLASSIC_CLIENT, NULL,
     "measure one-way delays; the clocks must agree", NULL},
    {IPERF2_OPT_DELAY, "txdelay-time", required_argument, CLASSIC_CLIENT, "SECONDS", "before the first byte", NULL},
    {IPERF2_OPT_START, "txstart-time", required_argument, CLASSIC_CLIENT, "S.US", "since 1970, of the first byte",
     NULL},
    {'4', NULL, no_argument, CLASSIC_BOTH, NULL, "IPv4", NULL},
    {'6', NULL, no_argument, CLASSIC_BOTH, NULL, "IPv6", NULL},
    {'W', "suggest_win_size", no_argument, CLASSIC_BOTH, NULL, "(refused, as by 2.1.8)", NULL},
    {'A', "awdl", no_argument, CLASSIC_BOTH, NULL, "(refused)", NULL},
    {'H', "ssm-host", required_argument, CLASSIC_BOTH, "HOST", "(refused: groups by source)", NULL},
    {IPERF2_OPT_REFUSED, "bounceback", optional_argument, CLASSIC_CLIENT, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "bounceback-congest", optional_argument, CLASSIC_CLIENT, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "bounceback-hold", required_argument, CLASSIC_CLIENT, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "bounceback-no-quickack", no_argument, CLASSIC_CLIENT, NULL, "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "bounceback-period", required_argument, CLASSIC_CLIENT, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "bounceback-txdelay", required_argument, CLASSIC_CLIENT, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "burst-period", required_argument, CLASSIC_CLIENT, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "burst-size", required_argument, CLASSIC_CLIENT, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "histograms", optional_argument, CLASSIC_BOTH, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "isochronous", optional_argument, CLASSIC_CLIENT, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "l2checks", no_argument, CLASSIC_CLIENT, NULL, "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "near-congestion", optional_argument, CLASSIC_CLIENT, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "NUM_REPORT_STRUCTS", required_argument, CLASSIC_BOTH, "N", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "tap-dev", optional_argument, CLASSIC_SERVER, "DEV", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "tun-dev", optional_argument, CLASSIC_SERVER, "DEV", "(refused)", NULL},
    {IPERF2_OPT_REFUSED, "udp-histograms", optional_argument, CLASSIC_BOTH, "N", "(refused)", NULL},
};

static const struct classic_table table = {
    .program = "iperf",
    .titles = {"Client/Server:", "Server specific:", "Client specific:"},
    .rows = rows,
    .count = XK_COUNT(rows),
    .width = 42,
};

static void show_help(struct iperf2 *o)
{
    struct xk_buf b = XK_BUF_INIT(IPERF2_TEXT_MAX);

    classic_help(&b, &table);
    xk_buf_add_str(&b, "\nLower-case units are powers of 1000, upper-case ones of 1024.");
    iperf2_text_complain(o, "%s", xk_buf_str(&b));
    xk_buf_done(&b);
}

static void take(struct iperf2_parse *p, const struct classic_row *row, const char *word)
{
    if (row->key == 'h') {
        show_help(p->o);
        p->done = true;
        p->status = 1;
    } else if (row->key == 'v') {
        iperf2_text_complain(p->o, "%s", VERSION_TEXT);
        p->done = true;
        p->status = 1;
    } else if (row->key == IPERF2_OPT_REFUSED) {
        iperf2_refuse(p, "iperf: option --%s is not supported", row->name);
    } else {
        (row->role == CLASSIC_CLIENT   ? iperf2_option_take_client
         : row->role == CLASSIC_SERVER ? iperf2_option_take_server
                                       : iperf2_option_take_both)(p, row->key, word);
    }
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
static void complain(struct iperf2_parse *p, int key, const char *word)
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

static void read_options(struct iperf2_parse *p, int argc, char **argv)
{
    char letters[2 * XK_COUNT(rows) + 2];
    struct option options[XK_COUNT(rows) + 1];
    int key;

    for (size_t i = 0; i < XK_COUNT(rows) && !p->done; i++) {
        const char *const value = rows[i].variable ? xk_env(p->o->app, rows[i].variable) : NULL;
        if (value)
            take(p, &rows[i], value);
    }
    classic_getopt(&table, true, letters, options);
    optind = 0;
    opterr = 0;
    while (!p->done) {
        const int at = XK_MAX(optind, 1);
        key = getopt_long(argc, argv, letters, options, NULL);
        if (key == -1)
            break;
        const struct classic_row *const row = key == '?' || key == ':' ? NULL : classic_row_of(&table, key);
        if (row)
            take(p, row, optarg);
        else
            complain(p, key, argv[XK_MIN(XK_MAX(optind - 1, at), argc - 1)]);
    }
    for (int i = optind; i < argc && !p->done; i++)
        iperf2_text_complain(p->o, "iperf: ignoring extra argument -- %s", argv[i]);
}

/* ---- running ---- */

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
        iperf2_text_complain(o, "Running Iperf Server as a daemon");
        xk_out_flush(o->app->out);
        const int code = xk_child_daemon();
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
    struct iperf2_parse p = {.o = &o, .key_timeout_s = -1};

    read_options(&p, argc, argv);
    if (!p.done)
        iperf2_option_check(&p);
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
