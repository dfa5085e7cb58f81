/*
 * A parent locator holds a path relative to the child's real folder, and it has to lead to the same volume after the
 * next activation, when the numbers of /dev/dm-N are dealt anew. So names below /dev are tidied as text first; only
 * when no lasting name is found does realpath() decide.
 */
#include "lib/vhd/canon.h"

#include "core/buf.h"
#include "core/text.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define MAPPER           "/dev/mapper/"
#define DRBD_BY_RESOURCE "/dev/drbd/by-res/"
#define DRBD_DEVICE      "/dev/drbd"

/* An absolute path without "." and ".." and double slashes; links are not looked at. The caller frees it. */
static char *tidy(const char *path)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(2 * PATH_MAX);

    if (path[0] != '/') {
        xk_autofree char *here = getcwd(NULL, 0);
        if (!here)
            return NULL;
        xk_buf_add_str(&text, strcmp(here, "/") == 0 ? "" : here);
    }
    for (const char *part = path; *part;) {
        const size_t length = strcspn(part, "/");
        if (length == 2 && memcmp(part, "..", 2) == 0) {
            while (text.len > 0 && text.data[--text.len] != '/')
                ;
        } else if (length > 0 && !(length == 1 && part[0] == '.')) {
            xk_buf_add_char(&text, '/');
            xk_buf_add(&text, part, length);
        }
        part += length;
        part += *part == '/';
    }
    if (text.len == 0)
        xk_buf_add_char(&text, '/');
    if (text.error) {
        errno = text.error == -EFBIG ? ENAMETOOLONG : ENOMEM;
        return NULL;
    }
    char *const tidied = xk_strndup(text.data, text.len);
    if (!tidied)
        errno = ENOMEM;
    return tidied;
}

/* /dev/VG/LV as the device mapper calls it: dashes doubled, a dash between. NULL: no memory. */
static char *mapper_name(const char *group_and_volume)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(2 * PATH_MAX);

    xk_buf_add_str(&text, MAPPER);
    for (const char *c = group_and_volume; *c; c++) {
        if (*c == '-')
            xk_buf_add_char(&text, '-');
        xk_buf_add_char(&text, *c == '/' ? '-' : *c);
    }
    return xk_buf_take(&text);
}

/* /dev/drbd1000 and the like. */
static bool is_drbd_device(const char *path)
{
    if (!xk_has_prefix(path, DRBD_DEVICE))
        return false;
    const char *number = path + strlen(DRBD_DEVICE);
    return *number && number[strspn(number, "0123456789")] == '\0';
}

/* A name below /dev that lasts; NULL: there is none. */
static char *lasting_name(const char *tidied)
{
    if (!xk_has_prefix(tidied, "/dev/"))
        return NULL;
    const char *const below = tidied + strlen("/dev/");
    const char *const slash = strchr(below, '/');

    if (xk_has_prefix(tidied, MAPPER) && !strchr(tidied + strlen(MAPPER), '/'))
        return access(tidied, F_OK) == 0 ? xk_strdup(tidied) : NULL;
    if (xk_has_prefix(tidied, DRBD_BY_RESOURCE)) {
        xk_autofree char *device = realpath(tidied, NULL);
        return device && is_drbd_device(device) ? xk_strdup(tidied) : NULL;
    }
    if (!slash || strchr(slash + 1, '/'))
        return NULL;
    xk_autofree char *name = mapper_name(below);
    return name && access(name, F_OK) == 0 ? XK_TAKE(name) : NULL;
}

char *vhd_canonical_path(const char *path)
{
    xk_autofree char *tidied = tidy(path);
    if (!tidied)
        return NULL;
    char *const name = lasting_name(tidied);
    return name ? name : realpath(path, NULL);
}
