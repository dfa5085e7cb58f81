/*
 * Turn the tables of `xe` into C:  xe-model OUT.c FOLDER
 *
 * FOLDER holds commands.tsv, listings.tsv, fields.tsv, words.tsv, errors.tsv. What a column may say is checked here,
 * once; a row that does not fit stops the build.
 */
#include "lib/xe/model.h"
#include "tables.h"

const char program[] = "xe-model";

struct model {
    struct table commands, listings, fields, words, errors;
    struct words text;
    FILE *out;
};

static uint32_t word(struct model *m, const char *text)
{
    return words_add(&m->text, strcmp(text, "-") == 0 ? "" : text);
}

/* A text in which \n and \\ stand for a line's end and a backslash. */
static uint32_t word_unescaped(struct model *m, const char *text)
{
    char buffer[8192];
    size_t len = 0;

    if (strlen(text) >= sizeof(buffer))
        die("a text of more than %zu bytes: %.40s", sizeof(buffer), text);
    for (const char *c = text; *c; c++) {
        if (*c == '\\' && c[1] == 'n')
            buffer[len++] = '\n', c++;
        else if (*c == '\\' && c[1] == '\\')
            buffer[len++] = '\\', c++;
        else
            buffer[len++] = *c;
    }
    buffer[len] = '\0';
    return words_add(&m->text, buffer);
}

struct choice {
    const char *name;
    unsigned value;
};

static unsigned pick(const char *what, const char *text, const struct choice *choices)
{
    for (; choices->name; choices++)
        if (strcmp(choices->name, text) == 0)
            return choices->value;
    die("%s: \"%s\" is not known", what, text);
}

static void check_sorted(const struct table *t)
{
    for (size_t i = 1; i < t->count; i++)
        if (strcmp(t->rows[i - 1][0], t->rows[i][0]) >= 0)
            die("%s.tsv is not sorted at %s", t->name, t->rows[i][0]);
}

/* ---- commands ---- */

static void put_commands(struct model *m)
{
    static const struct choice flags[] = {{"vm", XE_SELECTS_VMS},
                                          {"host", XE_SELECTS_HOSTS},
                                          {"sr", XE_SELECTS_SRS},
                                          {"standard", XE_STANDARD},
                                          {"neverforward", XE_NEVER_FORWARD},
                                          {"hidden", XE_HIDDEN_COMMAND},
                                          {"local", XE_LOCAL_SESSION},
                                          {NULL, 0}};

    check_sorted(&m->commands);
    fprintf(m->out, "\nconst struct xe_command xe_commands[] = {\n");
    for (size_t i = 0; i < m->commands.count; i++) {
        char *const *const row = m->commands.rows[i];
        unsigned mask =
            pick("commands.tsv", row[4], (const struct choice[]){{"-", 0}, {"local", XE_LOCAL_SESSION}, {0}});
        char *rest = row[3];
        for (char *flag; strcmp(row[3], "-") != 0 && (flag = strtok_r(rest, ",", &rest));)
            mask |= pick(row[0], flag, flags);
        const uint32_t recipe = strcmp(row[6], "-") == 0 ? words_add(&m->text, "-") : word(m, row[6]);
        fprintf(m->out, "    {%u, %u, %u, %u, %u, %u},\n", word(m, row[0]), word(m, row[1]), word(m, row[2]), recipe,
                word_unescaped(m, row[5]), mask);
    }
    fprintf(m->out, "};\nconst uint16_t xe_command_count = %zu;\n", m->commands.count);
}

/* ---- fields ---- */

static const char *class_of(const struct model *m, const char *record)
{
    for (size_t i = 0; i < m->listings.count; i++)
        if (strcmp(m->listings.rows[i][1], record) == 0)
            return m->listings.rows[i][2];
    return NULL;
}

struct field {
    const char *class_name, *name, *path, *otherwise, *empty, *table;
    char set[96], add[96], set_map[96];
    unsigned form, writer, flags;
};

