/*
 * Sessions of a pool, told from its logs: who opened them, how, and what became of each.
 *
 *     struct sessionlog *log;
 *     sessionlog_open(&log, &settings, err);
 *     sessionlog_add(log, "/var/log", err);          any number of files, folders, archives, in any order
 *     sessionlog_run(log, err);                      settings.ended is called for each session
 *     sessionlog_summary(log, &summary);             what is said of all of them
 *     sessionlog_close(log);
 *
 * Memory does not grow with the sessions that have ended: past SESSIONLOG_KEPT_MAX they are handed out as they end.
 */
#ifndef SESSIONLOG_H
#define SESSIONLOG_H

#include "core/clock.h"
#include "core/err.h"
#include "core/fs.h"
#include "lib/sessionlog/line.h"

#define SESSIONLOG_KEPT_MAX    100000  /* sessions handed out in the order of their creation */
#define SESSIONLOG_OPEN_MAX    4000000 /* open at one time; creations past it are counted only */
#define SESSIONLOG_UNSEEN_MAX  1000000
#define SESSIONLOG_CLIENTS_MAX 4096  /* told apart; the rest is counted together */
#define SESSIONLOG_PIECES_MAX  65536 /* files, and members of archives */
#define SESSIONLOG_DEPTH_MAX   16    /* folders below each other */

enum sessionlog_via { SESSIONLOG_INTERNAL, SESSIONLOG_INET, SESSIONLOG_UNIX };
const char *sessionlog_via_name(enum sessionlog_via via); /* INTERNAL, INET, UNIX */

enum sessionlog_fate {
    SESSIONLOG_OPEN,
    SESSIONLOG_LOGOUT,
    SESSIONLOG_AGED,    /* idle for too long: ended by the collector */
    SESSIONLOG_EVICTED, /* its group had too many: ended by the collector */
    SESSIONLOG_RESTARTED,
    SESSIONLOG_FATES,
};
const char *sessionlog_fate_name(enum sessionlog_fate fate); /* open, logout, gc-age, gc-limit, restart */

struct sessionlog_session {
    uint8_t id[SESSIONLOG_ID_BYTES], parent[SESSIONLOG_ID_BYTES];
    bool has_parent, pool, in_use; /* in_use: when it was evicted it had been used in the last minutes */
    enum sessionlog_via via;
    enum sessionlog_fate fate;
    int64_t created_s, last_seen_s, ended_s; /* the host's clock, since 1970; ended_s only when it is not open */
    const char *user, *originator, *host;    /* "" when not logged */
    const char *user_agent;                  /* NULL: not logged */
    uint64_t number;                         /* in order of creation */
    uint32_t client;
};

void sessionlog_id_text(char ret[2 * SESSIONLOG_ID_BYTES + 1], const uint8_t id[SESSIONLOG_ID_BYTES]);

/* One program that logs in: the same originator, user and user agent. */
struct sessionlog_client {
    const char *user, *originator, *user_agent; /* as of a session; all NULL: clients past SESSIONLOG_CLIENTS_MAX */
    bool pool;
    uint64_t created, fates[SESSIONLOG_FATES];
    uint64_t in_use;         /* evicted while they were in use */
    uint64_t lifetime_s;     /* of those that logged out, all together */
    int64_t first_s, last_s; /* creations */
    int64_t oldest_open_s;   /* creation of the oldest that is open */
    uint64_t lingering;      /* open, and created at least SESSIONLOG_LINGER_S before the log's end */
    int64_t evicted_s;       /* the last time that one was evicted; 0: never */
};
#define SESSIONLOG_LINGER_S 3600

/* Sessions that were left for the collector, or linger. */
uint64_t sessionlog_client_left(const struct sessionlog_client *c);
/* Are those so many that it cannot be chance: ten at least, and a fifth of all? */
bool sessionlog_client_leaks(const struct sessionlog_client *c);

