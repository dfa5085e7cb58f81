/*
 * Turn the tables of the XenAPI data model into C:  xenapi-model OUT.c FOLDER
 *
 * FOLDER holds classes.tsv, fields.tsv, messages.tsv, enums.tsv, errors.tsv, releases.tsv, relations.tsv,
 * map_options.tsv. Rows refer to each other by index and to words by offset: the result has no pointer, so a static-pie
 * file relocates nothing of it.
 *
 * A program of its own, so that building needs neither Python nor awk; what a table may contain is checked here, once,
 * and a row that does not fit stops the build with its file and line.
 */
#include "lib/xapi/model.h"
#include "tables.h"

#define TYPES_MAX  1024
#define PARAMS_MAX 8192
#define VALUES_MAX 1024

const char program[] = "xenapi-model";

struct model {
    const char *folder;
    struct table classes, fields, messages, enums, errors, releases, relations, map_options;
    struct words words;
    struct xapi_type types[TYPES_MAX];
    size_t type_count;
    struct xapi_param params[PARAMS_MAX];
    size_t param_count;
    uint16_t field_types[ROWS_MAX];
    uint32_t values[VALUES_MAX];
    FILE *out;
};

/* ---- words ---- */

static uint32_t word(struct model *m, const char *text)
{
    return words_add(&m->words, text);
}

static uint32_t word_or_empty(struct model *m, const char *text)
{
    return word(m, strcmp(text, "-") == 0 ? "" : text);
}

static uint32_t word_default(struct model *m, const char *text)
{
    return strcmp(text, "-") == 0 ? XAPI_NO_DEFAULT : word(m, text);
}

static uint16_t row_find(const struct table *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->rows[i][0], name) == 0)
            return (uint16_t)i;
    return XAPI_NONE;
}

static uint16_t field_find(const struct model *m, const char *class_name, const char *name)
{
    for (size_t i = 0; i < m->fields.count; i++)
        if (strcmp(m->fields.rows[i][0], class_name) == 0 && strcmp(m->fields.rows[i][1], name) == 0)
            return (uint16_t)i;
    return XAPI_NONE;
}

/* ---- types ---- */

static uint16_t type_add(struct model *m, enum xapi_kind kind, uint16_t of, uint16_t to)
{
    size_t i;

    for (i = 0; i < m->type_count; i++)
        if (m->types[i].kind == kind && m->types[i].of == of && m->types[i].to == to)
            return (uint16_t)i;
    if (i == TYPES_MAX)
        die("more than %d types", TYPES_MAX);
    m->types[m->type_count++] = (struct xapi_type){.kind = (uint8_t)kind, .of = of, .to = to};
    return (uint16_t)i;
}

static int eat(const char **at, const char *prefix)
{
    const size_t len = strlen(prefix);

    if (strncmp(*at, prefix, len) != 0)
        return 0;
    *at += len;
    return 1;
}

