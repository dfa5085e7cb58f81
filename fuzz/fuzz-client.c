/*
 * What the client reads beside replies: the files of kept sessions and of kept fingerprints, words of a command line as
 * arguments of a message, and error codes with their parameters. The first byte says which.
 */
#include "lib/client/inner.h"
#include "lib/xapi/args.h"

#include <assert.h>
#include <string.h>

#define WORDS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines as words: a message, then its arguments. */
static void read_words(char *text)
{
    struct xk_arena arena = XK_ARENA_INIT(1u << 24);
    struct xapi_value args[WORDS_MAX], checked[WORDS_MAX];
    char *rest = NULL;
    const char *const name = strtok_r(text, "\n", &rest);
    const struct xapi_message *const m = name ? xapi_message_find(name) : NULL;
    size_t count = 0;
    int code = 0;

    for (const char *word;
         m && code == 0 && count < m->params && count < WORDS_MAX && (word = strtok_r(NULL, "\n", &rest)) != NULL;
         count++) {
        struct xk_err err = {0};
        code = xapi_word_parse(&args[count], &arena, xapi_params[m->first_param + count].type, word, &err);
        assert(code == 0 || (err.code == code && *err.text));
    }
    if (m && code == 0 && xapi_args_check(checked, &arena, m, args, count, NULL) == 0 && count > 0)
        xapi_settle(&checked[0], xapi_params[m->first_param].type);
    xk_arena_done(&arena);
}

static void explain(char *text)
{
    const char *params[WORDS_MAX];
    char said[XK_ERR_TEXT_MAX], hint[XK_ERR_HINT_MAX], *rest = NULL;
    const char *const code = strtok_r(text, "\n", &rest);
    unsigned count = 0;

    for (const char *p; count < WORDS_MAX && (p = strtok_r(NULL, "\n", &rest)) != NULL;)
        params[count++] = p;
    if (code)
        client_explain(said, sizeof(said), hint, sizeof(hint), code, params, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client_kept_file kept;
    struct http_pin pin;

    if (size == 0)
        return 0;
    char *const text = xk_strndup((const char *)data + 1, size - 1);
    assert(text);
    switch (data[0] & 3) {
    case 0:
        if (client_kept_parse(&kept, text))
            assert(*kept.session && *kept.url && !strchr(kept.session, '\n'));
        break;
    case 1:
        (void)http_known_find(&pin, text, "host", 443);
        (void)http_pin_parse(&pin, text, NULL);
        break;
    case 2:
        read_words(text);
        break;
    default:
        explain(text);
    }
    free(text);
    return 0;
}
