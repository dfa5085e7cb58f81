/* A list: there are few, and they are asked for seldom. What is gone stays in it until the state file was told. */
#include "lib/simpool/keep.h"

#include "lib/simpool/state.h"

#include <string.h>

static struct sim_kept *find(const struct simpool *p, char kind, const char *name)
{
    struct sim_kept *k = p->kept;

    while (k && (k->kind != kind || strcmp(k->name, name) != 0))
        k = k->next;
    return k;
}

static void cut(struct sim_kept **link)
{
    struct sim_kept *const k = *link;

    *link = k->next;
    free(k->text);
    free(k);
}

static int add(struct simpool *p, char kind, const char *name, struct sim_kept **ret)
{
    unsigned count = 0;

    for (struct sim_kept *k = p->kept; k; k = k->next)
        count++;
    if (count >= SIM_KEPT_MAX)
        return -ENOSPC;
    struct sim_kept *const k = xk_zalloc(sizeof(*k));
    if (!k)
        return -ENOMEM;
    k->kind = kind;
    memcpy(k->name, name, strlen(name));
    k->next = p->kept;
    p->kept = *ret = k;
    return 0;
}

int sim_keep(struct simpool *p, char kind, const char *name, const char *text)
{
    struct sim_kept *k = find(p, kind, name);

    if (strlen(name) >= SIM_KEPT_NAME_MAX || (text && strlen(text) > SIM_KEPT_BYTES_MAX))
        return -EFBIG;
    if (!k && !text)
        return 0;
    char *const copy = text ? xk_strdup(text) : NULL;
    if (text && !copy)
        return -ENOMEM;
    const int code = k ? 0 : add(p, kind, name, &k);
    if (code < 0) {
        free(copy);
        return code;
    }
    free(k->text);
    k->text = copy;
    k->modified = ++p->generation;
    if (!p->state)
        sim_kept_told(p);
    sim_state_changed(p);
    return 0;
}

void sim_kept_told(struct simpool *p)
{
    for (struct sim_kept **link = &p->kept; *link;)
        if ((*link)->text)
            link = &(*link)->next;
        else
            cut(link);
}

const char *sim_kept(const struct simpool *p, char kind, const char *name)
{
    const struct sim_kept *const k = find(p, kind, name);

    return k ? k->text : NULL;
}

const struct sim_kept *sim_kept_next(const struct simpool *p, char kind, const struct sim_kept *last)
{
    const struct sim_kept *k = last ? last->next : p->kept;

    while (k && (k->kind != kind || !k->text))
        k = k->next;
    return k;
}

void sim_kept_close(struct simpool *p)
{
    while (p->kept)
        cut(&p->kept);
}
