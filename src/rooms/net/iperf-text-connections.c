/* The classic text of iperf 2 before and around the numbers: sockets, connections, what a client waits for. */
#include "rooms/net/iperf.h"

#include "core/text.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define RULE   "------------------------------------------------------------\n"
#define HIDDEN "(**hidden**)"

/* ---- sockets ---- */

static void add_window(struct iperf2 *o, const struct iperf2_socket *s)
{
    const bool plain = toupper((unsigned char)o->format) == 'B';
    const uint32_t asked = o->settings.window_bytes;

    xk_buf_printf(&o->line, "%s: %s", o->settings.udp ? "UDP buffer size" : "TCP window size",
                  iperf2_text_units(s->window_bytes, plain ? 'B' : 'A').s);
    if (asked == 0)
        xk_buf_add_str(&o->line, " (default)");
    else if ((uint32_t)s->window_bytes != asked)
        xk_buf_printf(&o->line, " (WARNING: requested %s)",
                      iperf2_text_units(asked, (char)toupper((unsigned char)o->format)).s);
    xk_buf_add_char(&o->line, '\n');
}

static void add_mss(struct iperf2 *o, const struct iperf2_socket *s)
{
    if (o->settings.mss)
        xk_buf_printf(&o->line, "MSS req size %u bytes (per TCP_MAXSEG)\n", o->settings.mss);
    else if (o->print_mss && !o->settings.udp)
        xk_buf_printf(&o->line, "MSS size %d bytes\n", s->mss);
}

static void add_listener(struct iperf2 *o, const struct iperf2_socket *s)
{
    const struct iperf2_settings *const set = &o->settings;
    const char *const protocol = set->udp ? "UDP" : "TCP";

    if (s->port_last > s->port)
        xk_buf_printf(&o->line, "Server listening on %s ports %u-%u with pid %d\n", protocol, s->port, s->port_last,
                      (int)getpid());
    else if (set->enhanced)
        xk_buf_printf(&o->line, "Server listening on %s port %u with pid %d\n", protocol, s->port, (int)getpid());
    else
        xk_buf_printf(&o->line, "Server listening on %s port %u\n", protocol, s->port);
    if (set->multicast && set->device)
        xk_buf_printf(&o->line, "Joining multicast (*,G)=*,%s w/iface %s\n", set->bind_host, set->device);
    else if (set->multicast)
        xk_buf_printf(&o->line, "Joining multicast group  %s\n", set->bind_host);
    else if (set->bind_host && set->enhanced && set->device)
        xk_buf_printf(&o->line, "Binding to local address %s and iface %s\n", set->bind_host, set->device);
    else if (set->bind_host && set->enhanced)
        xk_buf_printf(&o->line, "Binding to local address %s\n", set->bind_host);
    if (set->enhanced)
        xk_buf_printf(&o->line, "Read buffer size: %s (Dist bin width=%s)\n",
                      iperf2_text_units(s->block_bytes, (char)toupper((unsigned char)o->format)).s,
                      iperf2_text_units(floor(s->block_bytes / 8.0), 'A').s);
    if (set->congestion)
        xk_buf_printf(&o->line, "TCP congestion control set to %s\n", set->congestion);
    if (set->override_tos)
        xk_buf_printf(&o->line, "Reflected TOS will be set to 0x%x\n", (unsigned)set->tos_back);
    add_mss(o, s);
    if (set->tos > 0)
        xk_buf_printf(&o->line, "TOS will be set to 0x%x\n", (unsigned)set->tos);
    if (set->multicast)
        xk_buf_add_str(&o->line, "Server set to single client traffic mode (per multicast receive)\n");
    else if (set->single_client)
        xk_buf_printf(&o->line, "%s\n",
                      set->udp ? "WARN: Suggested to use lower case -u instead of -U (to avoid serialize & bypass of "
                                 "reporter thread)"
                               : "Server set to single client traffic mode (serialize traffic tests)");
    add_window(o, s);
    if (set->has_key && set->key_timeout_s > 0)
        xk_buf_printf(&o->line, "Permit key is '%s' (timeout in %0.1f seconds)\n", set->key, set->key_timeout_s);
    else if (set->has_key)
        xk_buf_printf(&o->line, "Permit key is '%s' (WARN: no timeout)\n", set->key);
}

