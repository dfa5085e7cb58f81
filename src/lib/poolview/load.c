/*
 * An export of metrics, <xport>: a legend with a name for each column, then rows with a time and a value for each.
 *
 * Columns that nobody asks for are dropped while they are read, so a host with ten thousand machines costs no more than
 * one with ten. XML and not JSON, because every release writes it, and NaN in it is well-formed.
 */
#include "lib/poolview/inner.h"

#include "core/text.h"

#include <expat.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX   8
#define COLUMNS_MAX 1000000
#define ROWS_MAX    10000
#define TEXT_MAX    1024

/* What a column is; disks have a row of the two last for each repository. */
enum meaning { NOTHING, CPU_AVERAGE, CPU, MEMORY_FREE, LATENCY, IOPS };

struct column {
    uint8_t meaning;
    uint8_t disk;
};

struct reading {
    XML_Parser parser;
    struct poolview_load *load;
    const char *host;
    struct column *columns;
    size_t column_count, capacity, at; /* at: column of the next value of this row */
    unsigned depth, rows;
    bool in_row, in_legend;
    bool has_average; /* cpu_avg; earlier releases have the processors alone */
    double cpu_sum;   /* of this row */
    unsigned cpu_count;
    char text[TEXT_MAX];
    size_t text_bytes;
    const char *wrong;
    int code;
};

static void stop(struct reading *r, int code, const char *wrong)
{
    if (!r->wrong) {
        r->wrong = wrong;
        r->code = code;
    }
    (void)XML_StopParser(r->parser, XML_FALSE);
}

/* ---- the legend ---- */

/* The disk of that short uuid, a new one if there is room. returns   its place, or POOLVIEW_DISKS_MAX. */
static unsigned disk_of(struct poolview_load *load, const char *sr)
{
    unsigned i = 0;

    while (i < load->disk_count && strcmp(load->disks[i].sr, sr) != 0)
        i++;
    if (i == load->disk_count && i < POOLVIEW_DISKS_MAX) {
        load->disk_count++;
        memcpy(load->disks[i].sr, sr, strlen(sr) + 1);
    }
    return i;
}

/* "latency_3f1c0a2b" */
static bool is_of_disk(struct column *c, struct reading *r, const char *name, const char *prefix, enum meaning meaning)
{
    const size_t bytes = strlen(prefix);

    if (strncmp(name, prefix, bytes) != 0 || strlen(name + bytes) != POOLVIEW_SHORT_ID_BYTES - 1)
        return false;
    const unsigned disk = disk_of(r->load, name + bytes);
    if (disk == POOLVIEW_DISKS_MAX)
        return false;
    *c = (struct column){.meaning = (uint8_t)meaning, .disk = (uint8_t)disk};
    return true;
}

/* "AVERAGE:host:UUID:cpu_avg" */
static struct column column_of(struct reading *r, const char *entry)
{
    struct column c = {.meaning = NOTHING};
    const size_t uuid_bytes = strlen(r->host);

    if (strncmp(entry, "AVERAGE:host:", 13) != 0 || strncmp(entry + 13, r->host, uuid_bytes) != 0 ||
        entry[13 + uuid_bytes] != ':')
        return c;
    const char *const name = entry + 14 + uuid_bytes;
    if (strcmp(name, "cpu_avg") == 0)
        c.meaning = CPU_AVERAGE;
    else if (strcmp(name, "memory_free_kib") == 0)
        c.meaning = MEMORY_FREE;
    else if (strncmp(name, "cpu", 3) == 0 && name[3] && strspn(name + 3, "0123456789") == strlen(name + 3))
        c.meaning = CPU;
    else if (!is_of_disk(&c, r, name, "latency_", LATENCY))
        (void)is_of_disk(&c, r, name, "iops_total_", IOPS);
    r->has_average |= c.meaning == CPU_AVERAGE;
    return c;
}

static void add_column(struct reading *r)
{
    if (r->column_count == COLUMNS_MAX)
        return stop(r, -EFBIG, "it has too many columns");
    if (r->column_count == r->capacity) {
        const size_t capacity = r->capacity ? 2 * r->capacity : 256;
        struct column *const more = xk_realloc(r->columns, capacity * sizeof(*more));
        if (!more)
            return stop(r, -ENOMEM, "memory is out");
        r->columns = more;
        r->capacity = capacity;
    }
    r->columns[r->column_count++] = column_of(r, r->text);
}

/* ---- rows ---- */

/* The mean is a sum until the end. */
static void add_value(struct poolview_series *s, double value)
{
    if (!isfinite(value))
        return;
    s->min = s->rows ? fmin(s->min, value) : value;
    s->max = s->rows ? fmax(s->max, value) : value;
    s->mean += value;
    s->rows++;
}

