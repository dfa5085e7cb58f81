/*
 * Option tables of the classic tools: what the C library's getopt_long() and the help need comes from the same rows, so
 * that neither knows an option that the other one does not.
 */
#include "rooms/net/classic-options.h"

#include <stdio.h>
#include <strings.h>

#define WORDS_MAX 96

static bool has_letter(const struct classic_row *r)
{
    return r->key < CLASSIC_OPTION_FIRST;
}

/* "-b, --bandwidth N", "    --hide-ips", "-4". */
static void add_words(char ret[WORDS_MAX], const struct classic_row *r)
{
    char letter[3] = "  ";
    const bool optional = r->has_argument == optional_argument;

    if (has_letter(r))
        snprintf(letter, sizeof(letter), "-%c", r->key);
    snprintf(ret, WORDS_MAX, "%s%c %s%s%s%s%s", letter, has_letter(r) && r->name ? ',' : ' ', r->name ? "--" : "",
             r->name ? r->name : "", r->argument ? (optional ? "[=" : " ") : "", r->argument ? r->argument : "",
             r->argument && optional ? "]" : "");
}

void classic_help(struct xk_buf *b, const struct classic_table *t)
{
    xk_buf_printf(b, "Usage: %s [-s|-c host] [options]\n       %s [-h|--help] [-v|--version]\n", t->program,
                  t->program);
    for (enum classic_role role = CLASSIC_BOTH; role < CLASSIC_ROLES; role++) {
        xk_buf_printf(b, "\n%s\n", t->titles[role]);
        for (size_t i = 0; i < t->count; i++) {
            char words[WORDS_MAX];
            if (t->rows[i].role != role)
                continue;
            add_words(words, &t->rows[i]);
            xk_buf_printf(b, "  %-*s %s\n", t->width, words, t->rows[i].help);
        }
    }
}

void classic_getopt(const struct classic_table *t, bool mark, char *ret_letters, struct option *ret_options)
{
    if (mark)
        *ret_letters++ = ':';
    for (size_t i = 0; i < t->count; i++) {
        const struct classic_row *const r = &t->rows[i];
        if (r->name)
            *ret_options++ = (struct option){r->name, r->has_argument, NULL, CLASSIC_OPTION_FIRST + (int)i};
        if (!has_letter(r) || (i > 0 && t->rows[i - 1].key == r->key))
            continue;
        *ret_letters++ = (char)r->key;
        /* What an option may have is taken only in its long form. */
        if (r->has_argument == required_argument)
            *ret_letters++ = ':';
    }
    *ret_letters = '\0';
    *ret_options = (struct option){0};
}

const struct classic_row *classic_row_of(const struct classic_table *t, int value)
{
    if (value >= CLASSIC_OPTION_FIRST)
        return (size_t)(value - CLASSIC_OPTION_FIRST) < t->count ? &t->rows[value - CLASSIC_OPTION_FIRST] : NULL;
    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i].key == value)
            return &t->rows[i];
    }
    return NULL;
}

bool classic_service(uint8_t *ret_tos, const char *name, enum classic_program program)
{
    enum { BOTH = CLASSIC_IPERF3 | CLASSIC_IPERF2 };
    static const struct {
        const char *name;
        uint8_t tos, programs;
    } names[] = {
        {"af11", 0x28, BOTH},
        {"af12", 0x30, BOTH},
        {"af13", 0x38, BOTH},
        {"af21", 0x48, BOTH},
        {"af22", 0x50, BOTH},
        {"af23", 0x58, BOTH},
        {"af31", 0x68, BOTH},
        {"af32", 0x70, BOTH},
        {"af33", 0x78, BOTH},
        {"af41", 0x88, BOTH},
        {"af42", 0x90, BOTH},
        {"af43", 0x98, BOTH},
        {"cs0", 0x00, BOTH},
        {"cs1", 0x20, BOTH},
        {"cs2", 0x40, BOTH},
        {"cs3", 0x60, BOTH},
        {"cs4", 0x80, BOTH},
        {"cs5", 0xa0, BOTH},
        {"cs6", 0xc0, BOTH},
        {"cs7", 0xe0, BOTH},
        {"ef", 0xb8, BOTH},
        {"lowdelay", 0x10, BOTH},
        {"throughput", 0x08, BOTH},
        {"reliability", 0x04, BOTH},
        {"va", 0xb0, CLASSIC_IPERF3},
        {"le", 0x01, CLASSIC_IPERF2},
        {"nqb", 0x05, CLASSIC_IPERF2},
        {"nqb2", 0x2d, CLASSIC_IPERF2},
        {"ac_be", 0x00, CLASSIC_IPERF2},
        {"ac_bk", 0x20, CLASSIC_IPERF2},
        {"ac_vi", 0x80, CLASSIC_IPERF2},
        {"ac_vo", 0xb8, CLASSIC_IPERF2},
    };

    for (size_t i = 0; i < XK_COUNT(names); i++) {
        if (names[i].programs & program && strcasecmp(names[i].name, name) == 0) {
            *ret_tos = names[i].tos;
            return true;
        }
    }
    return false;
}
