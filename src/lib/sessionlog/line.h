/*
 * One line of a XAPI log, as far as sessions go.
 *
 * Only what stands at the beginning of a message of XAPI itself counts: the same words inside a name, in another
 * program's line or under another module's brand are somebody's text. Lines of all releases are read:
 *
 *     [20121218T01:16:01.123Z|debug|host|12 INET 0.0.0.0:80|task D:0123456789ab|xapi] Session.create trackid=…
 *     Mar  9 04:02:12 host xapi: [ info||12 HTTPS 10.0.0.5->:::80|task D:0123456789ab|xapi_session] Session.create …
 */
#ifndef SESSIONLOG_LINE_H
#define SESSIONLOG_LINE_H

#include "core/base.h"

#define SESSIONLOG_LINE_MAX     (64 * 1024) /* of a longer line the rest is not looked at */
#define SESSIONLOG_ID_BYTES     16          /* a trackid: the MD5 of the session's reference */
#define SESSIONLOG_REPEATED_MAX 1000000

/* Bytes of the line itself, not ended by NUL. */
struct sessionlog_text {
    const char *at;
    size_t bytes;
};

/* Time of the host's clock as the line says it. */
struct sessionlog_stamp {
    int year;                    /* 0: the line has none */
    unsigned month, day, second; /* 1…12, 1…31, 0…86400 */
};

enum sessionlog_kind {
    SESSIONLOG_NOTHING,
    SESSIONLOG_AUTH,     /* somebody proved who he is: text is "user U from …" */
    SESSIONLOG_CREATE,   /* id, pool, user, originator, parent */
    SESSIONLOG_DESTROY,  /* id */
    SESSIONLOG_GC_AGE,   /* id, active: the collector ends a session that was idle for too long */
    SESSIONLOG_GC_LIMIT, /* id, active: … because its group has too many */
    SESSIONLOG_EXCEEDS,  /* text is the group, limit: the collector is about to end sessions */
    SESSIONLOG_REFUSED,  /* id: a call came with a reference that is no session (any more) */
    SESSIONLOG_RESTART,
};

struct sessionlog_line {
    enum sessionlog_kind kind;
    struct sessionlog_stamp stamp;
    struct sessionlog_text host, thread, task;
    unsigned repeated; /* how many times this line stands for: 1, or N of "message repeated N times" */
    uint8_t id[SESSIONLOG_ID_BYTES], parent[SESSIONLOG_ID_BYTES];
    bool has_parent, pool;
    bool has_originator; /* this release logs originators */
    bool grouped;        /* this release limits by group, and names groups where it collects */
    struct sessionlog_text user, originator, text;
    uint64_t limit;
    int64_t active_s; /* last use, since 1970; 0: not said */
};

/*
 * Read one line without its newline.
 * returns   false when it says nothing of sessions; *ret is then unspecified.
 */
bool sessionlog_line_parse(struct sessionlog_line *ret, const char *line, size_t bytes);
/* The stamp that any line of a log begins with. returns false when there is none. */
bool sessionlog_line_stamp(struct sessionlog_stamp *ret, const char *line, size_t bytes);
/* Seconds since 1970 of a stamp in a year. */
int64_t sessionlog_stamp_s(const struct sessionlog_stamp *stamp, int year);
/* The same day and time of day in another year. */
int64_t sessionlog_shift_years(int64_t unix_s, int years);
int sessionlog_year_of(int64_t unix_s);

static inline bool sessionlog_text_is(struct sessionlog_text t, const char *word, size_t bytes)
{
    return t.bytes == bytes && __builtin_memcmp(t.at, word, bytes) == 0;
}

#endif
