/*
 * What a classic scan found: a line for each image, or all of them as a tree. The tree needs every image before its
 * first line, so they are kept, each name once; children are linked to parents by name in sorted order.
 */
#include "rooms/vhd/classic-scan-parts.h"

#include <inttypes.h>
#include <string.h>

/* ---- names ---- */

static size_t slot_of(const struct vhd_scan_names *set, const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *c = text; *c; c++)
        hash = (hash ^ (uint8_t)*c) * UINT64_C(1099511628211);
    size_t at = (size_t)(hash & (set->size - 1));
    while (set->slots[at] && strcmp(set->slots[at], text) != 0)
        at = (at + 1) & (set->size - 1);
    return at;
}

int vhd_scan_names_add(struct vhd_scan_names *set, const char *text)
{
    if (set->count * 2 >= set->size) {
        struct vhd_scan_names larger = {.size = set->size ? set->size * 2 : 64, .count = set->count};
        larger.slots = xk_array_alloc(larger.size, sizeof(*larger.slots));
        if (!larger.slots)
            return -ENOMEM;
        for (size_t n = 0; n < set->size; n++) {
            if (set->slots[n])
                larger.slots[slot_of(&larger, set->slots[n])] = set->slots[n];
        }
        free(set->slots);
        *set = larger;
    }
    const size_t at = slot_of(set, text);
    if (set->slots[at])
        return 0;
    set->slots[at] = text;
    set->count++;
    return 1;
}

bool vhd_scan_names_have(const struct vhd_scan_names *set, const char *text)
{
    return set->size > 0 && set->slots[slot_of(set, text)];
}

/* ---- lines ---- */

static void print_line(struct vhd_scan *s, const struct vhd_scan_entry *e, int indent)
{
    struct vhd_classic *c = s->classic;
    const char *name = s->verbose ? e->name : vhd_scan_base_name(e->name);
    const char *parent = !e->parent ? "none" : s->verbose ? e->parent : vhd_scan_base_name(e->parent);

    if (e->error) {
        vhd_classic_say(c, "%*svhd=%s scan-error=%d error-message='%s'\n", indent, "", vhd_classic_clean(c, e->name),
                        e->error, e->message);
        return;
    }
    vhd_classic_say(c, "%*svhd=%s capacity=%" PRIu64 " size=%" PRIu64 " hidden=%u ", indent, "",
                    vhd_classic_clean(c, name), e->capacity_bytes, e->file_bytes, e->hidden);
    if (s->markers) {
        vhd_classic_say(c, "marker=%u keyhash=", e->marker);
        for (size_t n = 0; e->keyhash_set && n < sizeof(e->hash); n++)
            vhd_classic_say(c, "%02x", e->hash[n]);
        vhd_classic_say(c, " ");
    }
    vhd_classic_say(c, "parent=%s%s\n", vhd_classic_clean(c, parent),
                    s->tree && e->parent && !e->has_parent ? " (not found in scan)" : "");
}

int vhd_scan_tell_failure(struct vhd_scan *s, const char *name, int code)
{
    const struct vhd_scan_entry e = {.name = name, .error = code, .message = "failure scanning target"};
    print_line(s, &e, 0);
    return code;
}

/* ---- the tree ---- */

/* Keep a copy for the tree; a name that is there already is dropped. */
static int keep_entry(struct vhd_scan *s, const struct vhd_scan_entry *e)
{
    if (s->entry_count == s->entry_room) {
        const size_t room = s->entry_room ? s->entry_room * 2 : 64;
        struct vhd_scan_entry *entries = xk_realloc(s->entries, room * sizeof(*entries));
        if (!entries)
            return -ENOMEM;
        s->entries = entries;
        s->entry_room = room;
    }
    struct vhd_scan_entry *copy = &s->entries[s->entry_count];
    *copy = *e;
    copy->name = xk_arena_strdup(&s->arena, e->name);
    copy->parent = e->parent ? xk_arena_strdup(&s->arena, e->parent) : NULL;
    copy->first_child = copy->last_child = copy->next_sibling = VHD_SCAN_NO_ENTRY;
    if (!copy->name || (e->parent && !copy->parent))
        return -ENOMEM;
    const int added = vhd_scan_names_add(&s->entry_names, copy->name);
    if (added > 0)
        s->entry_count++;
    return XK_MIN(added, 0);
}

static int by_entry_name(const void *a, const void *b)
{
    return strcmp(((const struct vhd_scan_entry *)a)->name, ((const struct vhd_scan_entry *)b)->name);
}

static void link_entries(struct vhd_scan *s)
{
    if (s->entry_count == 0)
        return;
    qsort(s->entries, s->entry_count, sizeof(*s->entries), by_entry_name);
    for (size_t n = 0; n < s->entry_count; n++) {
        struct vhd_scan_entry *e = &s->entries[n];
        const struct vhd_scan_entry key = {.name = e->parent};
        struct vhd_scan_entry *parent =
            e->parent ? bsearch(&key, s->entries, s->entry_count, sizeof(*s->entries), by_entry_name) : NULL;
        if (!parent)
            continue;
        e->has_parent = true;
        if (parent->last_child == VHD_SCAN_NO_ENTRY)
            parent->first_child = n;
        else
            s->entries[parent->last_child].next_sibling = n;
        parent->last_child = n;
    }
}

struct step {
    size_t entry;
    int depth;
};

/* Push an entry's children with this hidden state so that the first one comes off first. */
static void push_children(const struct vhd_scan *s, const struct vhd_scan_entry *e, int depth, bool hidden,
                          struct step *stack, size_t *top)
{
    const size_t from = *top;
    for (size_t n = e->first_child; n != VHD_SCAN_NO_ENTRY; n = s->entries[n].next_sibling) {
        if ((s->entries[n].hidden != 0) == hidden && !s->entries[n].printed)
            stack[(*top)++] = (struct step){n, depth};
    }
    for (size_t a = from, b = *top; a + 1 < b; a++) {
        const struct step swap = stack[a];
        stack[a] = stack[--b];
        stack[b] = swap;
    }
}

/* An explicit stack: a chain may be as deep as there are images. Each image is pushed once, by its one parent. */
static void print_tree(struct vhd_scan *s, size_t root, struct step *stack)
{
    size_t top = 0;

    stack[top++] = (struct step){root, 0};
    while (top > 0) {
        const struct step at = stack[--top];
        struct vhd_scan_entry *e = &s->entries[at.entry];
        if (e->printed)
            continue;
        e->printed = true;
        print_line(s, e, at.depth * 3);
        push_children(s, e, at.depth + 1, true, stack, &top);
        push_children(s, e, at.depth + 1, false, stack, &top);
    }
}

int vhd_scan_tell_tree(struct vhd_scan *s)
{
    link_entries(s);
    xk_autofree struct step *stack = xk_array_alloc(s->entry_count + 1, sizeof(*stack));
    if (!stack)
        return -ENOMEM;
    /* Hidden roots, other roots, and what is in a loop. */
    for (int pass = 0; pass < 3; pass++) {
        for (size_t n = 0; n < s->entry_count; n++) {
            const struct vhd_scan_entry *e = &s->entries[n];
            if (e->printed || (pass < 2 && e->has_parent) || (pass == 0 && !e->hidden))
                continue;
            print_tree(s, n, stack);
        }
    }
    return 0;
}

void vhd_scan_tell(struct vhd_scan *s, struct vhd_scan_entry *e)
{
    if (!e->error && s->tree) {
        e->error = keep_entry(s, e);
        if (!e->error)
            return;
        e->message = "allocating memory";
    }
    print_line(s, e, 0);
}
