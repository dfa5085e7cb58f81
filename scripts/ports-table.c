/*
 * Turn the list of ports into C:  ports-table OUT.c PORTS.tsv
 *
 * A row is service, protocol (tcp, udp or tcp+udp), port (N, N-M, or N+ for a series of which the first is asked),
 * roles, purpose. What a row may contain is checked here; one that does not fit stops the build with its line.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 1024
#define COLUMNS    5
#define RANGE_MAX  16
#define PORT_MAX   65535

static _Noreturn void die(const char *path, unsigned line, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", path, line, what);
    exit(1);
}

static unsigned split(char *line, char *columns[COLUMNS])
{
    unsigned n = 0;

    for (char *at = line; at && n < COLUMNS; n++) {
        columns[n] = at;
        at = strchr(at, '\t');
        if (at)
            *at++ = '\0';
    }
    return n;
}

/* Words that go into C strings and onto command lines as they are. */
static int is_plain(const char *text, const char *more)
{
    for (; *text; text++) {
        if (!isalnum((unsigned char)*text) && !strchr(more, *text))
            return 0;
    }
    return 1;
}

static void put_row(FILE *out, const char *path, unsigned line, char *const columns[COLUMNS])
{
    char *end;
    const char *const proto = columns[1];
    const long from = strtol(columns[2], &end, 10);
    const long to = *end == '-' ? strtol(end + 1, &end, 10) : from;

    if (strcmp(proto, "tcp") != 0 && strcmp(proto, "udp") != 0 && strcmp(proto, "tcp+udp") != 0)
        die(path, line, "no such protocol");
    if ((*end && strcmp(end, "+") != 0) || from < 1 || to < from || to > PORT_MAX || to - from >= RANGE_MAX)
        die(path, line, "no such port");
    if (!is_plain(columns[0], "_") || !is_plain(columns[3], ",") || !is_plain(columns[4], " ,.;:()-'"))
        die(path, line, "a character that does not belong here");
    for (long port = from; port <= to; port++) {
        if (proto[0] == 't')
            fprintf(out, "    {\"%s\", \"%s\", \"%s\", %ld, false},\n", columns[0], columns[3], columns[4], port);
        if (proto[0] == 'u' || strcmp(proto, "tcp+udp") == 0)
            fprintf(out, "    {\"%s\", \"%s\", \"%s\", %ld, true},\n", columns[0], columns[3], columns[4], port);
    }
}

int main(int argc, char **argv)
{
    char line[LINE_BYTES], *columns[COLUMNS];
    unsigned number = 0;

    if (argc != 3)
        die("ports-table", 0, "usage: ports-table OUT.c PORTS.tsv");
    FILE *const in = fopen(argv[2], "r"), *const out = fopen(argv[1], "w");
    if (!in || !out)
        die(argv[in ? 1 : 2], 0, "cannot be opened");
    fputs("#include \"lib/portscan/portscan.h\"\n\nconst struct portscan_row portscan_rows[] = {\n", out);
    while (fgets(line, sizeof(line), in)) {
        number++;
        if (line[0] == '#')
            continue;
        line[strcspn(line, "\n")] = '\0';
        if (split(line, columns) != COLUMNS)
            die(argv[2], number, "five columns are needed");
        put_row(out, argv[2], number, columns);
    }
    fputs("    {NULL, NULL, NULL, 0, false},\n};\n", out);
    if (ferror(in) || fclose(out) != 0)
        die(argv[1], 0, "cannot be written");
    fclose(in);
    return 0;
}