static void add_connecting(struct iperf2 *o, const struct iperf2_socket *s)
{
    const struct iperf2_settings *const set = &o->settings;
    const char *const host = o->hide_addresses ? HIDDEN : s->host, *const protocol = set->udp ? "UDP" : "TCP";

    xk_buf_printf(&o->line, "Client connecting to %s, %s port %u", host, protocol, s->port);
    if (set->device && !set->server)
        xk_buf_printf(&o->line, " with pid %d via %s (%u flows)", (int)getpid(), set->device, s->streams);
    else if (set->enhanced)
        xk_buf_printf(&o->line, " with pid %d (%u flows)", (int)getpid(), s->streams);
    xk_buf_add_char(&o->line, '\n');
    if (set->enhanced && !set->udp)
        xk_buf_printf(&o->line, "Write buffer size: %s%s\n", iperf2_text_units(s->block_bytes, 'B').s,
                      set->write_times ? " (writetimer-enabled)" : "");
    if (set->pacing_bytes)
        xk_buf_printf(&o->line, "fair-queue socket pacing set to %s/s\n",
                      iperf2_text_units((double)set->pacing_bytes, 'a').s);
    add_mss(o, s);
    if (set->congestion)
        xk_buf_printf(&o->line, "TCP congestion control set to %s\n", set->congestion);
    if (set->enhanced)
        xk_buf_printf(&o->line, "TOS set to 0x%x %s\n", (unsigned)XK_MAX(set->tos, 0),
                      set->nodelay ? "and nodelay (Nagle off)" : "(Nagle on)");
    if (o->single_udp)
        xk_buf_add_str(&o->line,
                       "WARN: Client set to bypass reporter thread per -U (suggest use lower case -u instead)\n");
    if (set->udp)
        xk_buf_printf(&o->line, "Sending %u byte datagrams, IPG target: %.2f us (kalman adjust)\n", s->block_bytes,
                      s->gap_us);
    if (set->connect_only) {
        xk_buf_add_str(&o->line, "TCP three-way-handshake (3WHS) only\n");
        return;
    }
    add_window(o, s);
    if (set->prefetch_bytes)
        xk_buf_printf(&o->line, "Event based writes (pending queue watermark at %u bytes)\n", set->prefetch_bytes);
}

void iperf2_text_socket(void *context, const struct iperf2_socket *s)
{
    struct iperf2 *const o = context;

    if (o->no_settings)
        return;
    xk_buf_add_str(&o->line, RULE);
    (s->listens ? add_listener : add_connecting)(o, s);
    xk_buf_add_str(&o->line, RULE);
    iperf2_text_send(o);
}

/* ---- connections ---- */

static struct iperf2_word version_of(uint32_t upper, uint32_t lower)
{
    static const char *const kinds[] = {"-dev", "-rc", "-rc2", "", "-private", "-master"};
    const uint32_t kind = lower & 0xf;
    struct iperf2_word w;

    snprintf(w.s, sizeof(w.s), " (peer %u.%u.%u%s)", upper >> 16, upper & 0xffff, lower >> 16,
             kind < XK_COUNT(kinds) ? kinds[kind] : "-unk");
    return w;
}

static void add_tos(struct iperf2 *o, const struct iperf2_about *f)
{
    const struct iperf2_settings *const s = &o->settings;
    const unsigned back = (unsigned)(s->override_tos ? s->tos_back : f->tos);

    if (s->override_tos ? !f->full_duplex && !f->reverse : f->tos <= 0)
        return;
    if (f->full_duplex)
        xk_buf_printf(&o->line, " (tos rx/tx=0x%x/0x%x)", (unsigned)f->tos, back);
    else
        xk_buf_printf(&o->line, " (tos %s=0x%x)", f->reverse && !f->connected_back ? "tx" : "rx", (unsigned)f->tos);
}

