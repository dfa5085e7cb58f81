/*
 * Who logs in. The same originator, user and user agent make one client; of more than SESSIONLOG_CLIENTS_MAX the rest
 * is one, since some programs put a number of their own into the originator each time.
 */
#include "lib/sessionlog/track.h"

#include <string.h>

/* Two FNV-1a hashes side by side. */
void track_hash(uint8_t ret[SESSIONLOG_ID_BYTES], uint64_t seed, const struct sessionlog_text *texts, size_t count)
{
    uint64_t a = UINT64_C(0xcbf29ce484222325) ^ seed, b = ~a * UINT64_C(0x9e3779b97f4a7c15);

    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k <= texts[i].bytes; k++) {
            const uint8_t c = k < texts[i].bytes ? (uint8_t)texts[i].at[k] : 0xff;
            a = (a ^ c) * UINT64_C(0x100000001b3);
            b = (b ^ a >> 32 ^ c) * UINT64_C(0xd6e8feb86659fd93);
        }
    }
    memcpy(ret, &a, sizeof(a));
    memcpy(ret + sizeof(a), &b, sizeof(b));
}

static struct sessionlog_text text_of(const char *word)
{
    return (struct sessionlog_text){word, strlen(word)};
}

/* The three texts in one block, which the first of them owns. */
static int copy_names(struct sessionlog_client *c, const struct sessionlog_session *s)
{
    const size_t user = strlen(s->user) + 1, originator = strlen(s->originator) + 1;
    const size_t agent = s->user_agent ? strlen(s->user_agent) + 1 : 0;
    char *const block = xk_alloc(user + originator + agent);

    if (!block)
        return -ENOMEM;
    memcpy(block, s->user, user);
    memcpy(block + user, s->originator, originator);
    if (agent)
        memcpy(block + user + originator, s->user_agent, agent);
    c->user = block;
    c->originator = block + user;
    c->user_agent = agent ? block + user + originator : NULL;
    c->pool = s->pool;
    return 0;
}

static int add_client(struct track *t, const struct sessionlog_session *s)
{
    if (t->client_count == t->client_capacity) {
        const size_t capacity = t->client_capacity ? t->client_capacity * 2 : 16;
        struct sessionlog_client *const bigger = xk_realloc(t->clients, capacity * sizeof(*bigger));
        if (!bigger)
            return -ENOMEM;
        t->clients = bigger;
        t->client_capacity = capacity;
    }
    t->clients[t->client_count] = (struct sessionlog_client){0};
    if (s && copy_names(&t->clients[t->client_count], s) < 0)
        return -ENOMEM;
    t->client_count++;
    return 0;
}

/* The client that a new session belongs to; the last one stands for all past the maximum. */
int track_find_client(struct track *t, struct sessionlog_session *s)
{
    const struct sessionlog_text key[] = {text_of(s->user), text_of(s->originator),
                                          text_of(s->user_agent ? s->user_agent : ""),
                                          text_of(s->user_agent ? "1" : "0"), text_of(s->pool ? "1" : "0")};
    uint8_t hash[SESSIONLOG_ID_BYTES];
    uint64_t at;

    track_hash(hash, t->client_index.seed, key, XK_COUNT(key));
    if (ids_find(&t->client_index, hash, &at)) {
        s->client = (uint32_t)at;
        return 0;
    }
    if (t->client_count <= SESSIONLOG_CLIENTS_MAX) {
        const bool rest = t->client_count == SESSIONLOG_CLIENTS_MAX;
        if (add_client(t, rest ? NULL : s) < 0)
            return -ENOMEM;
        s->client = (uint32_t)t->client_count - 1;
        return rest ? 0 : ids_put(&t->client_index, hash, s->client);
    }
    s->client = SESSIONLOG_CLIENTS_MAX;
    return 0;
}
