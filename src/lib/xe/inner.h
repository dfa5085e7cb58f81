/* What the files of `xe` share; the outside is xe.h. */
#ifndef LIB_XE_INNER_H
#define LIB_XE_INNER_H

#include "lib/xe/xe.h"

#define XE_NULL            "OpaqueRef:NULL"
#define XE_NOT_IN_DATABASE "<not in database>"
#define XE_PARAMS_MAX      24 /* of a message that code here calls */

/*
 * How a command ended early. The first failure stays: everything that is asked afterwards does nothing and gives
 * nothing, so that a command is written straight down and the failure is told once, at its end.
 */
enum xe_failure {
    XE_FINE,
    XE_EXIT,            /* all is said; `status` is the exit status */
    XE_UNKNOWN_COMMAND, /* text: its name */
    XE_SYNTAX,          /* text */
    XE_MISSING,         /* text: the parameter */
    XE_FAILED,          /* text: what "Error: " is put before */
    XE_SERVER,          /* code and params: an error of the API */
    XE_NO_FIELD,        /* text: a field that the record does not have */
    XE_LOST,            /* the far side or the user's side is gone: `status` is the code, *err is filled */
};

struct xe_param {
    const char *name, *value;
};

struct xe {
    const struct xe_settings *settings;
    struct xk_err *err;
    struct xk_arena arena;
    const char *command;
    struct xe_param *params;
    size_t param_count;
    bool minimal;
    struct xk_buf minimal_text; /* "--minimal": the tables printed so far, the last one first */
    bool minimal_any;
    struct xk_buf table_text; /* the column of the table that is being printed */
    size_t table_records;
    bool table_broken;   /* a record had no field: the whole table says nothing */
    const char *session; /* instead of the opened one: a database that a command looks into; else NULL */
    enum xe_failure failure;
    int status;
    const char *text;         /* of the failure */
    struct xapi_value server; /* its code and params */
    double bar_started_s;
    struct xe_index *index; /* what is known of refs */
};

/* ---- failure.c ---- */

void xe_fail(struct xe *x, const char *format, ...) XK_PRINTF(2, 3);
/* A code and parameters, ended by NULL. */
void xe_fail_server(struct xe *x, const char *code, ...) __attribute__((sentinel));
void xe_fail_other(struct xe *x, enum xe_failure failure, const char *text);
void xe_fail_exit(struct xe *x, int status);
void xe_fail_memory(struct xe *x);
void xe_fail_lost(struct xe *x, int code);
static inline bool xe_fine(const struct xe *x)
{
    return x->failure == XE_FINE;
}
/* Whether it failed with that code of the API. */
bool xe_failed_with(const struct xe *x, const char *code);
/* Forget the failure, unless a side was lost or memory ran out. returns whether there was one. */
bool xe_forgive(struct xe *x);
/* Tell the user; the exit status. */
int xe_tell_failure(struct xe *x);
/* The error's sentence and lines of its parameters, joined by '\n'; NULL: it has no sentence. */
const char *xe_error_lines(struct xe *x, const struct xapi_value *error, bool one_text);
/* What the server calls an exception: "CODE: [ a; b ]". */
const char *xe_exception_text(struct xe *x);

/* ---- say.c ---- */

struct xe_pair {
    const char *name, *value;
};

void xe_print(struct xe *x, const char *text);    /* past --minimal */
void xe_complain(struct xe *x, const char *text); /* stderr, past --minimal */
void xe_say(struct xe *x, const char *text);      /* a message: not with --minimal */
void xe_list(struct xe *x, const char *const *texts, size_t count);
void xe_list_one(struct xe *x, const char *text);
/* Tables are drawn record by record; xe_table_begin and _end go around them for --minimal. */
void xe_table_begin(struct xe *x);
void xe_table_record(struct xe *x, const struct xe_pair *pairs, size_t count);
void xe_table_end(struct xe *x);
void xe_table_map(struct xe *x, const struct xapi_value *map);
void xe_say_flush(struct xe *x);

/* ---- args.c ---- */

int xe_args_parse(struct xe *x, const char *const *args, size_t count);
/* The first parameter of that name. NULL: there is none. */
const char *xe_param(const struct xe *x, const char *name);
/* A parameter that the command's row says is required; without it the command fails. Never NULL. */
const char *xe_required(struct xe *x, const char *name);
const char *xe_param_or(const struct xe *x, const char *name, const char *otherwise);
bool xe_param_bool(struct xe *x, const char *name, bool otherwise);
/* The pairs of NAME:key=value (or the old NAME-key=value) as a map. */
struct xapi_value xe_param_map(struct xe *x, const char *name);
/* A text cut at each separator. */
struct xapi_value xe_split(struct xe *x, const char *text, char separator);
bool xe_is_standard_param(const char *name);
/* Names before ':'. */
size_t xe_stem(const char *name);
int64_t xe_bytes(struct xe *x, const char *field, const char *text);
bool xe_number(int64_t *ret, const char *text);
bool xe_real(double *ret, const char *text);
const char *xe_lower(struct xe *x, const char *text);

