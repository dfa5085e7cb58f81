/*
 * Words to numbers and back.
 *
 * Words with a unit are whole numbers all the way: digits, fraction and factor are multiplied in 128 bits, so
 * "16777215.9T" is exact or refused, never rounded by a double. Real numbers use strtod() and %g; the program never
 * sets LC_NUMERIC, so the point is a point.
 */
#include "core/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

__extension__ typedef unsigned __int128 u128;

/* ---- words to numbers ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The digit's value, or `base` when it is none of that base. */
static unsigned digit_value(char c, unsigned base)
{
    const unsigned value = is_digit(c)                          ? (unsigned)(c - '0')
                           : lower(c) >= 'a' && lower(c) <= 'f' ? (unsigned)(lower(c) - 'a') + 10
                                                                : base;
    return value < base ? value : base;
}

/* Digits at *at, which moves behind them. */
static int parse_digits(uint64_t *ret, const char **at, unsigned base)
{
    const char *p = *at;
    uint64_t value = 0;
    bool overflow = false;
    for (; digit_value(*p, base) < base; p++)
        overflow |= xk_mul(value, (uint64_t)base, &value) || xk_add(value, (uint64_t)digit_value(*p, base), &value);
    if (p == *at)
        return -EINVAL;
    *at = p;
    if (overflow)
        return -ERANGE;
    *ret = value;
    return 0;
}

int xk_parse_u64(uint64_t *ret, const char *word)
{
    const bool hexadecimal = word[0] == '0' && lower(word[1]) == 'x';
    const char *at = hexadecimal ? word + 2 : word;
    uint64_t value = 0;
    const int r = parse_digits(&value, &at, hexadecimal ? 16 : 10);
    if (*at != '\0')
        return -EINVAL;
    if (r == 0)
        *ret = value;
    return r;
}

int xk_parse_i64(int64_t *ret, const char *word)
{
    const bool negative = word[0] == '-';
    uint64_t size = 0;
    const int r = xk_parse_u64(&size, word + (negative || word[0] == '+'));
    if (r < 0)
        return r;
    if (size > (uint64_t)INT64_MAX + negative)
        return -ERANGE;
    /* Through the complement, since the least value has no positive one. */
    *ret = negative && size > 0 ? -(int64_t)(size - 1) - 1 : (int64_t)size;
    return 0;
}

