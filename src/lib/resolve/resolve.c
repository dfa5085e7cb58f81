/*
 * Names to addresses. evdns asks the name servers; hosts files are read here, because evdns keeps what it reads of
 * them for its getaddrinfo() alone, which in turn calls functions of the C library that a static file must not.
 *
 * An event loop of its own for each question: questions are rare, and there is nothing to share or to lock.
 */
#include "lib/resolve/resolve.h"

#include "core/fs.h"
#include "core/text.h"

#include <event2/dns.h>
#include <event2/event.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define LABEL_BYTES_MAX  63
#define LOOK_NS          (50 * XK_NS_PER_MS)  /* how often the stop flag and the deadline are looked at */
#define OTHER_FAMILY_NS  (500 * XK_NS_PER_MS) /* wait for the other family when one has answered */
#define SERVER_TIMEOUT_S "2"

/* ---- lists of addresses ---- */

static void list_add(struct resolve_addresses *list, int family, const void *bytes, uint16_t port, uint32_t scope)
{
    struct resolve_address a = {0};

    if (list->count == RESOLVE_ADDRESSES_MAX)
        return;
    if (family == AF_INET) {
        a.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        memcpy(&a.v4.sin_addr, bytes, sizeof(a.v4.sin_addr));
        a.bytes = sizeof(a.v4);
    } else {
        a.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = scope};
        memcpy(&a.v6.sin6_addr, bytes, sizeof(a.v6.sin6_addr));
        a.bytes = sizeof(a.v6);
    }
    list->list[list->count++] = a;
}

/* Connecting a datagram socket sends nothing, and fails where there is no route. */
static bool has_route(const struct resolve_address *a)
{
    xk_autoclose const int fd = socket(a->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && connect(fd, &a->any, a->bytes) == 0;
}

/* IPv6 and IPv4 in turn, within those with a route and those without. */
static void list_order(struct resolve_addresses *list)
{
    struct resolve_addresses sorted = {0};
    bool route[RESOLVE_ADDRESSES_MAX], taken[RESOLVE_ADDRESSES_MAX] = {false};

    if (list->count < 2)
        return;
    for (unsigned i = 0; i < list->count; i++)
        route[i] = has_route(&list->list[i]);
    for (int with_route = 1; with_route >= 0; with_route--) {
        int family = AF_INET6;
        for (unsigned missed = 0; missed < 2;) {
            unsigned i = 0;
            while (i < list->count && (taken[i] || route[i] != with_route || list->list[i].any.sa_family != family))
                i++;
            missed = i == list->count ? missed + 1 : 0;
            if (i < list->count) {
                taken[i] = true;
                sorted.list[sorted.count++] = list->list[i];
            }
            family = family == AF_INET6 ? AF_INET : AF_INET6;
        }
    }
    *list = sorted;
}

struct resolve_words resolve_host_text(const struct resolve_address *address)
{
    struct resolve_words w = {.s = "?"};

    if (address->any.sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &address->v4.sin_addr, w.s, sizeof(w.s));
    else if (inet_ntop(AF_INET6, &address->v6.sin6_addr, w.s, sizeof(w.s)) && address->v6.sin6_scope_id) {
        char name[IF_NAMESIZE] = "";
        const size_t used = strlen(w.s);
        if (if_indextoname(address->v6.sin6_scope_id, name))
            snprintf(w.s + used, sizeof(w.s) - used, "%%%s", name);
        else
            snprintf(w.s + used, sizeof(w.s) - used, "%%%u", address->v6.sin6_scope_id);
    }
    return w;
}

struct resolve_words resolve_text(const struct resolve_address *address)
{
    struct resolve_words w = resolve_host_text(address);
    const size_t used = strlen(w.s);

    snprintf(w.s + used, sizeof(w.s) - used, " port %u", resolve_port(address));
    return w;
}

struct resolve_words resolve_url_text(const char *host)
{
    struct resolve_words w;

    snprintf(w.s, sizeof(w.s), strchr(host, ':') ? "[%s]" : "%s", host);
    return w;
}

uint16_t resolve_port(const struct resolve_address *address)
{
    return ntohs(address->any.sa_family == AF_INET ? address->v4.sin_port : address->v6.sin6_port);
}

void resolve_port_set(struct resolve_address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET)
        address->v4.sin_port = htons(port);
    else
        address->v6.sin6_port = htons(port);
}

