/*
 * Secrets in records: what the data model types as such, what stands in a field or under a key that is named like one,
 * what gives itself away (a key in PEM, a login in a URL, "password=…" in a text), and the copies of whole records that
 * snapshots carry as text.
 *
 * A list of the fields that are known to hold secrets was weighed: most stand in maps whose keys everybody chooses.
 */
#include "rooms/api/api.h"

#include "core/text.h"

#include <ctype.h>
#include <string.h>

/* Anywhere in a name. A ref to a secret is none: the secret itself is emptied. */
static const char *const name_parts[] = {
    "password",   "passwd",    "passphrase", "pwd",      "secret",     "token",        "chap",   "credential",
    "private",    "encrypt",   "user-data",  "userdata", "unattend",   "api-key",      "apikey", "auth-key",
    "access-key", "accesskey", "api_key",    "auth_key", "access_key", "efi-variables"};
/* Only as a whole word of a name: "wlan.pass", not "compass". */
static const char *const name_words[] = {"pass", "pw", "psk", "pin", "authorization", "cookie"};
/* In a text, when a value follows. */
static const char *const text_words[] = {"password", "passwd", "passphrase", "rootpw", "pwd", "secret", "token"};
/* Fields that hold a copy of a record, or more. */
static const char *const whole_fields[] = {"snapshot_metadata"};

static bool is_word_at(const char *name, const char *at, size_t bytes)
{
    return (at == name || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[bytes]);
}

static bool is_secret_name(const char *name)
{
    for (size_t i = 0; i < XK_COUNT(name_parts); i++)
        if (strcasestr(name, name_parts[i]))
            return true;
    for (size_t i = 0; i < XK_COUNT(name_words); i++)
        for (const char *at = name; (at = strcasestr(at, name_words[i])) != NULL; at++)
            if (is_word_at(name, at, strlen(name_words[i])))
                return true;
    for (size_t i = 0; i < XK_COUNT(whole_fields); i++)
        if (strcmp(name, whole_fields[i]) == 0)
            return true;
    return false;
}

/* "scheme://user:password@host", anywhere */
static bool has_login(const char *text)
{
    while ((text = strstr(text, "://")) != NULL) {
        text += 3;
        const size_t bytes = strcspn(text, "/ \t\r\n\"'<>");
        const char *const at = memrchr(text, '@', bytes);
        if (at && memchr(text, ':', (size_t)(at - text)))
            return true;
    }
    return false;
}

/* "password: x", "the password is: x", "<password>x", "'root_password' = 'x'", {"password":"x"} */
static bool tells_value(const char *behind)
{
    behind += strspn(behind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    behind += strspn(behind, " \t\"'");
    behind += xk_has_prefix(behind, "is") ? 2 : 0;
    return *behind && strchr("=:>", *behind) && behind[1 + strspn(behind + 1, " \t\"'")];
}

static bool tells_secret(const char *text)
{
    for (size_t i = 0; i < XK_COUNT(text_words); i++)
        for (const char *at = text; (at = strcasestr(at, text_words[i])) != NULL;)
            if (tells_value(at += strlen(text_words[i])))
                return true;
    return strstr(text, "PRIVATE KEY-----") || has_login(text);
}

static unsigned empty(struct xapi_value *v)
{
    if (v->count == 0 || xk_has_prefix(v->text, "OpaqueRef:"))
        return 0;
    *v = xapi_str("");
    return 1;
}

/* The decoder made the values, in our arena: they may be changed in place. */
static struct xapi_value *items_of(const struct xapi_value *v)
{
    return (struct xapi_value *)v->items;
}

static unsigned clean_value(struct xapi_value *v, const char *name, bool secret)
{
    struct xapi_value *const items = v->shape == XAPI_LIST || v->shape == XAPI_MAP ? items_of(v) : NULL;
    unsigned removed = 0;

    secret = secret || is_secret_name(name);
    if (v->shape == XAPI_TEXT)
        return secret || tells_secret(v->text) ? empty(v) : 0;
    for (size_t i = 0; items && i < v->count; i++)
        removed += v->shape == XAPI_MAP ? clean_value(&items[2 * i + 1], items[2 * i].text, secret)
                                        : clean_value(&items[i], "", secret);
    return removed;
}

static bool is_typed_secret(const struct xapi_class *class_row, const char *name)
{
    const struct xapi_field *const f = xapi_field_find(class_row, name);

    return (f && xapi_type_of(f->type)->kind == XAPI_SECRET) ||
           (strcmp(xapi_text(class_row->name), "secret") == 0 && strcmp(name, "value") == 0);
}

/* What the data model has as something else than text is none, whatever its name. */
static bool may_hold_secret(const struct xapi_class *class_row, const char *name)
{
    const struct xapi_field *const f = xapi_field_find(class_row, name);

    return !f || xapi_type_of(f->type)->kind != XAPI_ENUM;
}

unsigned api_remove_secrets(struct xapi_value *records, const struct xapi_class *class_row)
{
    unsigned removed = 0;

    for (size_t i = 0; i < records->count; i++) {
        const struct xapi_value *const record = &items_of(records)[2 * i + 1];
        for (size_t j = 0; record->shape == XAPI_MAP && j < record->count; j++) {
            const char *const name = items_of(record)[2 * j].text;
            if (may_hold_secret(class_row, name))
                removed += clean_value(&items_of(record)[2 * j + 1], name, is_typed_secret(class_row, name));
        }
    }
    return removed;
}