static void name_take(const char **at, char ret[128])
{
    const size_t len = strspn(*at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

    if (len == 0 || len > 127)
        die("no name at \"%s\"", *at);
    memcpy(ret, *at, len);
    ret[len] = '\0';
    *at += len;
}

/* A type as the tables write it: set(ref:VM), map(string,enum:cls). */
static uint16_t type_take(struct model *m, const char **at)
{
    static const struct {
        const char *name;
        enum xapi_kind kind;
    } plain[] = {{"void", XAPI_VOID},   {"string", XAPI_STRING}, {"secretstring", XAPI_SECRET}, {"int", XAPI_INTEGER},
                 {"float", XAPI_FLOAT}, {"bool", XAPI_BOOLEAN},  {"datetime", XAPI_DATETIME}};
    char name[128];
    uint16_t of, to = 0;

    name_take(at, name);
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (strcmp(name, plain[i].name) == 0)
            return type_add(m, plain[i].kind, 0, 0);
    const enum xapi_kind kind = strcmp(name, "ref") == 0      ? XAPI_REF
                                : strcmp(name, "enum") == 0   ? XAPI_ENUM
                                : strcmp(name, "record") == 0 ? XAPI_RECORD
                                : strcmp(name, "set") == 0    ? XAPI_SET
                                : strcmp(name, "map") == 0    ? XAPI_DICT
                                : strcmp(name, "option") == 0 ? XAPI_OPTION
                                                              : XAPI_VOID;
    if (kind == XAPI_REF || kind == XAPI_ENUM || kind == XAPI_RECORD) {
        if (!eat(at, ":"))
            die("a type \"%s\" without a name", name);
        name_take(at, name);
        of = row_find(kind == XAPI_ENUM ? &m->enums : &m->classes, name);
        if (of == XAPI_NONE && kind != XAPI_REF)
            die("the type \"%s\" is in no table", name);
        return type_add(m, kind, of, 0);
    }
    if (kind == XAPI_VOID || !eat(at, "("))
        die("no type: \"%s\"", name);
    of = type_take(m, at);
    if (kind == XAPI_DICT) {
        if (!eat(at, ","))
            die("a map of one type at \"%s\"", *at);
        to = type_take(m, at);
    }
    if (!eat(at, ")"))
        die("no closing parenthesis at \"%s\"", *at);
    return type_add(m, kind, of, to);
}

static uint16_t type_whole(struct model *m, const char *text)
{
    const uint16_t type = type_take(m, &text);

    if (*text)
        die("text after a type: \"%s\"", text);
    return type;
}

/* ---- small columns ---- */

static unsigned pick(const char *what, const char *text, const char *const *names)
{
    for (unsigned i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    die("%s: \"%s\" is not known", what, text);
}

static int has_flag(const char *flags, const char *flag)
{
    const size_t len = strlen(flag);

    for (const char *at = flags; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, flag, len) == 0 && (at[len] == '\0' || at[len] == ','))
            return 1;
    }
    return 0;
}

static unsigned roles_mask(const char *text)
{
    static const char *const names[] = {"PA", "PO", "VPA", "VA", "VO", "CC", "RO", "LOCAL-ROOT", NULL};
    unsigned mask = 0;

    if (strcmp(text, "*") == 0)
        return 255;
    for (unsigned i = 0; names[i]; i++)
        if (has_flag(text, names[i]))
            mask |= 1u << i;
    return mask;
}

static const char *const states[] = {"published", "prototyped", "deprecated", "removed", NULL};

/* ---- writing ---- */

static void put_classes(struct model *m)
{
    fprintf(m->out, "\nconst struct xapi_class xapi_classes[] = {\n");
    for (size_t i = 0; i < m->classes.count; i++) {
        char *const *const row = m->classes.rows[i];
        size_t field = 0, fields = 0, message = 0, messages = 0;
        char lower[128];

        if (i > 0 && strcmp(m->classes.rows[i - 1][0], row[0]) >= 0)
            die("classes.tsv is not sorted at %s", row[0]);
        snprintf(lower, sizeof(lower), "%s", row[0]);
        for (char *c = lower; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 'a' - 'A') : *c;
        for (size_t j = m->fields.count; j-- > 0;)
            if (strcmp(m->fields.rows[j][0], row[0]) == 0)
                field = j, fields++;
        for (size_t j = m->messages.count; j-- > 0;)
            if (strcmp(m->messages.rows[j][0], row[0]) == 0)
                message = j, messages++;
        for (size_t j = field; j < field + fields; j++)
            if (strcmp(m->fields.rows[j][0], row[0]) != 0)
                die("fields.tsv: the fields of %s are not together", row[0]);
        const uint16_t uuid = field_find(m, row[0], "uuid"), label = field_find(m, row[0], "name_label");
        fprintf(m->out, "    {%u, %u, %zu, %zu, %zu, %zu, %d, %d, %u, %d},\n", word(m, row[0]), word(m, lower), field,
                fields, message, messages, uuid == XAPI_NONE ? XAPI_NONE : (int)(uuid - field),
                label == XAPI_NONE ? XAPI_NONE : (int)(label - field), pick("state", row[1], states),
                (*row[3] == 'y' ? XAPI_CLASS_DATABASE : 0) | (*row[4] == 'y' ? XAPI_CLASS_PERSIST : 0) |
                    (*row[5] == 'y' ? XAPI_CLASS_EVENTS : 0));
    }
    fprintf(m->out, "};\n");
}