static void add_traits(struct iperf2 *o, const struct iperf2_about *f)
{
    const struct iperf2_settings *const s = &o->settings;

    if (!f->udp && f->clamp_bytes)
        xk_buf_printf(&o->line, " (clamp=%u)", f->clamp_bytes);
    if (!f->udp && f->prefetch_bytes)
        xk_buf_printf(&o->line, " (prefetch=%u)", f->prefetch_bytes);
    if (f->full_duplex)
        xk_buf_add_str(&o->line, " (full-duplex)");
    else if (f->reverse)
        xk_buf_add_str(&o->line, s->pacing_bytes ? " (reverse) (fq)" : " (reverse)");
    if (f->starts_later)
        xk_buf_add_str(&o->line, " (epoch-start)");
    if (f->udp && f->no_fin && !(f->reverse && !s->server))
        xk_buf_add_str(&o->line, " (no-udp-fin)");
    if (f->trip_times)
        xk_buf_add_str(&o->line, " (trip-times)");
    if (iperf2_text_is_enhanced(o, f))
        xk_buf_printf(&o->line, " (sock=%d)", f->fd);
    add_tos(o, f);
    if (iperf2_text_is_enhanced(o, f) && f->version_upper && f->version_lower)
        xk_buf_add_str(&o->line, version_of(f->version_upper, f->version_lower).s);
    if (f->quick_ack)
        xk_buf_add_str(&o->line, " (qack)");
    if (!f->udp && f->tcp.valid)
        xk_buf_printf(&o->line, " (icwnd/mss/irtt=%u/%u/%u)", f->tcp.cwnd_kib, f->tcp.mss, f->tcp.rtt_us);
    /* A server that sends does not say since when. */
    if ((s->server && (f->reverse || f->full_duplex)) || !(iperf2_text_is_enhanced(o, f) || s->connect_only))
        return;
    if (!f->udp && !s->server && f->connect_ms > 0)
        xk_buf_printf(&o->line, " (ct=%4.2f ms)", f->connect_ms);
    xk_buf_printf(&o->line, " on %s", iperf2_text_date(f->connected_utc_ns, IPERF2_WITH_ZONE).s);
}

/* When the client begins, if that is not now. */
static void add_start(struct iperf2 *o, const struct iperf2_about *f)
{
    const struct iperf2_settings *const s = &o->settings;
    const int64_t now_ns = o->app->clock->utc_ns(o->app->clock);
    const double now_s = (double)now_ns / 1e9;

    if (s->server || (s->start_s <= 0 && s->delay_s <= 0))
        return;
    const int wait_s = (int)ceil(s->start_s > 0 ? s->start_s - now_s : s->delay_s);
    const int64_t at_ns = s->start_s > 0 ? (int64_t)(s->start_s * 1e9) : now_ns + wait_s * (int64_t)XK_NS_PER_S;
    const struct iperf2_word at = iperf2_text_date(at_ns, IPERF2_PLAIN),
                             now = iperf2_text_date(now_ns, IPERF2_WITH_ZONE);
    if (wait_s > 0)
        xk_buf_printf(&o->line, "[%3u] Client traffic to start in %d seconds at %s current time is %s\n", f->id, wait_s,
                      at.s, now.s);
    else
        xk_buf_printf(&o->line, "[%3u] WARNING: --txstart-time (%lld.%lld) %s is before now %s\n", f->id,
                      (long long)s->start_s, (long long)((s->start_s - floor(s->start_s)) * 1e6), at.s, now.s);
}

void iperf2_text_connected(void *context, const struct iperf2_about *f)
{
    struct iperf2 *const o = context;
    const struct iperf2_name own = iperf2_text_end(o, &f->local), far = iperf2_text_end(o, &f->peer);
    const bool device = iperf2_text_is_enhanced(o, f) && f->device[0];

    if (o->no_connections || (o->settings.sum_only && !f->key_failed))
        return;
    xk_buf_printf(&o->line, "%slocal %s%s%s port %u connect%s with %s port %u",
                  f->key_failed ? "[drop] " : iperf2_text_id(o, f).s, own.s, device ? "%" : "", device ? f->device : "",
                  own.port, f->key_failed ? "ion" : "ed", far.s, far.port);
    add_traits(o, f);
    xk_buf_add_str(&o->line, f->key_failed ? " (permit key fail)\n" : "\n");
    add_start(o, f);
    iperf2_text_send(o);
}

void iperf2_text_connects(void *context, const struct iperf2_spread *ms, unsigned failed)
{
    struct iperf2 *const o = context;

    xk_buf_printf(
        &o->line, "[ CT] final connect times (min/avg/max/stdev) = %0.3f/%0.3f/%0.3f/%0.3f ms (tot/err) = %llu/%u\n",
        ms->min, ms->mean, ms->max, iperf2_spread_deviation(ms), (unsigned long long)ms->count + failed, failed);
    iperf2_text_send(o);
}

void iperf2_text_clocks(void *context, const struct iperf2_about *f, const struct iperf2_ack *a, double arrived_s)
{
    struct iperf2 *const o = context;
    const double there_ms = (a->arrived_s - a->sent_s) * 1e3, back_ms = (arrived_s - a->acknowledged_s) * 1e3;

    if (a->timed)
        iperf2_text_complain(o, "%sClock sync check (ms): RTT/Half=(%0.3f/%0.3f) OWD-send/ack/asym=(%0.3f/%0.3f/%0.3f)",
                             iperf2_text_id(o, f).s, there_ms + back_ms, (there_ms + back_ms) / 2, there_ms, back_ms,
                             there_ms - back_ms);
}
