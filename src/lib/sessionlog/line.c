/*
 * Most lines of a log are about something else, and are given up at a glance: behind their header, which ends with "]
 * ", stands none of the few letters that a message of ours begins with. The others are taken apart from the left, one
 * field after the other, until one does not fit. Weighed: a search for "Session." over the whole text first. What it
 * finds still has to be traced back to the beginning of a line to tell a message from a name that quotes one, and the
 * other messages would need searches of their own.
 *
 * The fields of a create line are separated by blanks, and a user or an originator may hold blanks and words that look
 * like fields. What follows them cannot, so these are looked for from the right.
 */
#include "lib/sessionlog/line.h"

#include "core/text.h"

#include <openssl/evp.h>
#include <string.h>

#define ID_DIGITS 32

typedef struct sessionlog_text text;

#define WORD(literal) literal, sizeof(literal) - 1

/* ---- pieces of text ---- */

static bool begins(text t, const char *word, size_t bytes)
{
    return t.bytes >= bytes && memcmp(t.at, word, bytes) == 0;
}

static bool ends(text t, const char *word, size_t bytes)
{
    return t.bytes >= bytes && memcmp(t.at + t.bytes - bytes, word, bytes) == 0;
}

static text after(text t, size_t bytes)
{
    return (text){t.at + bytes, t.bytes - bytes};
}

static bool take_word(text *t, const char *word, size_t bytes)
{
    if (!begins(*t, word, bytes))
        return false;
    *t = after(*t, bytes);
    return true;
}

/* What stands before the next c, which is taken, too. */
static bool take_until(text *ret, text *t, char c)
{
    const char *const at = memchr(t->at, c, t->bytes);

    if (!at)
        return false;
    *ret = (text){t->at, (size_t)(at - t->at)};
    *t = after(*t, ret->bytes + 1);
    return true;
}

