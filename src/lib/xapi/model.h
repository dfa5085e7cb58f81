/*
 * The XenAPI data model as one constant table: classes, fields, messages, types, enums, errors, releases, relations.
 *
 * Made at build time by scripts/xenapi-model.c from data/xenapi. Dispatch, argument checks, records,
 * system.listMethods and completion all read it; there is no second list. Rows refer to each other by index and to
 * words by their place in one text, so that nothing has to be relocated when the program starts.
 */
#ifndef LIB_XAPI_MODEL_H
#define LIB_XAPI_MODEL_H

#include "core/base.h"

/* A word: its place in xapi_words. Place 0 is the empty word. */
typedef uint32_t xapi_word;

#define XAPI_NONE        UINT16_MAX /* no class, field, enum */
#define XAPI_NO_DEFAULT  UINT32_MAX /* instead of a word: the value has to be given */
#define XAPI_ENUM_VALUES 96         /* more than any enum has */

enum xapi_kind {
    XAPI_VOID,
    XAPI_STRING,
    XAPI_SECRET, /* a string that no log may show */
    XAPI_INTEGER,
    XAPI_FLOAT,
    XAPI_BOOLEAN,
    XAPI_DATETIME,
    XAPI_REF,    /* of: class, XAPI_NONE for a class that the model does not have */
    XAPI_ENUM,   /* of: enum */
    XAPI_RECORD, /* of: class */
    XAPI_SET,    /* of: type of the members */
    XAPI_DICT,   /* of: type of the keys, to: of the values */
    XAPI_OPTION, /* of: type */
};

struct xapi_type {
    uint8_t kind; /* enum xapi_kind */
    uint16_t of, to;
};

/* Roles, from the highest; a mask of them may call a message. XAPI_ROLE_LOCAL: the host itself only. */
enum {
    XAPI_ROLE_PA = 1,
    XAPI_ROLE_PO = 2,
    XAPI_ROLE_VPA = 4,
    XAPI_ROLE_VA = 8,
    XAPI_ROLE_VO = 16,
    XAPI_ROLE_CC = 32,
    XAPI_ROLE_RO = 64,
    XAPI_ROLE_LOCAL = 128,
};

enum xapi_state { XAPI_PUBLISHED, XAPI_PROTOTYPED, XAPI_DEPRECATED, XAPI_REMOVED };

enum xapi_class_flag {
    XAPI_CLASS_DATABASE = 1, /* objects of it are kept */
    XAPI_CLASS_PERSIST = 2,  /* and outlive a restart */
    XAPI_CLASS_EVENTS = 4,   /* and their changes are told by event.from */
};

struct xapi_class {
    xapi_word name, lower; /* "VM", and "vm" as events have it */
    uint16_t first_field, fields;
    uint16_t first_message, messages;
    uint16_t uuid, name_label; /* index of these fields, XAPI_NONE: it has none */
    uint8_t state, flags;
};

enum xapi_qualifier { XAPI_RW, XAPI_SRO, XAPI_DRO };

struct xapi_field {
    xapi_word name;
    xapi_word initial; /* text of the default as the tables have it, or XAPI_NO_DEFAULT */
    xapi_word release;
    uint16_t class_index, type;
    uint16_t other; /* the field at the other end of a relation, XAPI_NONE: no relation */
    uint8_t qualifier, state;
    bool internal; /* never in a record that a client sees */
};

struct xapi_param {
    xapi_word name, initial; /* initial: default, or XAPI_NO_DEFAULT */
    uint16_t type;
};

enum xapi_message_kind {
    XAPI_CUSTOM,
    XAPI_GET,
    XAPI_SETTER,
    XAPI_ADD,
    XAPI_REMOVE,
    XAPI_CREATE,
    XAPI_DESTROY,
    XAPI_GET_RECORD,
    XAPI_GET_BY_UUID,
    XAPI_GET_BY_NAME_LABEL,
    XAPI_GET_ALL,
    XAPI_GET_ALL_WHERE,
    XAPI_GET_ALL_RECORDS,
    XAPI_GET_ALL_RECORDS_WHERE,
};

