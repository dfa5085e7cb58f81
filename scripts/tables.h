/*
 * What the programs share that turn tables into C: reading a *.tsv, and one text that holds each word once.
 *
 * A row that does not fit stops the build with its file and line.
 */
#ifndef SCRIPTS_TABLES_H
#define SCRIPTS_TABLES_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 16
#define ROWS_MAX    4096
#define FILE_BYTES  (2u << 20)
#define WORDS_BYTES (1u << 20)
#define WORD_SLOTS  (1u << 16)

struct table {
    const char *name;
    char *text;
    char *rows[ROWS_MAX][COLUMNS_MAX];
    size_t count;
};

struct words {
    char text[WORDS_BYTES];
    size_t len;
    uint32_t slots[WORD_SLOTS]; /* place + 1 */
};

extern const char program[]; /* in each file that includes this one: begins the errors */

static _Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

__attribute__((unused)) static void table_read(struct table *t, const char *folder, const char *name, size_t columns)
{
    char path[4096];

    t->name = name;
    t->text = malloc(FILE_BYTES);
    snprintf(path, sizeof(path), "%s/%s.tsv", folder, name);
    FILE *file = fopen(path, "rb");
    if (t->text == NULL || file == NULL)
        die("%s: %s", path, strerror(errno));
    const size_t len = fread(t->text, 1, FILE_BYTES - 1, file);
    if (ferror(file) || len == FILE_BYTES - 1)
        die("%s: cannot be read, or is too large", path);
    t->text[len] = '\0';
    fclose(file);
    for (char *line = t->text, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next)
            *next++ = '\0';
        if (*line == '#' || *line == '\0')
            continue;
        if (t->count == ROWS_MAX)
            die("%s: more than %d rows", path, ROWS_MAX);
        size_t n = 0;
        for (char *at = line; at; n++) {
            char *const tab = strchr(at, '\t');
            if (n == COLUMNS_MAX)
                die("%s: too many columns: %s", path, line);
            t->rows[t->count][n] = at;
            if (tab)
                *tab = '\0';
            at = tab ? tab + 1 : NULL;
        }
        if (n < columns)
            die("%s: row %zu has %zu columns instead of %zu", path, t->count + 1, n, columns);
        t->count++;
    }
}

/* The place of a word in the one text, each word once. */
static uint32_t words_add(struct words *w, const char *text)
{
    const size_t len = strlen(text) + 1;
    uint32_t hash = UINT32_C(2166136261);

    for (const char *c = text; *c; c++)
        hash = (hash ^ (uint8_t)*c) * UINT32_C(16777619);
    for (uint32_t i = (hash ^ (hash >> 15)) % WORD_SLOTS;; i = (i + 1) % WORD_SLOTS) {
        if (w->slots[i] == 0) {
            if (w->len + len > WORDS_BYTES)
                die("the words take more than %u bytes", WORDS_BYTES);
            memcpy(w->text + w->len, text, len);
            w->slots[i] = (uint32_t)w->len + 1;
            w->len += len;
        }
        if (strcmp(w->text + w->slots[i] - 1, text) == 0)
            return w->slots[i] - 1;
    }
}

/* Write the text as one constant. */
static void words_put(const struct words *w, FILE *out, const char *name)
{
    fprintf(out, "\nconst char %s[] =\n", name);
    for (size_t at = 0; at < w->len; at += strlen(w->text + at) + 1) {
        fprintf(out, "    \"");
        for (const char *c = w->text + at; *c; c++) {
            if (*c == '\n')
                fprintf(out, "\\n");
            else
                fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
        }
        fprintf(out, "\\0\"\n");
    }
    fprintf(out, "    \"\";\n");
}

#endif