int resolve_literal(struct resolve_address *ret, const char *text)
{
    const size_t len = strlen(text);
    const bool brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
    char bare[INET6_ADDRSTRLEN] = "";
    struct resolve_address address = {.bytes = sizeof(address.v6), .v6.sin6_family = AF_INET6};

    if (len < sizeof(bare))
        snprintf(bare, sizeof(bare), "%.*s", (int)(len - 2u * brackets), text + brackets);
    if (inet_pton(AF_INET6, bare, &address.v6.sin6_addr) != 1) {
        address = (struct resolve_address){.bytes = sizeof(address.v4), .v4.sin_family = AF_INET};
        if (brackets || inet_pton(AF_INET, bare, &address.v4.sin_addr) != 1)
            return -EINVAL;
    }
    *ret = address;
    return 0;
}

/* ---- literal addresses ---- */

/* returns   0; -ENOENT: it is none; -EINVAL: it is one of an interface that is not there. */
static int find_literal(struct resolve_addresses *ret, const char *name, uint16_t port, int family, struct xk_err *err)
{
    struct in_addr v4;
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];
    uint32_t scope = 0;

    if (inet_pton(AF_INET, name, &v4) == 1) {
        if (family == AF_INET6)
            return xk_fail(err, -EHOSTUNREACH, "%s is an IPv4 address, and an IPv6 one is wanted", name);
        list_add(ret, AF_INET, &v4, port, 0);
        return 0;
    }
    const char *const percent = strchr(name, '%');
    const size_t bytes = percent ? (size_t)(percent - name) : strlen(name);
    if (bytes >= sizeof(text) || !memchr(name, ':', bytes))
        return -ENOENT;
    snprintf(text, sizeof(text), "%.*s", (int)bytes, name);
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return xk_fail(err, -EINVAL, "\"%s\" is neither a name nor an address", name);
    if (family == AF_INET)
        return xk_fail(err, -EHOSTUNREACH, "%s is an IPv6 address, and an IPv4 one is wanted", name);
    if (percent) {
        uint64_t number = 0;
        scope = if_nametoindex(percent + 1);
        if (scope == 0 && xk_parse_u64(&number, percent + 1) == 0 && number <= UINT32_MAX)
            scope = (uint32_t)number;
        if (scope == 0)
            return xk_fail(err, -EINVAL, "%s: there is no interface \"%s\"", name, percent + 1);
    }
    list_add(ret, AF_INET6, &v6, port, scope);
    return 0;
}

/* ---- hosts file ---- */

/* One line: "ADDRESS NAME [NAME…]", a comment from '#' on. */
static void look_at_line(struct resolve_addresses *ret, char *line, const char *name, uint16_t port, int family)
{
    static const char blanks[] = " \t\r\f\v";
    struct in_addr v4;
    struct in6_addr v6;
    char *rest = NULL;

    line[strcspn(line, "#")] = '\0';
    const char *const address = strtok_r(line, blanks, &rest);
    const char *word = address ? strtok_r(NULL, blanks, &rest) : NULL;
    while (word && strcasecmp(word, name) != 0)
        word = strtok_r(NULL, blanks, &rest);
    if (!word)
        return;
    if (family != AF_INET6 && inet_pton(AF_INET, address, &v4) == 1)
        list_add(ret, AF_INET, &v4, port, 0);
    else if (family != AF_INET && inet_pton(AF_INET6, address, &v6) == 1)
        list_add(ret, AF_INET6, &v6, port, 0);
}

/* A file that may be missing. returns   0 with NULL then. */
static int read_if_there(char **ret, const char *root, const char *path, size_t max, struct xk_err *err)
{
    struct xk_err why = {0};
    const int code = xk_slurp(ret, root, path, max, &why);

    if (code == 0)
        return 0;
    *ret = NULL;
    if (code == -ENOENT || code == -EACCES)
        return 0;
    if (err)
        *err = why;
    return code;
}

static int find_in_hosts(struct resolve_addresses *ret, const char *name, uint16_t port, int family, const char *root,
                         struct xk_err *err)
{
    xk_autofree char *text = NULL;
    char *rest = NULL;

    const int code = read_if_there(&text, root, "/etc/hosts", RESOLVE_HOSTS_MAX, err);
    if (code < 0)
        return code;
    for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest))
        look_at_line(ret, line, name, port, family);
    return 0;
}

/* RFC 6761: these names are this machine, whatever a name server says. */
static void find_loopback(struct resolve_addresses *ret, const char *name, uint16_t port, int family)
{
    const struct in_addr v4 = {htonl(INADDR_LOOPBACK)};
    const size_t bytes = strlen(name), tail = strlen(".localhost");

    if (strcasecmp(name, "localhost") != 0 && (bytes <= tail || strcasecmp(name + bytes - tail, ".localhost") != 0))
        return;
    if (family != AF_INET)
        list_add(ret, AF_INET6, &in6addr_loopback, port, 0);
    if (family != AF_INET6)
        list_add(ret, AF_INET, &v4, port, 0);
}

/* ---- name servers ---- */

