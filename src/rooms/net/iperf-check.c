/*
 * What the options of the classic `iperf` (2.x) say together. They mean what they mean in any order, so this is looked
 * at when all are read.
 */
#include "rooms/net/iperf.h"

#include "core/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LATER_MAX_S      3600 /* that a start may lie ahead */
#define GAP_MAX_S        60
#define KEY_LIFE_S       20
#define KEY_RANDOM       16
#define TTL_MAX          255
#define TRIP_LEAST_BYTES 128 /* of a datagram with times of its test */

static void check_client_udp(struct iperf2_parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;

    if (s->peer_detect)
        iperf2_refuse(p, "ERROR: option of -X or --peer-detect not supported with -u UDP");
    if (s->connect_only)
        iperf2_refuse(p, "ERROR: option of --connect-only not supported with -u UDP");
    if (s->gap_s != 0 && s->has_rate)
        iperf2_refuse(p, "ERROR: options of --b and --ipg cannot be applied together");
    if (s->gap_s < 0)
        iperf2_refuse(p, "ERROR: option --ipg must be a positive value");
    if (s->connect_retries > 0)
        iperf2_refuse(p, "ERROR: option --connect-retries not supported with -u UDP");
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
        iperf2_refuse(p, "ERROR: IPG delay target of %.1f secs too large (max value is %d secs)", gap_s, GAP_MAX_S);
    if (s->block_bytes < IPERF2_DATAGRAM_BYTES || s->block_bytes > IPERF2_UDP_MAX)
        iperf2_refuse(p, "ERROR: option -l of %u, a datagram has %u to %u bytes", s->block_bytes, IPERF2_DATAGRAM_BYTES,
                      IPERF2_UDP_MAX);
    if (s->trip_times && s->block_bytes < TRIP_LEAST_BYTES && (p->reverse || p->full_duplex || p->dual || p->tradeoff))
        iperf2_refuse(p, "ERROR: payload (-l) size of %u too small for --trip-times, must be %d or greater",
                      s->block_bytes, TRIP_LEAST_BYTES);
}

static void check_client_tcp(struct iperf2_parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;

    if (s->has_rate && !s->rate_in_packets && s->rate / 8 < s->block_bytes)
        iperf2_refuse(p, "ERROR: option -b and -l of %u are incompatible, consider setting -l to %llu or lower",
                      s->block_bytes, (unsigned long long)s->rate / 8);
    if (s->gap_s != 0)
        iperf2_refuse(p, "ERROR: option --ipg requires -u UDP");
    if (s->no_fin)
        iperf2_refuse(p, "ERROR: option --no-udp-fin requires -u UDP");
    if (s->delay_s > 0 && s->connect_only)
        iperf2_refuse(p, "ERROR: Fail because --txdelay-time and --connect-only cannot be applied together");
    if (s->rate_in_packets)
        iperf2_refuse(p, "ERROR: units of pps not supported with TCP");
    if (s->block_bytes == 0)
        iperf2_refuse(p, "ERROR: option -l of 0");
}

static void check_start(struct iperf2_parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;
    const double now_s = (double)p->o->app->clock->utc_ns(p->o->app->clock) / 1e9;

    if (!s->udp && s->delay_s > 0 && s->start_s > 0)
        iperf2_refuse(p, "ERROR: options of --txstart-time and --txdelay-time are mutually exclusive");
    else if (s->start_s > now_s + LATER_MAX_S)
        iperf2_refuse(p, "ERROR: --txstart-time (%lld.%lld) exceeds max scheduled delay of %d secs",
                      (long long)s->start_s, (long long)((s->start_s - floor(s->start_s)) * 1e6), LATER_MAX_S);
    else if (s->delay_s > LATER_MAX_S)
        iperf2_refuse(p, "ERROR: --txdelay-time of %d seconds is more than the supported delay of %d seconds",
                      (int)s->delay_s, LATER_MAX_S);
}

