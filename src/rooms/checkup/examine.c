/* Each target goes to the first set that accepts it; each set is opened once with all of its targets. */
#include "rooms/checkup/checkup.h"

#include "core/text.h"

static const struct xk_check_set *set_for(const char *target)
{
    for (const struct xk_check_set *const *set = xk_check_sets; *set; set++) {
        if ((*set)->accepts(target))
            return *set;
    }
    return NULL;
}

static bool names_a_check(const char *word)
{
    const struct xk_words words = {.items = &word, .count = 1};
    for (const struct xk_check_set *const *set = xk_check_sets; *set; set++) {
        for (const struct xk_check *check = (*set)->checks; check->id; check++) {
            if (xk_check_wanted(check, &words, NULL))
                return true;
        }
    }
    return false;
}

static int check_names(const struct xk_words *words, const char *option, struct xk_err *err)
{
    for (size_t i = 0; i < words->count; i++) {
        if (names_a_check(words->items[i]))
            continue;
        const int code = xk_fail(err, -EINVAL, "%s %s: there is no such check", option, words->items[i]);
        xk_err_hint(err, "`xenkit checkup --list` names them");
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    return 0;
}

static int check_targets(const char *const *targets, size_t count, struct xk_err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (set_for(targets[i]))
            continue;
        const int code = xk_fail(err, -ENOENT, "%s: no such file or folder", targets[i]);
        xk_err_hint(
            err,
            "a target is a disk image, a folder of them, a log xensource.log, `localhost`, or a pool, https://HOST");
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    return 0;
}

static bool wants_any(const struct xk_check_set *set, const struct xk_words *only, const struct xk_words *skip)
{
    for (const struct xk_check *check = set->checks; check->id; check++) {
        if (xk_check_wanted(check, only, skip))
            return true;
    }
    return false;
}

static int examine_set(struct checkup *c, const struct xk_check_set *set, struct xk_app *app,
                       const char *const *targets, size_t count, const struct xk_words *only,
                       const struct xk_words *skip, const void *access, struct xk_err *err)
{
    xk_autofree const char **mine = xk_array_alloc(count, sizeof(*mine));
    struct checkup_part part = {.set = set};

    if (!mine)
        return xk_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        if (set_for(targets[i]) == set)
            mine[part.targets++] = targets[i];
    }
    if (part.targets == 0 || !wants_any(set, only, skip))
        return 0;
    const int code = set->open(&part.subject, app, mine, part.targets, access, err);
    if (code < 0)
        return code;
    c->parts[c->part_count++] = part;
    return xk_checks_run(set->checks, only, skip, part.subject, &c->findings, err);
}

int checkup_examine(struct checkup *ret, struct xk_app *app, const char *const *targets, size_t count,
                    const struct xk_words *only, const struct xk_words *skip, const void *access, struct xk_err *err)
{
    *ret = (struct checkup){0};
    int code = check_names(only, "--only", err);
    if (code == 0)
        code = check_names(skip, "--skip", err);
    if (code == 0)
        code = check_targets(targets, count, err);
    for (const struct xk_check_set *const *set = xk_check_sets; code == 0 && *set; set++)
        code = examine_set(ret, *set, app, targets, count, only, skip, access, err);
    if (code < 0)
        return code;
    xk_findings_sort(&ret->findings);
    xk_findings_tally(&ret->tally, &ret->findings);
    return 0;
}

void checkup_done(struct checkup *c)
{
    for (size_t i = 0; i < c->part_count; i++)
        c->parts[i].set->close(c->parts[i].subject);
    xk_findings_done(&c->findings);
    *c = (struct checkup){0};
}
