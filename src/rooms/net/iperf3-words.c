/* The words behind iperf3's options: sizes, rates, services, hosts. What they cannot be has iperf3's own error. */
#include "rooms/net/classic-options.h"
#include "rooms/net/iperf3.h"

#include "core/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

int iperf3_read_size(uint64_t *ret, const char *word, struct xk_err *err)
{
    if (read_units(ret, word, 1024))
        return 0;
    return xk_fail(err, -(IPERF_FAIL + IPERF_E_UNITVAL), "invalid unit value or suffix: '%s'", word);
}

int iperf3_read_rate(uint64_t *ret, const char *word, struct xk_err *err)
{
    if (read_units(ret, word, 1000))
        return 0;
    return xk_fail(err, -(IPERF_FAIL + IPERF_E_UNITVAL), "invalid unit value or suffix: '%s'", word);
}

int iperf3_read_number(uint32_t *ret, const char *word, int64_t least, int64_t most, int error, struct xk_err *err)
{
    int64_t v;

    if (xk_parse_i64(&v, word) < 0 || v < least || v > most)
        return iperf_fail(err, error, 0);
    *ret = (uint32_t)v;
    return 0;
}

int iperf3_read_time(uint32_t *ret, const char *word, struct xk_err *err)
{
    double v;

    if (strchr(word, '.') && xk_parse_double(&v, word) == 0 && v >= 1 && v <= IPERF_TIME_MAX) {
        *ret = (uint32_t)v;
        return 0;
    }
    return iperf3_read_number(ret, word, 0, IPERF_TIME_MAX, IPERF_E_DURATION, err);
}

int iperf3_read_byte(uint32_t *ret, const char *word, int64_t most, int error, struct xk_err *err)
{
    char *end;

    errno = 0;
    const long v = strtol(word, &end, 0);
    if (end == word || *end || errno || v < 0 || v > most)
        return iperf_fail(err, error, 0);
    *ret = (uint32_t)v;
    return 0;
}

int iperf3_read_service(uint32_t *ret_tos, const char *word, struct xk_err *err)
{
    uint8_t tos;

    if (classic_service(&tos, word, CLASSIC_IPERF3)) {
        *ret_tos = tos;
        return 0;
    }
    const int code = iperf3_read_byte(ret_tos, word, 63, IPERF_E_BADTOS, err);
    *ret_tos <<= 2;
    return code;
}

/* "10M/5": a rate, and a number behind a slash. */
int iperf3_read_rate_and_more(uint64_t *ret, const char **ret_more, char *word, struct xk_err *err)
{
    char *const slash = strchr(word, '/');

    if (slash)
        *slash = '\0';
    *ret_more = slash ? slash + 1 : NULL;
    return iperf3_read_rate(ret, word, err);
}

/* "HOST%DEV", where the host is no IPv6 address of this link, which needs its device itself. */
int iperf3_read_host(char **ret_host, const char **ret_device, const char *word)
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

int iperf3_read_keepalive(struct iperf_settings *s, char *word, struct xk_err *err)
{
    uint32_t *const fields[] = {&s->keepalive_idle_s, &s->keepalive_interval_s, &s->keepalive_count};

    s->keepalive = true;
    for (size_t i = 0; word && i < XK_COUNT(fields); i++) {
        char *const slash = strchr(word, '/');
        if (slash)
            *slash = '\0';
        if (*word && iperf3_read_number(fields[i], word, 0, 32767, IPERF_E_CNTLKA, err) < 0)
            return err->code;
        word = slash ? slash + 1 : NULL;
    }
    if (s->keepalive_idle_s && s->keepalive_idle_s <= s->keepalive_count * s->keepalive_interval_s)
        return iperf_fail(err, IPERF_E_CNTLKA, 0);
    return 0;
}

int iperf3_read_affinity(struct iperf_settings *s, char *word, struct xk_err *err)
{
    char *const comma = strchr(word, ',');
    uint32_t v;

    if (comma)
        *comma = '\0';
    int code = iperf3_read_number(&v, word, 0, 1024, IPERF_E_AFFINITY, err);
    if (code < 0)
        return code;
    s->affinity = (int)v;
    if (comma) {
        code = iperf3_read_number(&v, comma + 1, 0, 1024, IPERF_E_AFFINITY, err);
        s->params.affinity = code == 0 ? (int)v : -1;
    }
    return code;
}