struct question {
    struct resolve_addresses *ret;
    const struct resolve_limits *limits;
    uint16_t port;
    unsigned open;        /* questions that wait for their answer */
    uint64_t answered_ns; /* when the first answer with an address came; 0: none did */
    bool missing;         /* a server said that there is nothing of that name */
    int wrong;            /* what else was answered, DNS_ERR_* */
};

static void on_answer(int result, char type, int count, int ttl, void *addresses, void *context)
{
    struct question *const q = context;
    const int family = type == DNS_IPv6_AAAA ? AF_INET6 : AF_INET;
    const size_t each = family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);

    q->open--;
    if (result == DNS_ERR_NONE && count > 0) {
        for (int i = 0; i < count; i++)
            list_add(q->ret, family, (const char *)addresses + (size_t)i * each, q->port, 0);
        q->answered_ns = q->limits->clock->monotonic_ns(q->limits->clock);
    } else if (result == DNS_ERR_NONE || result == DNS_ERR_NOTEXIST || result == DNS_ERR_NODATA) {
        q->missing = true;
    } else if (result != DNS_ERR_CANCEL && result != DNS_ERR_SHUTDOWN) {
        q->wrong = result;
    }
}

static void on_look(evutil_socket_t fd, short what, void *context)
{
}

/* returns   0: answered, or nobody is left to answer; -ETIMEDOUT; -EINTR. */
static int run_loop(struct event_base *base, const struct question *q)
{
    const struct resolve_limits *const limits = q->limits;

    while (q->open) {
        if (!limits->ignore_stop && xk_stop_signal())
            return -EINTR;
        const uint64_t now_ns = limits->clock->monotonic_ns(limits->clock);
        if (q->answered_ns && now_ns >= q->answered_ns + OTHER_FAMILY_NS)
            return 0;
        if (now_ns >= limits->deadline_ns)
            return q->answered_ns ? 0 : -ETIMEDOUT;
        if (event_base_loop(base, EVLOOP_ONCE) != 0)
            return 0;
    }
    return 0;
}

static int load_servers(struct evdns_base *dns, const char *root, struct xk_err *err)
{
    xk_autofree char *path = xk_asprintf("%s/etc/resolv.conf", root);
    xk_autofree char *text = NULL;

    if (!path)
        return xk_fail_memory(err);
    /* evdns bounds the file's size itself, but not to a sensible one. */
    const int code = read_if_there(&text, root, "/etc/resolv.conf", RESOLVE_RESOLV_MAX, err);
    if (code < 0)
        return code;
    (void)evdns_base_set_option(dns, "timeout:", SERVER_TIMEOUT_S);
    (void)evdns_base_set_option(dns, "randomize-case:", "0"); /* old servers answer in lower case */
    const int wrong =
        evdns_base_resolv_conf_parse(dns, DNS_OPTION_SEARCH | DNS_OPTION_NAMESERVERS | DNS_OPTION_MISC, path);
    if (wrong == 4)
        return xk_fail_memory(err);
    if (evdns_base_count_nameservers(dns) == 0)
        return xk_fail(err, -EHOSTUNREACH, "%s names no name server that could be asked", path);
    return 0;
}

static int ask(struct question *q, struct event_base *base, struct evdns_base *dns, const char *name, int family,
               struct xk_err *err)
{
    char bare[RESOLVE_NAME_BYTES];
    size_t bytes = strlen(name);
    const bool whole = name[bytes - 1] == '.'; /* a name to which no search domain may be added */

    snprintf(bare, sizeof(bare), "%.*s", (int)(bytes - whole), name);
    const int flags = whole ? DNS_QUERY_NO_SEARCH : 0;
    if (family != AF_INET && evdns_base_resolve_ipv6(dns, bare, flags, on_answer, q))
        q->open++;
    if (family != AF_INET6 && evdns_base_resolve_ipv4(dns, bare, flags, on_answer, q))
        q->open++;
    return q->open ? run_loop(base, q)
                   : xk_fail(err, -EHOSTUNREACH, "the name servers could not be asked for %s", name);
}

static int say_why(const struct question *q, int code, const char *name, struct xk_err *err)
{
    if (code == -EINTR)
        return xk_fail(err, code, "asking for the address of %s: stopped", name);
    if (code == -ETIMEDOUT || q->wrong == DNS_ERR_TIMEOUT) {
        (void)xk_fail(err, -ETIMEDOUT, "no name server answered in time with the address of %s", name);
        xk_err_hint(err, "the name servers stand in /etc/resolv.conf; an address instead of the name needs none");
        return -ETIMEDOUT;
    }
    if (q->missing) {
        (void)xk_fail(err, -EHOSTUNREACH, "there is no host \"%s\"", name);
        xk_err_hint(err, "neither /etc/hosts nor the name servers know it");
        return -EHOSTUNREACH;
    }
    return xk_fail(err, -EHOSTUNREACH, "asking for the address of %s: %s", name, evdns_err_to_string(q->wrong));
}