static uint16_t relation_other(const struct model *m, const char *class_name, const char *field)
{
    for (size_t i = 0; i < m->relations.count; i++) {
        char *const *const row = m->relations.rows[i];
        if (strcmp(row[0], class_name) == 0 && strcmp(row[1], field) == 0)
            return field_find(m, row[2], row[3]);
        if (strcmp(row[2], class_name) == 0 && strcmp(row[3], field) == 0)
            return field_find(m, row[0], row[1]);
    }
    return XAPI_NONE;
}

static void put_fields(struct model *m)
{
    static const char *const qualifiers[] = {"RW", "SRO", "DRO", NULL};

    fprintf(m->out, "\nconst struct xapi_field xapi_fields[] = {\n");
    for (size_t i = 0; i < m->fields.count; i++) {
        char *const *const row = m->fields.rows[i];
        const uint16_t class_index = row_find(&m->classes, row[0]);
        if (class_index == XAPI_NONE)
            die("fields.tsv: class %s is in no table", row[0]);
        m->field_types[i] = type_whole(m, row[2]);
        fprintf(m->out, "    {%u, %uu, %u, %u, %u, %u, %u, %u, %d},\n", word(m, row[1]), word_default(m, row[4]),
                word_or_empty(m, row[5]), class_index, m->field_types[i], relation_other(m, row[0], row[1]),
                pick("qualifier", row[3], qualifiers), pick("state", row[6], states), has_flag(row[8], "internal"));
    }
    fprintf(m->out, "};\n");
}

static void param_add(struct model *m, const char *name, const char *type, const char *initial)
{
    if (m->param_count == PARAMS_MAX)
        die("more than %d parameters", PARAMS_MAX);
    m->params[m->param_count++] = (struct xapi_param){
        .name = word(m, name), .initial = initial ? word(m, initial) : XAPI_NO_DEFAULT, .type = type_whole(m, type)};
}

/* name:type[=default];…  returns how many there are; *ret_required of them have no default. */
static unsigned params_add(struct model *m, char *text, unsigned *ret_required)
{
    unsigned count = 0;

    *ret_required = 0;
    if (strcmp(text, "-") == 0)
        return 0;
    for (char *at = text, *next; at; at = next, count++) {
        next = strchr(at, ';');
        if (next)
            *next++ = '\0';
        char *const colon = strchr(at, ':'), *const equals = strchr(at, '=');
        if (!colon || (equals && equals < colon))
            die("messages.tsv: no parameter: \"%s\"", at);
        *colon = '\0';
        if (equals)
            *equals = '\0';
        else
            ++*ret_required;
        param_add(m, at, colon + 1, equals ? equals + 1 : NULL);
    }
    return count;
}

/*
 * Many setters are called custom though all that they do to the database is what a plain one does. They are told from
 * the rest by their shape: set_F(self, value) with F's own type, and the same for add_to_F, remove_from_F and
 * get_F(self).
 */
static unsigned plain_kind(const struct model *m, char *const *row, unsigned first, unsigned count, uint16_t *ret_field)
{
    static const struct {
        const char *prefix;
        unsigned kind, params;
    } shapes[] = {
        {"set_", XAPI_SETTER, 2}, {"add_to_", XAPI_ADD, 3}, {"remove_from_", XAPI_REMOVE, 2}, {"get_", XAPI_GET, 1}};

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const char *rest = row[1];
        if (count != shapes[i].params || !eat(&rest, shapes[i].prefix))
            continue;
        const uint16_t field = field_find(m, row[0], rest);
        if (field == XAPI_NONE)
            continue;
        const struct xapi_type *const self = &m->types[m->params[first].type];
        const uint16_t type = m->field_types[field];
        const int fits = shapes[i].kind == XAPI_SETTER      ? m->params[first + 1].type == type
                         : shapes[i].kind == XAPI_GET       ? 1
                         : m->types[type].kind != XAPI_DICT ? 0
                                                            : m->params[first + 1].type == m->types[type].of;
        if (self->kind != XAPI_REF || self->of != row_find(&m->classes, row[0]) || !fits)
            continue;
        *ret_field = field;
        return shapes[i].kind;
    }
    return XAPI_CUSTOM;
}

