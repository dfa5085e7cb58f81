/* `help`: the usual commands, all of them, or what one of them takes. */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define LINE_CELLS 74

static const char usage[] = "Usage:\n"
                            "  xe <command>\n"
                            "    [ -s <server> ]            XenServer host\n"
                            "    [ -p <port> ]              XenServer port number\n"
                            "    [ -u <username> -pw <password> | -pwf <password file> ]\n"
                            "                               User authentication (password or file)\n"
                            "    [ --nossl ]                Disable SSL/TLS\n"
                            "    [ --debug ]                Enable debug output\n"
                            "    [ --debug-on-fail ]        Enable debug output only on failure\n"
                            "    [ --traceparent <value> ]  Distributed tracing context\n"
                            "    [ <other arguments> ... ]  Command-specific options\n"
                            "\n"
                            "To get help on a specific command:\n"
                            "  xe help <command>\n"
                            "\n";

static const char *const selector_names[] = {"<vm-selectors>", "<host-selectors>", "<sr-selectors>"};

static const char *const selector_texts[] = {
    " VMs can be specified by filtering the full list of VMs on the values of zero or more fields. For example, "
    "specifying 'uuid=<some_uuid>' will select only the VM with that uuid, and 'power-state=halted' will select only "
    "VMs whose 'power-state' field is equal to 'halted'. The special pseudo-field 'vm' matches either of name-label or "
    "uuid. Where multiple VMs are matching, the option '--multiple' must be specified to perform the operation. The "
    "full list of fields that can be matched can be obtained by the command 'xe vm-list params=all'. If no parameters "
    "to select VMs are given, the operation will be performed on all VMs.",
    " Hosts can be specified by filtering the full list of hosts on the values of zero or more fields. For example, "
    "specifying 'uuid=<some_uuid>' will select only the host with that uuid, and 'enabled=true' will select only hosts "
    "whose 'enabled' field is equal to 'true'. The special pseudo-field 'host' matches any of hostname, name-label or "
    "uuid. Where multiple hosts are matching, and the operation can be performed on multiple hosts, the option "
    "'--multiple' must be specified to perform the operation. The full list of fields that can be matched can be "
    "obtained by the command 'xe host-list params=all'. If no parameters to select hosts are given, the operation will "
    "be performed on all hosts.",
    " SRs can be specified by filtering the full list of SRs on the values of zero or more fields. For example, "
    "specifying 'uuid=<some_uuid>' will select only the sr with that uuid, and 'enabled=true' will select only srs "
    "whose 'enabled' field is equal to 'true'. The special pseudo-field 'sr' matches either of name-label or uuid. "
    "Where multiple SRs are matching, and the operation can be performed on multiple SRs, the option '--multiple' must "
    "be specified to perform the operation. The full list of fields that can be matched can be obtained by the command "
    "'xe sr-list params=all'. If no parameters to select SRs are given, the operation will be performed on all SRs.",
};

/* The list with ", " for ",". */
static void add_spaced(struct xk_buf *b, const char *list)
{
    for (; *list; list++)
        xk_buf_printf(b, *list == ',' ? ", " : "%c", *list);
}

static void help_command(struct xe *x, const char *name)
{
    struct xk_buf required = XK_BUF_INIT(1u << 16), optional = XK_BUF_INIT(1u << 16), text = XK_BUF_INIT(1u << 16);
    struct xk_buf list = XK_BUF_INIT(1u << 16);
    struct xe_entry entry;

    if (!xe_entry_find(&entry, name)) {
        const char *const line = xk_arena_printf(&x->arena, "Unknown command '%s'", name);
        return xe_list_one(x, line ? line : "");
    }
    add_spaced(&required, entry.required);
    if (entry.command) {
        xk_buf_add_str(&list, xe_text(entry.command->optional));
        xk_buf_add_str(&text, xe_text(entry.command->help));
    } else {
        xe_listing_optional(&list, name);
        xe_listing_help(&text, name);
    }
    add_spaced(&optional, xk_buf_str(&list));
    for (unsigned i = 0; i < XK_COUNT(selector_names); i++) {
        static const unsigned flags[] = {XE_SELECTS_VMS, XE_SELECTS_HOSTS, XE_SELECTS_SRS};
        if (!(entry.flags & flags[i]))
            continue;
        xk_buf_printf(&optional, "%s%s", optional.len > 0 ? ", " : "", selector_names[i]);
        xk_buf_add_str(&text, selector_texts[i]);
    }
    const struct xe_pair pairs[] = {{"command name        ", name},
                                    {"reqd params     ", xk_buf_str(&required)},
                                    {"optional params ", xk_buf_str(&optional)},
                                    {"description     ", xk_buf_str(&text)}};
    xe_table_begin(x);
    xe_table_record(x, pairs, XK_COUNT(pairs));
    xe_table_end(x);
    xk_buf_done(&required);
    xk_buf_done(&optional);
    xk_buf_done(&text);
    xk_buf_done(&list);
}