enum xapi_message_flag {
    XAPI_MESSAGE_ASYNC = 1,      /* may be called as Async.NAME */
    XAPI_MESSAGE_SESSION = 2,    /* a session comes before the parameters */
    XAPI_MESSAGE_HIDDEN = 4,     /* not documented, but callable */
    XAPI_MESSAGE_SECRET = 8,     /* its parameters never appear in a log */
    XAPI_MESSAGE_EMERGENCY = 16, /* a host without its master answers it, too */
    XAPI_MESSAGE_POOL = 32,      /* only for the sessions that hosts have with each other */
};

struct xapi_message {
    xapi_word name;   /* "VM.start" */
    xapi_word errors; /* codes that are documented for it, with commas */
    xapi_word release;
    uint16_t class_index, result;
    uint16_t field; /* for getters, setters, add and remove; XAPI_NONE otherwise */
    uint16_t first_param;
    uint8_t params, required; /* without the session; required: those without a default */
    uint8_t kind, flags, state, roles;
    xapi_word needed; /* fields that a constructor's record must have, with commas */
    xapi_word keys;   /* keys of a map that other roles may change: "folder:PA,PO|XenCenter.CustomFields.*:PA,VO" */
};

struct xapi_enum {
    xapi_word name;
    uint16_t first_value, values; /* into xapi_enum_values */
};

struct xapi_error {
    xapi_word code, params; /* params: names with commas, empty: none */
};

/* Keys of a map that no type tells, found in the server's code: a parameter of a message, or a field of a record. */
struct xapi_map_option {
    xapi_word message, param, keys, note;
};

struct xapi_release {
    xapi_word code_name, branding;
    uint8_t major, minor;
};

extern const char xapi_words[];
extern const struct xapi_type xapi_types[];
extern const struct xapi_class xapi_classes[];
extern const struct xapi_field xapi_fields[];
extern const struct xapi_param xapi_params[];
extern const struct xapi_message xapi_messages[];
extern const struct xapi_enum xapi_enums[];
extern const xapi_word xapi_enum_values[];
extern const struct xapi_error xapi_errors[];
extern const struct xapi_release xapi_releases[];
extern const struct xapi_map_option xapi_map_options[];
extern const uint16_t xapi_map_option_count;
extern const uint16_t xapi_class_count, xapi_field_count, xapi_message_count, xapi_enum_count, xapi_error_count,
    xapi_release_count, xapi_type_count;

/* For lookup in model.c: displacements of a perfect hash over message names, and the table that they lead into. */
extern const uint16_t xapi_hash_shifts[], xapi_hash_slots[];
extern const uint32_t xapi_hash_buckets, xapi_hash_size;

static inline const char *xapi_text(xapi_word word)
{
    return xapi_words + word;
}

/* The class of that name; case matters. NULL: there is none. */
const struct xapi_class *xapi_class_find(const char *name);
/* The same for a name from an event subscription, whose case does not matter. */
const struct xapi_class *xapi_class_find_any_case(const char *name);
/* The field of a class. NULL: there is none. */
const struct xapi_field *xapi_field_find(const struct xapi_class *class_row, const char *name);
/* Like xapi_field_find, for a field that the model is known to have: its place among the class's fields. */
unsigned xapi_field_place(const struct xapi_class *class_row, const char *name);
/* "VM.start" or "VM_start"; without the prefixes Async. and InternalAsync. NULL: there is none. */
const struct xapi_message *xapi_message_find(const char *name);
/* Whether `word` is a value of the enum. */
bool xapi_enum_has(uint16_t enum_index, const char *word);
const struct xapi_error *xapi_error_find(const char *code);

static inline unsigned xapi_class_index(const struct xapi_class *class_row)
{
    return (unsigned)(class_row - xapi_classes);
}
static inline unsigned xapi_message_index(const struct xapi_message *message)
{
    return (unsigned)(message - xapi_messages);
}
static inline const struct xapi_type *xapi_type_of(uint16_t type)
{
    return &xapi_types[type];
}

/* FNV-1a with a seed, over a message's name with '_' for '.'; shared by the generator and model.c. */
static inline uint32_t xapi_hash(uint32_t seed, const char *name)
{
    uint32_t h = UINT32_C(2166136261) ^ (seed * UINT32_C(0x9e3779b1));
    for (; *name; name++)
        h = (h ^ (uint8_t)(*name == '.' ? '_' : *name)) * UINT32_C(16777619);
    return h ^ (h >> 15);
}

#endif
