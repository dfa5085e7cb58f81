/*
 * Which ports of a host answer, and which are kept shut by a firewall in between; and the list of ports that hosts of a
 * pool use.
 */
#ifndef PORTSCAN_H
#define PORTSCAN_H

#include "core/buf.h"
#include "lib/resolve/resolve.h"

#define PORTSCAN_PORTS_MAX    (2 * 65535)
#define PORTSCAN_PARALLEL_MAX 1024
#define PORTSCAN_WORDS_MAX    4096 /* bytes of a list of ports, as it is typed */

/* ---- the list (data/net/ports.tsv) ---- */

struct portscan_row {
    const char *service, *roles, *purpose; /* roles: words with commas between */
    uint16_t port;
    bool udp;
};
extern const struct portscan_row portscan_rows[]; /* ends with a NULL service */

/* What a port is for; NULL: not in the list. */
const struct portscan_row *portscan_find_row(uint16_t port, bool udp);
bool portscan_has_role(const struct portscan_row *row, const char *role);

/* ---- what is asked, and what came of it ---- */

enum portscan_state {
    PORTSCAN_OPEN,
    PORTSCAN_CLOSED,      /* the host says that nothing listens there */
    PORTSCAN_FILTERED,    /* silence, or a firewall's refusal */
    PORTSCAN_UNREACHABLE, /* no way to the host */
    PORTSCAN_SILENT,      /* UDP without an answer: open or filtered */
};
const char *portscan_state_name(enum portscan_state state); /* open, closed, filtered, unreachable, open|filtered */

struct portscan_port {
    uint16_t port;
    bool udp;
    enum portscan_state state;
    double rtt_ms; /* negative: no answer */
};

struct portscan_list {
    struct portscan_port *ports;
    size_t count, capacity;
    uint8_t seen[2][65536 / 8];
};

/* Add a port once. returns 0; -ENOMEM. */
int portscan_list_add(struct portscan_list *list, uint16_t port, bool udp);
/*
 * Add "tcp/443,udp/123,1-1024": ports and ranges with commas between; without a prefix they are of TCP.
 * returns   0; -EINVAL with a sentence: empty, no port, a range from high to low; -ENOMEM.
 */
int portscan_list_parse(struct portscan_list *list, const char *text, struct xk_err *err);
/* Add the rows of a role; NULL: all. returns 0; -ENOENT: no row has it. */
int portscan_list_role(struct portscan_list *list, const char *role, struct xk_err *err);
void portscan_list_done(struct portscan_list *list);

struct portscan_settings {
    struct resolve_limits limits;
    uint64_t timeout_ns; /* for each port */
    unsigned parallel;   /* 1 … PORTSCAN_PARALLEL_MAX; fewer when there are not so many descriptors */
};

/*
 * Ask all ports of the list at one address, many at a time, in a random order. States and times go into the list.
 *
 * A dead host in the same network is told from a silent firewall: all states are PORTSCAN_UNREACHABLE then.
 * returns   0; -EINTR; -ENOMEM; -EMFILE.
 */
int portscan_run(struct portscan_list *list, const struct resolve_address *address,
                 const struct portscan_settings *settings, struct xk_err *err);

#endif