/* ---- call.c ---- */

struct xapi_value xe_call(struct xe *x, const char *method, const struct xapi_value *params, size_t count);
#define xe_do(x, method, ...)                                                                                          \
    xe_call((x), (method), (const struct xapi_value[]){__VA_ARGS__},                                                   \
            sizeof((const struct xapi_value[]){__VA_ARGS__}) / sizeof(struct xapi_value))
#define xe_do_bare(x, method) xe_call((x), (method), NULL, 0)
/* The text of a result, and the whole number, however they came. */
const char *xe_value_text(struct xe *x, const struct xapi_value *v);
int64_t xe_value_int(const struct xapi_value *v);
double xe_value_real(const struct xapi_value *v);
bool xe_value_bool(const struct xapi_value *v);
/* A result's text; never NULL. */
const char *xe_get_text(struct xe *x, const char *method, const char *ref);
bool xe_get_bool(struct xe *x, const char *method, const char *ref);
struct xapi_value xe_get(struct xe *x, const char *method, const char *ref);
const char *xe_by_uuid(struct xe *x, const char *class_name, const char *uuid);
/* The object that the required parameter names. */
const char *xe_param_ref(struct xe *x, const char *class_name, const char *param);
const char *xe_uuid_of(struct xe *x, const char *class_name, const char *ref);
const char *xe_the_pool(struct xe *x);
const char *xe_the_master(struct xe *x);
const char *xe_this_host(struct xe *x);
const char *xe_item(const struct xapi_value *list, size_t i);
bool xe_is_null(const char *ref);
/* An enum's value for a word from the command line, in the server's words when it is none. */
const char *xe_enum_value(struct xe *x, uint16_t enum_index, const char *word);
struct xapi_value xe_text_value(struct xe *x, const char *text);

/* ---- object.c ---- */

struct xe_object {
    const struct xe_record *kind;
    const char *ref;
    struct xapi_value record; /* nil: not asked for yet */
};

struct xe_object xe_object(struct xe *x, const char *kind, const char *ref);
const struct xapi_value *xe_object_get(struct xe *x, struct xe_object *o, const char *field);
/* What `xe` shows. */
const char *xe_field_show(struct xe *x, struct xe_object *o, const struct xe_field *field);
const char *xe_field_show_named(struct xe *x, struct xe_object *o, const char *name);
/* The members of a set or the pairs of a map, as texts. */
struct xapi_value xe_field_words(struct xe *x, struct xe_object *o, const struct xe_field *field);
struct xapi_value xe_field_pairs(struct xe *x, struct xe_object *o, const struct xe_field *field);
/* Fields that no form describes; the pairs are those of VCPUs-utilisation. */
const char *xe_special(struct xe *x, struct xe_object *o, const struct xe_field *field);
struct xapi_value xe_special_pairs(struct xe *x, struct xe_object *o);

/* ---- index.c: what refs are called ---- */

/* Records that came with a list: a map of refs to records. */
void xe_index_learn(struct xe *x, const char *class_name, const struct xapi_value *records);
const char *xe_index_uuid(struct xe *x, const char *class_name, const char *ref);
const char *xe_index_name(struct xe *x, const char *class_name, const char *ref);
const struct xapi_value *xe_index_record(struct xe *x, const char *class_name, const char *ref);
/* "UUID (NAME)" of any object, or the text itself. */
const char *xe_index_convert(struct xe *x, const char *text);
void xe_index_done(struct xe *x);

/* ---- select.c ---- */

struct xe_objects {
    struct xe_object *items;
    size_t count;
};

struct xe_objects xe_all(struct xe *x, const char *kind, const char *class_name, const char *expression);
/* Keep those whose field has the value, as a parameter "field=value" or "field:key=value" says. */
void xe_filter(struct xe *x, struct xe_objects *objects, const char *name, const char *value);

/* What a parameter's name means for a record. */
enum xe_named {
    XE_NAMED_FIELD,
    XE_NAMED_SET,  /* field:contains */
    XE_NAMED_PAIR, /* field:key, or the old field-key */
};
/* NULL: it means nothing, and the command failed. */
const struct xe_field *xe_named_field(struct xe *x, const struct xe_record *kind, const char *name,
                                      enum xe_named *ret_how);

enum xe_select {
    XE_ALSO_CONTROL = 1,   /* control domains, too */
    XE_ALSO_TEMPLATES = 2, /* templates, too */
    XE_ONE = 4,            /* never more than one */
};

struct xe_objects xe_select(struct xe *x, enum xe_command_flag what, unsigned how, const char *const *ignored);
/*
 * Do `operation` to each object that the parameters choose; several need --multiple.
 *
 * ignored   parameters that do not choose, NULL-ended.
 * returns   how many it was done to; what fails is told when all are done.
 */
