/*
 * XenAPI values: a small immutable tree.
 *
 * Values are made by a builder into an arena and borrowed from there, or packed into one block of memory of their own.
 * What a value is called in the data model (ref, enum, record, set …) is the business of model.h: here are only the
 * shapes that the wire knows.
 */
#ifndef LIB_XAPI_VALUE_H
#define LIB_XAPI_VALUE_H

#include "core/buf.h"
#include "core/err.h"
#include "lib/xapi/model.h"

#define XAPI_DEPTH_MAX  32         /* lists and maps inside each other */
#define XAPI_VALUES_MAX (1u << 20) /* values in one tree */

enum xapi_shape {
    XAPI_NIL, /* also the result of a call that returns nothing */
    XAPI_BOOL,
    XAPI_INT,
    XAPI_INT32, /* an int that XML-RPC writes as <i4>: only counts in events have it */
    XAPI_REAL,
    XAPI_TEXT,
    XAPI_TIME, /* as text: YYYYMMDDTHH:MM:SSZ */
    XAPI_LIST,
    XAPI_MAP,
    XAPI_RAW, /* encoded before; only ever written */
};

/* The same value as XML-RPC and as JSON have it. */
struct xapi_raw {
    const char *xml, *json;
    size_t xml_bytes, json_bytes;
};

struct xapi_value {
    uint8_t shape;  /* enum xapi_shape */
    uint32_t count; /* bytes of a text or time, items of a list, pairs of a map */
    union {
        bool truth;
        int64_t integer;
        double real;
        const char *text;               /* NUL-terminated; a NUL inside is refused by the decoders */
        const struct xapi_value *items; /* a map's: key, value, key, value …; keys are texts */
        const struct xapi_raw *raw;
    };
};

/* ---- making ---- */

/* Values are pushed in order; open and close group them. After the first error nothing more happens. */
struct xapi_build {
    struct xk_arena *arena;
    struct xapi_value *stack;
    size_t count, capacity;
    size_t marks[XAPI_DEPTH_MAX];
    uint8_t shapes[XAPI_DEPTH_MAX];
    unsigned depth;
    int error; /* -ENOMEM, -E2BIG (too deep, too many), -EINVAL (a map with a key that is no text or has no value) */
};

#define XAPI_BUILD_INIT(where) ((struct xapi_build){.arena = (where)})

void xapi_build_done(struct xapi_build *b);
void xapi_build_open(struct xapi_build *b, enum xapi_shape list_or_map);
void xapi_build_close(struct xapi_build *b);
void xapi_build_value(struct xapi_build *b, struct xapi_value v); /* borrowed, not copied */
void xapi_build_text(struct xapi_build *b, const char *text);     /* copied */
void xapi_build_bytes(struct xapi_build *b, enum xapi_shape text_or_time, const char *text, size_t bytes);
void xapi_build_int(struct xapi_build *b, int64_t v);
/* The one value that was built. returns 0; the first error; -EINVAL when there is not exactly one. */
int xapi_build_end(struct xapi_build *b, struct xapi_value *ret);

struct xapi_value xapi_nil(void);
struct xapi_value xapi_bool(bool v);
struct xapi_value xapi_int(int64_t v);
struct xapi_value xapi_real(double v);
struct xapi_value xapi_str(const char *borrowed);
struct xapi_value xapi_list(const struct xapi_value *items, size_t count);
struct xapi_value xapi_map(const struct xapi_value *pairs, size_t count);
/* Seconds since 1970 as a time; the text goes into the arena. A text of "" when memory is out. */
struct xapi_value xapi_time(struct xk_arena *a, int64_t unix_seconds);

/* One block with the whole tree in it, and a count of its users. */
struct xapi_packed {
    struct xapi_value value;
    uint32_t users;
};

/* returns   with one user; NULL: no memory. */
struct xapi_packed *xapi_pack(const struct xapi_value *v) XK_MUST_USE;
struct xapi_packed *xapi_packed_ref(struct xapi_packed *p);
void xapi_packed_unref(struct xapi_packed *p);

/* ---- asking ---- */

/* The value under a key. NULL: there is none, or this is no map. */
const struct xapi_value *xapi_map_get(const struct xapi_value *map, const char *key);
/* The text of a text, "" otherwise. */
const char *xapi_value_text(const struct xapi_value *v);
int64_t xapi_value_int(const struct xapi_value *v);
bool xapi_value_same(const struct xapi_value *a, const struct xapi_value *b);
bool xapi_list_has(const struct xapi_value *list, const char *text);

/* ---- types ---- */

/*
 * Bring a value that came over the wire into the shape that its type has, as the server does: an int may come as a
 * number or as text, a float as any number or text, a time as text; a boolean only as itself.
 *
 * wrong     what was expected and what came, for the error; at least 256 bytes.
 * returns   0; -EINVAL with `wrong` filled; -ENOMEM.
 */
int xapi_cast(struct xapi_value *ret, struct xk_arena *arena, uint16_t type, const struct xapi_value *v, char *wrong,
              size_t wrong_bytes);
/*
 * The default that a table's word stands for: "", {}, [a,b], false, 0, OpaqueRef:NULL, {"key":"value"}.
 * XAPI_NO_DEFAULT gives the empty value of the type: "", 0, false, 1970, OpaqueRef:NULL, an enum's first word, [], {}.
 */
int xapi_default(struct xapi_value *ret, struct xk_arena *arena, uint16_t type, xapi_word initial);

#endif