/* The names that end in a star, with commas: what a constructor's record must have. */
static uint32_t needed_word(struct model *m, const char *text)
{
    char needed[2048] = "";

    for (const char *at = text; *at;) {
        const size_t len = strcspn(at, ",");
        if (at[len - 1] == '*')
            snprintf(needed + strlen(needed), sizeof(needed) - strlen(needed), "%s%.*s", *needed ? "," : "",
                     (int)len - 1, at);
        at += len + (at[len] == ',');
    }
    return word(m, needed);
}

/* The last flag, since there are commas in it. */
static unsigned keys_word(struct model *m, const char *flags)
{
    const char *const keys = strstr(flags, "mapkeys=");

    return keys ? word(m, keys + strlen("mapkeys=")) : 0;
}

static void put_messages(struct model *m)
{
    static const char *const kinds[] = {"custom",
                                        "get",
                                        "set",
                                        "add",
                                        "remove",
                                        "create",
                                        "destroy",
                                        "get_record",
                                        "get_by_uuid",
                                        "get_by_name_label",
                                        "get_all",
                                        "get_all_where",
                                        "get_all_records",
                                        "get_all_records_where",
                                        NULL};
    static const char *const prefixes[] = {
        [XAPI_GET] = "get_", [XAPI_SETTER] = "set_", [XAPI_ADD] = "add_", [XAPI_REMOVE] = "remove_"};

    fprintf(m->out, "\nconst struct xapi_message xapi_messages[] = {\n");
    for (size_t i = 0; i < m->messages.count; i++) {
        char *const *const row = m->messages.rows[i];
        const uint16_t class_index = row_find(&m->classes, row[0]);
        unsigned kind = pick("kind", row[8], kinds);
        const unsigned first = (unsigned)m->param_count;
        uint16_t field = XAPI_NONE;
        unsigned required;
        char name[256];

        if (class_index == XAPI_NONE)
            die("messages.tsv: class %s is in no table", row[0]);
        const unsigned count = params_add(m, row[2], &required);
        if (kind >= XAPI_GET && kind <= XAPI_REMOVE) {
            const char *rest = row[1];
            if (!eat(&rest, prefixes[kind]))
                die("messages.tsv: %s.%s does not begin with %s", row[0], row[1], prefixes[kind]);
            field = field_find(m, row[0], rest);
            if (field == XAPI_NONE && (eat(&rest, "to_") || eat(&rest, "from_")))
                field = field_find(m, row[0], rest);
            if (field == XAPI_NONE)
                die("messages.tsv: %s.%s has no field", row[0], row[1]);
        }
        if (kind == XAPI_CUSTOM)
            kind = plain_kind(m, row, first, count, &field);
        /* Classes outside the database have the lookups of the others as custom ones. */
        for (unsigned i = XAPI_GET_RECORD; kind == XAPI_CUSTOM && kinds[i]; i++)
            if (strcmp(row[1], kinds[i]) == 0)
                kind = i;
        snprintf(name, sizeof(name), "%s.%s", row[0], row[1]);
        fprintf(m->out, "    {%u, %u, %u, %u, %u, %u, %u, %u, %u, %u, %u, %u, %u, %u, %u},\n", word(m, name),
                word_or_empty(m, row[4]), word_or_empty(m, row[10]), class_index, type_whole(m, row[3]), field, first,
                count, required, kind,
                (unsigned)((*row[5] == 'y' ? XAPI_MESSAGE_ASYNC : 0) | (*row[6] == 'y' ? XAPI_MESSAGE_SESSION : 0) |
                           (has_flag(row[12], "hidden") ? XAPI_MESSAGE_HIDDEN : 0) |
                           (has_flag(row[12], "secret") ? XAPI_MESSAGE_SECRET : 0) |
                           (has_flag(row[12], "emergency") ? XAPI_MESSAGE_EMERGENCY : 0) |
                           (has_flag(row[12], "poolinternal") ? XAPI_MESSAGE_POOL : 0)),
                pick("state", row[9], states), roles_mask(row[7]), needed_word(m, row[13]), keys_word(m, row[12]));
    }
    fprintf(m->out, "};\n");
}

