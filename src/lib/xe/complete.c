/*
 * What could stand at the end of a command line: commands, then the parameters of the command with "=", and values as
 * far as the tables know them. What only the pool knows is asked of it when there is one.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

static void add(struct xk_buf *ret, const char *before, const char *word, const char *behind, const char *begun)
{
    char text[512];

    (void)snprintf(text, sizeof(text), "%s%s%s", before, word, behind);
    if (xk_has_prefix(text, begun))
        xk_buf_printf(ret, "%s\n", text);
}

static void add_commands(struct xe *x, struct xk_buf *ret, const char *begun)
{
    size_t count = 0;
    const struct xe_entry *const entries = xe_entries(x, &count);

    for (size_t i = 0; entries && i < count; i++)
        if (!(entries[i].flags & XE_HIDDEN_COMMAND))
            add(ret, "", entries[i].name, "", begun);
    add(ret, "", "help", "", begun);
}

/* Names with commas between; those of maps end with ':' and go on with a key. */
static void add_params(struct xe *x, struct xk_buf *ret, const char *names, const char *begun)
{
    const struct xapi_value list = *names ? xe_split(x, names, ',') : xapi_list(NULL, 0);

    for (uint32_t i = 0; i < list.count; i++)
        add(ret, "", list.items[i].text, xk_has_suffix(list.items[i].text, ":") ? "" : "=", begun);
}

/* The kind of object whose commands begin like this one: "host-cpu" and not "host" for host-cpu-list. */
static const struct xe_listing *kind_of(const char *command)
{
    const struct xe_listing *best = NULL;

    for (size_t i = 0; i < xe_listing_count; i++) {
        const char *const name = xe_text(xe_listings[i].name);
        const size_t len = strlen(name);
        if (len > 0 && strncmp(command, name, len) == 0 && command[len] == '-' &&
            (!best || len > strlen(xe_text(best->name))))
            best = &xe_listings[i];
    }
    return best;
}

static void add_fields(struct xk_buf *ret, const struct xe_listing *kind, const char *before, const char *begun)
{
    const struct xe_record *const record = &xe_records[kind->record];

    for (size_t i = 0; i < record->fields; i++) {
        const struct xe_field *const f = &xe_fields[record->first_field + i];
        if (!(f->flags & XE_HIDDEN))
            add(ret, before, xe_text(f->name), "", begun);
    }
}

/* The filters that a command about VMs, hosts or storage repositories takes. */
static void add_selectors(struct xk_buf *ret, unsigned flags, const char *begun)
{
    static const struct {
        unsigned flag;
        const char *name;
    } rows[] = {{XE_SELECTS_VMS, "vm"}, {XE_SELECTS_HOSTS, "host"}, {XE_SELECTS_SRS, "sr"}};

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        const struct xe_listing *const kind = flags & rows[i].flag ? xe_listing_find(rows[i].name) : NULL;
        if (!kind)
            continue;
        const struct xe_record *const record = &xe_records[kind->record];
        add(ret, "", rows[i].name, "=", begun);
        add(ret, "", "--multiple", "", begun);
        for (size_t j = 0; j < record->fields; j++)
            add(ret, "", xe_text(xe_fields[record->first_field + j].name), "=", begun);
    }
}

/* Values of a parameter that the tables know. */
static void add_values(struct xk_buf *ret, const struct xe_listing *kind, const char *name, size_t len,
                       const char *begun)
{
    static const char *const truths[] = {"true", "false"};
    static const char *const booleans[] = {"force",  "live",   "multiple", "paused",
                                           "shared", "online", "bootable", "copy"};
    char before[160];

    (void)snprintf(before, sizeof(before), "%.*s=", (int)XK_MIN(len, sizeof(before) - 2), name);
    if (kind && (strncmp(name, "params=", 7) == 0 || strncmp(name, "param-name=", 11) == 0)) {
        /* Several columns stand with commas between: the last one is what was begun. */
        const char *const comma = strrchr(begun, ',');
        char all[512];
        (void)snprintf(all, sizeof(all), "%.*s", comma ? (int)(comma + 1 - begun) : (int)strlen(before),
                       comma ? begun : before);
        if (strncmp(name, "params=", 7) == 0 && !comma)
            add(ret, before, "all", "", begun);
        add_fields(ret, kind, all, begun);
    }
    for (size_t i = 0; i < XK_COUNT(booleans); i++)
        if (strlen(booleans[i]) == len && strncmp(name, booleans[i], len) == 0)
            for (size_t j = 0; j < XK_COUNT(truths); j++)
                add(ret, before, truths[j], "", begun);
}