typedef void xe_operation(struct xe *x, struct xe_object *o, void *context);
size_t xe_each(struct xe *x, enum xe_command_flag what, unsigned how, const char *const *ignored,
               xe_operation *operation, void *context);

/* ---- listing.c ---- */

/* Whether the command is NAME-list or NAME-param-…; then it was run. */
bool xe_listing_run(struct xe *x, const char *command);
/* The fields that `chosen` names (NULL: the usual ones; "all"), as a record of a table. */
void xe_print_object(struct xe *x, struct xe_object *o, const char *chosen, const char *usual);
void xe_end_database(struct xe *x);

/* A command, from the table or made for a listing. */
struct xe_entry {
    char name[80];
    const struct xe_command *command; /* NULL: of a listing */
    const char *required;
    unsigned flags; /* enum xe_command_flag */
};

bool xe_entry_find(struct xe_entry *ret, const char *name);
/* All of them, sorted by name. */
struct xe_entry *xe_entries(struct xe *x, size_t *ret_count);
/* Append the optional parameters and the help text of a listing's command. */
void xe_listing_optional(struct xk_buf *b, const char *command);
void xe_listing_help(struct xk_buf *b, const char *command);
void xe_field_line(struct xe *x, struct xe_object *o, const struct xe_field *field, struct xe_pair *ret);
bool xe_in_list(const char *list, const char *word);

/* ---- param.c: fields are written ---- */

void xe_param_set(struct xe *x, const struct xe_listing *listing);
void xe_param_add(struct xe *x, const struct xe_listing *listing);
void xe_param_remove(struct xe *x, const struct xe_listing *listing);
void xe_param_clear(struct xe *x, const struct xe_listing *listing);

/* ---- the rest ---- */

void xe_recipe_run(struct xe *x, const struct xe_command *command);
void xe_help(struct xe *x);
/* Wait for an Async task, and fail as it failed; it is destroyed. With the parameter `progress` a bar is shown. */
void xe_wait(struct xe *x, const char *task);
/* Wait only; `update` (or NULL) is told of each change. */
void xe_track(struct xe *x, const char *task, void (*update)(struct xe *x, const struct xapi_value *record));

/* Back from a scratch arena, which is freed, to `own`: what the failure says is taken along. */
void xe_keep_failure(struct xe *x, struct xk_arena *own);

/* ---- file.c: files between the user's side and the pool ---- */

struct xe_file {
    enum xe_transfer kind;
    const char *label;     /* of the task that is made for it */
    const char *path;      /* the user's file */
    const char *prefix;    /* https://HOST, or "" for the pool itself */
    const char *address;   /* "/import?": session and task are put behind it */
    const char *rest;      /* "&more=…" */
    bool bar;              /* progress on stderr */
    const char *task_uuid; /* instead of a task of its own; or NULL */
};
/* Copy it, and wait for the task. returns the task's result. */
const char *xe_file_copy(struct xe *x, const struct xe_file *file);
/* The kind that says how it ended: "LABEL succeeded". task: NULL makes one of that label. */
void xe_file_move(struct xe *x, enum xe_transfer kind, const char *task, const char *task_label,
                  const char *task_description, const char *path, const char *address, const char *rest,
                  const char *label);
/* The content of a file of the user. NULL: it cannot be read. */
const char *xe_file_load(struct xe *x, const char *path);
double xe_monotonic_s(void);
/* The same; without it "Failed to read WHAT" is said and the command ends. Never NULL. */
const char *xe_file_need(struct xe *x, const char *path, const char *what);
/* "" for the master, https://ADDRESS for another host. */
const char *xe_host_prefix(struct xe *x, const char *host);
const char *xe_url_escaped(struct xe *x, const char *text);
/* Whether the user typed yes. */
bool xe_yes(struct xe *x);
void xe_need_force(struct xe *x);
/* Tables: of those pairs of cpu_info; of VMs, "UUID (NAME)" with the words of their sets. */
void xe_put_features(struct xe *x, const struct xapi_value *cpu_info, const char *const *keys);
void xe_put_vm_words(struct xe *x, const struct xapi_value *map, const char *head_name, const char *head_value);
/* The members of a set with a word between them. */
const char *xe_joined(struct xe *x, const struct xapi_value *list, const char *separator);
const char *xe_host_by_name(struct xe *x, const char *name);
/* The uuid of the pool's default SR. NULL: it has none. */
const char *xe_default_sr(struct xe *x);
/* The snapshot that the parameter snapshot-uuid or uuid names. */
const char *xe_snapshot(struct xe *x);

typedef void xe_command_run(struct xe *x);

struct xe_row {
    const char *name;
    xe_command_run *run;
};
extern const struct xe_row xe_vm_rows[], xe_copy_rows[], xe_install_rows[], xe_disk_rows[], xe_host_rows[],
    xe_pool_rows[], xe_storage_rows[], xe_network_rows[], xe_file_rows[], xe_other_rows[], xe_migrate_rows[];
xe_command_run *xe_code_of(const char *command);

#endif
