/*
 * Runs a fuzz target over the files of its corpus, so that an input that once broke a decoder is tried in every test
 * run, with any compiler. A crash or a hang ends the program; the name of the file in hand was printed before.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_BYTES_MAX   (16U << 20)
#define SECONDS_PER_INPUT 10U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* The bytes are handed over in a block of exactly their size: ASan then sees a read past the end. */
static void replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (file == NULL || fstat(fileno(file), &st) != 0 || st.st_size > INPUT_BYTES_MAX) {
        printf("Bail out! cannot read %s\n", path);
        exit(1);
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (data == NULL || fread(data, 1, size, file) != size) {
        printf("Bail out! cannot read %s\n", path);
        exit(1);
    }
    (void)fclose(file);
    (void)alarm(SECONDS_PER_INPUT);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    struct dirent **entries;
    int count = scandir(argv[1], &entries, is_visible, alphasort);
    if (count <= 0) {
        printf("not ok 1 - %s has no inputs\n1..1\n", argv[1]);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        char path[4096];
        if (snprintf(path, sizeof(path), "%s/%s", argv[1], entries[i]->d_name) >= (int)sizeof(path)) {
            printf("Bail out! a path is too long\n");
            return 1;
        }
        printf("# %s\n", path);
        (void)fflush(stdout);
        replay(path);
        free(entries[i]);
    }
    free(entries);
    printf("ok 1 - %d inputs\n1..1\n", count);
    return 0;
}