static void say_nothing(int severity, const char *text)
{
}

static int find_by_server(struct resolve_addresses *ret, const char *name, uint16_t port, int family,
                          const struct resolve_limits *limits, struct xk_err *err)
{
    const struct timeval look = {.tv_usec = (suseconds_t)(LOOK_NS / 1000)};
    struct question q = {.ret = ret, .limits = limits, .port = port};
    struct event_base *const base = event_base_new();
    struct evdns_base *const dns = base ? evdns_base_new(base, 0) : NULL;
    struct event *const timer = dns ? event_new(base, -1, EV_PERSIST, on_look, NULL) : NULL;

    event_set_log_callback(say_nothing);
    int code = timer && event_add(timer, &look) == 0 ? 0 : xk_fail_memory(err);
    if (code == 0)
        code = load_servers(dns, limits->root, err);
    if (code == 0) {
        code = ask(&q, base, dns, name, family, err);
        if (code == -EINTR || code == -ETIMEDOUT || (code == 0 && ret->count == 0))
            code = say_why(&q, code, name, err);
    }
    if (timer)
        event_free(timer);
    if (dns)
        evdns_base_free(dns, 0);
    if (base)
        event_base_free(base);
    return code;
}

/* ---- all together ---- */

static int check_name(const char *name, struct xk_err *err)
{
    size_t label = 0;
    const char *c = name;

    for (; *c; c++) {
        const unsigned char letter = (unsigned char)*c;
        label = letter == '.' ? 0 : label + 1;
        if (letter >= 0x80) {
            (void)xk_fail(err, -EINVAL, "the name \"%s\" has letters that no host's name has", name);
            xk_err_hint(err, "give an international name in its ASCII form (xn--…)");
            return -EINVAL;
        }
        if (!isgraph(letter) || strchr("/\\@[]", letter) || label > LABEL_BYTES_MAX ||
            (letter == '.' && (c == name || c[1] == '.')))
            break;
    }
    if (*c || c == name || c - name >= RESOLVE_NAME_BYTES)
        return xk_fail(err, -EINVAL, "\"%.300s\" is no host's name", name);
    return 0;
}

int resolve_name(struct resolve_addresses *ret, const char *name, uint16_t port, int family,
                 const struct resolve_limits *limits, struct xk_err *err)
{
    struct resolve_addresses found = {0};
    char bare[RESOLVE_NAME_BYTES];
    const size_t bytes = strlen(name);

    if (bytes > 2 && bytes < sizeof(bare) && name[0] == '[' && name[bytes - 1] == ']') {
        snprintf(bare, sizeof(bare), "%.*s", (int)bytes - 2, name + 1);
        name = bare;
    }
    int code = find_literal(&found, name, port, family, err);
    if (code == -ENOENT) {
        code = check_name(name, err);
        if (code == 0)
            code = find_in_hosts(&found, name, port, family, limits->root, err);
        if (code == 0 && found.count == 0)
            find_loopback(&found, name, port, family);
        if (code == 0 && found.count == 0)
            code = find_by_server(&found, name, port, family, limits, err);
    }
    if (code < 0)
        return code;
    list_order(&found);
    *ret = found;
    return 0;
}

int resolve_split(char ret_host[RESOLVE_NAME_BYTES], uint16_t *ret_port, const char *text, uint16_t port,
                  struct xk_err *err)
{
    const char *host = text, *colon = strrchr(text, ':');
    size_t bytes = strlen(text);
    uint64_t number = port;

    if (text[0] == '[') {
        const char *const bracket = strchr(text, ']');
        host = text + 1;
        bytes = bracket ? (size_t)(bracket - host) : 0;
        colon = bracket && bracket[1] == ':' ? bracket + 1 : NULL;
        if (bracket && !colon && bracket[1])
            bytes = 0;
    } else if (colon && strchr(text, ':') == colon) {
        bytes = (size_t)(colon - text);
    } else {
        colon = NULL; /* none, or a bare IPv6 address */
    }
    if (bytes == 0 || bytes >= RESOLVE_NAME_BYTES) {
        (void)xk_fail(err, -EINVAL, "\"%.300s\" is no host: HOST, HOST:PORT or [IPV6]:PORT is wanted", text);
        return -EINVAL;
    }
    if (colon &&
        (!isdigit((unsigned char)colon[1]) || xk_parse_u64(&number, colon + 1) < 0 || number == 0 || number > 65535))
        return xk_fail(err, -EINVAL, "\"%.300s\": the port has to be a number from 1 to 65535", text);
    snprintf(ret_host, RESOLVE_NAME_BYTES, "%.*s", (int)bytes, host);
    *ret_port = (uint16_t)number;
    return 0;
}