static void put_enums(struct model *m)
{
    uint32_t *const values = m->values;
    size_t count = 0;

    fprintf(m->out, "\nconst struct xapi_enum xapi_enums[] = {\n");
    for (size_t i = 0; i < m->enums.count; i++) {
        char *const *const row = m->enums.rows[i];
        const size_t first = count;
        for (char *at = row[2], *next; at; at = next) {
            next = strchr(at, ',');
            if (next)
                *next++ = '\0';
            if (count == VALUES_MAX)
                die("more than %d enum values", VALUES_MAX);
            values[count++] = word(m, at);
        }
        if (count - first > XAPI_ENUM_VALUES)
            die("enum %s has more than %d values", row[0], XAPI_ENUM_VALUES);
        fprintf(m->out, "    {%u, %zu, %zu},\n", word(m, row[0]), first, count - first);
    }
    fprintf(m->out, "};\n\nconst xapi_word xapi_enum_values[] = {\n");
    for (size_t i = 0; i < count; i++)
        fprintf(m->out, "    %u,\n", values[i]);
    fprintf(m->out, "};\n");
}

static void put_map_options(struct model *m)
{
    fprintf(m->out, "\nconst struct xapi_map_option xapi_map_options[] = {\n");
    for (size_t i = 0; i < m->map_options.count; i++) {
        char *const *const row = m->map_options.rows[i];
        fprintf(m->out, "    {%u, %u, %u, %u},\n", word(m, row[0]), word(m, row[1]), word_or_empty(m, row[2]),
                word_or_empty(m, row[3]));
    }
    fprintf(m->out, "};\nconst uint16_t xapi_map_option_count = %zu;\n", m->map_options.count);
}

static void put_rest(struct model *m)
{
    fprintf(m->out, "\nconst struct xapi_error xapi_errors[] = {\n");
    for (size_t i = 0; i < m->errors.count; i++)
        fprintf(m->out, "    {%u, %u},\n", word(m, m->errors.rows[i][0]), word_or_empty(m, m->errors.rows[i][1]));
    fprintf(m->out, "};\n\nconst struct xapi_release xapi_releases[] = {\n");
    for (size_t i = 0; i < m->releases.count; i++) {
        char *const *const row = m->releases.rows[i];
        fprintf(m->out, "    {%u, %u, %d, %d},\n", word_or_empty(m, row[0]), word(m, row[3]), atoi(row[1]),
                atoi(row[2]));
    }
    fprintf(m->out, "};\n\nconst struct xapi_param xapi_params[] = {\n");
    for (size_t i = 0; i < m->param_count; i++)
        fprintf(m->out, "    {%u, %uu, %u},\n", m->params[i].name, m->params[i].initial, m->params[i].type);
    fprintf(m->out, "};\n\nconst struct xapi_type xapi_types[] = {\n");
    for (size_t i = 0; i < m->type_count; i++)
        fprintf(m->out, "    {%u, %u, %u},\n", m->types[i].kind, m->types[i].of, m->types[i].to);
    fprintf(m->out,
            "};\n\nconst uint16_t xapi_class_count = %zu, xapi_field_count = %zu, xapi_message_count = %zu,\n"
            "    xapi_enum_count = %zu, xapi_error_count = %zu, xapi_release_count = %zu, xapi_type_count = %zu;\n",
            m->classes.count, m->fields.count, m->messages.count, m->enums.count, m->errors.count, m->releases.count,
            m->type_count);
}

/* ---- perfect hash ---- */

struct bucket {
    uint16_t members[64];
    unsigned count;
};

