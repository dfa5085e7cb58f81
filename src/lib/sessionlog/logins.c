/*
 * Logins under way. XAPI logs who has proved who he is, and with which user agent, some lines before it logs the
 * session that this made; the task ties the two together. Where the task's last logins do not fit any more, the oldest
 * is forgotten.
 */
#include "lib/sessionlog/track.h"

#include "core/text.h"

#include <string.h>

/* "session.login_with_password D:0123456789ab" → what follows the last blank. */
static struct sessionlog_text task_of(struct sessionlog_text task)
{
    const char *const blank = memrchr(task.at, ' ', task.bytes);

    if (blank) {
        task.bytes -= (size_t)(blank + 1 - task.at);
        task.at = blank + 1;
    }
    if (!memchr(task.at, ':', task.bytes) || task.bytes >= TRACK_TASK_MAX)
        task.bytes = 0;
    return task;
}

static struct track_auth *auth_set(const struct track *t, struct sessionlog_text task)
{
    uint64_t hash = 0;

    for (size_t i = 0; i < task.bytes; i++)
        hash = (hash ^ (uint8_t)task.at[i]) * UINT64_C(0x100000001b3);
    return &t->auths[(hash ^ hash >> 32) % TRACK_AUTH_SETS * TRACK_AUTH_WAYS];
}

int track_remember_login(struct track *t, const struct sessionlog_line *line)
{
    const struct sessionlog_text task = task_of(line->task);

    if (!task.bytes)
        return 0;
    if (!t->auths && !(t->auths = xk_array_alloc(TRACK_AUTH_SETS * TRACK_AUTH_WAYS, sizeof(*t->auths))))
        return -ENOMEM;
    struct track_auth *const set = auth_set(t, task);
    char *const text = xk_strndup(line->text.at, line->text.bytes);
    if (!text)
        return -ENOMEM;
    free(set[TRACK_AUTH_WAYS - 1].text);
    memmove(set + 1, set, (TRACK_AUTH_WAYS - 1) * sizeof(*set));
    set[0].text = text;
    memcpy(set[0].task, task.at, task.bytes);
    set[0].task[task.bytes] = '\0';
    return 0;
}

char *track_take_login(struct track *t, struct sessionlog_text field)
{
    const struct sessionlog_text task = task_of(field);

    if (!task.bytes || !t->auths)
        return NULL;
    struct track_auth *const set = auth_set(t, task);
    for (size_t i = 0; i < TRACK_AUTH_WAYS; i++) {
        if (set[i].text && sessionlog_text_is(task, set[i].task, strlen(set[i].task)))
            return XK_TAKE(set[i].text);
    }
    return NULL;
}

/* "user U from HTTP request from O", where U is known to be the session's user unless it was logged otherwise. */
const char *track_find_origin(const char *auth, struct sessionlog_text user)
{
    static const char from[] = " from HTTP request from ";
    const char *const name = auth + sizeof("user ") - 1;

    if (strlen(name) > user.bytes && (!user.bytes || memcmp(name, user.at, user.bytes) == 0) &&
        xk_has_prefix(name + user.bytes, from))
        return name + user.bytes + sizeof(from) - 1;
    const char *const at = strstr(name, from);
    return at ? at + sizeof(from) - 1 : NULL;
}

const char *track_find_agent(const char *origin)
{
    static const char with[] = " with User-Agent: ";
    const char *const at = origin ? strstr(origin, with) : NULL;

    return at ? at + sizeof(with) - 1 : NULL;
}

/* "12 INET :::80": the thread's name says where the request came in; what it leaves open, the login does. */
enum sessionlog_via track_via(struct sessionlog_text thread, const char *origin)
{
    while (thread.bytes && (*thread.at == ' ' || (*thread.at >= '0' && *thread.at <= '9'))) {
        thread.at++;
        thread.bytes--;
    }
    if (thread.bytes >= 4 && memcmp(thread.at, "UNIX", 4) == 0)
        return SESSIONLOG_UNIX;
    if (thread.bytes >= 4 && (memcmp(thread.at, "INET", 4) == 0 || memcmp(thread.at, "HTTP", 4) == 0))
        return SESSIONLOG_INET;
    if (!origin)
        return SESSIONLOG_INTERNAL;
    return xk_has_prefix(origin, "Unix") ? SESSIONLOG_UNIX : SESSIONLOG_INET;
}