/* Names in lines of at most LINE_CELLS, all of which are one list. */
struct lines {
    const char *items[512];
    size_t count;
    struct xk_buf line;
};

static void lines_end(struct xe *x, struct lines *l)
{
    const struct xapi_value v = xe_text_value(x, xk_buf_str(&l->line));

    if (l->count < XK_COUNT(l->items))
        l->items[l->count++] = v.text;
    xk_buf_reset(&l->line);
}

static void lines_add(struct xe *x, struct lines *l, const char *name)
{
    const bool first = l->line.len == 0;

    if (!first && l->line.len + strlen(name) > LINE_CELLS) {
        lines_end(x, l);
        xk_buf_printf(&l->line, "    %s", name);
    } else {
        xk_buf_printf(&l->line, first ? "    %s" : ", %s", name);
    }
}

enum group { HOSTS, VMS, OTHERS, STANDARD };

static bool belongs(const struct xe_entry *entry, enum group group)
{
    const bool host = xk_has_prefix(entry->name, "host-"), vm = xk_has_prefix(entry->name, "vm-");

    if (entry->flags & XE_HIDDEN_COMMAND)
        return false;
    switch (group) {
    case HOSTS:
        return host;
    case VMS:
        return vm;
    case OTHERS:
        return !host && !vm;
    case STANDARD:
        break;
    }
    return entry->flags & XE_STANDARD;
}

static void help_group(struct xe *x, const struct xe_entry *entries, size_t count, enum group group)
{
    struct lines l = {.line = XK_BUF_INIT(4096)};

    for (size_t i = 0; i < count; i++)
        if (belongs(&entries[i], group))
            lines_add(x, &l, entries[i].name);
    lines_end(x, &l);
    xe_list(x, l.items, l.count);
    xk_buf_done(&l.line);
}

static void help_names(struct xe *x, const struct xe_entry *entries, size_t count, bool all)
{
    const char **const names = xk_arena_alloc(&x->arena, (count + 1) * sizeof(*names));
    size_t used = 0;

    if (!names)
        return xe_fail_memory(x);
    for (size_t i = 0; i < count; i++)
        if (!(entries[i].flags & XE_HIDDEN_COMMAND) && (all || entries[i].flags & XE_STANDARD))
            names[used++] = entries[i].name;
    xe_list(x, names, used);
}

static void help_all(struct xe *x, bool all)
{
    size_t count = 0;
    const struct xe_entry *const entries = xe_entries(x, &count);

    if (!entries)
        return;
    if (x->minimal)
        return help_names(x, entries, count, all);
    const char *const head =
        xk_arena_printf(&x->arena, "%s%s", usage,
                        all ? "Full command list\n-----------------\n"
                            : "To get a full listing of commands:\n  xe help --all\n\nCommon command list\n"
                              "-------------------\n");
    xe_list_one(x, head ? head : usage);
    if (!all)
        return help_group(x, entries, count, STANDARD);
    help_group(x, entries, count, HOSTS);
    xe_list_one(x, "    ");
    help_group(x, entries, count, VMS);
    xe_list_one(x, "    ");
    help_group(x, entries, count, OTHERS);
}

void xe_help(struct xe *x)
{
    static const char *const not_names[] = {"server", "username", "password", "port", "minimal", "all"};
    bool any = false;

    for (size_t i = 0; i < x->param_count && xe_fine(x); i++) {
        bool is_name = true;
        for (size_t j = 0; j < XK_COUNT(not_names); j++)
            is_name = is_name && strcmp(x->params[i].name, not_names[j]) != 0;
        if (is_name)
            help_command(x, x->params[i].name);
        any |= is_name;
    }
    if (!any)
        help_all(x, strcmp(xe_param_or(x, "all", ""), "true") == 0);
}