int xk_parse_double(double *ret, const char *word)
{
    /* strtod() would also take blanks, hexadecimal, "inf" and "nan". */
    if (word[0] == '\0' || word[strspn(word, "+-.0123456789eE")] != '\0')
        return -EINVAL;
    char *end;
    const double value = strtod(word, &end);
    if (*end != '\0')
        return -EINVAL;
    if (!isfinite(value))
        return -ERANGE;
    *ret = value;
    return 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* More digits than any 64-bit result can need. */
#define FRACTION_DIGITS_MAX 18

/*
 * "12.5name": a number times the factor of a unit, found by `unit_of` (0: no such unit).
 * A fraction of the smallest unit is cut off, but what is not zero never becomes zero.
 */
static int parse_scaled(uint64_t *ret, const char *word, uint64_t (*unit_of)(const char *name))
{
    const char *at = word;
    uint64_t whole = 0, fraction = 0, fraction_unit = 1;
    int r = parse_digits(&whole, &at, 10);
    if (r == -EINVAL)
        return r;
    if (*at == '.') {
        at++;
        if (!is_digit(*at))
            return -EINVAL;
        for (int digits = 0; is_digit(*at); at++, digits++) {
            if (digits >= FRACTION_DIGITS_MAX)
                return -EINVAL;
            fraction = fraction * 10 + (uint64_t)(*at - '0');
            fraction_unit *= 10;
        }
    }
    const uint64_t factor = unit_of(at);
    if (factor == 0 || (factor == 1 && fraction_unit > 1))
        return -EINVAL;
    if (r < 0)
        return r;
    const u128 value = (u128)whole * factor + (u128)fraction * factor / fraction_unit;
    if (value > UINT64_MAX || (value == 0 && fraction > 0))
        return -ERANGE;
    *ret = (uint64_t)value;
    return 0;
}

/* The exponent of a prefix letter: k 1, M 2, …; 0: none of them. */
static unsigned prefix_power(char letter)
{
    static const char letters[] = "kmgtpe";
    const char *found = letter ? strchr(letters, lower(letter)) : NULL;
    return found ? (unsigned)(found - letters) + 1 : 0;
}

static uint64_t power(uint64_t base, unsigned exponent)
{
    uint64_t result = 1;
    while (exponent-- > 0)
        result *= base;
    return result;
}

static uint64_t size_unit(const char *name)
{
    if (!strcasecmp(name, "") || !strcasecmp(name, "b"))
        return 1;
    const unsigned exponent = prefix_power(name[0]);
    if (exponent == 0)
        return 0;
    if (!strcasecmp(name + 1, "") || !strcasecmp(name + 1, "i") || !strcasecmp(name + 1, "ib"))
        return power(1024, exponent);
    return strcasecmp(name + 1, "b") ? 0 : power(1000, exponent);
}

int xk_parse_size(uint64_t *ret_bytes, const char *word)
{
    return parse_scaled(ret_bytes, word, size_unit);
}

static uint64_t duration_unit(const char *name)
{
    static const struct unit units[] = {
        {"", XK_NS_PER_S},
        {"ns", 1},
        {"us", 1000},
        {"µs", 1000},
        {"ms", XK_NS_PER_MS},
        {"s", XK_NS_PER_S},
        {"m", 60 * XK_NS_PER_S},
        {"h", 3600 * XK_NS_PER_S},
        {"d", 24 * 3600 * XK_NS_PER_S},
    };
    for (size_t i = 0; i < XK_COUNT(units); i++)
        if (!strcmp(name, units[i].name))
            return units[i].factor;
    return 0;
}

int xk_parse_duration(uint64_t *ret_ns, const char *word)
{
    return parse_scaled(ret_ns, word, duration_unit);
}

/* The case of the letter b tells bits from bytes, as everywhere in networking; that of the prefix does not matter. */
static uint64_t rate_unit(const char *name)
{
    static const struct unit units[] = {
        {"", 1}, {"bit", 1}, {"bit/s", 1}, {"bps", 1}, {"b", 1}, {"b/s", 1}, {"B", 8}, {"B/s", 8}, {"Bps", 8},
    };
    const unsigned exponent = prefix_power(name[0]);
    const char *rest = exponent ? name + 1 : name;
    const bool binary = exponent && *rest == 'i' && rest[1] != '\0';
    if (binary)
        rest++;
    for (size_t i = 0; i < XK_COUNT(units); i++)
        if (!strcmp(rest, units[i].name))
            return power(binary ? 1024 : 1000, exponent) * units[i].factor;
    return 0;
}

int xk_parse_rate(uint64_t *ret_bps, const char *word)
{
    return parse_scaled(ret_bps, word, rate_unit);
}

/* ---- numbers to words ---- */

/* Three significant digits without needless zeros: 1.5, 12.3, 940. Four before the point stay whole: 1023. */
static void put_scaled(struct xk_word *ret, double value, const char *unit)
{
    char digits[24];
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(digits, sizeof(digits), "%.*f", decimals, value);
    if (decimals > 0) {
        char *end = digits + strlen(digits);
        while (end[-1] == '0')
            *--end = '\0';
        if (end[-1] == '.')
            end[-1] = '\0';
    }
    snprintf(ret->s, sizeof(ret->s), "%s %s", digits, unit);
}

/* The largest unit in which the value is at least 1 after rounding. */
static struct xk_word scaled(uint64_t value, double step, const char *const *units, size_t count)
{
    struct xk_word word;
    double rest = (double)value;
    size_t i = 0;
    while (i + 1 < count && rest >= step - 0.5) {
        rest /= step;
        i++;
    }
    put_scaled(&word, rest, units[i]);
    return word;
}

struct xk_word xk_size(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    return scaled(bytes, 1024, units, XK_COUNT(units));
}

struct xk_word xk_rate(uint64_t bps)
{
    static const char *const units[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s", "Ebit/s"};
    return scaled(bps, 1000, units, XK_COUNT(units));
}

/* The value in units of which `per` make one of the next: "3 d 4 h". */
static struct xk_word two_units(uint64_t value, unsigned per, const char *large, const char *small)
{
    struct xk_word word;
    if (value % per)
        snprintf(word.s, sizeof(word.s), "%" PRIu64 " %s %u %s", value / per, large, (unsigned)(value % per), small);
    else
        snprintf(word.s, sizeof(word.s), "%" PRIu64 " %s", value / per, large);
    return word;
}

/* value / unit to the nearest, without the sum that could overflow. */
static uint64_t rounded(uint64_t value, uint64_t unit)
{
    return value / unit + (value % unit >= unit - unit / 2);
}

struct xk_word xk_duration(uint64_t ns)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    if (ns < 60 * XK_NS_PER_S - XK_NS_PER_S / 20) /* 59.95 s and more round to a minute */
        return scaled(ns, 1000, units, XK_COUNT(units));
    const uint64_t seconds = rounded(ns, XK_NS_PER_S);
    if (seconds < 3600)
        return two_units(seconds, 60, "m", "s");
    const uint64_t minutes = rounded(ns, 60 * XK_NS_PER_S);
    if (minutes < 24 * 60)
        return two_units(minutes, 60, "h", "m");
    return two_units(rounded(ns, 3600 * XK_NS_PER_S), 24, "d", "h");
}

static char *put_digits(char *at, unsigned value, unsigned digits)
{
    for (unsigned i = digits; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + digits;
}

/* By hand: with snprintf() this was a tenth of what a long list of times costs. */
static void put_iso_time(char *at, const struct tm *tm)
{
    at = put_digits(at, (unsigned)tm->tm_year + 1900U, 4);
    *at++ = '-';
    at = put_digits(at, (unsigned)tm->tm_mon + 1U, 2);
    *at++ = '-';
    at = put_digits(at, (unsigned)tm->tm_mday, 2);
    *at++ = 'T';
    at = put_digits(at, (unsigned)tm->tm_hour, 2);
    *at++ = ':';
    at = put_digits(at, (unsigned)tm->tm_min, 2);
    *at++ = ':';
    at = put_digits(at, (unsigned)tm->tm_sec, 2);
    *at++ = 'Z';
    *at = '\0';
}

struct xk_word xk_iso_time(int64_t unix_seconds)
{
    struct xk_word word;
    struct tm tm;
    const time_t t = unix_seconds;
    /* A year beyond int, or before the first: nothing a calendar could say. */
    if (!gmtime_r(&t, &tm) || tm.tm_year < -1900)
        snprintf(word.s, sizeof(word.s), "@%" PRId64, unix_seconds);
    else if (tm.tm_year <= 9999 - 1900)
        put_iso_time(word.s, &tm);
    else
        snprintf(word.s, sizeof(word.s), "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
    return word;
}

struct xk_word xk_number(double value)
{
    struct xk_word word;
    if (!isfinite(value)) {
        snprintf(word.s, sizeof(word.s), "null");
        return word;
    }
    /*
     * 15 digits survive the way through a double, so when they read back the same, %g has printed the shortest form.
     * Subnormal numbers hold fewer digits; for them the search begins at one.
     */
    for (int digits = fabs(value) < 0x1p-1022 ? 1 : 15; digits <= 17; digits++) {
        snprintf(word.s, sizeof(word.s), "%.*g", digits, value);
        if (strtod(word.s, NULL) == value)
            break;
    }
    return word;
}

struct xk_word xk_uuid_text(const uint8_t uuid[16])
{
    struct xk_word word;
    char *at = word.s;
    for (int i = 0; i < 16; i++) {
        static const char digits[] = "0123456789abcdef";
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[uuid[i] >> 4];
        *at++ = digits[uuid[i] & 15];
    }
    *at = '\0';
    return word;
}