static void take_value(struct reading *r)
{
    if (r->at == r->column_count)
        return stop(r, -EBADMSG, "a row has more values than there are columns");
    const struct column c = r->columns[r->at++];
    double value;

    if (c.meaning == NOTHING || xk_parse_double(&value, r->text) < 0) /* NaN: nothing was measured */
        return;
    if (c.meaning == CPU_AVERAGE)
        add_value(&r->load->cpu, value);
    else if (c.meaning == MEMORY_FREE)
        add_value(&r->load->memory_free_kib, value);
    else if (c.meaning == LATENCY)
        add_value(&r->load->disks[c.disk].latency_us, value);
    else if (c.meaning == IOPS)
        add_value(&r->load->disks[c.disk].iops, value);
    else if (isfinite(value)) {
        r->cpu_sum += value;
        r->cpu_count++;
    }
}

static void take_time(struct reading *r)
{
    int64_t t;

    if (xk_parse_i64(&t, r->text) < 0)
        return;
    r->load->from_s = r->rows == 1 ? t : XK_MIN(r->load->from_s, t);
    r->load->until_s = r->rows == 1 ? t : XK_MAX(r->load->until_s, t);
}

static void end_row(struct reading *r)
{
    if (!r->has_average && r->cpu_count)
        add_value(&r->load->cpu, r->cpu_sum / r->cpu_count);
}

/* ---- elements ---- */

static void XMLCALL on_start(void *context, const char *name, const char **attributes)
{
    struct reading *const r = context;

    if (r->depth == 0 && strcmp(name, "xport") != 0)
        return stop(r, -EBADMSG, "it is no export");
    if (++r->depth > DEPTH_MAX)
        return stop(r, -EBADMSG, "it is nested too deeply");
    r->text_bytes = 0;
    if (strcmp(name, "legend") == 0)
        r->in_legend = true;
    if (strcmp(name, "row") != 0)
        return;
    if (++r->rows > ROWS_MAX)
        return stop(r, -EFBIG, "it has too many rows");
    r->in_row = true;
    r->at = 0;
    r->cpu_sum = 0;
    r->cpu_count = 0;
}

static void XMLCALL on_end(void *context, const char *name)
{
    struct reading *const r = context;

    if (r->wrong)
        return;
    r->depth--;
    r->text[r->text_bytes] = '\0';
    if (strcmp(name, "legend") == 0)
        r->in_legend = false;
    else if (r->in_legend && strcmp(name, "entry") == 0)
        add_column(r);
    else if (r->in_row && strcmp(name, "v") == 0)
        take_value(r);
    else if (r->in_row && strcmp(name, "t") == 0)
        take_time(r);
    else if (strcmp(name, "row") == 0) {
        end_row(r);
        r->in_row = false;
    }
    r->text_bytes = 0;
}

/* What is longer than any name or number here can be is cut, and means nothing then. */
static void XMLCALL on_text(void *context, const char *text, int bytes)
{
    struct reading *const r = context;
    const size_t some = XK_MIN((size_t)bytes, sizeof(r->text) - 1 - r->text_bytes);

    memcpy(r->text + r->text_bytes, text, some);
    r->text_bytes += some;
}

static void XMLCALL on_doctype(void *context, const char *name, const char *system, const char *public, int internal)
{
    stop(context, -EBADMSG, "it has a document type");
}

/* ---- all together ---- */

static void settle(struct poolview_series *s)
{
    if (s->rows)
        s->mean /= s->rows;
}

int poolview_load_decode(struct poolview_load *ret, const char *xml, size_t bytes, const char *host_uuid,
                         struct xk_err *err)
{
    struct reading r = {.load = ret, .host = host_uuid, .parser = XML_ParserCreate(NULL)};

    *ret = (struct poolview_load){0};
    if (!r.parser)
        return xk_fail_memory(err);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetDoctypeDeclHandler(r.parser, on_doctype, NULL);
    const bool whole = bytes <= INT32_MAX && XML_Parse(r.parser, xml, (int)bytes, XML_TRUE) == XML_STATUS_OK;
    const char *const wrong = r.wrong ? r.wrong : XML_ErrorString(XML_GetErrorCode(r.parser));
    XML_ParserFree(r.parser);
    free(r.columns);
    if (!whole) {
        *ret = (struct poolview_load){0};
        if (r.code == -ENOMEM)
            return xk_fail_memory(err);
        return xk_fail(err, r.code ? r.code : -EBADMSG, "its metrics are damaged: %s", wrong);
    }
    settle(&ret->cpu);
    settle(&ret->memory_free_kib);
    for (unsigned i = 0; i < ret->disk_count; i++) {
        settle(&ret->disks[i].latency_us);
        settle(&ret->disks[i].iops);
    }
    ret->known = true;
    return 0;
}