/* Hash and displace: the fullest bucket first looks for a seed that sends its members to free slots. */
static void put_hash(struct model *m)
{
    const uint32_t size = (uint32_t)(m->messages.count * 5 / 4) | 1, buckets = (uint32_t)m->messages.count / 3 + 1;
    struct bucket *const all = calloc(buckets, sizeof(*all));
    uint16_t *const slots = malloc(size * sizeof(*slots)), *const shifts = calloc(buckets, sizeof(*shifts));
    char(*const names)[256] = calloc(m->messages.count, sizeof(*names));

    if (!all || !slots || !shifts || !names)
        die("no memory");
    memset(slots, 0xff, size * sizeof(*slots));
    for (size_t i = 0; i < m->messages.count; i++) {
        snprintf(names[i], sizeof(names[i]), "%s.%s", m->messages.rows[i][0], m->messages.rows[i][1]);
        struct bucket *const b = &all[xapi_hash(0, names[i]) % buckets];
        if (b->count == 64)
            die("too many messages in a bucket: are there two of the name %s?", names[i]);
        b->members[b->count++] = (uint16_t)i;
    }
    for (unsigned want = 64; want > 0; want--) {
        for (uint32_t b = 0; b < buckets; b++) {
            if (all[b].count != want)
                continue;
            uint32_t seed = 1;
            for (; seed < UINT16_MAX; seed++) {
                unsigned placed = 0;
                for (; placed < want; placed++) {
                    uint16_t *const slot = &slots[xapi_hash(seed, names[all[b].members[placed]]) % size];
                    if (*slot != XAPI_NONE)
                        break;
                    *slot = all[b].members[placed];
                }
                if (placed == want)
                    break;
                while (placed-- > 0)
                    slots[xapi_hash(seed, names[all[b].members[placed]]) % size] = XAPI_NONE;
            }
            if (seed == UINT16_MAX)
                die("no perfect hash: are there two messages of the name %s?", names[all[b].members[0]]);
            shifts[b] = (uint16_t)seed;
        }
    }
    fprintf(m->out,
            "\nconst uint32_t xapi_hash_buckets = %u, xapi_hash_size = %u;\nconst uint16_t xapi_hash_shifts[] = {\n",
            buckets, size);
    for (uint32_t i = 0; i < buckets; i++)
        fprintf(m->out, "    %u,\n", shifts[i]);
    fprintf(m->out, "};\nconst uint16_t xapi_hash_slots[] = {\n");
    for (uint32_t i = 0; i < size; i++)
        fprintf(m->out, "    %u,\n", slots[i]);
    fprintf(m->out, "};\n");
    free(all);
    free(slots);
    free(shifts);
    free(names);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        die("wants OUT.c and the folder of the tables");
    struct model *const m = calloc(1, sizeof(*m));
    if (!m)
        die("no memory");
    table_read(&m->classes, argv[2], "classes", 12);
    table_read(&m->fields, argv[2], "fields", 12);
    table_read(&m->messages, argv[2], "messages", 14);
    table_read(&m->enums, argv[2], "enums", 3);
    table_read(&m->errors, argv[2], "errors", 3);
    table_read(&m->releases, argv[2], "releases", 5);
    table_read(&m->relations, argv[2], "relations", 4);
    table_read(&m->map_options, argv[2], "map_options", 4);
    m->out = fopen(argv[1], "wb");
    if (!m->out)
        die("%s: %s", argv[1], strerror(errno));
    fprintf(m->out, "/* Made by scripts/xenapi-model.c. */\n#include \"lib/xapi/model.h\"\n");
    (void)word(m, "");
    put_classes(m);
    put_fields(m);
    put_messages(m);
    put_enums(m);
    put_map_options(m);
    put_rest(m);
    put_hash(m);
    words_put(&m->words, m->out, "xapi_words");
    if (fclose(m->out) != 0)
        die("%s: %s", argv[1], strerror(errno));
    struct table *const tables[] = {&m->classes, &m->fields,   &m->messages,  &m->enums,
                                    &m->errors,  &m->releases, &m->relations, &m->map_options};
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        free(tables[i]->text);
    free(m);
    return 0;
}