static void complete_words(struct xe *x, struct xk_buf *ret, const char *const *words, size_t count)
{
    static const char *const switches[] = {"--minimal", "--force", "--multiple", "--all", "--trace"};
    static const char *const options[] = {
        "-s",     "-p",      "-u", "-pw", "-pwf", "--nossl", "--debug", "--debug-on-fail", "--no-session-cache",
        "--help", "-version"};
    const char *const begun = words[count - 1];
    const size_t len = strcspn(begun, "=");
    struct xk_buf names = XK_BUF_INIT(1u << 16);
    struct xe_entry entry;

    if (*begun == '-') {
        for (size_t i = 0; i < XK_COUNT(options); i++)
            add(ret, "", options[i], "", begun);
        for (size_t i = 0; count > 1 && i < XK_COUNT(switches); i++)
            add(ret, "", switches[i], "", begun);
        return;
    }
    if (count == 1 || strcmp(words[0], "help") == 0)
        return add_commands(x, ret, begun);
    if (!xe_entry_find(&entry, words[0]))
        return;
    if (begun[len])
        return add_values(ret, kind_of(words[0]), begun, len, begun);
    add_params(x, ret, entry.required, begun);
    if (entry.command)
        xk_buf_add_str(&names, xe_text(entry.command->optional));
    else
        xe_listing_optional(&names, words[0]);
    add_params(x, ret, xk_buf_str(&names), begun);
    xk_buf_done(&names);
    add_selectors(ret, entry.flags, begun);
}

void xe_complete(struct xk_buf *ret, const char *const *words, size_t count)
{
    struct xe x = {.arena = XK_ARENA_INIT(16u << 20)};

    if (count > 0)
        complete_words(&x, ret, words, count);
    xk_arena_done(&x.arena);
}

bool xe_complete_list(char ret[XE_LIST_COMMAND_BYTES], const char **ret_field, const char *command, const char *begun)
{
    static const struct {
        const char *name, *list, *field;
    } rows[] = {{"vm", "vm", "name-label"},
                {"host", "host", "name-label"},
                {"on", "host", "name-label"},
                {"sr", "sr", "name-label"},
                {"template", "template", "name-label"},
                {"sr-name-label", "sr", "name-label"},
                {"name-label", "", "name-label"},
                {"uuid", "", "uuid"}};
    const size_t len = strcspn(begun, "=");
    const struct xe_listing *kind = NULL;
    char name[80];

    (void)snprintf(name, sizeof(name), "%.*s", (int)XK_MIN(len, sizeof(name) - 1), begun);
    *ret_field = "uuid";
    for (size_t i = 0; i < XK_COUNT(rows) && !kind; i++) {
        if (strcmp(name, rows[i].name) != 0)
            continue;
        kind = *rows[i].list ? xe_listing_find(rows[i].list) : kind_of(command);
        *ret_field = rows[i].field;
    }
    if (!kind && xk_has_suffix(name, "-uuid")) {
        name[strlen(name) - strlen("-uuid")] = '\0';
        kind = xe_listing_find(name);
    }
    if (kind)
        (void)snprintf(ret, XE_LIST_COMMAND_BYTES, "%s-list", xe_text(kind->name));
    return kind != NULL && begun[len] == '=';
}