/* "bool metrics>hvm else=false"; what stands after '=' may contain blanks, so it is the last. */
static void take_get(struct field *f, char *get)
{
    static const struct choice forms[] = {{"text", XE_TEXT},
                                          {"bool", XE_BOOL},
                                          {"int", XE_INT},
                                          {"real", XE_REAL},
                                          {"time", XE_TIME},
                                          {"enum", XE_ENUM},
                                          {"uuid", XE_UUID},
                                          {"name", XE_NAME},
                                          {"uuids", XE_UUIDS},
                                          {"words", XE_WORDS},
                                          {"commas", XE_COMMAS},
                                          {"values", XE_VALUES},
                                          {"map", XE_MAP},
                                          {"uuidmap", XE_UUID_MAP},
                                          {"kbs", XE_RATE},
                                          {"special", XE_SPECIAL},
                                          {NULL, 0}};
    char *rest = get;

    const char *form = strtok_r(rest, " ", &rest);
    if (strcmp(form, "same") == 0) {
        f->flags |= XE_ALL_HOSTS;
        form = strtok_r(rest, " ", &rest);
    }
    f->form = pick(f->name, form, forms);
    f->path = f->form == XE_SPECIAL ? "" : strtok_r(rest, " ", &rest);
    if (*f->path == '!') {
        f->flags |= XE_CALLED | (f->path[1] == '-' ? XE_BARE : 0);
        f->path += f->path[1] == '-' ? 2 : 1;
    }
    while (rest && *rest) {
        if (strncmp(rest, "table=", 6) == 0) {
            f->table = strtok_r(rest + 6, " ", &rest);
        } else if (strncmp(rest, "else=", 5) == 0) {
            f->flags |= XE_HAS_OTHERWISE;
            f->otherwise = strcmp(rest + 5, "nid") == 0    ? "<not in database>"
                           : strcmp(rest + 5, "time") == 0 ? "<unknown time>"
                                                           : rest + 5;
            return;
        } else if (strncmp(rest, "empty=", 6) == 0) {
            f->empty = rest + 6;
            return;
        } else if (strcmp(rest, "quote=1") == 0) {
            f->flags |= XE_QUOTED;
            return;
        } else {
            die("field %s: \"%s\" is not known", f->name, rest);
        }
    }
}

/* A message: what is said after '@', or CLASS.VERB_FIELD. */
static void message(char ret[96], const struct field *f, const char *given, const char *verb)
{
    const char *const last = strrchr(f->path, '>');

    if (given)
        snprintf(ret, 96, "%s", given);
    else
        snprintf(ret, 96, "%s.%s_%s", f->class_name, verb, last ? last + 1 : f->path);
}

static void take_actions(struct field *f, char *actions)
{
    static const struct choice writers[] = {
        {"text", XE_WRITE_TEXT},        {"int", XE_WRITE_INT},          {"bool", XE_WRITE_BOOL},
        {"Int", XE_WRITE_STRICT_INT},   {"Bool", XE_WRITE_STRICT_BOOL}, {"real", XE_WRITE_REAL},
        {"bytes", XE_WRITE_BYTES},      {"enum", XE_WRITE_ENUM},        {"ref", XE_WRITE_REF},
        {"ref?", XE_WRITE_REF_OR_NULL}, {"refs", XE_WRITE_REFS},        {"words", XE_WRITE_WORDS},
        {"trimmed", XE_WRITE_TRIMMED},  {"ints", XE_WRITE_INTS},        {NULL, 0}};
    static const struct choice flags[] = {{"expensive", XE_EXPENSIVE},
                                          {"hidden", XE_HIDDEN},
                                          {"deprecated", XE_DEPRECATED},
                                          {"anycase", XE_ANY_CASE},
                                          {"words", XE_SET},
                                          {"words+", XE_SET | XE_SET_RW},
                                          {"map", XE_DICT},
                                          {"map+", XE_DICT | XE_DICT_RW},
                                          {"mapset", XE_DICT | XE_DICT_PAIR},
                                          {"setmap", XE_DICT_WHOLE},
                                          {"clear", XE_DICT_CLEAR},
                                          {NULL, 0}};

    if (strcmp(actions, "-") == 0)
        return;
    for (char *rest = actions, *action; (action = strtok_r(rest, " ", &rest));) {
        char *given = strchr(action, '@');
        if (given)
            *given++ = '\0';
        if (strncmp(action, "set=", 4) == 0) {
            f->writer = pick(f->name, action + 4, writers);
            message(f->set, f, given, "set");
            continue;
        }
        const unsigned flag = pick(f->name, action, flags);
        f->flags |= flag;
        if (flag & XE_SET_RW)
            message(f->add, f, given, "add");
        else if (flag & XE_DICT_RW)
            message(f->add, f, given, "add_to");
        else if (flag & (XE_DICT_PAIR | XE_DICT_WHOLE | XE_DICT_CLEAR))
            message(f->set_map, f, given, "set");
    }
}

