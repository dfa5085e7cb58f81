/*
 * The text of --users: names, passwords, roles and groups, one a line. Whoever was taken is found again by each of the
 * names that clients use, and can be described.
 */
#include "lib/simpool/access.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct sim_directory *d, const struct sim_person *who)
{
    static const char *const prefixes[] = {"", "SIM\\", ""}, *const suffixes[] = {"", "", ("@" SIM_DIRECTORY_NAME)};
    char text[SIM_USER_NAME_MAX + sizeof(SIM_DIRECTORY_NAME) + 8];

    assert(*who->name && strlen(who->name) < SIM_USER_NAME_MAX);
    assert(who->group_count <= XK_COUNT(who->groups));
    for (unsigned i = 0; i < who->group_count; i++)
        assert(who->groups[i] < d->count && !d->people[who->groups[i]].password);
    assert(sim_directory_identified(d, who->sid) == who);
    /* A name with a sign of a domain in it means that domain. */
    for (size_t i = 0; i < XK_COUNT(prefixes) && !strpbrk(who->name, "\\@"); i++) {
        snprintf(text, sizeof(text), "%s%s%s", prefixes[i], who->name, suffixes[i]);
        assert(sim_directory_named(d, text) == who);
    }
}

static void describe(const struct sim_person *who)
{
    struct xk_arena arena = XK_ARENA_INIT(1u << 20);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&arena);
    struct xapi_value told;

    xapi_build_open(&b, XAPI_MAP);
    sim_directory_describe(who, &b);
    xapi_build_close(&b);
    assert(xapi_build_end(&b, &told) == 0 && xapi_map_get(&told, "subject-sid"));
    xk_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_directory *d = NULL;
    struct xk_err err = {0};
    char *const text = xk_strndup((const char *)data, size);

    assert(text);
    if (sim_directory_read(&d, text, &err) == 0) {
        assert(d->count <= SIM_USERS_MAX);
        for (unsigned i = 0; i < d->count; i++) {
            ask(d, &d->people[i]);
            describe(&d->people[i]);
        }
        sim_directory_close(d);
    } else {
        assert(err.text[0] && !d);
    }
    free(text);
    return 0;
}
