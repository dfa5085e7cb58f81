/* Lists of ports: what is typed, and the rows of the table. */
#include "lib/portscan/portscan.h"

#include <string.h>

#define PORT_MAX 65535U

const struct portscan_row *portscan_find_row(uint16_t port, bool udp)
{
    for (const struct portscan_row *row = portscan_rows; row->service; row++) {
        if (row->port == port && row->udp == udp)
            return row;
    }
    return NULL;
}

bool portscan_has_role(const struct portscan_row *row, const char *role)
{
    const size_t bytes = strlen(role);

    for (const char *at = row->roles; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, role, bytes) == 0 && (at[bytes] == ',' || at[bytes] == '\0'))
            return true;
    }
    return false;
}

const char *portscan_state_name(enum portscan_state state)
{
    static const char *const names[] = {"open", "closed", "filtered", "unreachable", "open|filtered"};
    return names[state];
}

int portscan_list_add(struct portscan_list *list, uint16_t port, bool udp)
{
    uint8_t *const bits = &list->seen[udp][port / 8];

    if (*bits & 1u << port % 8)
        return 0;
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity ? list->capacity * 2 : 64;
        struct portscan_port *const bigger = xk_realloc(list->ports, capacity * sizeof(*bigger));
        if (!bigger)
            return -ENOMEM;
        list->ports = bigger;
        list->capacity = capacity;
    }
    list->ports[list->count++] = (struct portscan_port){
        .port = port, .udp = udp, .state = udp ? PORTSCAN_SILENT : PORTSCAN_FILTERED, .rtt_ms = -1};
    *bits |= (uint8_t)(1u << port % 8);
    return 0;
}

/* A number of 1 to 5 digits and nothing else; NULL: none. */
static const char *take_port(unsigned *ret, const char *at)
{
    const char *const begin = at;

    *ret = 0;
    for (; *at >= '0' && *at <= '9' && at - begin < 5; at++)
        *ret = *ret * 10 + (unsigned)(*at - '0');
    return at > begin && *ret >= 1 && *ret <= PORT_MAX ? at : NULL;
}

/* One word up to a comma or the end. */
static const char *take_range(struct portscan_list *list, const char *at, int *ret_code)
{
    unsigned from, to;
    const bool udp = strncmp(at, "udp/", 4) == 0;

    if (udp || strncmp(at, "tcp/", 4) == 0)
        at += 4;
    at = take_port(&from, at);
    to = from;
    if (at && *at == '-')
        at = take_port(&to, at + 1);
    if (!at || to < from || (*at && *at != ','))
        return NULL;
    for (unsigned port = from; port <= to && *ret_code == 0; port++)
        *ret_code = portscan_list_add(list, (uint16_t)port, udp);
    return at;
}

int portscan_list_parse(struct portscan_list *list, const char *text, struct xk_err *err)
{
    const char *at = text;
    int code = 0;

    if (strlen(text) > PORTSCAN_WORDS_MAX)
        return xk_fail(err, -EINVAL, "a list of ports of more than %d bytes", PORTSCAN_WORDS_MAX);
    for (;;) {
        at = take_range(list, at, &code);
        if (code < 0)
            return xk_fail_memory(err);
        if (!at) {
            code = xk_fail(err, -EINVAL, "\"%s\" is no list of ports", text);
            xk_err_hint(err, "for example tcp/443,udp/123,tcp/1-1024");
            return code;
        }
        if (*at == '\0')
            return 0;
        at++;
    }
}

int portscan_list_role(struct portscan_list *list, const char *role, struct xk_err *err)
{
    bool found = false;

    for (const struct portscan_row *row = portscan_rows; row->service; row++) {
        if (role && !portscan_has_role(row, role))
            continue;
        found = true;
        if (portscan_list_add(list, row->port, row->udp) < 0)
            return xk_fail_memory(err);
    }
    return found ? 0 : xk_fail(err, -ENOENT, "no port has the role %s", role);
}

void portscan_list_done(struct portscan_list *list)
{
    free(list->ports);
    *list = (struct portscan_list){0};
}