static void put_fields(struct model *m)
{
    size_t first = 0, records = 0;

    fprintf(m->out, "\nconst struct xe_field xe_fields[] = {\n");
    for (size_t i = 0; i < m->fields.count; i++) {
        char *const *const row = m->fields.rows[i];
        struct field f = {.class_name = class_of(m, row[0]), .name = row[1], .otherwise = "", .empty = "", .table = ""};
        if (!f.class_name)
            die("fields.tsv: no listing shows the record %s", row[0]);
        take_get(&f, row[2]);
        take_actions(&f, row[3]);
        fprintf(m->out, "    {%u, %u, %u, %u, %u, %u, %u, %u, %u, %u, %u},\n", word(m, row[1]), word(m, f.path),
                words_add(&m->text, f.otherwise), word(m, f.empty), word(m, f.table), word(m, f.set), word(m, f.add),
                word(m, f.set_map), f.form, f.writer, f.flags);
    }
    fprintf(m->out, "};\n\nconst struct xe_record xe_records[] = {\n");
    for (size_t i = 1; i <= m->fields.count; i++) {
        if (i < m->fields.count && strcmp(m->fields.rows[i][0], m->fields.rows[first][0]) == 0)
            continue;
        fprintf(m->out, "    {%u, %u, %zu, %zu},\n", word(m, m->fields.rows[first][0]),
                word(m, class_of(m, m->fields.rows[first][0])), first, i - first);
        first = i;
        records++;
    }
    fprintf(m->out, "};\nconst uint16_t xe_record_count = %zu;\n", records);
}

/* ---- the rest ---- */

static size_t record_of(const struct model *m, const char *name)
{
    size_t index = 0;

    for (size_t i = 0; i < m->fields.count; i++) {
        if (strcmp(m->fields.rows[i][0], name) == 0)
            return index;
        index += i + 1 < m->fields.count && strcmp(m->fields.rows[i][0], m->fields.rows[i + 1][0]) != 0;
    }
    die("listings.tsv: there is no record %s", name);
}

static void put_rest(struct model *m)
{
    fprintf(m->out, "\nconst struct xe_listing xe_listings[] = {\n");
    for (size_t i = 0; i < m->listings.count; i++) {
        char *const *const row = m->listings.rows[i];
        /* A record that no command lists has "-" for a name, which makes it "". */
        fprintf(m->out, "    {%u, %u, %u, %zu},\n", word(m, row[0]), word(m, row[3]), word(m, row[4]),
                record_of(m, row[1]));
    }
    fprintf(m->out, "};\nconst uint16_t xe_listing_count = %zu;\n", m->listings.count);
    fprintf(m->out, "\nconst struct xe_enum_word xe_enum_words[] = {\n");
    for (size_t i = 0; i < m->words.count; i++)
        fprintf(m->out, "    {%u, %u, %u},\n", word(m, m->words.rows[i][0]), word(m, m->words.rows[i][1]),
                word(m, m->words.rows[i][2]));
    fprintf(m->out, "};\nconst uint16_t xe_enum_word_count = %zu;\n", m->words.count);
    check_sorted(&m->errors);
    fprintf(m->out, "\nconst struct xe_error_text xe_error_texts[] = {\n");
    for (size_t i = 0; i < m->errors.count; i++)
        fprintf(m->out, "    {%u, %u},\n", word(m, m->errors.rows[i][0]), word_unescaped(m, m->errors.rows[i][1]));
    fprintf(m->out, "};\nconst uint16_t xe_error_text_count = %zu;\n", m->errors.count);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        die("wants OUT.c and the folder of the tables");
    struct model *const m = calloc(1, sizeof(*m));
    if (!m)
        die("no memory");
    table_read(&m->commands, argv[2], "commands", 7);
    table_read(&m->listings, argv[2], "listings", 5);
    table_read(&m->fields, argv[2], "fields", 4);
    table_read(&m->words, argv[2], "words", 3);
    table_read(&m->errors, argv[2], "errors", 2);
    m->out = fopen(argv[1], "wb");
    if (!m->out)
        die("%s: %s", argv[1], strerror(errno));
    fprintf(m->out, "/* Made by scripts/xe-model.c. */\n#include \"lib/xe/model.h\"\n");
    (void)words_add(&m->text, "");
    put_commands(m);
    put_fields(m);
    put_rest(m);
    words_put(&m->text, m->out, "xe_words");
    if (fclose(m->out) != 0)
        die("%s: %s", argv[1], strerror(errno));
    struct table *const tables[] = {&m->commands, &m->listings, &m->fields, &m->words, &m->errors};
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        free(tables[i]->text);
    free(m);
    return 0;
}