static void set_mode(struct iperf2_parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;

    if (p->reverse + p->full_duplex + (p->dual || p->tradeoff) > 1)
        iperf2_refuse(p, "ERROR: options of --full-duplex, --reverse, -d and -r are mutually exclusive");
    s->mode = p->reverse       ? IPERF2_REVERSE
              : p->full_duplex ? IPERF2_FULL_DUPLEX
              : p->dual        ? IPERF2_DUAL
              : p->tradeoff    ? IPERF2_TRADEOFF
                               : IPERF2_NORMAL;
    if (s->mode != IPERF2_NORMAL && !s->timed && s->bytes > (uint64_t)IPERF2_AMOUNT_MAX)
        iperf2_refuse(p, "ERROR: a server can be asked to send %lld bytes at most", (long long)IPERF2_AMOUNT_MAX);
}

static void check_client(struct iperf2_parse *p)
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
        iperf2_refuse(p, "ERROR: compatibility mode not supported with the requested with options");
    if (s->next_own_host && !p->bind)
        iperf2_refuse(p, "ERROR: option of --incr-srcip requires -B bind option to be set");
    if (s->sum_by_destination)
        iperf2_text_complain(p->o, "WARN: option of --sum-dstip not supported on the client");
    if (s->override_tos)
        iperf2_text_complain(p->o, "WARN: option of --tos-override not supported on the client");
    if (s->clamp_bytes)
        iperf2_text_complain(p->o, "WARN: option of --tcp-rx-window-clamp not supported on the client");
    s->sum_by_destination = s->override_tos = false;
    s->clamp_bytes = 0;
    if (s->ttl > TTL_MAX)
        iperf2_refuse(p, "ERROR: option of -ttl (-T) must be less than %d", TTL_MAX);
    if (s->has_key && !s->key[0])
        iperf2_refuse(p, "ERROR: option of --permit-key requires a value on the client");
    check_start(p);
    (s->udp ? check_client_udp : check_client_tcp)(p);
    if (s->congestion && p->reverse)
        iperf2_refuse(p, "ERROR: tcp congestion control -Z and --reverse cannot be applied together");
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

static void make_key(struct iperf2_parse *p)
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

static void check_server(struct iperf2_parse *p)
{
    static const char not_there[] = "WARN: option of %s is not supported on the server";
    struct iperf2_settings *const s = &p->o->settings;
    struct iperf2 *const o = p->o;

    s->server = true;
    if (s->port_last && s->port_last < s->port)
        iperf2_refuse(p, "ERROR: invalid port range of %u-%u", s->port, s->port_last);
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
        iperf2_refuse(p, "ERROR: option -l of 0");
}

/* "HOST", "HOST%DEV", "HOST:PORT", "[IPV6]:PORT": cut where it stands. */
static void split_bind(struct iperf2_parse *p)
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
        s->bind_port = (uint16_t)iperf2_option_number(p, port, "-B port", 0, 65535);
    else if (port)
        iperf2_text_complain(p->o, "WARNING: port %s ignored - set receive port on server via -p or -L", port);
}

static void split_host(struct iperf2_parse *p)
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

static void check_multicast(struct iperf2_parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;

    s->multicast = true;
    if (!s->udp)
        iperf2_refuse(p, "Multicast requires -u option  failed");
    else if (p->client && (p->reverse || p->full_duplex || p->dual || p->tradeoff))
        iperf2_refuse(p,
                      "ERROR: options of --full-duplex, --reverse, -d and -r not supported with multicast addresses");
    else if (p->client && s->parallel > 1)
        iperf2_refuse(p, "ERROR: client option of -P greater than 1 not supported with multicast address");
    else if (!p->client && s->port_last > s->port)
        iperf2_refuse(p, "iperf: a range of ports (-p %u-%u) is not supported with multicast addresses", s->port,
                      s->port_last);
}

void iperf2_option_check(struct iperf2_parse *p)
{
    struct iperf2_settings *const s = &p->o->settings;

    if (!p->client && !p->server) {
        iperf2_text_complain(p->o, "Usage: iperf [-s|-c host] [options]\nTry `iperf --help' for more information.");
        p->done = true;
        return;
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
        iperf2_refuse(p, "ERROR: Option of --permit-key not supported with UDP");
    split_bind(p);
    if (p->client)
        split_host(p);
    if (p->client ? is_multicast(s->host) : s->bind_host && is_multicast(s->bind_host))
        check_multicast(p);
    if (!p->done)
        (p->client ? check_client : check_server)(p);
    if (p->o->daemon && p->client && !p->done) {
        iperf2_text_complain(p->o, "Iperf client cannot be run as a daemon");
        p->done = true;
    }
}
