/* The options of the classic `iperf` (2.x), one by one: what their words mean. */
#include "rooms/net/iperf.h"

#include "core/text.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SMALL_WINDOW 2048
#define WORD_MAX     256

/* ---- words ---- */

void iperf2_refuse(struct iperf2_parse *p, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    iperf2_text_complain(p->o, "%s", text);
    p->done = true;
    p->status = 1;
}

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

static uint64_t size_of(struct iperf2_parse *p, const char *word, const char *option, uint64_t most)
{
    double v = 0;

    if (!p->done && (!read_units(&v, word, false) || v > (double)most))
        iperf2_refuse(p, "Invalid value of '%s' for %s", word, option);
    return p->done ? 0 : (uint64_t)v;
}

int64_t iperf2_option_number(struct iperf2_parse *p, const char *word, const char *option, int64_t least, int64_t most)
{
    int64_t v = 0;

    if (!p->done && (xk_parse_i64(&v, word) < 0 || v < least || v > most))
        iperf2_refuse(p, "Invalid value of '%s' for %s", word, option);
    return v;
}

static double seconds_of(struct iperf2_parse *p, const char *word, const char *option)
{
    double v = 0;

    if (!p->done && (xk_parse_double(&v, word) < 0 || v < 0))
        iperf2_refuse(p, "Invalid value of '%s' for %s", word, option);
    return v;
}

static bool tos_of(int *ret, const char *word)
{
    uint8_t tos;
    char *rest;

    if (classic_service(&tos, word, CLASSIC_IPERF2)) {
        *ret = tos;
        return true;
    }
    const long v = strtol(word, &rest, 0);
    *ret = (int)v;
    return *word && !*rest && v >= 0 && v <= 255;
}

static void take_rate(struct iperf2_parse *p, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;
    const char *const packets = strpbrk(word, "pP");
    char number[WORD_MAX];
    double v = 0;

    if (strchr(word, ','))
        return iperf2_refuse(p, "iperf: a load that varies (-b MEAN,DEVIATION) is not supported");
    snprintf(number, sizeof(number), "%.*s",
             packets ? (int)XK_MIN(packets - word, (ptrdiff_t)WORD_MAX - 1) : WORD_MAX - 1, word);
    if (!read_units(&v, number, false))
        return iperf2_refuse(p, "Invalid value of '%s' for -b bandwidth", word);
    s->has_rate = true;
    s->rate = (uint64_t)v;
    s->rate_in_packets = packets;
}

static void take_interval(struct iperf2_parse *p, const char *word)
{
    double v;

    if (*word == 'f' || *word == 'F')
        return iperf2_refuse(p, "iperf: reports by frame (-i f) are not supported");
    if (xk_parse_double(&v, word) < 0)
        return iperf2_refuse(p, "Invalid value of '%s' for -i interval", word);
    if (v > UINT32_MAX / 1e6)
        return iperf2_refuse(p, "Too large value of '%s' for -i interval, max is %f", word, UINT32_MAX / 1e6);
    p->o->settings.interval_ns = v > 0 ? (uint64_t)ceil(v * 1e6) * 1000 : 0;
    if (p->o->settings.interval_ns && p->o->settings.interval_ns < IPERF2_INTERVAL_NS) {
        p->o->settings.interval_ns = IPERF2_INTERVAL_NS;
        iperf2_text_complain(p->o, "WARNING: interval too small, increasing to %3.4f milliseconds.",
                             IPERF2_INTERVAL_NS / 1e6);
    }
}

static void take_time(struct iperf2_parse *p, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;
    double v;

    if (xk_parse_double(&v, word) < 0 || v > (double)IPERF2_AMOUNT_MAX / 100)
        return iperf2_refuse(p, "ERROR: -t value of '%s' not recognized", word);
    s->timed = p->set_time = true;
    p->endless = v <= 0;
    if (v > 0)
        s->hundredths = XK_MAX((uint64_t)(v * 100), UINT64_C(1));
}

static void take_ports(struct iperf2_parse *p, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;
    const char *const dash = strchr(word, '-');
    char first[WORD_MAX];

    snprintf(first, sizeof(first), "%.*s", dash ? (int)XK_MIN(dash - word, (ptrdiff_t)WORD_MAX - 1) : WORD_MAX - 1,
             word);
    s->port = (uint16_t)iperf2_option_number(p, first, "-p port", 0, 65535);
    if (dash) {
        s->port_last = (uint16_t)iperf2_option_number(p, dash + 1, "-p port", 1, 65535);
        s->next_port = true;
    }
}

static void take_exclude(struct iperf2_parse *p, const char *word)
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

static void take_key(struct iperf2_parse *p, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;

    p->key_asked = true;
    s->has_key = true;
    if (!word)
        return;
    if (strlen(word) < IPERF2_KEY_MIN)
        return iperf2_refuse(p, "ERROR: value for --permit-key must have at least %d characters", IPERF2_KEY_MIN);
    if (strlen(word) > IPERF2_KEY_MAX)
        return iperf2_refuse(p, "ERROR: value for --permit-key can't be more than %d characters ", IPERF2_KEY_MAX);
    snprintf(s->key, sizeof(s->key), "%s", word);
}

