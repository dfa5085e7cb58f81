/*
 * The commands of `xe`, the fields of its records, and the sentences for error codes as constant tables.
 *
 * Made at build time by scripts/xe-model.c from data/xe, which holds what a user of `xe` sees: names, parameters, help
 * texts. What a call to the pool takes and gives stands in lib/xapi/model.h alone; the tables here refer to it by name.
 * Rows refer to words by their place in one text, as there.
 */
#ifndef LIB_XE_MODEL_H
#define LIB_XE_MODEL_H

#include "core/base.h"

typedef uint32_t xe_word;

#define XE_NONE UINT16_MAX

enum xe_command_flag {
    XE_SELECTS_VMS = 1,    /* takes parameters that choose VMs */
    XE_SELECTS_HOSTS = 2,  /* hosts */
    XE_SELECTS_SRS = 4,    /* storage repositories */
    XE_STANDARD = 8,       /* in the short list of `help` */
    XE_NEVER_FORWARD = 16, /* a slave answers it itself */
    XE_HIDDEN_COMMAND = 32,
    XE_LOCAL_SESSION = 64, /* the host's own session */
};

struct xe_command {
    xe_word name, required, optional; /* the last two: with commas */
    xe_word recipe;                   /* "!": code of its own, "-": not served, otherwise see recipe.c */
    xe_word help;
    uint16_t flags;
};

/* How a field becomes text. */
enum xe_form {
    XE_TEXT,
    XE_BOOL,
    XE_INT,
    XE_REAL, /* three decimals */
    XE_TIME,
    XE_ENUM,
    XE_UUID, /* of the object that a ref names */
    XE_NAME, /* its name_label */
    XE_UUIDS,
    XE_WORDS,    /* joined by "; " */
    XE_COMMAS,   /* joined by ", " */
    XE_VALUES,   /* of a map, joined by "; " */
    XE_MAP,      /* "key: value; …" */
    XE_UUID_MAP, /* the same with the uuids of refs */
    XE_RATE,     /* KiB a second of a data source */
    XE_SPECIAL,
};

enum xe_field_flag {
    XE_EXPENSIVE = 1, /* costs a call: not in lists */
    XE_HIDDEN = 2,
    XE_DEPRECATED = 4,
    XE_ANY_CASE = 8, /* in filters */
    XE_SET = 16,     /* its members can be asked for */
    XE_SET_RW = 32,  /* and added and removed */
    XE_DICT = 64,    /* its pairs can be asked for */
    XE_DICT_RW = 128,
    XE_DICT_PAIR = 256,  /* pairs are written one by one, with set_pair */
    XE_DICT_WHOLE = 512, /* the map is written as a whole */
    XE_DICT_CLEAR = 1024,
    XE_HAS_OTHERWISE = 2048,
    XE_QUOTED = 4096,
    XE_CALLED = 8192, /* `path` is a message that is called with the object (or, XE_BARE, with nothing) */
    XE_BARE = 16384,
    XE_ALL_HOSTS = 32768, /* a field of the hosts, if they agree on it */
};

/* What a value that is written is made of. */
enum xe_writer {
    XE_READ_ONLY,
    XE_WRITE_TEXT,
    XE_WRITE_INT, /* errors name the field … */
    XE_WRITE_BOOL,
    XE_WRITE_STRICT_INT, /* … or come from the number's parser */
    XE_WRITE_STRICT_BOOL,
    XE_WRITE_REAL,
    XE_WRITE_BYTES,
    XE_WRITE_ENUM,
    XE_WRITE_REF,
    XE_WRITE_REF_OR_NULL,
    XE_WRITE_REFS,
    XE_WRITE_WORDS,
    XE_WRITE_TRIMMED,
    XE_WRITE_INTS,
};

struct xe_field {
    xe_word name;
    xe_word path;              /* fields with '>' between them, or a message */
    xe_word otherwise;         /* XE_HAS_OTHERWISE: when there is no such value */
    xe_word empty;             /* instead of an empty text */
    xe_word table;             /* words that stand for an enum's values */
    xe_word set, add, set_map; /* messages; those that remove have "remove" where `add` has "add" */
    uint8_t form, writer;
    uint16_t flags;
};

struct xe_record {
    xe_word name, class_name;
    uint16_t first_field, fields;
};

/* A kind of object as `xe` shows it: `NAME-list` and `NAME-param-…`. */
struct xe_listing {
    xe_word name, filters, columns; /* filters: "key=value,…"; no columns: all */
    uint16_t record;
};

/* A value of an enum, and the word that is shown for it. */
struct xe_enum_word {
    xe_word table, value, text;
};

struct xe_error_text {
    xe_word code, text;
};

extern const char xe_words[];
extern const struct xe_command xe_commands[]; /* by name */
extern const struct xe_record xe_records[];
extern const struct xe_field xe_fields[];
extern const struct xe_listing xe_listings[];
extern const struct xe_enum_word xe_enum_words[];
extern const struct xe_error_text xe_error_texts[]; /* by code */
extern const uint16_t xe_command_count, xe_record_count, xe_listing_count, xe_enum_word_count, xe_error_text_count;

static inline const char *xe_text(xe_word word)
{
    return xe_words + word;
}

/* NULL: there is none; commands of listings are not in this table. */
const struct xe_command *xe_command_find(const char *name);
const struct xe_listing *xe_listing_find(const char *name);
const struct xe_record *xe_record_find(const char *name);
const struct xe_field *xe_field_find(const struct xe_record *record, const char *name);
/* The sentence for an error code. NULL: there is none. */
const char *xe_error_text(const char *code);
/* The word for an enum's value, and back (case does not matter); NULL: the table has no such row. */
const char *xe_enum_show(const char *table, const char *value);

#endif
