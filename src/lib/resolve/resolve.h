/*
 * From a name to a connected socket, by a deadline and without the C library's resolver (a static file cannot load
 * what that needs): literal addresses, /etc/hosts, then DNS as /etc/resolv.conf says.
 *
 * Blocking calls that end by their deadline or when a stop is asked for. No state between calls; threads may use it
 * side by side.
 */
#ifndef LIB_RESOLVE_H
#define LIB_RESOLVE_H

#include "core/clock.h"
#include "core/err.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define RESOLVE_ADDRESSES_MAX 16
#define RESOLVE_NAME_BYTES    254         /* the longest name with its NUL */
#define RESOLVE_HOSTS_MAX     (8u << 20)  /* bytes of /etc/hosts */
#define RESOLVE_RESOLV_MAX    (64u << 10) /* bytes of /etc/resolv.conf */
#define RESOLVE_NO_DEADLINE   UINT64_MAX

struct resolve_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t bytes;
};

struct resolve_addresses {
    struct resolve_address list[RESOLVE_ADDRESSES_MAX];
    unsigned count;
};

/* What bounds a call. */
struct resolve_limits {
    const struct xk_clock *clock;
    uint64_t deadline_ns; /* on the clock's monotonic time; RESOLVE_NO_DEADLINE: none */
    const char *root;     /* "" or the folder that stands for /, for its etc/hosts and etc/resolv.conf */
    bool ignore_stop;     /* go on when a stop was asked for: to clean up on the far side */
};

/*
 * The addresses of a name, in the order in which they should be tried: those that this machine has a route to first,
 * IPv6 and IPv4 in turn.
 *
 * name      a host's name, or an address ("192.0.2.1", "2001:db8::1", "[fe80::1%eth0]").
 * family    AF_UNSPEC, AF_INET or AF_INET6.
 * returns   0 with at least one address; -EHOSTUNREACH: there is no such name, or none of this family; -EINVAL: that
 *           is no name; -ETIMEDOUT; -EINTR: a stop was asked for.
 */
int resolve_name(struct resolve_addresses *ret, const char *name, uint16_t port, int family,
                 const struct resolve_limits *limits, struct xk_err *err);

/*
 * Take "HOST", "HOST:PORT", "[IPV6]:PORT" or a bare IPv6 address apart.
 *
 * port      what *ret_port is when the text has none.
 * returns   0; -EINVAL (exit class usage).
 */
int resolve_split(char ret_host[RESOLVE_NAME_BYTES], uint16_t *ret_port, const char *text, uint16_t port,
                  struct xk_err *err);

/* "192.0.2.1 port 443" and "192.0.2.1", for messages; IPv6 addresses are as RFC 5952 writes them. */
struct resolve_words {
    char s[80];
};
struct resolve_words resolve_text(const struct resolve_address *address);
struct resolve_words resolve_host_text(const struct resolve_address *address);
/* "192.0.2.1", or "[2001:db8::1]": an address, or a name, as it stands in a URL. */
struct resolve_words resolve_url_text(const char *host);
uint16_t resolve_port(const struct resolve_address *address);
void resolve_port_set(struct resolve_address *address, uint16_t port);
/* An address from its text alone, "::1" or "[::1]" or "127.0.0.1", with port 0. returns   0; -EINVAL: it is none. */
int resolve_literal(struct resolve_address *ret, const char *text);

/*
 * A TCP connection to the first of the addresses that answers. The next one is tried when one fails, and besides when
 * it has not answered within a quarter of a second (RFC 8305).
 *
 * name      for messages.
 * ret_peer  which address it was; may be NULL.
 * returns   a descriptor, not blocking and without Nagle's delay; -ECONNREFUSED and the like; -ETIMEDOUT; -EINTR.
 */
int resolve_connect(struct resolve_address *ret_peer, const struct resolve_addresses *addresses, const char *name,
                    const struct resolve_limits *limits, struct xk_err *err);

/*
 * poll() until something happens, the deadline passes or a stop is asked for.
 *
 * returns   the count of ready descriptors; -ETIMEDOUT; -EINTR; another negative errno value. Records no error.
 */
int resolve_wait(struct pollfd *fds, nfds_t count, const struct resolve_limits *limits);

/* The point of time `ns` from now; 0 means none. */
uint64_t resolve_deadline(const struct xk_clock *clock, uint64_t ns);

#endif