/* Sessions that share a limit. */
struct sessionlog_group {
    char *name; /* as the collector writes it: "originator:X", "username:X", "external", "internal" */
    uint64_t open, evicted, limit; /* limit 0: releases that log no originators have none for this group */
    bool limit_logged;             /* the collector named the limit; otherwise it is that of the release */
    int64_t oldest_open_s, evicted_s;
    /* What it comes to when it goes on like this; valid with a rate over 0. */
    double rate_h;         /* sessions an hour that stay open */
    int64_t eviction_in_s; /* until the limit is reached; -1: idle sessions end before that */
};

/* Open sessions as a share of the limit; 0 when there is none. */
double sessionlog_group_share(const struct sessionlog_group *g);

struct sessionlog_summary {
    uint64_t sessions, fates[SESSIONLOG_FATES], restarts, in_use, refused;
    uint64_t lines, bytes, pieces;
    uint64_t uncounted;      /* creations past SESSIONLOG_OPEN_MAX, unseen ends past SESSIONLOG_UNSEEN_MAX */
    int64_t first_s, last_s; /* of the log; 0: nothing with a time was read */
    uint64_t peak_open;
    int64_t peak_s;
    const struct sessionlog_client *clients; /* the worst leakers first */
    size_t client_count;
    const struct sessionlog_group *groups; /* the fullest first */
    size_t group_count;
    const uint8_t (*unseen)[SESSIONLOG_ID_BYTES]; /* ended, and no creation seen; in order */
    size_t unseen_count;
};

/* What happened, as it happens. */
enum sessionlog_what { SESSIONLOG_WAS_CREATED, SESSIONLOG_WAS_ENDED, SESSIONLOG_WAS_UNSEEN, SESSIONLOG_HAS_RESTARTED };
struct sessionlog_event {
    enum sessionlog_what what;
    int64_t time_s;
    const struct sessionlog_session *session; /* NULL for a restart; of an unseen one only id, fate and ended_s */
    uint64_t open;                            /* now */
    uint64_t client_open;                     /* of the session's client, now */
};

struct sessionlog_settings {
    const struct xk_fs *fs;
    const struct xk_clock *clock;
    const char *temp_dir; /* for what archives hold; NULL: /tmp */
    bool follow;          /* sessionlog_follow() comes after the run */
    void *context;
    /* Each session once, its fate settled. returns 0; a negative errno value, which ends the run. May be NULL. */
    int (*ended)(void *context, const struct sessionlog_session *session);
    /* May be NULL. */
    int (*event)(void *context, const struct sessionlog_event *event);
    /* A path that could not be read, and why; the rest is read. May be NULL: then such a path ends the run. */
    void (*unreadable)(void *context, const struct xk_err *why);
};

struct sessionlog;

int sessionlog_open(struct sessionlog **ret, const struct sessionlog_settings *settings, struct xk_err *err);
void sessionlog_close(struct sessionlog *log);
/*
 * Add a log, a folder of logs with all folders in it, or a tar archive (status report); each may be compressed with
 * gzip or bzip2. "-" is standard input. The same file is read once.
 */
int sessionlog_add(struct sessionlog *log, const char *path, struct xk_err *err);
/*
 * The same for what comes from elsewhere, a network say: read to its end now.
 *
 * name      for messages; as the caller says it.
 * read      gives the next bytes, 0 at the end; a negative errno value with err filled.
 */
int sessionlog_add_stream(struct sessionlog *log, const char *name,
                          ssize_t (*read)(void *context, void *bytes, size_t count, struct xk_err *err), void *context,
                          struct xk_err *err);
/* Read all of them in the order of their times. returns 0; a negative errno value; -EINTR when a stop was asked for. */
int sessionlog_run(struct sessionlog *log, struct xk_err *err);
/*
 * Go on with what is appended to the newest file, through rotation and truncation, until a stop is asked for. Call it
 * after sessionlog_run() with settings.event; sessions are handed to settings.ended only by sessionlog_finish().
 */
int sessionlog_follow(struct sessionlog *log, struct xk_err *err);
/* Hand out what is still kept or open, and settle the summary, which lives as long as the log. */
int sessionlog_finish(struct sessionlog *log, struct sessionlog_summary *ret, struct xk_err *err);

#endif
