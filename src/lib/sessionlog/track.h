/*
 * What the lines mean: from one to the next the sessions that are open, and what became of the others.
 */
#ifndef SESSIONLOG_TRACK_H
#define SESSIONLOG_TRACK_H

#include "core/buf.h"
#include "lib/sessionlog/ids.h"
#include "lib/sessionlog/sessionlog.h"

#define TRACK_AUTH_SETS    1024 /* logins under way that are remembered, in sets of TRACK_AUTH_WAYS */
#define TRACK_AUTH_WAYS    4
#define TRACK_TASK_MAX     48
#define TRACK_CLOSED_MAX   (256 * 1024) /* ended sessions that are known again, in each of two generations */
#define TRACK_LIMITS_MAX   256
#define TRACK_RESTARTS_MAX 4096 /* restarts that are known again in a copy of the log */

struct track_auth {
    char task[TRACK_TASK_MAX];
    char *text;
};

struct track_limit {
    char *group; /* NULL: from before there were groups */
    uint64_t limit;
};

struct track {
    const struct sessionlog_settings *settings;
    struct sessionlog_summary sum;

    struct ids open;                  /* → struct sessionlog_session * */
    struct ids closed, closed_before; /* → fate and client, see pack() */
    struct ids unseen;                /* → index in unseen_ids, and fate */
    uint8_t (*unseen_ids)[SESSIONLOG_ID_BYTES];
    size_t unseen_count, unseen_capacity;
    struct sessionlog_session **kept; /* ended ones, until there are too many */
    size_t kept_count, kept_capacity;
    bool streaming;
    uint64_t next_number;

    struct track_auth *auths;
    struct ids client_index;
    struct sessionlog_client *clients;
    size_t client_count, client_capacity;
    struct sessionlog_group *groups;
    size_t group_count;
    struct track_limit limits[TRACK_LIMITS_MAX];
    size_t limit_count;
    bool has_originators, has_groups;
    struct ids restarts; /* hash of the line → piece */

    size_t piece;    /* which one is being read */
    int64_t time_s;  /* of the last line that counted */
    int shift_years; /* what the times have to be moved by, known from a stamp with a year */
    bool shift_known, has_years;
};

void track_init(struct track *t, const struct sessionlog_settings *settings, uint64_t seed);
void track_done(struct track *t);
/* The lines that follow are those of a piece whose first line was written at `first_s`. */
void track_begin_piece(struct track *t, size_t piece, int64_t first_s);
/* One line, without its newline. returns 0; -ENOMEM; what a callback returned. */
int track_line(struct track *t, const char *line, size_t bytes);
/* Hand out what is left and settle the summary. */
int track_finish(struct track *t);

/* ---- clients.c ---- */

/* Enough to tell texts apart that nobody made to collide. */
void track_hash(uint8_t ret[SESSIONLOG_ID_BYTES], uint64_t seed, const struct sessionlog_text *texts, size_t count);
/* Say which client a new session belongs to. returns 0; -ENOMEM. */
int track_find_client(struct track *t, struct sessionlog_session *s);

/* ---- logins.c ---- */

int track_remember_login(struct track *t, const struct sessionlog_line *line);
/* What the login of this task said, owned by the caller; NULL: nothing. */
char *track_take_login(struct track *t, struct sessionlog_text task);
/* Where it came from, "Internet with User-Agent: …"; and the user agent. NULL: not said. */
const char *track_find_origin(const char *login, struct sessionlog_text user);
const char *track_find_agent(const char *origin);
enum sessionlog_via track_via(struct sessionlog_text thread, const char *origin);

/* ---- weigh.c ---- */

/* Clients, groups and their outlook, from what is counted and what is open. */
int track_weigh(struct track *t);

#endif