/* The last place of a word; NULL: none. */
static const char *find_last(text t, const char *word, size_t bytes)
{
    for (size_t end = t.bytes; end >= bytes; end--) {
        if (memcmp(t.at + end - bytes, word, bytes) == 0)
            return t.at + end - bytes;
    }
    return NULL;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_id(uint8_t ret[SESSIONLOG_ID_BYTES], text *t)
{
    if (t->bytes < ID_DIGITS || (t->bytes > ID_DIGITS && digit_of(t->at[ID_DIGITS]) >= 0))
        return false;
    for (size_t i = 0; i < SESSIONLOG_ID_BYTES; i++) {
        const int high = digit_of(t->at[2 * i]), low = digit_of(t->at[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    *t = after(*t, ID_DIGITS);
    return true;
}

/* Exactly `digits` decimal digits, or a blank for the first of two. */
static bool take_number(unsigned *ret, text *t, unsigned digits)
{
    unsigned n = 0;

    if (t->bytes < digits)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        const char c = t->at[i];
        if (c == ' ' && i == 0 && digits == 2)
            continue;
        if (c < '0' || c > '9')
            return false;
        n = n * 10 + (unsigned)(c - '0');
    }
    *ret = n;
    *t = after(*t, digits);
    return true;
}

static uint64_t take_any_number(text *t)
{
    uint64_t n = 0;

    while (t->bytes && *t->at >= '0' && *t->at <= '9' && n < UINT32_MAX) {
        n = n * 10 + (uint64_t)(*t->at - '0');
        *t = after(*t, 1);
    }
    return n;
}

/* ---- time ---- */

/* Days since 1970 of a civil date, and back; years begin in March, so that the leap day comes last. */
static int64_t days_of(int year, unsigned month, unsigned day)
{
    const int64_t y = (int64_t)year - (month <= 2);
    const int64_t era = (y >= 0 ? y : y - 399) / 400;
    const int64_t of_era = y - era * 400;
    const int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + (int64_t)day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    const int64_t z = days + 719468;
    const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    const int64_t of_era = z - era * 146097;
    const int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    const int64_t month = (5 * of_year + 2) / 153;

    *ret_day = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (unsigned)(month < 10 ? month + 3 : month - 9);
    *ret_year = (int)(year + era * 400 + (*ret_month <= 2));
}

int64_t sessionlog_stamp_s(const struct sessionlog_stamp *stamp, int year)
{
    return days_of(year, stamp->month, stamp->day) * 86400 + stamp->second;
}

int64_t sessionlog_shift_years(int64_t unix_s, int years)
{
    int64_t days = unix_s / 86400, second = unix_s % 86400;
    int year;
    unsigned month, day;

    if (second < 0) {
        days--;
        second += 86400;
    }
    date_of(days, &year, &month, &day);
    return days_of(year + years, month, day) * 86400 + second;
}

int sessionlog_year_of(int64_t unix_s)
{
    int year;
    unsigned month, day;

    date_of((unix_s - (unix_s < 0 ? 86399 : 0)) / 86400, &year, &month, &day);
    return year;
}

static bool is_valid(const struct sessionlog_stamp *s)
{
    static const unsigned char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return s->month >= 1 && s->month <= 12 && s->day >= 1 && s->day <= days[s->month - 1];
}

/* "04:02:12" */
static bool take_clock(unsigned *ret_second, text *t)
{
    unsigned h, m, s;

    if (!take_number(&h, t, 2) || !take_word(t, WORD(":")) || !take_number(&m, t, 2) || !take_word(t, WORD(":")) ||
        !take_number(&s, t, 2) || h > 23 || m > 59 || s > 60)
        return false;
    *ret_second = h * 3600 + m * 60 + s;
    return true;
}

/* "Mar  9 04:02:12" */
static bool take_syslog_stamp(struct sessionlog_stamp *ret, text *t)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    if (t->bytes < 15)
        return false;
    ret->year = 0;
    for (unsigned i = 0; i < 12; i++) {
        if (memcmp(t->at, names + 3 * i, 3) != 0)
            continue;
        *t = after(*t, 3);
        ret->month = i + 1;
        return take_word(t, WORD(" ")) && take_number(&ret->day, t, 2) && take_word(t, WORD(" ")) &&
               take_clock(&ret->second, t) && is_valid(ret);
    }
    return false;
}

/* "20121218T01:16:01", or with dashes "2012-12-18T01:16:01", and what follows it up to a blank or bar. */
static bool take_iso_stamp(struct sessionlog_stamp *ret, text *t, bool dashes)
{
    unsigned year;

    if (!take_number(&year, t, 4) || (dashes && !take_word(t, WORD("-"))) || !take_number(&ret->month, t, 2) ||
        (dashes && !take_word(t, WORD("-"))) || !take_number(&ret->day, t, 2) || !take_word(t, WORD("T")) ||
        !take_clock(&ret->second, t))
        return false;
    ret->year = (int)year;
    while (t->bytes && !strchr(" |)", *t->at))
        *t = after(*t, 1);
    return year >= 1970 && is_valid(ret);
}

/* ---- the header ---- */

/* "host xapi: " or "host xapi[123]: " */
static bool take_program(text *ret_host, text *t)
{
    if (!take_until(ret_host, t, ' ') || ret_host->bytes == 0 || !take_word(t, WORD("xapi")))
        return false;
    if (take_word(t, WORD("["))) {
        (void)take_any_number(t);
        if (!take_word(t, WORD("]")))
            return false;
    }
    return take_word(t, WORD(": "));
}

/* "message repeated 3 times: [ … ]": one message, said so many times more. */
static bool take_repeated(unsigned *ret, text *t)
{
    *ret = 1;
    if (!take_word(t, WORD("message repeated ")))
        return true;
    const uint64_t times = take_any_number(t);
    if (!take_word(t, WORD(" times: [ ")))
        return false;
    *ret = (unsigned)XK_MIN(times, (uint64_t)SESSIONLOG_REPEATED_MAX);
    if (ends(*t, WORD("]")))
        t->bytes--;
    return true;
}

static bool is_level(text level)
{
    while (level.bytes && *level.at == ' ')
        level = after(level, 1);
    return sessionlog_text_is(level, WORD("debug")) || sessionlog_text_is(level, WORD("info")) ||
           sessionlog_text_is(level, WORD("warn")) || sessionlog_text_is(level, WORD("error"));
}

/* From the start of the line to its message. */
static bool take_header(struct sessionlog_line *ret, text *ret_brand, text *t)
{
    text level, host;
    const bool bare = begins(*t, WORD("["));

    if (!bare) {
        const bool iso = t->bytes && *t->at >= '0' && *t->at <= '9';
        if (!(iso ? take_iso_stamp(&ret->stamp, t, true) : take_syslog_stamp(&ret->stamp, t)) ||
            !take_word(t, WORD(" ")) || !take_program(&ret->host, t))
            return false;
    }
    if (!take_repeated(&ret->repeated, t) || !take_word(t, WORD("[")) || !take_until(&level, t, '|'))
        return false;
    if (bare && (!take_iso_stamp(&ret->stamp, &level, false) || !take_until(&level, t, '|')))
        return false;
    if (!is_level(level) || !take_until(&host, t, '|') || !take_until(&ret->thread, t, '|') ||
        !take_until(&ret->task, t, '|') || !take_until(ret_brand, t, ']'))
        return false;
    if (bare)
        ret->host = host;
    return take_word(t, WORD(" "));
}

bool sessionlog_line_stamp(struct sessionlog_stamp *ret, const char *line, size_t bytes)
{
    text t = {line, bytes};

    if (take_word(&t, WORD("[")))
        return take_iso_stamp(ret, &t, false);
    if (t.bytes && *t.at >= '0' && *t.at <= '9')
        return take_iso_stamp(ret, &t, true);
    return take_syslog_stamp(ret, &t);
}

/* ---- messages ---- */

/* Take " name=value" off the end of t; the value may be anything without that name in it. */
static bool cut_field(text *ret_value, text *t, const char *name, size_t bytes)
{
    const char *const at = find_last(*t, name, bytes);

    if (!at)
        return false;
    *ret_value = (text){at + bytes, (size_t)(t->at + t->bytes - at) - bytes};
    t->bytes = (size_t)(at - t->at);
    return true;
}

/* A line that was cut may end inside the name of the next field. */
static void drop_cut_name(text *t)
{
    static const char *const names[] = {" originator=", " is_local_superuser=", " auth_user_sid=", " parent=trackid="};
    const char *const blank = memrchr(t->at, ' ', t->bytes);

    for (size_t i = 0; blank && i < XK_COUNT(names); i++) {
        const size_t left = (size_t)(t->at + t->bytes - blank);
        if (left <= strlen(names[i]) && memcmp(blank, names[i], left) == 0) {
            t->bytes -= left;
            return;
        }
    }
}

/* "trackid=… pool=false uname=u originator=o is_local_superuser=true auth_user_sid= parent=trackid=…" */
static bool parse_create(struct sessionlog_line *ret, text t)
{
    text rest, parent;

    if (!take_id(ret->id, &t))
        return false;
    ret->pool = begins(t, WORD(" pool=true"));
    if (!take_word(&t, WORD(" pool=")) || !take_until(&rest, &t, ' ') || !take_word(&t, WORD("uname=")))
        return true;
    ret->has_parent = cut_field(&parent, &t, WORD(" parent=trackid=")) && take_id(ret->parent, &parent);
    const bool has_sid = cut_field(&rest, &t, WORD(" auth_user_sid="));
    const bool has_super = cut_field(&rest, &t, WORD(" is_local_superuser="));
    if (!has_sid && !has_super && !ret->has_parent)
        drop_cut_name(&t);
    ret->has_originator = cut_field(&ret->originator, &t, WORD(" originator="));
    ret->user = t;
    return true;
}

static int64_t find_last_active(text t)
{
    struct sessionlog_stamp stamp;
    const char *const at = memmem(t.at, t.bytes, WORD("(last active "));

    if (!at)
        return 0;
    t = after(t, (size_t)(at - t.at) + sizeof("(last active ") - 1);
    return take_iso_stamp(&stamp, &t, false) ? sessionlog_stamp_s(&stamp, stamp.year) : 0;
}

/*
 * "_ref=R uuid=U trackid=… (last active T): Timed out session [in group 'G' ]because of its age" or "… because max
 * number of sessions was exceeded". Of a line that is cut before the reason the idle time tells it.
 */
static bool parse_collected(struct sessionlog_line *ret, text t)
{
    const char *const at = memmem(t.at, t.bytes, WORD(" trackid="));

    if (!at)
        return false;
    t = after(t, (size_t)(at - t.at) + sizeof(" trackid=") - 1);
    if (!take_id(ret->id, &t))
        return false;
    ret->active_s = find_last_active(t);
    ret->grouped |= memmem(t.at, t.bytes, WORD(" in group '")) != NULL;
    ret->kind = ends(t, WORD("sessions was exceeded")) ? SESSIONLOG_GC_LIMIT : SESSIONLOG_GC_AGE;
    if (ret->kind == SESSIONLOG_GC_LIMIT || ends(t, WORD("because of its age")) || !ret->active_s)
        return true;
    const int64_t stamp_s = sessionlog_stamp_s(&ret->stamp, sessionlog_year_of(ret->active_s));
    const int64_t idle_s =
        stamp_s >= ret->active_s - 86400 ? stamp_s - ret->active_s : sessionlog_shift_years(stamp_s, 1) - ret->active_s;
    if (find_last(t, WORD("because max")) || idle_s < 86400 - 60)
        ret->kind = SESSIONLOG_GC_LIMIT;
    return true;
}

/* "[in group 'G' ]in database (402/407) exceeds limit (400): will delete the oldest" */
static bool parse_exceeds(struct sessionlog_line *ret, text t)
{
    const char *const at = find_last(t, WORD("in database ("));
    const char *const limit = find_last(t, WORD(") exceeds limit ("));

    if (!at || !limit || limit < at)
        return false;
    text number = after(t, (size_t)(limit - t.at) + sizeof(") exceeds limit (") - 1);
    ret->limit = take_any_number(&number);
    text group = {t.at, (size_t)(at - t.at)};
    if (take_word(&group, WORD("in group '")) && ends(group, WORD("' "))) {
        group.bytes -= 2;
        ret->text = group;
        ret->grouped = true;
    }
    return ret->limit > 0;
}

static bool parse_refused(struct sessionlog_line *ret, text t)
{
    text ref;

    if (!take_until(&ref, &t, '\''))
        return false;
    size_t bytes = 0;
    return EVP_Q_digest(NULL, "MD5", NULL, ref.at, ref.bytes, ret->id, &bytes) == 1 && bytes == SESSIONLOG_ID_BYTES;
}

/* The modules that write of sessions, by their names in all releases. */
static bool is_brand(text brand)
{
    return sessionlog_text_is(brand, WORD("xapi")) || sessionlog_text_is(brand, WORD("xapi_session")) ||
           sessionlog_text_is(brand, WORD("db_gc")) || sessionlog_text_is(brand, WORD("db_gc_util"));
}

static bool parse_session(struct sessionlog_line *ret, text t)
{
    if (take_word(&t, WORD("create trackid="))) {
        ret->kind = SESSIONLOG_CREATE;
        return parse_create(ret, t);
    }
    if (take_word(&t, WORD("destroy _ref=")))
        return parse_collected(ret, t);
    ret->kind = SESSIONLOG_DESTROY;
    return take_word(&t, WORD("destroy trackid=")) && take_id(ret->id, &t);
}

/* Is there a "] " with the first letter of one of the messages below behind it? */
static bool may_count(text t)
{
    const char *const end = t.at + t.bytes;

    for (const char *at = t.at; (at = memchr(at, ']', (size_t)(end - at))); at++)
        if (end - at > 2 && at[1] == ' ' && (at[2] == 'S' || at[2] == '(' || at[2] == 'N'))
            return true;
    return false;
}

bool sessionlog_line_parse(struct sessionlog_line *ret, const char *line, size_t bytes)
{
    text t = {line, XK_MIN(bytes, (size_t)SESSIONLOG_LINE_MAX)}, brand;

    if (!may_count(t))
        return false;
    if (t.bytes && t.at[t.bytes - 1] == '\r')
        t.bytes--;
    *ret = (struct sessionlog_line){.repeated = 1};
    if (!take_header(ret, &brand, &t))
        return false;
    if (take_word(&t, WORD("Session."))) {
        ret->grouped = sessionlog_text_is(brand, WORD("xapi_session"));
        return is_brand(brand) && parse_session(ret, t);
    }
    if (take_word(&t, WORD("(Re)starting xapi"))) {
        ret->kind = SESSIONLOG_RESTART;
        ret->text = t;
        return true;
    }
    ret->grouped = begins(t, WORD("Success: "));
    if (take_word(&t, WORD("Success: local auth, ")) || take_word(&t, WORD("Successful local authentication "))) {
        ret->kind = SESSIONLOG_AUTH;
        ret->text = t;
        return is_brand(brand) && begins(t, WORD("user "));
    }
    if (take_word(&t, WORD("Number of disposable sessions "))) {
        ret->kind = SESSIONLOG_EXCEEDS;
        return parse_exceeds(ret, t);
    }
    if (take_word(&t, WORD("Session check failed: the client used an illegal or expired session ref '"))) {
        ret->kind = SESSIONLOG_REFUSED;
        return parse_refused(ret, t);
    }
    return false;
}