static void take_start(struct iperf2_parse *p, const char *word)
{
    struct iperf2_settings *const s = &p->o->settings;

    s->enhanced = true;
    if (xk_parse_double(&s->start_s, word) < 0)
        iperf2_text_complain(p->o, "WARNING: invalid --txstart-time format");
    else if (s->start_s < 0)
        iperf2_refuse(p, "ERROR: --txstart-time must be a positive value");
}

/* Options that a server does not know are told, and forgotten. returns whether it is one. */
static bool not_for_server(struct iperf2_parse *p, int key)
{
    if (p->client)
        return false;
    iperf2_text_complain(p->o, "WARNING: option -%c is not valid for server mode", key);
    return true;
}

static char *keep(struct iperf2_parse *p, char **where, const char *word)
{
    free(*where);
    *where = xk_strdup(word);
    if (!*where)
        iperf2_refuse(p, "iperf: out of memory");
    return *where;
}

/* ---- options ---- */

void iperf2_option_take_both(struct iperf2_parse *p, int key, const char *word)
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
    case IPERF2_OPT_HIDE_IPS:
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
    case IPERF2_OPT_PERMIT_KEY:
        return take_key(p, word);
    case IPERF2_OPT_SUM_ONLY:
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
        s->parallel = (unsigned)iperf2_option_number(p, word, "-P parallel", 0, IPERF2_STREAMS_MAX);
        return;
    case 'T':
        s->ttl = (int)iperf2_option_number(p, word, "-T ttl", -1, INT32_MAX);
        return;
    case 'W':
        iperf2_text_complain(o, "The -W option is not available in this release");
        return;
    default:
        iperf2_refuse(p, "iperf: option -%c is not supported", key);
    }
}

void iperf2_option_take_server(struct iperf2_parse *p, int key, const char *word)
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
    case IPERF2_OPT_PERMIT_KEY_TIMEOUT:
        p->key_timeout_s = seconds_of(p, word, "--permit-key-timeout");
        return;
    case IPERF2_OPT_SUM_DSTIP:
        s->sum_by_destination = true;
        return;
    case IPERF2_OPT_CLAMP:
        s->clamp_bytes = (uint32_t)size_of(p, word, "--tcp-rx-window-clamp", INT32_MAX);
        return;
    default: /* IPERF2_OPT_TOS_OVERRIDE */
        s->override_tos = tos_of(&s->tos_back, word);
        if (!s->override_tos)
            iperf2_text_complain(o, "Invalid --tos-overide value of %s", word);
    }
}

void iperf2_option_take_client(struct iperf2_parse *p, int key, const char *word)
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
            s->listen_port = (uint16_t)iperf2_option_number(p, word, "-L listenport", 0, 65535);
        return;
    case 'R':
        p->reverse = true;
        return;
    case IPERF2_OPT_FULL_DUPLEX:
        p->full_duplex = true;
        return;
    case 'n':
        if (!read_units(&v, word, false) || v < 1)
            return iperf2_refuse(p, "Invalid value for -n amount of '%s'", word);
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
    case IPERF2_OPT_CONNECT_ONLY:
        s->connect_only = true;
        s->connects = word ? (int)iperf2_option_number(p, word, "--connect-only", 0, INT32_MAX) : -1;
        return;
    case IPERF2_OPT_CONNECT_RETRIES:
        s->connect_retries = (int)iperf2_option_number(p, word, "--connect-retries", 0, INT32_MAX);
        return;
    case IPERF2_OPT_FQ_RATE:
        if (!read_units(&v, word, true))
            return iperf2_refuse(p, "Invalid value of '%s' for --fq-rate", word);
        s->pacing_bytes = (uint64_t)(v / 8);
        return;
    case IPERF2_OPT_INCR_DSTIP:
        s->next_host = true;
        return;
    case IPERF2_OPT_INCR_DSTPORT:
        s->next_port = true;
        return;
    case IPERF2_OPT_INCR_SRCIP:
        s->next_own_host = true;
        return;
    case IPERF2_OPT_INCR_SRCPORT:
        s->next_own_port = true;
        return;
    case IPERF2_OPT_IPG:
        if (xk_parse_double(&v, word) < 0)
            return iperf2_refuse(p, "ERRPORE: Invalid value of '%s' for --ipg", word);
        s->gap_s = v / 1e3;
        return;
    case IPERF2_OPT_LOCAL_ONLY:
        s->dont_route = !word || strtol(word, NULL, 10) != 0;
        return;
    case IPERF2_OPT_NO_CONNECT_SYNC:
        s->no_connect_sync = true;
        return;
    case IPERF2_OPT_NO_UDP_FIN:
        s->no_fin = true;
        return;
    case IPERF2_OPT_QUICKACK:
        s->quick_ack = true;
        return;
    case IPERF2_OPT_PREFETCH:
        s->prefetch_bytes = (uint32_t)size_of(p, word, "--tcp-write-prefetch", INT32_MAX);
        s->enhanced = true;
        return;
    case IPERF2_OPT_WRITE_TIMES:
        s->write_times = true;
        return;
    case IPERF2_OPT_TRIP_TIMES:
        s->trip_times = true;
        return;
    case IPERF2_OPT_DELAY:
        s->delay_s = seconds_of(p, word, "--txdelay-time time");
        return;
    default: /* IPERF2_OPT_START */
        return take_start(p, word);
    }
}
